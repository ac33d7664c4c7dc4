"""Raster plots: the spikes of one sample through all layers of a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from neuroport.errors import InvalidData, Problem
from neuroport.model.graph import Model
from neuroport.pictures.batch import of_sample
from neuroport.pictures.palette import BLACK, FAINT, FINE, SMALL, canvas, headed, inches, look, shape_text, tidy

WIDTH = 400.0  # of a panel in points, about
INK = 0.3  # share of a panel that marks cover before they turn transparent, so that dense ones keep their shades
VECTORS = 2000  # marks, up to which they stay lines in a PDF or SVG
FEW = 5  # channels of analog input, up to which they are curves and not an image
CURVES = 20  # that a legend can still name; of more, the strongest
HEIGHTS, OUTPUT_HEIGHT = (3.5, 12.0), 8.0  # of panels, relative: the square root of the neurons within bounds


def raster(
    model: Model, records: Mapping[str, Mapping[str, Any]], inputs: Any = None, outputs: Any = None,
    sample: int = 0, figure: Any = None, decision: int | None = None, title: str = "",
) -> Any:
    """The spikes of one sample through the layers, above one another in time.

    records: as a run gives them, ``records[node]["spikes"]`` (T, B, *shape), a panel for each
    population in the model's order; images are flattened. inputs: (T, B, *shape) or a dict of them, a
    panel above for each. outputs: (T, B, *shape) or a dict of them, a panel below for each: curves, or
    marks where the output spikes. sample: which of the batch. decision: the class that it is taken for, drawn strong
    among the outputs; None: the largest on average is. title: which sample of what it is. A step with several spikes of
    one neuron has one mark. Raises InvalidData where there is nothing to draw.
    """
    above = {name: of_sample(values, sample, name) for name, values in _named(inputs, "input").items()}
    layers = {name: of_sample(records[name]["spikes"], sample, f"records[{name!r}]['spikes']")
              for name in model.nodes if "spikes" in records.get(name, {})}
    below = {name: of_sample(values, sample, name) for name, values in _named(outputs, "output").items()}
    panels = [*above.items(), *layers.items(), *below.items()]
    if not panels:
        mend = 'call npt.run(..., record=["spikes"]) and give its .records'
        raise InvalidData([Problem("records", "hold no spikes, and there are no inputs nor outputs", mend)])
    heights = [float(np.clip(np.sqrt(_width(values)), *HEIGHTS)) for values in (*above.values(), *layers.values())]
    heights += [OUTPUT_HEIGHT] * len(below)
    units = ["channels"] * len(above) + ["neurons"] * len(layers) + ["units"] * len(below)
    figure = canvas(figure, 6, 1.2 + 1.6 * len(panels))
    axes = np.atleast_1d(figure.subplots(len(panels), 1, sharex=True, height_ratios=heights))
    milliseconds = 1e3 * model.dt
    points = 72 * inches(figure)[1] / (1.5 * sum(heights))
    for axis, (name, values), height, unit in zip(axes, panels, heights, units, strict=True):
        output = unit == "units"
        flat, curved = _flat(values), False
        if _are_spikes(values) and (values.any() or not output):
            said = _marks(axis, flat, milliseconds, points * height)
        elif output or flat.shape[1] <= FEW:
            said, curved = _curves(axis, flat, milliseconds, output, decision), True
        else:
            said = _image(axis, flat, milliseconds)
        tidy(axis).set_ylabel("value" if curved else unit[:-1], fontsize=SMALL)
        size = f"{shape_text(values.shape[1:])} {unit if _width(values) > 1 else unit[:-1]}"
        axis.set_title(f"{name}: {size}, {said}", fontsize=SMALL, loc="left", pad=3)
    axes[-1].set_xlabel("time (ms)")
    axes[-1].set_xlim(-0.5 * milliseconds, (max(len(values) for _, values in panels) - 0.5) * milliseconds)
    return headed(figure, title)


def _named(values: Any, name: str) -> dict[str, Any]:
    if values is None:
        return {}
    return dict(values) if isinstance(values, Mapping) else {name: values}


def _flat(values: np.ndarray) -> np.ndarray:
    """(T, *shape) as (T, neurons)."""
    return values.reshape(len(values), -1)


def _width(values: np.ndarray) -> int:
    return int(np.prod(values.shape[1:]))


def _are_spikes(values: np.ndarray) -> bool:
    return bool((values >= 0).all() and (values == np.floor(values)).all())


def _marks(axis: Any, values: np.ndarray, milliseconds: float, points: float) -> str:
    """A tick for each step and neuron with a spike; says how many there are. points: about the panel's height."""
    steps, neurons = np.nonzero(values)
    count = values.shape[1]
    tall = min(7.0, max(0.8, 0.75 * points / count))
    wide = 0.9 if len(values) <= 400 else 0.5
    ink = len(steps) * wide * tall / (points * WIDTH)  # of the panel, were no mark upon another
    # a bitmap inside a vector file: 100 000 marks as paths would be tens of megabytes
    axis.scatter(steps * milliseconds, neurons, s=tall**2, marker="|", color=BLACK, linewidths=wide,
                 alpha=float(np.clip(INK / max(ink, INK), 0.05, 1)), rasterized=len(steps) > VECTORS)
    axis.set_ylim(-0.5 - 0.02 * count, count - 0.5 + 0.02 * count)
    axis.yaxis.get_major_locator().set_params(integer=True, nbins=4)
    return f"{values.mean() / (1e-3 * milliseconds):.3g} spikes/s each on average"


def _image(axis: Any, values: np.ndarray, milliseconds: float) -> str:
    """Input that is no spikes, a row of shades for each channel."""
    left, right = -0.5 * milliseconds, (len(values) - 0.5) * milliseconds
    axis.imshow(values.T, aspect="auto", origin="lower", cmap="cividis", interpolation="nearest",
                extent=(left, right, -0.5, values.shape[1] - 0.5))
    return f"from {values.min():.3g} (dark) to {values.max():.3g} (bright)"


def _curves(axis: Any, traces: np.ndarray, milliseconds: float, output: bool, decision: int | None) -> str:
    """A curve each; of outputs the decision, or the largest on average, is drawn strong."""
    means, times = traces.mean(0), np.arange(len(traces)) * milliseconds
    chosen = -1 if not output else int(means.argmax()) if decision is None else decision
    first = np.argsort(-means, kind="stable")[:CURVES].tolist()
    named = sorted({*first, chosen} - {-1})
    others = np.setdiff1d(np.arange(traces.shape[1]), named)
    if others.size:
        axis.plot(times, traces[:, others], color=FAINT, linewidth=0.5)
    for index in named:
        axis.plot(times, traces[:, index], linewidth=2.2 if index == chosen else 0.9, label=str(index), **look(index))
    if traces.shape[1] == 1:
        return f"mean {means[0]:.3g}"
    axis.legend(fontsize=FINE, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5),
                ncols=1 + (len(named) - 1) // 10, handlelength=2.5)
    if not output:
        return "a curve each"
    why = "has the largest mean" if decision is None else "is the decision"
    return f"number {chosen} {why} (drawn strong)"
