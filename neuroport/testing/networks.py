"""The networks of the norm tier and of training: small, quick to compile, alive.

Thresholds are of order one, times are multiples of dt, so that any fixed dt will do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from neuroport.model.graph import Edge, Model, Recurrent
from neuroport.model.layers import AvgPool2d, Conv1d, Conv2d, Delay, Dropout, Flatten, Linear, Scale, SumPool2d
from neuroport.model.neurons import ALIF, IF, LI, LIF, CubaLI, CubaLIF, I, Neuron, Threshold
from neuroport.model.nodes import Input, Output
from neuroport.model.numerics import Numerics
from neuroport.model.values import Normal, Parameter, Uniform
from neuroport.testing.strangers import StrangersNeuron

Build = Callable[[float], Model]


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
    "Threshold": lambda dt: Threshold(1.2),
    "I": lambda dt: I(r=0.05),
    "a stranger's neuron": lambda dt: StrangersNeuron(tau=8 * dt),
}


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
    "Threshold": lambda dt, per: Threshold(_own(0.9, 1.3, per)),
    "I": lambda dt, per: I(r=_own(0.1, 0.2, per)),
    "ALIF": lambda dt, per: ALIF(tau=_own(6 * dt, 12 * dt, per), tau_adapt=_own(20 * dt, 40 * dt, per),
                                 beta=_own(0.1, 0.2, per)),
}


def image(dt: float, neuron: Neuron) -> Model:
    """A small convolutional network: (2, 6, 6) in, every kind of pooling."""
    layers = [
        Conv2d(4, (3, 2), stride=(1, 2), padding=(1, 0), weight_init=weights(), bias_init=Uniform(low=-0.2, high=0.6)),
        neuron, SumPool2d(2, stride=(2, 1)),
        Conv2d(4, 2, padding="same", groups=2, dilation=(2, 1), weight_init=Normal(std=0.8)), LIF(tau=5 * dt),
        AvgPool2d((1, 2), padding=(0, 1)), Flatten(1), Scale(Parameter(value=Uniform(low=0.5, high=1.5), per="layer")),
        Flatten(),
        Linear(3, bias=False, weight_init=Normal(std=1.0)), LI(tau=10 * dt),
    ]
    return Model.sequential((2, 6, 6), dt, layers)


def signal(dt: float) -> Model:
    """A small convolutional network over one axis: (2, 9) in."""
    layers = [
        Conv1d(4, 3, stride=2, padding="same", weight_init=weights(), bias_init=Uniform(low=-0.2, high=0.6)),
        LIF(tau=8 * dt), Conv1d(4, 2, padding=1, groups=2, dilation=2, weight_init=Normal(std=0.8)), LIF(tau=5 * dt),
        Conv1d(2, 2, padding="same", bias=False), Flatten(0, 1), Linear(3, weight_init=Normal(std=1.0)),
    ]
    return Model.sequential((2, 9), dt, layers)


def delayed(dt: float) -> Model:
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


def waiting(dt: float) -> Model:
    """Delay nodes: uneven ahead (some at once, some later than the run), uneven and even inside cycles."""
    nodes = {
        "input": Input(shape=(6,)), "first": Linear(8, weight_init=weights()),
        "ahead": Delay([k * dt for k in (0, 3, 1, 30, 0, 2, 1, 5)]), "a": LIF(tau=6 * dt), "across": Linear(8),
        "uneven": Delay([k * dt for k in (2, 1, 0, 4, 2, 1, 3, 0)]), "b": LIF(tau=8 * dt, r=1.5), "back": feedback(),
        "even": Delay(2 * dt), "second": Linear(3, weight_init=Normal(std=1.0)), "output": Output(),
    }
    edges = [
        Edge("input", "first"), Edge("first", "ahead", 1), Edge("ahead", "a"), Edge("a", "across"),
        Edge("across", "uneven"), Edge("a", "uneven", 1), Edge("uneven", "b"), Edge("b", "back"), Edge("back", "even"),
        Edge("even", "a"), Edge("b", "second"), Edge("second", "output"),
    ]
    return Model(nodes=nodes, edges=edges, dt=dt)


def late(dt: float) -> Model:
    """Two ways into one population, of which the delayed one takes nine steps."""
    nodes = {
        "input": Input(shape=(6,)), "first": Linear(8, weight_init=weights()), "slow": Linear(8, weight_init=weights()),
        "hidden": LIF(tau=8 * dt), "second": Linear(3, weight_init=Normal(std=1.0)), "output": Output(),
    }
    edges = [Edge("input", "first"), Edge("input", "slow"), Edge("first", "hidden"), Edge("slow", "hidden", 9),
             Edge("hidden", "second"), Edge("second", "output")]
    return Model(nodes=nodes, edges=edges, dt=dt)


def held(dt: float) -> Model:
    """A cycle whose only delay is that its neurons send out in a step what they decided in the one before."""
    nodes = {
        "input": Input(shape=(6,)), "first": Linear(8, weight_init=weights()), "back": feedback(),
        "hidden": LIF(tau=8 * dt, numerics=Numerics(output_delay=1)), "second": Linear(3, weight_init=Normal(std=1.0)),
        "output": Output(),
    }
    edges = [("input", "first"), ("first", "hidden"), ("hidden", "back"), ("back", "hidden"),
             ("hidden", "second"), ("second", "output")]
    return Model(nodes=nodes, edges=edges, dt=dt)


def forked(dt: float) -> Model:
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


def spiking_readout(dt: float) -> Model:
    """The same with neurons that spike in place of its three sums."""
    return network(LIF(tau=8 * dt), dt, readout=LIF(tau=5 * dt, r=2.0))


def recurrent(dt: float) -> Model:
    """The plainest network with a cycle."""
    return network(LIF(tau=8 * dt), dt, back=feedback())
