"""The threshold that a recorded potential was compared with, step by step.

It follows from the neuron's own equations and its recorded states; no equation stands here. A step
compares after ``integrate`` and before ``jump`` (see dynamics/spike.py), while records hold the state
after both: so the states are those of the step before, moved on by ``integrate``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from neuroport.dynamics.tape import Graph, Node, Number, Tape
from neuroport.program.bound import BoundNeuron

BEFORE_RESET, INPUT = "v_pre", "x"


def reads(bound: BoundNeuron, parameters: Mapping[str, Any]) -> frozenset[str]:
    """What the threshold of a step depends on: "v_pre", the input "x", and states of the step before by name.

    Empty where the threshold is constant in time.
    """
    tape = Tape()
    known = bound.coefficients(parameters)
    c = SimpleNamespace(**{key: value if isinstance(value, Number) else tape.input(f"c.{key}")
                           for key, value in known.items()})
    neuron = bound.neuron
    before = neuron.State(**{field: tape.input(field) for field in neuron.state})
    compared = neuron.integrate(c, before, tape.input(INPUT))._replace(v=tape.input(BEFORE_RESET))
    theta = neuron.threshold(c, compared)
    inputs = Graph.of({"threshold": theta}).inputs if isinstance(theta, Node) else ()
    return frozenset(name for name in inputs if not name.startswith("c."))


def compared_with(
    bound: BoundNeuron, parameters: Mapping[str, Any], recorded: Mapping[str, np.ndarray],
    start: Mapping[str, np.ndarray],
) -> np.ndarray:
    """The threshold at each step, (T, *shape).

    recorded: "v_pre" and the states that ``reads`` names, (T, *shape). start: states (*shape) before the
    first step, zeros where not given. Not for a threshold that reads the input within the step.
    """
    neuron, potential = bound.neuron, recorded[BEFORE_RESET]
    c = SimpleNamespace(**bound.coefficients(parameters))
    zeros = np.zeros_like(potential)
    before = {field: np.concatenate([np.broadcast_to(start.get(field, 0.0), (1, *bound.shape)), values[:-1]])
              for field, values in recorded.items() if field in neuron.state}
    state = neuron.State(**{field: before.get(field, zeros) for field in neuron.state})
    theta = neuron.threshold(c, neuron.integrate(c, state, zeros)._replace(v=potential))
    return np.broadcast_to(theta, potential.shape)


def after_the_step(bound: BoundNeuron, parameters: Mapping[str, Any], recorded: Mapping[str, np.ndarray]) -> np.ndarray:
    """The threshold that the states recorded at each step make, (T, *shape): that of the step's end."""
    c = SimpleNamespace(**bound.coefficients(parameters))
    theta = bound.neuron.threshold(c, bound.neuron.State(**{field: recorded[field] for field in bound.neuron.state}))
    return np.broadcast_to(theta, recorded["v"].shape)
