"""The picture of a model's graph: every node once, with what it is; no box upon another, every edge drawn."""

import io

import numpy as np
import pytest

import neuroport as npt
from neuroport.pictures import graph
from neuroport.pictures.layout import _apart, arrange
from neuroport.program.lower import lower

pytest.importorskip("matplotlib")


def chain():
    return npt.Model.sequential(input=(2, 12, 12), dt=1e-3, layers=[
        npt.Conv2d(4, 3), npt.LIF(tau=npt.Parameter(20e-3, per="channel")), npt.SumPool2d(2), npt.Conv2d(8, 3),
        npt.LIF(tau=20e-3), npt.Flatten(), npt.Linear(10), npt.LI(tau=20e-3),
    ])


def recurrent():
    return npt.Model.sequential(input=(12,), dt=1e-3, layers={
        "drive": npt.Linear(38), "hidden": npt.Recurrent(npt.Linear(38, trainable=False), npt.LIF(tau=20e-3)),
        "readout": npt.Linear(7), "decision": npt.LI(tau=20e-3),
    })


def forked():
    lif, li = npt.LIF(tau=20e-3), npt.LI(tau=20e-3)
    return npt.Model(dt=1e-3, nodes={
        "touch": npt.Input(shape=(12,)), "sound": npt.Input(shape=(40,)), "a": npt.Linear(20), "b": npt.Linear(20),
        "hidden": lif, "back": npt.Linear(20), "deep": npt.Linear(20), "deep_lif": lif, "letter_w": npt.Linear(7),
        "letter_li": li, "force_w": npt.Linear(1), "force_li": li, "letter": npt.Output(), "force": npt.Output(),
    }, edges=[
        ("touch", "a"), ("sound", "b"), ("a", "hidden"), ("b", "hidden"), ("hidden", "back", 1), ("back", "hidden"),
        ("hidden", "deep"), ("deep", "deep_lif"), ("a", "deep_lif", 3), ("hidden", "letter_w"),
        ("deep_lif", "letter_w"), ("letter_w", "letter_li"), ("letter_li", "letter"), ("deep_lif", "force_w"),
        ("force_w", "force_li"), ("force_li", "force"),
    ])


def rings():
    """Loops within loops, a node that feeds itself, a skip over everything, feedback without another way."""
    names = ("l1", "l2", "l3")
    return npt.Model(dt=1e-4, nodes={
        "in": npt.Input(shape=(12,)), **{name: npt.LIF(tau=20e-3) for name in names},
        **{f"w{name}": npt.Linear(12) for name in names}, "feedback": npt.Linear(12), "out": npt.Output(),
    }, edges=[
        ("in", "wl1"), ("wl1", "l1"), ("l1", "wl2"), ("wl2", "l2"), ("l2", "wl3"), ("wl3", "l3"), ("l3", "out"),
        ("l3", "feedback"), ("feedback", "l1", 2), ("l2", "l2", 1), ("l3", "l2", 1), ("in", "l3"),
        ("feedback", "wl1", 1), ("l1", "l1", 12),
    ])


MODELS = {"chain": chain, "recurrent": recurrent, "forked": forked, "rings": rings}
each_model = pytest.mark.parametrize("model", [make() for make in MODELS.values()], ids=list(MODELS))


def boxes(figure):
    """Boxes of the nodes, by name."""
    found = {patch.get_gid().split(":")[1]: patch.get_bbox() for patch in figure.axes[0].patches if patch.get_gid()}
    return {name: (box.x0, box.y0, box.x1, box.y1) for name, box in found.items()}


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


@each_model
def test_every_node_has_a_box_with_its_name_inside(model):
    figure = graph(model)
    found = boxes(figure)
    assert set(found) == set(model.nodes)
    for text in figure.axes[0].texts:
        if text.get_text() in found and text.get_weight() == "bold":
            left, top, right, bottom = found.pop(text.get_text())
            x, y = text.get_position()
            assert left < x < right and top < y < bottom
    assert found == {}


@each_model
def test_no_two_boxes_overlap(model):
    found = list(boxes(graph(model)).items())
    overlapping = [(a, b) for index, (a, one) in enumerate(found) for b, other in found[:index]
                   if one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]]
    assert overlapping == []


@each_model
def test_a_box_says_type_shape_and_parameters(model):
    program, said = lower(model), texts(graph(model))
    for name, node in model.nodes.items():
        shape = "×".join(map(str, program.leaving[name]))
        assert f"{type(node).__name__} → {shape}" in said
        own = [spec for full, spec in program.parameters.items() if full.rsplit(".", 1)[0] == name]
        trainable = sum(int(np.prod(spec.shape)) for spec in own if spec.trainable)
        assert not trainable or any(f"{trainable:,} trainable" in text for text in said)


def test_parameters_that_training_leaves_alone_are_called_frozen():
    assert f"{38 * 38 + 38:,} frozen" in texts(graph(recurrent()))


@each_model
def test_every_edge_has_an_arrow_and_every_delay_a_label(model):
    from matplotlib.patches import FancyArrowPatch

    figure = graph(model)
    arrows = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == len(model.edges)
    delays = sorted(f"{edge.delay} step{'s' * (edge.delay > 1)}" for edge in model.edges if edge.delay)
    assert sorted(text for text in texts(figure) if text.split()[-1] in ("step", "steps")) == delays


@each_model
def test_arrows_lead_from_their_source_to_their_target_and_pass_no_other_box(model):
    layout = arrange(lower(model), dict.fromkeys(model.nodes, (1.0, 0.5)))
    for edge in model.edges:
        back = edge.key in layout.back
        points = (layout.back if back else layout.forward)[edge.key]
        source, target = layout.boxes[edge.source], layout.boxes[edge.target]
        assert points[0][0 if back else 1] == pytest.approx(source.right if back else source.bottom)
        assert points[-1][0 if back else 1] == pytest.approx(target.right if back else target.y)
        for (x, y), (x_next, y_next) in zip(points, points[1:], strict=False):
            for name, box in layout.boxes.items():
                inside = (min(x, x_next) < box.right - 1e-6 and max(x, x_next) > box.x + 1e-6
                          and min(y, y_next) < box.bottom - 1e-6 and max(y, y_next) > box.y + 1e-6)
                assert not inside, f"{edge.key} runs through {name}"


@each_model
def test_undelayed_edges_lead_down_and_delayed_ones_are_dashed(model):
    from matplotlib.patches import FancyArrowPatch

    layout = arrange(lower(model), dict.fromkeys(model.nodes, (1.0, 0.5)))
    assert all(layout.boxes[edge.source].bottom < layout.boxes[edge.target].y
               for edge in model.edges if edge.delay == 0)
    styles = [patch.get_linestyle() for patch in graph(model).axes[0].patches if isinstance(patch, FancyArrowPatch)]
    assert [style != "solid" and style != "-" for style in styles] == [edge.delay > 0 for edge in model.edges]


def test_edges_that_lead_back_run_at_the_right_of_what_they_join():
    model = rings()
    layout = arrange(lower(model), dict.fromkeys(model.nodes, (1.0, 0.5)))
    assert set(layout.back) == {"feedback->l1", "l2->l2", "l3->l2", "feedback->wl1", "l1->l1"}
    for points in layout.back.values():
        assert points[1][0] > points[0][0] and points[-2][0] > points[-1][0]
        assert points[1][1] >= points[-2][1]


def test_a_chain_is_drawn_as_a_straight_line():
    layout = arrange(lower(chain()), {name: (1.0 + 0.1 * len(name), 0.5) for name in chain().nodes})
    assert np.ptp([box.x + box.width / 2 for box in layout.boxes.values()]) < 1e-6
    assert layout.width == pytest.approx(max(box.width for box in layout.boxes.values()))


def test_places_keep_their_widths_and_move_as_little_as_they_can():
    assert _apart([0, 10, 20], [1, 1, 1], [1, 1, 1]) == [0, 10, 20]
    assert _apart([5, 5, 5], [2, 2, 2], [1, 1, 1]) == [3, 5, 7]
    assert _apart([5, 5], [2, 2], [3, 1]) == [4.5, 6.5]


def test_a_name_with_dollars_is_drawn_as_it_is():
    lif = npt.LIF(tau=20e-3)
    model = npt.Model(dt=1e-3, nodes={"in": npt.Input(shape=(3,)), "a$b$^c": lif, "out": npt.Output()},
                      edges=[("in", "a$b$^c"), ("a$b$^c", "out")])
    figure = graph(model)
    figure.savefig(io.BytesIO())
    assert "a$b$^c" in texts(figure)


def test_in_a_small_figure_the_text_shrinks_with_the_boxes():
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = graph(forked(), Figure(figsize=(3, 3), dpi=200))
    FigureCanvasAgg(figure).draw()
    found = {patch.get_gid().split(":")[1]: patch.get_window_extent()
             for patch in figure.axes[0].patches if patch.get_gid()}
    for text in figure.axes[0].texts:
        if text.get_text() in found:
            box, extent = found[text.get_text()], text.get_window_extent()
            assert box.x0 < extent.x0 and extent.x1 < box.x1
