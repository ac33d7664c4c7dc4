"""The scalar that training makes small, and what else is counted, from a run's activity."""

from __future__ import annotations

from collections.abc import Mapping

from neuroport.dynamics import ops
from neuroport.dynamics.ops import Array
from neuroport.model.training import Training
from neuroport.program.lower import Program


def judged_output(program: Program, training: Training) -> str:
    """The Output node that the loss reads."""
    return training.loss.output or next(iter(program.outputs))


def regularized(program: Program, training: Training) -> list[tuple[int, str]]:
    """Pairs (index of a regularizer, population it reads)."""
    spiking = [name for name, bound in program.neurons.items() if bound.neuron.spiking]
    return [(index, name) for index, regularizer in enumerate(training.regularizers)
            for name in (regularizer.nodes or spiking)]


def read_by_objective(program: Program, training: Training) -> list[str]:
    """Nodes whose outputs the objective reads."""
    names = [judged_output(program, training), *(name for _, name in regularized(program, training))]
    return list(dict.fromkeys(names))


def objective(
    program: Program, training: Training, activity: Mapping[str, Array], targets: Array, weights: Array
) -> Array:
    """Loss plus penalties, a scalar.

    activity: outputs (T, B, N) by node, neuron axes flattened. targets: as the loss asks.
    weights: of the samples, (B,), sum 1; 0 for padding.
    """
    per_sample = training.loss.per_sample(activity[judged_output(program, training)], targets)
    total = ops.sum(per_sample * weights, 0)
    for index, name in regularized(program, training):
        total = total + training.regularizers[index].penalty(activity[name], weights)
    return total
