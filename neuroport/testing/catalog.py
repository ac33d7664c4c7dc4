"""One minimal model for each feature, for the refusal test: what is not declared must be refused by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from neuroport.model.augmentation import Augmentation
from neuroport.model.graph import Edge, Model
from neuroport.model.kinds import Kind
from neuroport.model.layers import AvgPool2d, Conv1d, Conv2d, Delay, Dropout, Flatten, Linear, Scale, SumPool2d
from neuroport.model.losses import Loss
from neuroport.model.metrics import TopK
from neuroport.model.neurons import ALIF, IF, LI, LIF, CubaLI, CubaLIF, I, Neuron, Threshold
from neuroport.model.nodes import Input, Node, Output
from neuroport.model.numerics import Numerics
from neuroport.model.optimizers import Optimizer
from neuroport.model.regularizers import Regularizer
from neuroport.model.schedules import Schedule
from neuroport.model.training import Training
from neuroport.model.values import Parameter
from neuroport.program.needs import numerics_feature
from neuroport.testing.cases import SURROGATES
from neuroport.testing.strangers import StrangersMetric, StrangersNeuron

PLAIN = Training()


@dataclass(frozen=True, eq=False)
class Feature:
    """A feature by its name in ``program/needs.py``, and the least that needs it.

    training, precision: where the feature is one of those.
    """

    name: str
    build: Callable[[float], Model]
    training: Training | None = None
    precision: str | None = field(default=None)

    def __repr__(self) -> str:
        return self.name


def _chain(dt: float, *nodes: Node, shape: tuple[int, ...] = (2,), numerics: Numerics | None = None) -> Model:
    return Model.sequential(shape, dt, list(nodes), numerics)


def _neuron(neuron: Callable[[float], Neuron], numerics: Numerics | None = None) -> Callable[[float], Model]:
    return lambda dt: _chain(dt, Linear(2), neuron(dt), numerics=numerics)


def _lif(dt: float) -> Neuron:
    return LIF(tau=4 * dt)


def _layer(*nodes: Node, shape: tuple[int, ...] = (2,)) -> Callable[[float], Model]:
    return lambda dt: _chain(dt, *nodes, LI(tau=4 * dt), shape=shape)


def _delay(dt: float) -> Model:
    nodes = {"input": Input(shape=(2,)), "neuron": LIF(tau=4 * dt), "output": Output()}
    return Model(nodes=nodes, edges=[Edge("input", "neuron", 2), Edge("neuron", "output")], dt=dt)


def _loop(dt: float) -> Model:
    nodes = {"input": Input(shape=(2,)), "neuron": LIF(tau=4 * dt), "back": Linear(2), "output": Output()}
    edges = [Edge("input", "neuron"), Edge("neuron", "back", 1), Edge("back", "neuron"), Edge("neuron", "output")]
    return Model(nodes=nodes, edges=edges, dt=dt)


def _ends(inputs: int, outputs: int) -> Callable[[float], Model]:
    def build(dt: float) -> Model:
        before = {f"input_{k}": Input(shape=(2,)) for k in range(inputs)}
        after = {f"output_{k}": Output() for k in range(outputs)}
        edges = [*((name, "neuron") for name in before), *(("neuron", name) for name in after)]
        return Model(nodes={**before, "neuron": LIF(tau=4 * dt), **after}, edges=edges, dt=dt)

    return build


_LAYERS: dict[str, Callable[[float], Model]] = {
    "Linear": _layer(Linear(2)), "Scale": _layer(Scale(0.5)), "Dropout": _layer(Dropout(p=0.5)),
    "Flatten": _layer(Flatten(), shape=(2, 1)), "Conv1d": _layer(Conv1d(2, 2), shape=(1, 2)),
    "Conv2d": _layer(Conv2d(2, 2), shape=(1, 2, 2)),
    "Delay": lambda dt: _chain(dt, Delay([0.0, dt])), "SumPool2d": _layer(SumPool2d(2), shape=(1, 2, 2)),
    "AvgPool2d": _layer(AvgPool2d(2), shape=(1, 2, 2)),
}

_NEURONS: dict[str, Callable[[float], Neuron]] = {
    "IF": lambda dt: IF(), "LIF": _lif, "LI": lambda dt: LI(tau=4 * dt), "ALIF": lambda dt: ALIF(tau=4 * dt),
    "CubaLIF": lambda dt: CubaLIF(tau_syn=4 * dt, tau_mem=4 * dt),
    "CubaLI": lambda dt: CubaLI(tau_syn=4 * dt, tau_mem=4 * dt),
    "Threshold": lambda dt: Threshold(), "I": lambda dt: I(),
    "StrangersNeuron": lambda dt: StrangersNeuron(tau=4 * dt),
}

_NUMERICS: list[tuple[str, object, Numerics | None]] = [
    # a default is left unsaid, so that all of them are one model, compiled once
    (name, value, None if value == values[0] else Numerics(**{name: value}))
    for name, values in {
        "discretization": ("exponential", "euler", "impulse"), "comparison": ("gt", "ge"),
        "reset": ("soft", "hard", "none"),
        "reset_delay": (0, 1), "reset_rule": ("plain", "snntorch"), "reset_gradient": (True, False),
        "multi_spike": (False, True), "output_delay": (0, 1), "bias_on": ("input", "membrane"),
    }.items() for value in values
]

_plain = _neuron(_lif)


def _members(word: str, family: type[Kind], taught: Callable[[Any], Training]) -> list[Feature]:
    """A feature for each member that neuroport or the kit defines."""
    return [Feature(f"{word}.{name}", _plain, taught(kind()))
            for name, kind in family.family.items() if kind.__module__.startswith("neuroport.")]


CATALOG: list[Feature] = [
    *(Feature(f"node.{name}", build) for name, build in _LAYERS.items()),
    *(Feature(f"neuron.{name}", _neuron(neuron)) for name, neuron in _NEURONS.items()),
    *(Feature(numerics_feature(name, value), _neuron(_lif, numerics)) for name, value, numerics in _NUMERICS),
    Feature("edge.delay", _delay), Feature("loop", _loop),
    Feature("several_inputs", _ends(2, 1)), Feature("several_outputs", _ends(1, 2)),
    *(Feature(f"precision.{name}", _plain, precision=name) for name in ("float32", "float64", "bfloat16")),
    Feature("gradients", _plain, PLAIN),
    Feature("trainable.neuron", lambda dt: _chain(dt, LIF(tau=Parameter(value=4 * dt, per="layer"))), PLAIN),
    *(Feature(f"surrogate.{type(of).__name__}", _neuron(lambda dt, of=of: LIF(tau=4 * dt, surrogate=of)), PLAIN)
      for of in SURROGATES),
    *_members("loss", Loss, lambda of: Training(loss=of)),
    *_members("regularizer", Regularizer, lambda of: Training(regularizers=(of,))),
    *_members("optimizer", Optimizer, lambda of: Training(optimizer=of)),
    *_members("schedule", Schedule, lambda of: Training(schedule=of)),
    *_members("augmentation", Augmentation, lambda of: Training(augmentation=(of,))),
    Feature("metric.TopK", _plain, Training(metrics=(TopK(k=1),))),
    Feature("metric.StrangersMetric", _plain, Training(metrics=(StrangersMetric(),))),
    Feature("clip_norm", _plain, Training(clip_norm=0.1)),
    Feature("learning_rates", _plain, Training(learning_rates={"*.weight": 0.5})),
    Feature("accumulate", _plain, Training(accumulate=2)),
    Feature("truncate", _plain, Training(truncate=2)),
    Feature("checkpointing", _plain, Training(checkpoint_steps=2)),
]
