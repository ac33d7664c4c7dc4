"""Pictures are drawn from what a run gives, without a display and without pyplot's global state."""

import io
import subprocess
import sys

import numpy as np
import pytest
from runtime_case import patterns, small_data, small_experiment

import neuroport as npt
from neuroport import pictures
from neuroport.errors import InvalidData
from neuroport.pictures import raster, training_curves
from neuroport.pictures.curves import MARKERS
from neuroport.pictures.palette import look

pytest.importorskip("matplotlib")

HISTORY = [{"epoch": epoch, "train_loss": 2 / epoch, "train_accuracy": 0.4 + 0.05 * epoch,
            "validation_loss": 2.2 / epoch, "validation_accuracy": 0.3 + 0.05 * epoch} for epoch in range(1, 7)]
WITHOUT_CLASSES = [{**row, "train_accuracy": None, "validation_accuracy": None} for row in HISTORY]


def small_run(record=("spikes",)):
    model = small_experiment().model
    inputs = np.moveaxis(patterns(3, 0)[0], 0, 1).astype(np.float32)
    parameters = npt.init(model)
    found = npt.run(model, parameters, inputs, engine="reference", record=list(record))
    return model, parameters, inputs, found


def draw_everything():
    """Every picture of a small network, by name."""
    model, parameters, inputs, found = small_run(["spikes", "v", "v_pre"])
    counts = np.array([[5, 1, 0], [0, 12, 2], [1, 0, 131]])
    return {
        "training_curves": training_curves({"one": HISTORY, "other": HISTORY}),
        "raster": raster(model, found.records, inputs, found.outputs),
        "membranes": pictures.membranes(model, parameters, found.records, "1_lif"),
        "weights": pictures.weights(parameters, initial=parameters),
        "rates": pictures.rates({"1_lif": found.records["1_lif"]["spikes"].mean((0, 1))}, dt=model.dt),
        "confusion": pictures.confusion(counts, ["a rather long label", "another long label", "c"]),
        "graph": pictures.graph(model),
        "samples": pictures.samples(inputs[:, :3], np.arange(3), model.dt),
    }


def test_training_curves_show_every_history_by_name():
    figure = training_curves({"one": HISTORY, "other": HISTORY})
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == ["one", "other"]
    assert [line.get_ydata().tolist() for line in figure.axes[0].lines[:2]] == [
        [row["train_loss"] for row in HISTORY], [row["validation_loss"] for row in HISTORY]]


def test_samples_of_a_data_set_are_named_by_number_class_and_part():
    random = np.random.default_rng(0)
    activity, labels = random.random((9, 3, 4)) < 0.3, np.array([2, 0, 1])
    drawn = pictures.samples(activity, labels, title="set, the first of 3 test samples")
    assert [axis.get_title().splitlines()[0] for axis in drawn.axes] == [
        "sample 0, class 2", "sample 1, class 0", "sample 2, class 1"]
    assert drawn.get_suptitle() == "set, the first of 3 test samples"
    beside = pictures.samples(activity, labels, rates=np.array([1.0, 0.0, 4.0, 2.0])).axes[-1]
    assert beside.patches[0].get_data().values.tolist() == [1.0, 0.0, 4.0, 2.0]
    assert beside.get_xlabel() == "spikes a step"


@pytest.mark.parametrize("channels", [1, 2, 3, 20])
def test_channels_are_counted_in_whole_numbers(channels):
    figure = pictures.samples(np.ones((5, 1, channels)))
    figure.canvas.draw()
    assert all(float(tick).is_integer() for tick in figure.axes[0].get_yticks())


def test_a_training_of_one_epoch_is_seen():
    figure = training_curves({"one": HISTORY[:1]})
    figure.canvas.draw()
    loss, accuracy = figure.axes
    assert [line.get_marker() in (None, "None", "") for line in loss.lines] == [False, False]
    assert all(float(tick).is_integer() for tick in accuracy.get_xticks())


def test_training_curves_are_drawn_from_the_history_of_a_run():
    history = npt.fit(small_experiment(), engine="reference", data=small_data()).history
    loss, accuracy = training_curves({"run": history}).axes
    assert loss.lines[0].get_ydata().tolist() == [row["train_loss"] for row in history]
    assert accuracy.lines[1].get_ydata().tolist() == [100 * row["validation_accuracy"] for row in history]


def test_without_classes_there_is_no_accuracy_panel():
    (panel,) = training_curves({"trace": WITHOUT_CLASSES}).axes
    assert panel.get_ylabel() == "loss" and panel.get_xlabel() == "epoch"
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["trace"]


def test_a_run_without_classes_beside_one_with_them_leaves_its_accuracy_out():
    figure = training_curves({"trace": WITHOUT_CLASSES, "classes": HISTORY})
    trace, classes = figure.axes[1].lines[1], figure.axes[1].lines[3]
    assert np.isnan(trace.get_ydata()).all()
    assert classes.get_ydata()[0] == pytest.approx(35)


def test_curves_stay_apart_without_colour():
    """The first 28 differ in gray, by line style or mark; the first 7 in colour too."""
    looks = [(look(index)["linestyle"], MARKERS[index % len(MARKERS)]) for index in range(28)]
    assert len(set(looks)) == 28
    assert len({look(index)["color"] for index in range(7)}) == 7


def test_a_raster_has_a_mark_for_every_spike_of_the_sample():
    model, _, inputs, found = small_run()
    above, hidden, below = raster(model, found.records, inputs, found.outputs, sample=1).axes
    assert len(above.collections[0].get_offsets()) == inputs[:, 1].sum()
    assert len(hidden.collections[0].get_offsets()) == found.records["1_lif"]["spikes"][:, 1].sum()
    assert len(below.lines) == 2


def test_a_raster_marks_a_spike_at_its_time_and_its_flattened_neuron():
    model = npt.Model.sequential(input=(2, 3, 4), dt=2e-3, layers=[npt.LIF(tau=5e-3)])
    spikes = np.zeros((6, 1, 2, 3, 4))
    spikes[5, 0, 1, 2, 3] = 1
    (panel,) = raster(model, {"0_lif": {"spikes": spikes}}).axes
    assert panel.collections[0].get_offsets().tolist() == [[10.0, 23.0]]
    assert "2×3×4 neurons" in panel.get_title("left")


def test_several_inputs_and_outputs_have_panels_of_their_own():
    model, _, inputs, found = small_run()
    figure = raster(model, found.records, {"left": inputs, "right": inputs}, {"a": found.outputs, "b": found.outputs})
    assert [axis.get_title("left").split(":")[0] for axis in figure.axes] == ["left", "right", "1_lif", "a", "b"]


def test_outputs_that_spike_are_marked_and_not_joined_by_lines():
    model, *_ = small_run()
    spikes = (np.arange(24).reshape(12, 1, 2) % 5 == 0).astype(float)
    (panel,) = raster(model, {}, outputs=spikes).axes
    assert len(panel.collections[0].get_offsets()) == spikes.sum()
    assert not panel.lines


def test_input_that_is_no_spikes_is_drawn_by_its_values():
    model, *_ = small_run()
    few, many = np.random.default_rng(0).normal(size=(12, 1, 3)), np.random.default_rng(1).normal(size=(12, 1, 30))
    curves, image = raster(model, {}, {"few": few, "many": many}).axes
    assert [line.get_ydata().tolist() for line in curves.lines] == few[:, 0].T.tolist()
    assert np.array_equal(image.images[0].get_array(), many[:, 0].T)


def test_a_hundred_thousand_spikes_make_a_small_vector_file():
    model = npt.Model.sequential(input=(1000,), dt=1e-3, layers=[npt.LIF(tau=5e-3)])
    spikes = (np.random.default_rng(0).random((1000, 1, 1000)) < 0.1).astype(np.uint8)
    figure = raster(model, {"0_lif": {"spikes": spikes}})
    assert len(figure.axes[0].collections[0].get_offsets()) == spikes.sum() > 90_000
    file = io.BytesIO()
    figure.savefig(file, format="svg")
    assert file.tell() < 2_000_000


def test_a_raster_of_nothing_says_what_to_record():
    model, *_ = small_run()
    with pytest.raises(InvalidData, match=r'record=\["spikes"\]'):
        raster(model, {"1_lif": {"v": np.zeros((12, 3, 6))}})


def test_a_sample_that_is_not_there_is_refused():
    model, _, inputs, found = small_run()
    with pytest.raises(InvalidData, match="no sample 3"):
        raster(model, found.records, inputs, sample=3)


@pytest.mark.parametrize("name", pictures.__all__)
def test_no_two_texts_of_a_picture_overlap(name):
    figure = draw_everything()[name]
    found = [(text, text.get_window_extent()) for text in _texts(figure)]
    overlapping = [(a.get_text(), b.get_text()) for index, (a, one) in enumerate(found) for b, other in found[:index]
                   if one.shrunk(0.9, 0.7).overlaps(other.shrunk(0.9, 0.7))]
    assert len(found) > 3 and overlapping == []


@pytest.mark.parametrize("name", pictures.__all__)
def test_every_text_of_a_picture_lies_within_it(name):
    figure = draw_everything()[name]
    outside = [text.get_text() for text in _texts(figure)
               if not _within(text.get_window_extent(), figure.bbox)]
    assert outside == []


def _texts(figure):
    """The texts that are drawn, in the places they are drawn at."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    FigureCanvasAgg(figure).draw()
    ticks = {id(text) for axis in figure.axes for one in (axis.xaxis, axis.yaxis)
             for tick in one.get_major_ticks() for text in (tick.label1, tick.label2)
             if not _seen(axis, one, tick)}
    return [text for text in figure.findobj(Text)
            if text.get_visible() and text.get_text().strip() and id(text) not in ticks and _shown(text)]


def _seen(axis, one, tick):
    """Ticks beyond the limits exist, but are not drawn."""
    low, high = sorted(one.get_view_interval())
    return axis.axison and axis.get_visible() and low <= tick.get_loc() <= high


def _shown(text):
    axis = text.axes
    return axis is None or (axis.get_visible() and (axis.axison or text in axis.texts))


def _within(inner, outer):
    return (inner.x0 >= outer.x0 - 1 and inner.y0 >= outer.y0 - 1
            and inner.x1 <= outer.x1 + 1 and inner.y1 <= outer.y1 + 1)


@pytest.mark.parametrize("name", pictures.__all__)
def test_a_picture_is_drawn_into_a_given_part_of_a_figure(name):
    from matplotlib.figure import Figure

    model, parameters, inputs, found = small_run(["spikes", "v", "v_pre"])
    figure = Figure(figsize=(9, 6), layout="constrained")
    left, right = figure.subfigures(1, 2)
    left.suptitle("left")
    draw = {
        "training_curves": lambda: training_curves({"one": HISTORY}, left),
        "raster": lambda: raster(model, found.records, inputs, found.outputs, figure=left),
        "membranes": lambda: pictures.membranes(model, parameters, found.records, "1_lif", figure=left),
        "weights": lambda: pictures.weights(parameters, left),
        "rates": lambda: pictures.rates({"1_lif": np.full(6, 0.1)}, figure=left),
        "confusion": lambda: pictures.confusion(np.eye(3, dtype=int), figure=left),
        "graph": lambda: pictures.graph(model, left),
        "samples": lambda: pictures.samples(inputs[:, :2], figure=left),
    }[name]
    assert draw() is left
    assert left.axes and not right.axes
    figure.savefig(io.BytesIO())


def test_the_package_loads_without_matplotlib():
    code = "import sys, neuroport.pictures; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_picture_touches_pyplot():
    code = (
        "import sys, numpy as np, neuroport as npt; from neuroport import pictures\n"
        "model = npt.Model.sequential(input=(3,), dt=1e-3, layers=[npt.Linear(4), npt.LIF(tau=5e-3)])\n"
        "parameters = npt.init(model)\n"
        "found = npt.run(model, parameters, np.ones((8, 1, 3)), engine='reference', record=['1_lif'])\n"
        "row = dict(epoch=1, train_loss=1.0, validation_loss=1.0)\n"
        "for figure in (pictures.training_curves({'one': [row]}), pictures.raster(model, found.records),\n"
        "               pictures.membranes(model, parameters, found.records, '1_lif'), pictures.weights(parameters),\n"
        "               pictures.rates({'1_lif': np.full(4, 0.1)}), pictures.confusion(np.eye(2, dtype=int)),\n"
        "               pictures.graph(model)):\n"
        "    figure.savefig('/dev/null', format='png')\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
