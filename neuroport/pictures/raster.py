"""Raster plots: the spikes of one sample through all layers of a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from neuroport.errors import InvalidData, Problem
from neuroport.model.graph import Model
from neuroport.pictures.palette import BLACK, COLORS, FAINT, FINE, SMALL, canvas, inches, look, shape_text, tidy
from neuroport.pictures.sample import of_sample

CURVES = 20  # that a legend can still name; of more, the strongest
OUTPUT_HEIGHT = 5.0  # in the measure of the panels' heights, square roots of neurons


def raster(
    model: Model, records: Mapping[str, Mapping[str, Any]], inputs: Any = None, outputs: Any = None,
    sample: int = 0, figure: Any = None,
) -> Any:
    """The spikes of one sample through the layers, above one another in time.

    records: as a run gives them, ``records[node]["spikes"]`` (T, B, *shape), a panel for each
    population in the model's order; images are flattened. inputs: (T, B, *shape) or a dict of them, a
    panel above for each. outputs: (T, B, *shape) or a dict of them, a panel below for each: curves, or
    marks where the output spikes. sample: which of the batch. A step with several spikes of one neuron
    has one mark. Raises InvalidData where there is nothing to draw.
    """
    above = {name: of_sample(values, sample, name) for name, values in _named(inputs, "input").items()}
    layers = {name: of_sample(records[name]["spikes"], sample, f"records[{name!r}]['spikes']")
              for name in model.nodes if "spikes" in records.get(name, {})}
    below = {name: of_sample(values, sample, name) for name, values in _named(outputs, "output").items()}
    panels = [*above.items(), *layers.items(), *below.items()]
    if not panels:
        mend = 'call npt.run(..., record=["spikes"]) and give its .records'
        raise InvalidData([Problem("records", "hold no spikes, and there are no inputs nor outputs", mend)])
    heights = [max(2.0, min(20.0, float(np.sqrt(_width(values))))) for values in (*above.values(), *layers.values())]
    heights += [OUTPUT_HEIGHT] * len(below)
    figure = canvas(figure, 6, 1.2 + 1.6 * len(panels))
    axes = np.atleast_1d(figure.subplots(len(panels), 1, sharex=True, height_ratios=heights))
    milliseconds = 1e3 * model.dt
    for index, (axis, (name, values)) in enumerate(zip(axes, panels, strict=True)):
        output = index >= len(above) + len(layers)
        points = 72 * inches(figure)[1] * heights[index] / (1.4 * sum(heights))
        tidy(axis).set_ylabel(f"{name}\n{_neurons(values)}", fontsize=SMALL)
        if _are_spikes(values) and (values.any() or not output):
            _marks(axis, values, milliseconds, points)
        elif output:
            _curves(axis, _flat(values), milliseconds)
        else:
            _analog(axis, _flat(values), milliseconds)
    axes[-1].set_xlabel("time (ms)")
    axes[-1].set_xlim(-0.5 * milliseconds, (max(len(values) for _, values in panels) - 0.5) * milliseconds)
    return figure


def _named(values: Any, name: str) -> dict[str, Any]:
    if values is None:
        return {}
    return dict(values) if isinstance(values, Mapping) else {name: values}


def _flat(values: np.ndarray) -> np.ndarray:
    """(T, *shape) as (T, neurons)."""
    return values.reshape(len(values), -1)


def _width(values: np.ndarray) -> int:
    return _flat(values).shape[1]


def _neurons(values: np.ndarray) -> str:
    """``(38)`` or ``(8×14×14)``: how many units a panel shows."""
    return f"({shape_text(values.shape[1:])})"


def _are_spikes(values: np.ndarray) -> bool:
    return bool((values >= 0).all() and (values == np.floor(values)).all())


def _marks(axis: Any, values: np.ndarray, milliseconds: float, points: float) -> None:
    """A tick for each step and neuron with a spike. points: about the height of the panel."""
    steps, neurons = np.nonzero(_flat(values))
    count = _width(values)
    tall = min(7.0, max(0.8, 0.75 * points / count))
    # a bitmap inside a vector file: 100 000 marks as paths would be tens of megabytes
    axis.scatter(steps * milliseconds, neurons, s=tall**2, marker="|", color=BLACK,
                 linewidths=0.9 if len(values) <= 400 else 0.5, rasterized=len(steps) > 2000)
    axis.set_ylim(-0.5 - 0.02 * count, count - 0.5 + 0.02 * count)
    axis.yaxis.get_major_locator().set_params(integer=True, nbins=4)
    rate = values.mean() / (1e-3 * milliseconds)
    axis.set_title(f"{rate:.3g} spikes/s per neuron", fontsize=FINE, loc="right", pad=2)


def _analog(axis: Any, values: np.ndarray, milliseconds: float) -> None:
    """Input that is no spikes: curves of a few channels, of many an image."""
    if values.shape[1] <= len(COLORS):
        for index in range(values.shape[1]):
            axis.plot(np.arange(len(values)) * milliseconds, values[:, index], linewidth=1, **look(index))
        return
    left, right = -0.5 * milliseconds, (len(values) - 0.5) * milliseconds
    axis.imshow(values.T, aspect="auto", origin="lower", cmap="cividis", interpolation="nearest",
                extent=(left, right, -0.5, values.shape[1] - 0.5))
    axis.set_title(f"{values.min():.3g} (dark) to {values.max():.3g} (bright)", fontsize=FINE, loc="right", pad=2)


def _curves(axis: Any, traces: np.ndarray, milliseconds: float) -> None:
    """One curve per class; the strongest on average is drawn strong."""
    means = traces.mean(0)
    chosen, times = int(means.argmax()), np.arange(len(traces)) * milliseconds
    named = sorted(np.argsort(-means, kind="stable")[:CURVES].tolist())
    others = np.setdiff1d(np.arange(traces.shape[1]), named)
    if others.size:
        axis.plot(times, traces[:, others], color=FAINT, linewidth=0.5)
    for index in named:
        axis.plot(times, traces[:, index], linewidth=2.2 if index == chosen else 0.9, label=str(index), **look(index))
    axis.legend(title=f"class\n(largest\nmean: {chosen})", fontsize=FINE, title_fontsize=FINE, frameon=False,
                loc="center left", bbox_to_anchor=(1, 0.5), ncols=1 + (len(named) - 1) // 10, handlelength=2.5)
