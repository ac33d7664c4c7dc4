"""Two rasters of one population around the step where they go apart."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from neuroport.pictures.palette import BLACK, BLUE, FAINT, FINE, SMALL, VERMILION, canvas, tidy

BEFORE, AFTER = 20, 40  # steps that are shown around the first difference
NEURONS = 60  # of a larger population, those around the one that differs first
TITLE = 90  # letters in a line
HEIGHTS = (2.4, 2.4, 1.5)  # of the rasters and of the potentials, in inches


def divergence(
    a: np.ndarray, b: np.ndarray, names: Sequence[str], dt: float, step: int, neuron: int | None = None,
    potentials: Sequence[np.ndarray] | None = None, title: str = "", figure: Any = None,
) -> Any:
    """The spikes of A above those of B; what only one of them has is a colored mark there, and a ring in the other.

    a, b: (T, N) spikes of one sample. names: of the two. dt: seconds. step, neuron: of the first difference, where
    there is one. potentials: (T,) of that neuron in A and B, drawn below; None: not known.
    """
    panels = 2 if potentials is None else 3
    figure = canvas(figure, 7, 0.9 + sum(HEIGHTS[:panels]))
    axes = figure.subplots(panels, 1, sharex=True, height_ratios=HEIGHTS[:panels])
    steps, rows = _window(len(a), step, BEFORE, AFTER), _around(a.shape[1], neuron)
    milliseconds = 1e3 * dt
    sides = (("A", "B", a, b, VERMILION, BLUE), ("B", "A", b, a, BLUE, VERMILION))
    for axis, name, (side, other, own, others, color, ring) in zip(axes, names, sides, strict=False):
        _raster(axis, own, others, steps, rows, milliseconds, (color, ring))
        said = "\n".join([*textwrap.wrap(f"{side}: {name}", TITLE),
                          f"black: in both · colored: in {side} alone · ring: in {other} alone"])
        axis.set_title(said, fontsize=SMALL, loc="left", pad=3)
    if potentials is not None:
        _potentials(axes[2], potentials, steps, milliseconds, neuron)
    if neuron is not None:
        for axis in axes:
            axis.axvline(step * milliseconds, color=FAINT, linewidth=5, alpha=0.5, zorder=0)
    axes[-1].set_xlabel("time (ms)")
    axes[-1].set_xlim((steps.start - 0.5) * milliseconds, (steps.stop - 0.5) * milliseconds)
    if title:
        figure.suptitle(title, fontsize="medium")
    return figure


def _window(length: int, center: int, before: int, after: int) -> range:
    start = max(0, min(center - before, length - before - after))
    return range(start, min(length, start + before + after))


def _around(neurons: int, chosen: int | None) -> range:
    return _window(neurons, chosen or 0, NEURONS // 2, NEURONS // 2)


def _raster(
    axis: Any, own: np.ndarray, other: np.ndarray, steps: range, rows: range, milliseconds: float,
    colors: tuple[str, str],
) -> None:
    """colors: of spikes that only this side has, and of rings where only the other has one."""
    inside = np.ix_(steps, rows)
    mine, theirs = own[inside], other[inside]
    tall = min(8.0, 150 / max(len(rows), 20))  # points

    def marks(shown: np.ndarray, **look: Any) -> None:
        at, neuron = np.nonzero(shown)
        axis.scatter((at + steps.start) * milliseconds, neuron + rows.start, **look)

    marks((mine > 0) & (mine == theirs), marker="|", s=tall**2, color=BLACK, linewidths=1.0)
    marks(mine > theirs, marker="|", s=tall**2, color=colors[0], linewidths=2.2)
    marks(mine < theirs, marker="o", s=(0.8 * tall) ** 2, facecolors="none", edgecolors=colors[1], linewidths=0.9)
    tidy(axis).set_ylabel("neuron", fontsize=SMALL)
    axis.set_ylim(rows.start - 0.7, rows.stop - 0.3)
    axis.yaxis.get_major_locator().set_params(integer=True, nbins=6)


def _potentials(
    axis: Any, potentials: Sequence[np.ndarray], steps: range, milliseconds: float, neuron: int | None
) -> None:
    times, shown = np.arange(steps.start, steps.stop) * milliseconds, slice(steps.start, steps.stop)
    axis.plot(times, potentials[0][shown], label="A", color=VERMILION, linewidth=2.0)
    axis.plot(times, potentials[1][shown], label="B", color=BLUE, linestyle="--")
    tidy(axis).set_ylabel("potential", fontsize=SMALL)
    axis.set_title(f"neuron {neuron}, after the reset of each step", fontsize=SMALL, loc="left", pad=3)
    axis.legend(fontsize=FINE, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
