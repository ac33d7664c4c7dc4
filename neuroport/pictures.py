"""Pictures of a run: training curves and rasters, readable in print and for the colour-blind.

Each function draws into a Figure (or SubFigure) of its own or a given one; nothing is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroport.model.graph import Model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe & Ito's palette; line styles tell the same apart in gray
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", "-.", ":")


def _figure(size: tuple[float, float]) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=size, dpi=150, layout="constrained")


def training_curves(histories: Mapping[str, Sequence[Mapping[str, Any]]], figure: Any = None) -> Any:
    """Loss and accuracy over epochs, a colour for each named history.

    histories: rows as in ``Run.history``. Faint lines are training, strong ones validation.
    """
    figure = figure or _figure((6, 5))
    upper, lower = figure.subplots(2, 1, sharex=True)
    for index, (name, rows) in enumerate(histories.items()):
        look = {"color": COLORS[index % len(COLORS)], "linestyle": STYLES[index % len(STYLES)]}
        epochs = [row["epoch"] for row in rows]
        for axes, what, unit in ((upper, "loss", 1), (lower, "accuracy", 100)):
            axes.plot(epochs, [unit * row[f"train_{what}"] for row in rows], linewidth=0.8, alpha=0.55, **look)
            axes.plot(epochs, [unit * row[f"validation_{what}"] for row in rows], linewidth=1.8, label=name, **look)
    upper.set_ylabel("loss")
    lower.set_ylabel("accuracy (%)")
    lower.set_xlabel("epoch")
    lower.xaxis.get_major_locator().set_params(integer=True)
    upper.set_title("validation (strong) and training (faint)", fontsize="medium")
    lower.legend(loc="lower right", frameon=False)
    for axes in (upper, lower):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def raster(
    model: Model, records: Mapping[str, Mapping[str, Any]], inputs: Any = None, outputs: Any = None,
    sample: int = 0, figure: Any = None,
) -> Any:
    """The spikes of one sample through the layers, above one another in time.

    records: as a run gives them, ``records[node]["spikes"]`` (T, B, *shape). inputs: (T, B, *shape),
    a panel above. outputs: (T, B, C), a panel of curves below. sample: which of the batch.
    """
    panels = [("input", np.asarray(inputs)[:, sample])] if inputs is not None else []
    panels += [(name, np.asarray(records[name]["spikes"])[:, sample])
               for name in model.nodes if "spikes" in records.get(name, {})]
    count = len(panels) + (outputs is not None)
    figure = figure or _figure((6, 1.2 + 1.6 * max(count, 1)))
    heights = [max(2.0, float(np.sqrt(spikes[0].size))) for _, spikes in panels] + [5.0] * (outputs is not None)
    axes = np.atleast_1d(figure.subplots(count, 1, sharex=True, height_ratios=heights))
    milliseconds = 1e3 * model.dt
    for axis, (name, spikes) in zip(axes, panels, strict=False):
        steps, neurons = np.nonzero(spikes.reshape(len(spikes), -1))
        axis.scatter(steps * milliseconds, neurons, s=9, marker="|", color="black", linewidths=0.8)
        axis.set_ylim(-0.5, spikes[0].size - 0.5)
        rate = spikes.mean() / model.dt
        axis.set_ylabel(f"{name}\n({spikes[0].size})")
        axis.set_title(f"{rate:.0f} spikes/s per neuron", fontsize="small", loc="right", pad=2)
    if outputs is not None:
        _curves(axes[-1], np.asarray(outputs)[:, sample], milliseconds)
    axes[-1].set_xlabel("time (ms)")
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def _curves(axis: Any, traces: np.ndarray, milliseconds: float) -> None:
    """One curve per class; the strongest on average is drawn strong."""
    chosen = int(traces.mean(0).argmax())
    for index in range(traces.shape[1]):
        axis.plot(
            np.arange(len(traces)) * milliseconds, traces[:, index], color=COLORS[index % len(COLORS)],
            linestyle=STYLES[index // len(COLORS) % len(STYLES)], linewidth=2.2 if index == chosen else 0.9,
            label=str(index),
        )
    axis.set_ylabel("output")
    axis.legend(title=f"class\n(taken: {chosen})", fontsize="x-small", title_fontsize="x-small", frameon=False,
                loc="center left", bbox_to_anchor=(1, 0.5), ncols=1 + (traces.shape[1] - 1) // 10)
