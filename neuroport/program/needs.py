"""Which features a program uses, and where. Capabilities answer to the same names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from neuroport.model.nodes import Input, Output
from neuroport.model.training import Training
from neuroport.program.lower import Program
from neuroport.program.schedule import Loop

NUMERICS = ("discretization", "comparison", "reset", "reset_delay", "reset_rule",
            "reset_gradient", "multi_spike", "output_delay", "bias_on")


@dataclass(frozen=True)
class Need:
    """A feature that is used at a place, in words for the person who put it there."""

    path: str
    feature: str
    words: str


def needs(program: Program, training: Training | None = None, precision: str | None = None) -> list[Need]:
    """Every feature that running (and, given ``training``, training) this program asks for."""
    found = [*_nodes(program), *_graph(program)]
    if precision is not None:
        found.append(Need("precision", f"precision.{precision}", precision))
    if training is not None:
        found += _training(program, training)
    return found


def _nodes(program: Program) -> Iterable[Need]:
    for name, node in program.model.nodes.items():
        kind = type(node).__name__
        if name not in program.neurons:
            if not isinstance(node, (Input, Output)):
                yield Need(name, f"node.{kind}", f"the node {kind}")
            continue
        yield Need(name, f"neuron.{kind}", f"the neuron {kind}")
        numerics = program.neurons[name].numerics
        for field in NUMERICS:
            value = getattr(numerics, field)
            yield Need(f"{name}.numerics.{field}", numerics_feature(field, value), f"{field}={value!r}")


def numerics_feature(field: str, value: object) -> str:
    """``reset="hard"`` as the feature ``reset.hard``."""
    return f"{field}.{str(value).lower()}"


def _graph(program: Program) -> Iterable[Need]:
    for edge in program.wires:
        if edge.delay > 1 or (edge.delay and not _in_loop(program, edge.key)):
            yield Need(edge.key, "edge.delay", f"a delay of {edge.delay} steps")
    for segment in program.segments:
        if isinstance(segment, Loop):
            yield Need(", ".join(segment.nodes), "loop", "a recurrent cycle")
    for word, ends in (("inputs", program.inputs), ("outputs", program.outputs)):
        if len(ends) > 1:
            yield Need(", ".join(ends), f"several_{word}", f"several {word}")


def _in_loop(program: Program, key: str) -> bool:
    return any(edge.key == key for segment in program.segments if isinstance(segment, Loop)
               for edge in segment.internal)


def _training(program: Program, training: Training) -> Iterable[Need]:
    yield Need("training", "gradients", "gradients")
    for name, bound in program.neurons.items():
        if bound.neuron.spiking:
            kind = type(bound.neuron.surrogate).__name__  # type: ignore[attr-defined]
            yield Need(f"{name}.surrogate", f"surrogate.{kind}", f"the surrogate {kind}")
        for full in bound.trainable & set(bound.arrays):
            yield Need(full, "trainable.neuron", "a trainable parameter of a neuron")
    yield Need("training.loss", f"loss.{type(training.loss).__name__}", f"the loss {type(training.loss).__name__}")
    for regularizer in training.regularizers:
        kind = type(regularizer).__name__
        yield Need("training.regularizers", f"regularizer.{kind}", f"the regularizer {kind}")
    for field in ("optimizer", "schedule"):
        kind = type(getattr(training, field)).__name__
        yield Need(f"training.{field}", f"{field}.{kind}", f"the {field} {kind}")
    for metric in training.metrics:
        yield Need("training.metrics", f"metric.{type(metric).__name__}", f"the metric {type(metric).__name__}")
    for augmentation in training.augmentation:
        kind = type(augmentation).__name__
        yield Need("training.augmentation", f"augmentation.{kind}", f"the augmentation {kind}")
    if training.clip_norm is not None:
        yield Need("training.clip_norm", "clip_norm", "clipping of the gradient")
    if training.learning_rates:
        yield Need("training.learning_rates", "learning_rates", "learning rates by parameter")
    if training.accumulate > 1:
        yield Need("training.accumulate", "accumulate", "accumulation of gradients")
    if training.truncate is not None:
        yield Need("training.truncate", "truncate", "truncation of the gradient through time")
    if training.checkpoint_steps is not None:
        yield Need("training.checkpoint_steps", "checkpointing", "states kept at checkpoints alone")
