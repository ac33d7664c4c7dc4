"""Histograms: how weights and other parameters spread, and how often neurons spike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from neuroport.errors import InvalidData, Problem
from neuroport.pictures.palette import BLUE, FAINT, FINE, SMALL, VERMILION, canvas, shape_text, tidy
from neuroport.runtime.activity import SATURATED_RATE, SILENT_RATE

COLUMNS = 3
FEWEST, MOST = 10, 60  # bins


def weights(parameters: Mapping[str, Any], figure: Any = None, initial: Mapping[str, Any] | None = None) -> Any:
    """A histogram of each parameter that is an array: weights, biases, time constants of neurons.

    parameters: by "node.parameter", any shape; single numbers are listed below. initial: those that
    training started from, drawn faint behind. Raises InvalidData where there is no parameter.
    """
    arrays = {name: np.asarray(values, float) for name, values in parameters.items()}
    start = {name: np.asarray(values, float) for name, values in (initial or {}).items()}
    drawn = {name: values for name, values in arrays.items() if values.size > 1}
    if not arrays:
        raise InvalidData([Problem("parameters", "hold no array", "give npt.init(model) or a run's .parameters")])
    columns = min(COLUMNS, max(1, len(drawn)))
    rows = -(-len(drawn) // columns)
    figure = canvas(figure, max(4.0, 2.6 * columns), 0.7 + 1.9 * rows)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat) if drawn else []
    for index, axis in enumerate(axes):
        axis.set_visible(index < len(drawn))
    for axis, (name, values) in zip(axes, drawn.items(), strict=False):
        _spread(tidy(axis), name, values, start.get(name))
    if start and drawn:
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False,
                      fontsize=FINE)
    single = [_number(name, arrays[name], start.get(name)) for name in arrays if name not in drawn]
    if single:
        figure.supxlabel("single numbers: " + ", ".join(single), fontsize=FINE, wrap=True)
    return figure


def _spread(axis: Any, name: str, values: np.ndarray, before: np.ndarray | None) -> None:
    """One parameter now (outline) and before (faint, filled), over common bins."""
    now = _finite(values)
    then = _finite(before) if before is not None else now[:0]
    both = np.concatenate([now, then])
    if both.size:
        bins = np.histogram_bin_edges(both, int(np.clip(np.sqrt(now.size) * 1.5, FEWEST, MOST)))
        if then.size:
            axis.hist(then, bins, color=FAINT, label="before training")
        axis.hist(now, bins, histtype="step", color=BLUE, linewidth=1.4, label="now")
    lost = values.size - now.size
    said = f"{lost} of {values.size} not finite" if lost else f"mean {now.mean():.3g}, sd {now.std():.3g}"
    axis.set_title(f"{name} ({shape_text(values.shape)})\n{said}", fontsize=FINE)
    axis.set_xlabel("time constant (s)" if _is_time(name) else "value", fontsize=FINE)
    axis.set_ylabel("count", fontsize=FINE)
    axis.yaxis.get_major_locator().set_params(integer=True, nbins=4)
    axis.xaxis.get_major_locator().set_params(nbins=5)


def _finite(values: np.ndarray) -> np.ndarray:
    return np.asarray(values[np.isfinite(values)])


def _is_time(name: str) -> bool:
    """Whether a parameter is a time constant; its name tells, as in NIR."""
    return name.rsplit(".", 1)[-1].startswith("tau")


def _number(name: str, value: np.ndarray, before: np.ndarray | None) -> str:
    unit = " s" if _is_time(name) else ""
    said = f"{name} = {value.item():.4g}{unit}"
    return said if before is None else f"{said} (before {before.item():.4g}{unit})"


def rates(rates: Mapping[str, Any], dt: float | None = None, figure: Any = None) -> Any:
    """A histogram of how often the neurons of each population spike; silent and saturated ones are counted.

    rates: mean spikes per step of each neuron by population, as ``Evaluation.rates``. dt: the model's
    time step in seconds; with it the axis is in spikes/s. Raises InvalidData where there is no population.
    """
    if not rates:
        mend = "give an Evaluation's .rates, or means over time and batch of recorded spikes"
        raise InvalidData([Problem("rates", "hold no population", mend)])
    unit = 1.0 if dt is None else 1.0 / dt
    name_of_unit = "spikes per step" if dt is None else "spikes/s"
    figure = canvas(figure, 5, 0.8 + 1.7 * len(rates))
    axes = np.atleast_1d(figure.subplots(len(rates), 1, sharex=True))
    flat = {name: np.asarray(values, float).reshape(-1) for name, values in rates.items()}
    highest = max(values.max() for values in flat.values()) or 1 / unit
    bins = np.linspace(0, highest * unit, 31)
    for axis, (name, values) in zip(axes, flat.items(), strict=True):
        axis.hist(values * unit, bins, color=BLUE)
        mean = values.mean() * unit
        axis.axvline(mean, color=VERMILION, linestyle="--", linewidth=1.2)
        count = f"{values.size} neuron{'' if values.size == 1 else 's'}"
        axis.set_title(f"{name}: {count}, mean {mean:.3g} {name_of_unit} (dashed)\n{_words(values)}", fontsize=SMALL,
                       loc="left", pad=3)
        tidy(axis).set_ylabel("neurons", fontsize=SMALL)
        axis.yaxis.get_major_locator().set_params(integer=True, nbins=4)
    axes[-1].set_xlabel(f"rate of a neuron ({name_of_unit})")
    return figure


def _words(values: np.ndarray) -> str:
    """``3 silent (8%), none saturated``; the bounds are those of the warnings in training."""
    counts = {"silent": (values <= SILENT_RATE).sum(), "saturated": (values > SATURATED_RATE).sum()}
    return ", ".join(f"{count} {what} ({count / values.size:.0%})" if count else f"none {what}"
                     for what, count in counts.items())
