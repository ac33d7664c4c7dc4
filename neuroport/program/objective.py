"""The scalar that training makes small, and what else is measured, from a run's activity.

Activity is (T, B, N) by node, neuron axes as one; parameters are (n,) by name, all axes as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from neuroport.dynamics import ops
from neuroport.dynamics.discretize import Step
from neuroport.dynamics.ops import Array
from neuroport.model.regularizers import ParameterRegularizer, SpikeRegularizer
from neuroport.model.training import Training
from neuroport.program.lower import Program


def step_of(program: Program) -> Step:
    """The time step that losses see."""
    return Step(program.model.dt, program.model.numerics.discretization)


def judged_output(program: Program, training: Training) -> str:
    """The Output node that the loss reads."""
    return training.loss.output or next(iter(program.outputs))


def regularized(program: Program, training: Training) -> list[tuple[SpikeRegularizer, str]]:
    """Pairs of a regularizer of spikes and a population that it reads."""
    spiking = [name for name, bound in program.neurons.items() if bound.neuron.spiking]
    return [(regularizer, name) for regularizer in training.regularizers
            if isinstance(regularizer, SpikeRegularizer) for name in (regularizer.nodes or spiking)]


def penalized(program: Program, training: Training) -> list[tuple[ParameterRegularizer, str]]:
    """Pairs of a regularizer of parameters and a trainable parameter that it reads."""
    return [(regularizer, name) for regularizer in training.regularizers
            if isinstance(regularizer, ParameterRegularizer) for name in program.trainable
            if any(fnmatchcase(name, pattern) for pattern in regularizer.parameters)]


def read_by_objective(program: Program, training: Training) -> list[str]:
    """Nodes whose outputs the objective reads."""
    names = [judged_output(program, training), *(name for _, name in regularized(program, training))]
    return list(dict.fromkeys(names))


def parameters_of_objective(program: Program, training: Training) -> list[str]:
    """Parameters that the objective reads itself, beside the network."""
    return list(dict.fromkeys(name for _, name in penalized(program, training)))


def objective(
    program: Program, training: Training, activity: Mapping[str, Array], parameters: Mapping[str, Array],
    targets: Array, weights: Array,
) -> Array:
    """Loss plus penalties, a scalar.

    targets: as the loss asks, classes (B,) or traces (T, B, N). weights: of the samples, (B,), sum 1; 0 for
    padding.
    """
    step = step_of(program)
    total = ops.sum(per_sample(program, training, activity, targets) * weights, 0)
    for of_spikes, name in regularized(program, training):
        total = total + of_spikes.penalty(activity[name], weights, step)
    for of_values, name in penalized(program, training):
        total = total + of_values.penalty(parameters[name])
    return total


def per_sample(program: Program, training: Training, activity: Mapping[str, Array], targets: Array) -> Array:
    """The loss of each sample, (B,)."""
    outputs = activity[judged_output(program, training)]
    return training.loss.per_sample(outputs, targets, step_of(program))


def scores(program: Program, training: Training, activity: Mapping[str, Array]) -> Array | None:
    """What decisions are taken from, (B, C); None where the loss knows no classes."""
    if training.loss.targets != "classes":
        return None
    return training.loss.scores(activity[judged_output(program, training)], step_of(program))


def decision(program: Program, training: Training, outputs: Mapping[str, Array]) -> Array | None:
    """What a run's outputs (T, B, *shape) by Output node are scored for, (B, C); None where there are no classes."""
    name = judged_output(program, training)
    found = outputs[name]
    return scores(program, training, {name: found.reshape(*found.shape[:2], -1)})


def measured(
    program: Program, training: Training, activity: Mapping[str, Array], targets: Array
) -> dict[str, Array]:
    """Each metric of each sample, (B,), by its label."""
    outputs = activity[judged_output(program, training)]
    return {metric.label: metric.per_sample(outputs, targets, step_of(program)) for metric in training.metrics}
