"""Our nodes as NIR's, one by one: the standard's fields, and what they leave unsaid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuroport.dynamics.discretize import Step
from neuroport.model import layers, neurons
from neuroport.model.nodes import Misfit, Node
from neuroport.model.numerics import Numerics
from neuroport.nir.contents import Fields, NirNode
from neuroport.nir.presets import Charge
from neuroport.program.bound import BoundNeuron
from neuroport.program.lower import Program

Array = np.ndarray
Shape = tuple[int, ...]

# numerics that change what a neuron does, as the standard's own equations have them: v > theta, then v <- v_reset
STANDARD = Numerics(reset="hard")
MEANT = {
    "comparison": "spikes where v >= v_threshold", "reset": "a reset that is {value}",
    "reset_delay": "resets a step later", "reset_rule": "snnTorch's rule of resets",
    "multi_spike": "many spikes a step", "output_delay": "spikes that leave a step later",
    "bias_on": "a bias on the membrane",
}


@dataclass(frozen=True)
class Writing:
    """One node to be written. arrays: its parameters by field. target: how the reader's steps are taken where
    they differ from ours; None: time constants as they are. charge: what the reader's IF and I add, see Preset."""

    program: Program
    name: str
    arrays: Mapping[str, Array]
    target: Step | None = None
    charge: Charge = "step"

    @property
    def node(self) -> Node:
        return self.program.node(self.name)

    @property
    def entering(self) -> Shape:
        return self.program.entering[self.name]

    @property
    def leaving(self) -> Shape:
        return self.program.leaving[self.name]

    @property
    def bound(self) -> BoundNeuron:
        return self.program.neurons[self.name]

    def value(self, field: str) -> Array:
        """A parameter of the node, number or array, for each of its neurons, float64."""
        value = self.arrays.get(field, getattr(self.node, field))
        return np.broadcast_to(np.asarray(value, np.float64), self.leaving)


def standard_node(writing: Writing) -> NirNode:
    """A node in the standard's fields. Raises Misfit where NIR has nothing like it."""
    for kind in type(writing.node).__mro__:
        if kind.__name__ in KINDS and kind.__module__.startswith("neuroport."):
            if kind is not type(writing.node):
                break
            return KINDS[kind.__name__](writing)
    mend = f"NIR has {', '.join(sorted(KINDS))}"
    raise Misfit(f"NIR has no node for the {type(writing.node).__name__}, whose equations are your own", mend)


def unsaid(program: Program, name: str) -> list[str]:
    """What the standard's fields leave open about a node, in words; it goes into the extension."""
    node = program.node(name)
    if isinstance(node, layers.Dropout):
        return ["a Dropout, which acts in training alone"] if node.p else []
    if name not in program.neurons or not getattr(node, "surrogate", None):
        return []
    numerics = program.neurons[name].numerics
    found = ["a threshold that adapts (ALIF)"] if isinstance(node, neurons.ALIF) else []
    if isinstance(node, neurons.Threshold):
        return found + ([MEANT["comparison"]] if numerics.comparison != "gt" else [])
    return found + [words.format(value=getattr(numerics, field)) for field, words in MEANT.items()
                    if getattr(numerics, field) != getattr(STANDARD, field)]


# --- layers -------------------------------------------------------------------------------------


def _whole(value: Any) -> Array:
    return np.asarray(value, np.int64)


def _shape_node(kind: str) -> Callable[[Writing], NirNode]:
    return lambda of: NirNode(kind, {"shape": _whole(of.leaving)})


def _linear(of: Writing) -> NirNode:
    fields = {name: np.asarray(value) for name, value in of.arrays.items()}
    return NirNode("Affine" if "bias" in fields else "Linear", fields)


def _convolution(of: Writing) -> NirNode:
    node, weight = of.node, np.asarray(of.arrays["weight"])
    assert isinstance(node, layers.Convolution)
    one = isinstance(node, layers.Conv1d)

    def along(value: Any) -> Any:
        return value if isinstance(value, str) else _whole(value[0] if one else value)

    # nir 1.0.8 cannot write a bias of None; zeros say the same
    bias = np.asarray(of.arrays.get("bias", np.zeros(len(weight), weight.dtype)))
    return NirNode("Conv1d" if one else "Conv2d", {
        "input_shape": along(of.entering[1:]), "weight": weight, "stride": along(node.stride),
        "padding": along(node.padding), "dilation": along(node.dilation), "groups": _whole(node.groups), "bias": bias})


def _pool(of: Writing) -> NirNode:
    node = of.node
    assert isinstance(node, layers.Pool2d)
    return NirNode(type(node).__name__, {"kernel_size": _whole(node.kernel_size), "stride": _whole(node.strides),
                                         "padding": _whole(node.padding)})


def _flatten(of: Writing) -> NirNode:
    node = of.node
    assert isinstance(node, layers.Flatten)
    return NirNode("Flatten", {"start_dim": _whole(node.start_dim), "end_dim": _whole(node.end_dim),
                               "input_type": _whole(of.entering)})


def _field(value: Array) -> Array:
    """float32, as every platform reads it."""
    return np.asarray(value, np.float32)


def _scale(of: Writing) -> NirNode:
    return NirNode("Scale", {"scale": _field(of.value("scale"))})


def _dropout(of: Writing) -> NirNode:
    return NirNode("Scale", {"scale": np.ones(of.leaving, np.float32)})


def _delay(of: Writing) -> NirNode:
    scale = 1.0 if of.target is None else of.target.dt / of.program.model.dt
    return NirNode("Delay", {"delay": _field(of.value("delay") * scale)})


# --- neurons ------------------------------------------------------------------------------------


def _low_pass(of: Writing, tau: str, decay: str) -> tuple[Array, Array]:
    """The time constant to write, and by what to multiply the gain so that the reader's steps are ours.

    A neuron that is given by its decay per step has no time constant of its own: it gets the one under
    which forward Euler takes its steps, as snnTorch and Spyx write theirs.
    """
    own = of.bound.step
    given = of.arrays.get(decay, getattr(of.node, decay))
    if given is None and (of.target is None or of.target == own):
        return of.value(tau), np.ones(of.leaving)
    target = of.target or own._replace(method="euler")
    ours = own.low_pass(of.value(tau)) if given is None else own.low_pass(None, of.value(decay))
    if not np.all((ours.decay < 1) & (ours.decay >= (0 if target.method == "euler" else 1e-300))):
        raise Misfit(f"no time constant has a decay per step of {np.min(ours.decay):g} to {np.max(ours.decay):g}",
                     "use an IF for a membrane without leak", decay)
    found = np.asarray(target.time_constant(ours.decay))
    return found, np.broadcast_to(np.asarray(ours.gain / target.low_pass(found).gain), of.leaving)


def _resistance(of: Writing) -> Fields:
    """r of an integrator without leak, whose charge in a step is r x with us."""
    step = of.target or of.bound.step
    return {"r": _field(step.current(of.value("r")) if of.charge == "second" else of.value("r"))}


def _ends(of: Writing) -> Fields:
    return {"v_threshold": _field(of.value("v_threshold")), "v_reset": _field(of.value("v_reset"))}


def _lif(of: Writing) -> NirNode:
    tau, gain = _low_pass(of, "tau", "decay")
    spiking = not isinstance(of.node, neurons.LI)
    return NirNode("LIF" if spiking else "LI", {
        "tau": _field(tau), "r": _field(of.value("r") * gain), "v_leak": _field(of.value("v_leak")),
        **(_ends(of) if spiking else {})})


def _cuba(of: Writing) -> NirNode:
    tau_syn, gain_syn = _low_pass(of, "tau_syn", "decay_syn")
    tau_mem, gain_mem = _low_pass(of, "tau_mem", "decay_mem")
    spiking = isinstance(of.node, neurons.CubaLIF)
    return NirNode("CubaLIF" if spiking else "CubaLI", {
        "tau_syn": _field(tau_syn), "tau_mem": _field(tau_mem), "r": _field(of.value("r") * gain_mem),
        "v_leak": _field(of.value("v_leak")), **(_ends(of) if spiking else {}),
        "w_in": _field(of.value("w_in") * gain_syn)})


KINDS: dict[str, Callable[[Writing], NirNode]] = {
    "Input": _shape_node("Input"), "Output": _shape_node("Output"), "Linear": _linear, "Conv1d": _convolution,
    "Conv2d": _convolution, "SumPool2d": _pool, "AvgPool2d": _pool, "Flatten": _flatten, "Scale": _scale,
    "Dropout": _dropout, "Delay": _delay,
    "Threshold": lambda of: NirNode("Threshold", {"threshold": _field(of.value("v_threshold"))}),
    "I": lambda of: NirNode("I", _resistance(of)),
    "IF": lambda of: NirNode("IF", {**_resistance(of), **_ends(of)}),
    "LI": _lif, "LIF": _lif, "ALIF": _lif, "CubaLI": _cuba, "CubaLIF": _cuba,
}
