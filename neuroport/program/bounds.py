"""Trainable time constants and decays move on an axis without ends, so that they stay valid.

tau = shortest + exp(u); decay = 1 / (1 + exp(-u)); everything else is its own u. Optimizers see u.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from neuroport.dynamics import ops
from neuroport.dynamics.ops import Array
from neuroport.errors import InvalidData, Problem
from neuroport.model.values import Bound
from neuroport.program.lower import Program


def _shortest(program: Program, name: str) -> float:
    owner = name.rsplit(".", 1)[0]
    return program.neurons[owner].step.shortest_tau


def to_free(program: Program, parameters: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The trainable parameters as optimizers see them (NumPy). Raises InvalidData at a bound's end."""
    found, problems = {}, []
    for name in program.trainable:
        value, bound = np.asarray(parameters[name]), program.parameters[name].bound
        low = _shortest(program, name) if bound is Bound.TIME else 0.0
        high = 1.0 if bound is Bound.DECAY else np.inf
        if bound is not Bound.FREE and not np.all((value > low) & (value < high)):
            wrong = f"a trainable {bound.value} must start inside ({low}, {high})"
            problems.append(Problem(name, wrong, "choose another initial value, or trainable=False"))
        elif bound is Bound.TIME:
            value = np.log(value - low)
        elif bound is Bound.DECAY:
            value = np.log(value) - np.log1p(-value)
        found[name] = value
    if problems:
        raise InvalidData(problems, "parameters")
    return found


def to_valid(program: Program, name: str, free: Array) -> Array:
    """One trainable parameter from its free value, in the arrays of any engine."""
    bound = program.parameters[name].bound
    if bound is Bound.TIME:
        return _shortest(program, name) + ops.exp(free)
    if bound is Bound.DECAY:
        return 1.0 / (1.0 + ops.exp(-free))
    return free


def free_slope(program: Program, name: str, value: Array) -> Array:
    """d valid / d free at a valid value: what turns a parameter's gradient into its free one."""
    bound = program.parameters[name].bound
    if bound is Bound.TIME:
        return value - _shortest(program, name)
    if bound is Bound.DECAY:
        return value * (1.0 - value)
    return value * 0.0 + 1.0
