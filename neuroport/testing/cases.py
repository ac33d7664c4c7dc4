"""The models of the norm tier: one for each thing that can go wrong, small and quick to compile.

Thresholds are of order one, times are multiples of dt, so that any fixed dt will do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from neuroport.dynamics import ops
from neuroport.dynamics.ops import Array
from neuroport.model import surrogates
from neuroport.model.graph import Edge, Model, Recurrent
from neuroport.model.layers import AvgPool2d, Conv2d, Dropout, Flatten, Linear, Scale, SumPool2d
from neuroport.model.neurons import ALIF, IF, LI, LIF, CubaLI, CubaLIF, Neuron, SpikingNeuron
from neuroport.model.nodes import Input, Output
from neuroport.model.numerics import Numerics
from neuroport.model.training import CrossEntropy, RateBounds, Training
from neuroport.model.values import Normal, Parameter, Time, Uniform, Value

Build = Callable[[float], Model]


@dataclass(frozen=True, eq=False)
class Case:
    """One model of the kit and how it is driven.

    build: dt -> model. steps, batch: T and B. density: share of ones in the input. training: what
    gradients are taken of. noise: whether dropout acts in the gradients. forward: whether its run, too,
    is like no other case's.
    """

    name: str
    build: Build
    steps: int = 24
    batch: int = 3
    density: float = 0.5
    training: Training = Training()
    noise: bool = False
    forward: bool = True

    def __repr__(self) -> str:
        return self.name


class StrangersNeuron(SpikingNeuron):
    """A neuron that no engine knows: two states that drive each other, every smooth operation."""

    state = ("v", "w")
    tau: Time = 10.0
    couple: Value = 0.3

    def coefficients(self, p: Any, step: Any) -> dict[str, Array]:
        decay, rise, _ = step.low_pass(p.tau)
        return {"alpha": decay, "gain": rise, "follow": p.couple * rise}

    def integrate(self, c: Any, s: Any, x: Array) -> Any:
        kick = ops.exp(ops.tanh(s.v) - 1.0) - ops.log(1.0 + s.w * s.w)
        v = c.alpha * s.v + c.gain * (x + kick - c.couple * s.w)
        return s._replace(v=v, w=c.alpha * s.w + c.follow * ops.sqrt(1.0 + v * v))

    def jump(self, c: Any, s: Any, z: Array) -> Any:
        return s._replace(w=s.w + 0.25 * z)


def weights() -> Normal:
    """Of layers in front of neurons: half of the neurons are driven across their threshold."""
    return Normal(mean=0.5, std=1.5)


def network(
    neuron: Neuron, dt: float, numerics: Numerics | None = None, back: Linear | None = None,
    readout: Neuron | None = None,
) -> Model:
    """6 inputs, 8 neurons (recurrent through ``back``), 3 sums of their outputs, and what reads those."""
    layers = {
        "first": Linear(8, weight_init=weights(), bias_init=Uniform(low=-0.2, high=0.6)),
        "hidden": neuron if back is None else Recurrent(back, neuron),
        "second": Linear(3, weight_init=Normal(std=1.0), bias_init=Uniform(low=-0.2, high=0.2)),
    }
    return Model.sequential(6, dt, layers if readout is None else {**layers, "readout": readout}, numerics)


def feedback() -> Linear:
    return Linear(8, weight_init=Normal(std=0.7), bias_init=Uniform(low=-0.2, high=0.2))


NEURONS: dict[str, Callable[[float], Neuron]] = {
    "IF": lambda dt: IF(r=0.15),
    "LIF": lambda dt: LIF(tau=8 * dt, v_leak=0.1),
    "LI": lambda dt: LI(tau=8 * dt, v_leak=0.1),
    "CubaLIF": lambda dt: CubaLIF(tau_syn=4 * dt, tau_mem=8 * dt, r=1.1, w_in=1.3),
    "CubaLI": lambda dt: CubaLI(tau_syn=4 * dt, tau_mem=8 * dt, v_leak=0.1),
    "ALIF": lambda dt: ALIF(tau=8 * dt, tau_adapt=30 * dt, beta=0.15),
    "LIF by decay": lambda dt: LIF.from_decay(0.9, r=0.15),
    "CubaLIF by decay": lambda dt: CubaLIF.from_decay(0.7, 0.9, r=0.2, w_in=0.3),
    "a stranger's neuron": lambda dt: StrangersNeuron(tau=8 * dt),
}


def neuron_cases(neurons: dict[str, Callable[[float], Neuron]]) -> list[Case]:
    """Each neuron without and with a cycle."""
    ahead = [Case(name, lambda dt, of=of: network(of(dt), dt)) for name, of in neurons.items()]
    return ahead + [Case(f"{name}, recurrent", lambda dt, of=of: network(of(dt), dt, back=feedback()))
                    for name, of in neurons.items() if "by decay" not in name]


SURROGATES = (
    surrogates.SuperSpike(slope=4.0), surrogates.ATan(), surrogates.Sigmoid(), surrogates.Triangular(width=1.3),
    surrogates.Boxcar(width=1.7), surrogates.Gaussian(), surrogates.StraightThrough(),
)

NUMERICS: dict[str, Numerics] = {
    "euler": Numerics(discretization="euler"),
    "ge": Numerics(comparison="ge"),
    "hard reset": Numerics(reset="hard"),
    "no reset": Numerics(reset="none"),
    "soft reset detached": Numerics(reset_gradient=False),
    "hard reset detached": Numerics(reset="hard", reset_gradient=False),
    "soft reset delayed": Numerics(reset_delay=1),
    "hard reset delayed": Numerics(reset="hard", reset_delay=1),
    "delayed and detached": Numerics(reset_delay=1, reset_gradient=False),
    "snntorch rule, soft": Numerics(reset_rule="snntorch"),
    "snntorch rule, hard": Numerics(reset_rule="snntorch", reset="hard"),
    "snntorch rule, detached": Numerics(reset_rule="snntorch", reset_gradient=False),
    "output delayed": Numerics(output_delay=1),
    "Spyx": Numerics(output_delay=1, reset_delay=1),
    "multi-spike": Numerics(multi_spike=True),
    "multi-spike, ge": Numerics(multi_spike=True, comparison="ge"),
}


def _numerics_cases() -> list[Case]:
    def lif(dt: float, numerics: Numerics) -> Model:
        strong = 3.0 if numerics.multi_spike else 1.0
        neuron = LIF(tau=8 * dt, r=strong, v_reset=-0.2 if numerics.reset == "hard" else 0.0)
        # a readout that does not spike delays its output as well
        return network(neuron, dt, numerics, readout=LI(tau=10 * dt) if numerics.output_delay else None)

    def on_membrane(dt: float) -> Model:
        neuron = CubaLIF(tau_syn=4 * dt, tau_mem=8 * dt, r=1.1, w_in=1.3)
        return network(neuron, dt, Numerics(bias_on="membrane"), readout=LI(tau=10 * dt))

    def adaptive(dt: float, numerics: Numerics) -> Model:
        return network(ALIF(tau=8 * dt, tau_adapt=20 * dt, beta=0.2), dt, numerics)

    found = [Case(name, lambda dt, of=of: lif(dt, of)) for name, of in NUMERICS.items()]
    found += [Case(f"ALIF, {name}", lambda dt, of=NUMERICS[name]: adaptive(dt, of))
              for name in ("soft reset delayed", "snntorch rule, soft")]
    return [*found, Case("bias on the membrane", on_membrane)]


def _own(low: float, high: float, per: str) -> Parameter:
    return Parameter(value=Uniform(low=low, high=high), per=per)


def _leaky(dt: float, per: str) -> dict[str, Any]:
    return {"r": _own(0.8, 1.2, per), "v_leak": _own(0.05, 0.2, per)}


TRAINABLE: dict[str, Callable[[float, str], Neuron]] = {
    "IF": lambda dt, per: IF(r=_own(0.1, 0.2, per), v_threshold=_own(0.9, 1.1, per)),
    "LIF": lambda dt, per: LIF(tau=_own(6 * dt, 12 * dt, per), v_threshold=_own(0.9, 1.1, per),
                               v_reset=_own(-0.2, 0.2, per), numerics=Numerics(reset="hard"), **_leaky(dt, per)),
    "LIF by decay": lambda dt, per: LIF(decay=_own(0.8, 0.95, per), r=_own(0.1, 0.2, per)),
    "CubaLIF": lambda dt, per: CubaLIF(tau_syn=_own(3 * dt, 6 * dt, per), tau_mem=_own(6 * dt, 12 * dt, per),
                                       w_in=_own(0.8, 1.4, per), **_leaky(dt, per)),
    "ALIF": lambda dt, per: ALIF(tau=_own(6 * dt, 12 * dt, per), tau_adapt=_own(20 * dt, 40 * dt, per),
                                 beta=_own(0.1, 0.2, per)),
}


def _trainable_cases() -> list[Case]:
    found = [Case(f"trainable {name} per {per}", lambda dt, of=of, per=per: network(of(dt, per), dt),
                  forward=per == "neuron")
             for name, of in TRAINABLE.items() for per in ("layer", "neuron")]

    def euler(dt: float) -> Model:
        return network(TRAINABLE["CubaLIF"](dt, "neuron"), dt, Numerics(discretization="euler"), feedback())

    def frozen(dt: float) -> Model:
        taus = Parameter(value=Uniform(low=6 * dt, high=12 * dt), trainable=False)
        return network(LIF(tau=taus), dt)

    return [*found, Case("trainable per channel", lambda dt: image(dt, TRAINABLE["LIF"](dt, "channel"))),
            Case("trainable CubaLIF, euler, recurrent", euler), Case("frozen heterogeneous tau", frozen)]


def image(dt: float, neuron: Neuron) -> Model:
    """A small convolutional network: (2, 6, 6) in, every kind of pooling."""
    layers = [
        Conv2d(4, (3, 2), stride=(1, 2), padding=(1, 0), weight_init=weights(), bias_init=Uniform(low=-0.2, high=0.6)),
        neuron, SumPool2d(2, stride=(2, 1)),
        Conv2d(4, 2, padding="same", groups=2, dilation=(2, 1), weight_init=Normal(std=0.8)), LIF(tau=5 * dt),
        AvgPool2d((1, 2), padding=(0, 1)), Flatten(), Scale(Parameter(value=Uniform(low=0.5, high=1.5), per="layer")),
        Linear(3, bias=False, weight_init=Normal(std=1.0)), LI(tau=10 * dt),
    ]
    return Model.sequential((2, 6, 6), dt, layers)


def _delayed(dt: float) -> Model:
    """Delays ahead, on a skip, and of two steps inside a cycle of two populations."""
    nodes = {
        "input": Input(shape=(6,)), "first": Linear(8, weight_init=weights()), "a": LIF(tau=6 * dt),
        "across": Linear(8, weight_init=weights()), "b": LIF(tau=8 * dt), "back": feedback(),
        "second": Linear(3, weight_init=Normal(std=1.0)), "readout": LI(tau=10 * dt), "output": Output(),
    }
    edges = [
        Edge("input", "first"), Edge("first", "a", 3), Edge("a", "across"), Edge("across", "b", 1),
        Edge("b", "back", 2), Edge("back", "a"), Edge("a", "b", 5),
        Edge("b", "second"), Edge("second", "readout"), Edge("readout", "output"),
    ]
    return Model(nodes=nodes, edges=edges, dt=dt)


def _forked(dt: float) -> Model:
    """Two inputs, two outputs; the first is judged, both are read."""
    nodes = {
        "left": Input(shape=(6,)), "right": Input(shape=(4,)), "from_left": Linear(8, weight_init=weights()),
        "from_right": Linear(8, weight_init=Normal(std=1.0)), "hidden": LIF(tau=8 * dt),
        "second": Linear(3, weight_init=Normal(std=1.0)),
        "scores": Output(), "spikes": Output(),
    }
    edges = [("left", "from_left"), ("right", "from_right"), ("from_left", "hidden"), ("from_right", "hidden"),
             ("hidden", "second"), ("second", "scores"), ("hidden", "spikes")]
    return Model(nodes=nodes, edges=edges, dt=dt)


def silenced(dt: float, inside: bool) -> Model:
    """Dropout between layers, or inside a cycle."""
    hidden: dict[str, Any] = {"hidden": LIF(tau=8 * dt), "drop": Dropout(p=0.4)}
    if not inside:
        return Model.sequential(6, dt, {"first": Linear(8, weight_init=weights()), **hidden,
                                        "second": Linear(3, weight_init=Normal(std=1.0))})
    nodes = {"input": Input(shape=(6,)), "first": Linear(8, weight_init=weights()), **hidden, "back": feedback(),
             "second": Linear(3, weight_init=Normal(std=1.0)), "output": Output()}
    edges = [("input", "first"), ("first", "hidden"), ("hidden", "drop"), ("drop", "back", 1), ("back", "hidden"),
             ("drop", "second"), ("second", "output")]
    return Model(nodes=nodes, edges=edges, dt=dt)


def lif(dt: float) -> Model:
    """The plainest network of the kit."""
    return network(LIF(tau=8 * dt), dt)


def _spiking_readout(dt: float) -> Model:
    return network(LIF(tau=8 * dt), dt, readout=LIF(tau=5 * dt, r=2.0))


def _training_cases() -> list[Case]:
    bounds = RateBounds(lower=0.15, upper=0.25, strength=3.0)
    return [
        *(Case(f"loss over {over}", lif, training=Training(loss=CrossEntropy(over=over)), forward=False)
          for over in ("sum", "max", "last")),
        # spikes tie at every step: the gradient is shared equally
        Case("loss over max of spikes", _spiking_readout, forward=False,
             training=Training(loss=CrossEntropy(over="max"))),
        Case("rate bounds", lif, training=Training(regularizers=(bounds,)), forward=False),
        Case("rate bounds of one layer", _spiking_readout,
             training=Training(regularizers=(RateBounds(nodes=("hidden",), upper=0.1), bounds)), forward=False),
        Case("two inputs, two outputs", _forked, training=Training(loss=CrossEntropy(output="scores"))),
        Case("dropout", lambda dt: silenced(dt, False), noise=True, forward=False),
        Case("dropout in a cycle", lambda dt: silenced(dt, True), noise=True, forward=False),
    ]


CASES: list[Case] = [
    *neuron_cases(NEURONS),
    *(Case(type(of).__name__, lambda dt, of=of: network(LIF(tau=8 * dt, surrogate=of), dt), forward=False)
      for of in SURROGATES),
    *_numerics_cases(),
    *_trainable_cases(),
    Case("convolution and pooling", lambda dt: image(dt, LIF(tau=6 * dt)), steps=16, batch=2),
    Case("delays", _delayed),
    *_training_cases(),
]
