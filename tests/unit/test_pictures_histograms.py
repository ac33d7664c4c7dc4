"""Histograms and the confusion matrix: what is drawn are the counts, what is said are the facts."""

import numpy as np
import pytest

from neuroport.errors import InvalidData
from neuroport.pictures import confusion, rates, weights

pytest.importorskip("matplotlib")

PARAMETERS = {"drive.weight": np.linspace(-1, 1, 60).reshape(5, 12), "hidden.tau_mem": np.full(5, 20e-3),
              "hidden.tau_syn": np.array(5e-3)}


def counted(artists):
    """Sum of the heights of a histogram's bars."""
    return sum(patch.get_height() for patch in artists)


def test_each_array_has_a_histogram_of_all_its_values():
    figure = weights({**PARAMETERS, "readout.weight": np.arange(14.0).reshape(2, 7)})
    drawn = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title().split(" ")[0] for axis in drawn] == ["drive.weight", "hidden.tau_mem", "readout.weight"]
    for axis, count in zip(drawn, (60, 5, 14), strict=True):
        (outline,) = axis.patches
        heights = outline.get_xy()[1:-1:2, 1]  # each bar's top: every second corner of the outline
        assert heights.sum() == count


def test_time_constants_have_a_unit_and_single_numbers_are_listed():
    figure = weights(PARAMETERS)
    assert [axis.get_xlabel() for axis in figure.axes] == ["value", "time constant (s)"]
    assert "hidden.tau_syn = 0.005 s" in figure.get_supxlabel()


def test_initial_parameters_are_drawn_faint_behind():
    before = {**PARAMETERS, "drive.weight": np.zeros((5, 12)), "hidden.tau_syn": np.array(7e-3)}
    figure = weights(PARAMETERS, initial=before)
    bars = [patch for patch in figure.axes[0].patches if hasattr(patch, "get_height")]
    assert counted(bars) == 60 and sum(patch.get_height() > 0 for patch in bars) == 1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["before training", "now"]
    assert "hidden.tau_syn = 0.005 s (before 0.007 s)" in figure.get_supxlabel()


def test_values_that_are_not_finite_are_counted_in_words():
    (axis,) = weights({"drive.weight": np.array([1.0, np.nan, np.inf, 2.0])}).axes
    assert "2 of 4 not finite" in axis.get_title()


def test_the_histograms_of_no_parameters_are_refused():
    with pytest.raises(InvalidData, match="hold no array"):
        weights({})


def test_rates_are_counted_and_silent_and_saturated_neurons_named():
    values = np.array([0.0, 0.0, 0.1, 0.2, 0.9])
    (axis,) = rates({"hidden": values}).axes
    assert counted(axis.patches) == 5
    assert "2 silent (40%), 1 saturated (20%)" in axis.get_title("left")
    assert axis.get_xlabel() == "rate of a neuron (spikes per step)"
    assert axis.lines[0].get_xdata()[0] == pytest.approx(values.mean())


def test_with_dt_rates_are_per_second():
    (axis,) = rates({"hidden": np.array([[0.01, 0.03]])}, dt=1e-3).axes
    assert "mean 20 spikes/s" in axis.get_title("left") and "none silent, none saturated" in axis.get_title("left")
    assert axis.get_xlabel() == "rate of a neuron (spikes/s)"


def test_a_network_without_a_spike_still_has_a_picture():
    (axis,) = rates({"hidden": np.zeros(4)}).axes
    assert counted(axis.patches) == 4 and "4 silent (100%)" in axis.get_title("left")


def test_no_population_is_refused():
    with pytest.raises(InvalidData, match="no population"):
        rates({})


COUNTS = np.array([[8, 2, 0], [0, 5, 0], [0, 0, 0]])


def cells(figure):
    """What is written, by (row, column)."""
    return {(int(text.get_position()[1]), int(text.get_position()[0])): text.get_text()
            for text in figure.axes[0].texts}


def test_a_cell_shows_its_count_and_an_empty_one_nothing():
    assert cells(confusion(COUNTS)) == {(0, 0): "8", (0, 1): "2", (1, 1): "5"}


def test_the_shade_is_the_share_of_the_row():
    shade = confusion(COUNTS).axes[0].images[0].get_array()
    assert np.allclose(shade, [[0.8, 0.2, 0], [0, 1, 0], [0, 0, 0]])


def test_the_side_shows_the_accuracy_of_each_class():
    figure = confusion(COUNTS)
    side = figure.axes[1]
    assert [bar.get_width() for bar in side.patches] == pytest.approx([80, 100, 0])
    assert [text.get_text() for text in side.texts] == ["80", "100", "–"]
    assert "13 of 15 samples right (86.7%)" in figure.axes[0].get_title()


def test_labels_stand_on_both_axes():
    axis = confusion(COUNTS, labels=["A", "E", "I"]).axes[0]
    for labels in (axis.get_xticklabels(), axis.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["A", "E", "I"]


def test_a_count_is_legible_against_its_shade():
    figure = confusion(COUNTS)
    shade = {(0, 0): 0.8, (0, 1): 0.2, (1, 1): 1.0}
    for text in figure.axes[0].texts:
        x, y = text.get_position()
        assert text.get_color() == ("white" if shade[int(y), int(x)] > 0.5 else "black")


@pytest.mark.parametrize("classes", [20, 30])
def test_counts_of_many_classes_fit_into_their_cells(classes):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = confusion(np.full((classes, classes), 1234))
    FigureCanvasAgg(figure).draw()
    axis = figure.axes[0]
    wide = axis.get_window_extent().width / classes
    assert len(axis.texts) == classes**2
    assert max(text.get_window_extent().width for text in axis.texts) < wide


def test_beyond_thirty_classes_numbers_are_left_out():
    figure = confusion(np.eye(100, dtype=int))
    assert [*figure.axes[0].texts, *figure.axes[1].texts] == []
    assert 10 <= len(figure.axes[0].get_xticks()) <= 40


@pytest.mark.parametrize("matrix, labels, said", [
    (np.eye(3), None, "no matrix of counts"), (np.ones((2, 3), int), None, "no matrix of counts"),
    (np.zeros((0, 0), int), None, "no matrix"), (np.eye(3, dtype=int), ["a"], "names 1 classes"),
    (None, None, "no matrix"),
])
def test_what_is_no_confusion_matrix_is_refused(matrix, labels, said):
    with pytest.raises(InvalidData, match=said):
        confusion(matrix, labels)
