"""How pictures look: colours, line styles and marks that stay apart for the colour-blind and in gray."""

from __future__ import annotations

from typing import Any

# Okabe & Ito's palette (2008)
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK = COLORS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000",
)
STYLES = ("-", "--", "-.", ":")
FAINT = "#B8B8B8"
SMALL = "small"
FINE = "x-small"


def look(index: int) -> dict[str, Any]:
    """Colour and line style of the index-th thing; 7 and 4 have no common divisor, so 28 pairs differ."""
    return {"color": COLORS[index % len(COLORS)], "linestyle": STYLES[index % len(STYLES)]}


def canvas(figure: Any, width: float, height: float) -> Any:
    """The given Figure or SubFigure, or a new Figure of width x height inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150, layout="constrained") if figure is None else figure


def inches(figure: Any) -> tuple[float, float]:
    """Width and height of a Figure or SubFigure."""
    return figure.bbox.width / figure.dpi, figure.bbox.height / figure.dpi


def headed(figure: Any, title: str) -> Any:
    """The same figure with a title at its left, if it is to have one: legends stand at the right."""
    if title:
        figure.suptitle(title, fontsize=SMALL, fontweight="bold", x=0.01, ha="left")
    return figure


def tidy(axis: Any) -> Any:
    """The same axes without the lines above and at the right, with fewer and smaller numbers."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=SMALL)
    return axis


def shape_text(shape: tuple[int, ...]) -> str:
    """``38`` or ``8×14×14``; a single value is 1."""
    return "×".join(map(str, shape)) or "1"
