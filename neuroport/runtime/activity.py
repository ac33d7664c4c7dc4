"""Populations that are too quiet or too busy to learn, in words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from neuroport.program.lower import Program

SILENT_RATE = 1e-4  # spikes per step
SATURATED_RATE = 0.5


class LayerWarning(UserWarning):
    """A population that is silent or saturated after the first epoch."""


def silent(rates: Mapping[str, np.ndarray]) -> dict[str, int]:
    """How many neurons of each population spike at most ``SILENT_RATE`` times a step."""
    return {name: int((rate <= SILENT_RATE).sum()) for name, rate in rates.items()}


def saturated(program: Program, rates: Mapping[str, np.ndarray]) -> dict[str, int]:
    """How many spike more than ``SATURATED_RATE`` times a step; none where several spikes a step are allowed."""
    return {name: 0 if program.neurons[name].numerics.multi_spike else int((rate > SATURATED_RATE).sum())
            for name, rate in rates.items()}


def complaints(program: Program, rates: Mapping[str, np.ndarray]) -> list[str]:
    """One sentence, with a mend, for each population that is silent or saturated.

    rates: mean spikes per step of each neuron, by population.
    """
    found, quiet = [], silent(rates)
    for name, rate in rates.items():
        count, layers = rate.size, _before(program, name)
        if 2 * quiet[name] > count:
            found.append(
                f"population {name!r} is silent: {quiet[name]} of {count} neurons spike at most {SILENT_RATE:g} "
                f"times a step, and what is silent hardly learns. Mend: weight_init: FluctuationDriven on {layers}, a "
                "lower v_threshold, or the regularizer RateBounds(lower=0.01)"
            )
        elif rate.mean() > SATURATED_RATE and not program.neurons[name].numerics.multi_spike:
            found.append(
                f"population {name!r} is saturated: its {count} neurons spike {rate.mean():.2f} times a step on "
                f"average. Mend: smaller initial weights on {layers} (FluctuationDriven with a larger kappa), a "
                "higher v_threshold, or the regularizer RateBounds(upper=0.2)"
            )
    return found


def _before(program: Program, name: str) -> str:
    """The layers with weights whose edges end in a population."""
    layers = [edge.source for edge in program.incoming[name] if f"{edge.source}.weight" in program.parameters]
    return " and ".join(map(repr, layers)) or "the layer before it"
