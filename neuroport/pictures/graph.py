"""A model's graph: a box for each node, an arrow for each edge."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from neuroport.model.graph import Model
from neuroport.model.neurons import Neuron
from neuroport.model.nodes import Input, Output
from neuroport.pictures.layout import Box, Point, arrange
from neuroport.pictures.palette import BLACK, BLUE, SKY, VERMILION, canvas, inches, shape_text
from neuroport.program.lower import Program, lower

POINTS = 8.0  # size of the text
PADDING = 0.12  # inches around the text of a box
MARGIN = 0.15
HEAD = 0.45  # for the title, in inches
ROUND = 0.1  # radius of a corner of an edge

Line = tuple[str, bool]  # text, and whether it is strong


def graph(model: Model, figure: Any = None) -> Any:
    """The nodes of a model from top to bottom: name, type, the shape that leaves, parameters; and its edges.

    Neurons are round boxes with a thick line, layers with parameters square ones, all others square
    with a thin line. Edges with a delay are dashed and say how many steps; those that lead back run at the
    right. In a given figure the drawing shrinks to its size, below its title if it has one already.
    Raises InvalidModel.
    """
    program = lower(model)
    lines = {name: _lines(program, name) for name in model.nodes}
    tall = max(map(len, lines.values())) * 1.35 * POINTS / 72 + PADDING
    layout = arrange(program, {name: (max(map(_wide, its)) + 2 * PADDING, tall) for name, its in lines.items()})
    title = _title(program)
    width = max(layout.width, *map(_wide, ((line, False) for line in title))) + 2 * MARGIN
    height = layout.height + HEAD + 2 * MARGIN
    figure = canvas(figure, width, height)
    axis, scale = _paper(figure, width, height)
    left = (width - layout.width) / 2
    shift = np.array([left, MARGIN + HEAD])
    axis.text(width / 2, MARGIN, "\n".join(title), ha="center", va="top", fontsize=POINTS * scale, linespacing=1.3)
    for edge in model.edges:
        back = edge.key in layout.back
        points = np.array((layout.back if back else layout.forward)[edge.key]) + shift
        _arrow(axis, _corners(points) if back else _streets(points), bool(edge.delay), scale)
        if edge.delay:
            x, y = (points[1] + points[2]) / 2 + (0.05, 0) if back else (points[0] + points[1]) / 2
            said = f"{edge.delay} step{'' if edge.delay == 1 else 's'}"
            axis.text(x, y, said, va="center", ha="left" if back else "center", fontsize=0.9 * POINTS * scale,
                      color=VERMILION, zorder=4, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
    for name, box in layout.boxes.items():
        moved = Box(box.x + shift[0], box.y + shift[1], box.width, box.height)
        _box(axis, program, name, moved, lines[name], scale)
    return figure


def _lines(program: Program, name: str) -> list[Line]:
    """What stands in a node's box."""
    node = program.model.nodes[name]
    found = [(name, True), (f"{type(node).__name__} → {shape_text(program.leaving[name])}", False)]
    trainable, frozen = _parameters(program, name)
    said = [f"{count:,} {what}" for count, what in ((trainable, "trainable"), (frozen, "frozen")) if count]
    return [*found, (", ".join(said), False)] if said else found


def _parameters(program: Program, name: str) -> tuple[int, int]:
    """How many numbers of a node training changes, and how many it does not."""
    own = [spec for full, spec in program.parameters.items() if full.rsplit(".", 1)[0] == name]
    trainable = sum(int(np.prod(spec.shape)) for spec in own if spec.trainable)
    return trainable, sum(int(np.prod(spec.shape)) for spec in own) - trainable


def _title(program: Program) -> list[str]:
    trainable = sum(_parameters(program, name)[0] for name in program.model.nodes)
    count = len(program.model.nodes)
    return [f"{count} nodes, {trainable:,} trainable parameters, time step {1e3 * program.model.dt:g} ms",
            "a box: name, type → shape that leaves, parameters"]


def _wide(line: Line) -> float:
    """Width of a line of text in inches, without a canvas to draw it on."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    text, strong = line
    prop = FontProperties(weight="bold" if strong else "normal", size=POINTS)
    return float(text_to_path.get_text_width_height_descent(text, prop, ismath=False)[0]) / 72


def _paper(figure: Any, width: float, height: float) -> tuple[Any, float]:
    """Axes in inches, y downwards, over all of the figure; and how much smaller than life they are."""
    wide, tall = inches(figure)
    free = tall - (HEAD if figure.get_suptitle() else 0)
    scale = min(1.0, wide / width, free / height)
    axis = figure.subplots(gridspec_kw={"left": 0, "right": 1, "bottom": 0, "top": free / tall})
    axis.set_axis_off()
    axis.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    return axis, scale


def _box(axis: Any, program: Program, name: str, box: Box, lines: Sequence[Line], scale: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    node = program.model.nodes[name]
    look: dict[str, Any]
    if isinstance(node, Neuron):
        look = {"boxstyle": "round,pad=0,rounding_size=0.15", "facecolor": _tint(SKY), "linewidth": 1.8 * scale}
    elif isinstance(node, (Input, Output)):
        look = {"boxstyle": f"round,pad=0,rounding_size={box.height / 2.5}", "facecolor": "white",
                "linewidth": 0.9 * scale}
    else:
        fill = "#F2F2F2" if any(_parameters(program, name)) else "white"
        look = {"boxstyle": "square,pad=0", "facecolor": fill, "linewidth": 0.9 * scale}
    patch = FancyBboxPatch((box.x, box.y), box.width, box.height, edgecolor=BLACK, zorder=2, **look)
    patch.set_gid(f"node:{name}")
    axis.add_patch(patch)
    pitch = 1.3 * POINTS / 72
    for index, (text, strong) in enumerate(lines):
        y = box.y + box.height / 2 + (index - (len(lines) - 1) / 2) * pitch
        axis.text(box.x + box.width / 2, y, text, ha="center", va="center_baseline", fontsize=POINTS * scale,
                  weight="bold" if strong else "normal", zorder=3, parse_math=False)


def _tint(color: str) -> tuple[float, ...]:
    """A colour light enough to write on."""
    from matplotlib.colors import to_rgb

    return tuple(1 - 0.3 * (1 - channel) for channel in to_rgb(color))


def _arrow(axis: Any, path: Any, delayed: bool, scale: float) -> None:
    from matplotlib.patches import FancyArrowPatch

    look: dict[str, Any] = {"color": VERMILION, "linestyle": "--"} if delayed else {"color": BLUE}
    axis.add_patch(FancyArrowPatch(path=path, arrowstyle="-|>", mutation_scale=9 * scale, linewidth=1.1 * scale,
                                   zorder=1, **look))


def _streets(points: Any) -> Any:
    """A curve through the points of an edge: upright at each, so that it bends between layers alone."""
    from matplotlib.path import Path

    vertices, codes = [points[0]], [Path.MOVETO]
    for (x, y), (x_next, y_next) in pairwise(points):
        vertices += [(x, (y + y_next) / 2), (x_next, (y + y_next) / 2), (x_next, y_next)]
        codes += [Path.CURVE4] * 3
    return Path(vertices, codes)


def _corners(points: Any) -> Any:
    """The same of an edge that leads back, its two corners rounded."""
    from matplotlib.path import Path

    start, turn, *inner, into, stop = points
    up = np.array([0, -ROUND])
    out = np.array([ROUND, 0])
    middle = _streets(np.array([turn + up, *inner, into - up]))
    vertices: list[Point] = [start, turn - out, turn, *middle.vertices, into, into - out, stop]
    codes = [Path.MOVETO, Path.LINETO, Path.CURVE3, Path.CURVE3, *middle.codes[1:], Path.CURVE3, Path.CURVE3,
             Path.LINETO]
    return Path(vertices, codes)
