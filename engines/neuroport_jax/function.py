"""A compiled model as a plain function of arrays, for anybody's jax code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neuroport.engine.base import Record
from neuroport.program.arrays import check_run
from neuroport.program.lower import Program
from neuroport_jax.run import forward, zero_state
from neuroport_jax.ways import Ways

Array = jax.Array
Function = Callable[..., Any]


def function_of(program: Program, ways: Ways, record: Sequence[Any] = ()) -> Function:
    """A run of a program as a pure function: see ``JaxExecutable.function``."""

    def function(parameters: Mapping[str, Any], state: Mapping[str, Any] | None, inputs: Any) -> Any:
        fed = inputs if isinstance(inputs, Mapping) else {next(iter(program.inputs)): inputs}
        given = check_run(program, _outlines(parameters), _outlines(inputs), state and _outlines(state), record)
        held = zero_state(program, given.batch) if state is None else _arrays(state)
        activity = forward(program, _arrays(parameters), held, _arrays(fed), given.record, ways=ways)
        outputs = {name: activity.values[name] for name in program.outputs}
        found = next(iter(outputs.values())) if len(outputs) == 1 else outputs, activity.state
        return (*found, _by_node(activity.records)) if given.record else found

    return function


def _arrays(given: Mapping[str, Any]) -> dict[str, Array]:
    return {name: jnp.asarray(value, jnp.float32) for name, value in given.items()}


def _by_node(records: Mapping[Record, Array]) -> dict[str, dict[str, Array]]:
    found: dict[str, dict[str, Array]] = {}
    for (node, what), value in records.items():
        found.setdefault(node, {})[what] = value
    return found


def _outlines(given: Any) -> Any:
    """Ones in the shapes of arrays whose values nobody knows while jax traces; they take no memory."""
    if isinstance(given, Mapping):
        return {name: _outlines(value) for name, value in given.items()}
    return np.broadcast_to(np.int8(1), jnp.shape(given))
