"""The objective in NumPy with its derivatives, by the tape: for engines without automatic differentiation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from neuroport.dynamics import ops
from neuroport.dynamics.printer import python_function
from neuroport.dynamics.tape import Graph, Tape
from neuroport.model.training import Training
from neuroport.program.lower import Program
from neuroport.program.objective import objective, parameters_of_objective, read_by_objective

Array = np.ndarray


class Judged(NamedTuple):
    """The objective's value, and its derivatives by the activity of nodes (T, B, *shape) and by parameters."""

    loss: float
    activity: dict[str, Array]
    parameters: dict[str, Array]


def judge(
    program: Program, training: Training, values: Mapping[str, Array], parameters: Mapping[str, Array],
    targets: Array, weights: Array,
) -> Judged:
    """Value and derivatives of the objective; any loss and regularizer, a user's own too.

    values: activity (T, B, *shape) of at least the nodes that the objective reads. weights: of the
    samples, (B,), sum 1. Derivatives by ``parameters`` are those of penalties alone.
    """
    read = {f"activity.{name}": values[name] for name in read_by_objective(program, training)}
    held = {f"parameters.{name}": parameters[name] for name in parameters_of_objective(program, training)}
    flat = {name: value.reshape(*value.shape[:2], -1) for name, value in read.items()}
    flat |= {name: value.reshape(-1) for name, value in held.items()}
    tape = Tape()
    nodes = {name: tape.input(name) for name in flat}
    total = objective(
        program, training, _of("activity.", nodes), _of("parameters.", nodes), tape.input("targets"),
        tape.input("weights"),
    )
    adjoints = tape.backward([(total, tape.input("one"))], list(nodes.values()))
    graph = Graph.of({"the loss": total, **dict(zip(nodes, adjoints, strict=True))})
    dtype = weights.dtype
    found = python_function(graph, ops.NUMPY, "objective")(
        {**flat, "targets": np.asarray(targets), "weights": weights, "one": np.ones((), dtype)}
    )
    derivatives = {name: np.broadcast_to(found[name], flat[name].shape).reshape(value.shape).astype(dtype)
                   for name, value in {**read, **held}.items()}
    return Judged(float(found["the loss"]), _of("activity.", derivatives), _of("parameters.", derivatives))


def _of(prefix: str, named: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
