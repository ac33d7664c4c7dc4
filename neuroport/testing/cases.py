"""The models of the norm tier: one for each thing that can go wrong, small and quick to compile.

Thresholds are of order one, times are multiples of dt, so that any fixed dt will do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from neuroport.model import surrogates
from neuroport.model.graph import Model
from neuroport.model.losses import CrossEntropy
from neuroport.model.neurons import ALIF, LI, LIF, CubaLIF, Neuron
from neuroport.model.numerics import Numerics
from neuroport.model.training import Training
from neuroport.model.values import Parameter, Uniform
from neuroport.testing.networks import (
    NEURONS,
    TRAINABLE,
    Build,
    delayed,
    feedback,
    forked,
    held,
    image,
    late,
    lif,
    network,
    recurrent,
    signal,
    silenced,
    spiking_readout,
    waiting,
)
from neuroport.testing.objectives import LOSSES, MORE_LOSSES, REGULARIZERS


@dataclass(frozen=True, eq=False)
class Case:
    """One model of the kit and how it is driven.

    build: dt -> model. steps, batch: T and B. density: share of ones in the input. taught: dt -> what
    gradients are taken of. noise: whether dropout acts in the gradients. forward: whether its run, too,
    is like no other case's.
    """

    name: str
    build: Build
    steps: int = 24
    batch: int = 3
    density: float = 0.5
    taught: Callable[[float], Training] = lambda dt: Training()
    noise: bool = False
    forward: bool = True

    def __repr__(self) -> str:
        return self.name


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
    "impulse": Numerics(discretization="impulse"),
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
    def braille(dt: float) -> Model:
        # as NIR's files of recurrent networks run on snnTorch
        rule = Numerics(discretization="euler", reset_rule="snntorch", reset="hard", comparison="ge")
        return network(CubaLIF(tau_syn=4 * dt, tau_mem=8 * dt, v_reset=-0.1, r=1.5), dt, rule, feedback())

    def by_decay(dt: float) -> Model:
        # as they run on SpiNNaker2
        rule = Numerics(bias_on="membrane", output_delay=1)
        return network(CubaLIF.from_decay(0.7, 0.9, r=0.2, w_in=0.4), dt, rule, feedback(), LI(tau=10 * dt))

    return [*found, Case("bias on the membrane", on_membrane), Case("snntorch rule, euler, recurrent", braille),
            Case("bias on the membrane, by decay, recurrent", by_decay)]


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


def _training_cases() -> list[Case]:
    found = [Case(f"loss: {name}", build, taught=lambda dt, of=of: Training(loss=of(dt)), forward=False)
             for name, (build, of) in {**LOSSES, **MORE_LOSSES}.items()]
    found += [Case(name, spiking_readout, taught=lambda dt, of=of: Training(regularizers=of), forward=False)
              for name, of in REGULARIZERS.items()]
    # windows of 7 steps, the last one shorter; windows shorter than a delay
    cut = {"feed-forward": (lif, 7), "recurrent": (recurrent, 7), "delays": (delayed, 2), "Delay nodes": (waiting, 2)}
    found += [Case(f"truncated, {name}", build, taught=lambda dt, length=length: Training(truncate=length),
                   forward=False) for name, (build, length) in cut.items()]
    return [
        *found,
        Case("two inputs, two outputs", forked, taught=lambda dt: Training(loss=CrossEntropy(output="scores"))),
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
    Case("convolution over one axis", signal, steps=16, batch=2),
    Case("delays", delayed),
    Case("Delay nodes", waiting),
    Case("a delay longer than the run", late, steps=8),
    Case("a cycle through a delayed output", held),
    *_training_cases(),
]
