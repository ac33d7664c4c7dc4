"""NIR's nodes as ours, one by one: the description, and the arrays that go with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neuroport.dynamics.discretize import Step
from neuroport.errors import Invalid, InvalidData, Problem
from neuroport.model import layers, neurons
from neuroport.model.nodes import Input, Node, Output
from neuroport.model.numerics import Numerics
from neuroport.model.values import Constant, Parameter
from neuroport.nir.contents import NirNode
from neuroport.nir.presets import Preset, Reset

Array = np.ndarray


@dataclass(frozen=True)
class Reading:
    """How one node is to be read. dt: seconds; None where nothing depends on it. time_unit: seconds, of the file's
    times. reset: of its spikes."""

    preset: Preset
    reset: Reset = "soft"
    dt: float | None = None
    time_unit: float = 1.0

    def step(self, kind: str) -> Step:
        assert self.dt is not None
        return Step(self.dt, self.preset.of(kind, self.reset).discretization)


@dataclass
class Translated:
    """A node of ours with its arrays by field."""

    node: Node
    arrays: dict[str, Array] = field(default_factory=dict)


class Fields:
    """The fields of one node of a file, read with problems collected; ``path`` names the node in them."""

    def __init__(self, path: str, node: NirNode):
        self.path, self.node = path, node
        self.problems: list[Problem] = []

    def fault(self, name: str, wrong: str, mend: str) -> None:
        self.problems.append(Problem(f"{self.path}.{name}" if name else self.path, wrong, mend))

    def array(self, name: str, default: float | None = None) -> Array:
        """A numeric field, in the file's floating dtype; float64 for whole numbers. Finite."""
        value = self.node.fields.get(name)
        if value is None:
            if default is None:
                self.fault(name, "is missing", f"a {self.node.type} must have it; write the file again")
            return np.full((), 1.0 if default is None else default)
        found = np.asarray(value)
        if found.dtype.kind not in "fiub" or found.size == 0:
            self.fault(name, f"holds no numbers ({found.dtype}, shape {found.shape})", "write numbers there")
            return np.ones(())
        if not np.isfinite(found).all():
            self.fault(name, "holds NaN or infinite values", "mend the network that was exported")
            return np.ones(found.shape)
        return found if found.dtype.kind == "f" and found.dtype.itemsize >= 4 else found.astype(np.float64)

    def time(self, name: str, reading: Reading, kind: str) -> Array:
        """A time constant in seconds, with dt / tau in (0, 1]."""
        found = self.array(name) * reading.time_unit
        if (found <= 0).any():
            self.fault(name, f"a time constant of {found.min()} s", "times must be above zero")
            return np.ones(())
        if reading.dt is not None and (found < reading.dt * (1 - 1e-6)).any():
            mend = ("give a smaller dt; or, where the file's times are no seconds, time_unit=1e-3 (milliseconds) "
                    "or time_unit=dt (steps)")
            self.fault(name, f"{found.min():.6g} s is below dt = {reading.dt} s: dt / tau is not in (0, 1]", mend)
        return found if reading.dt is None else np.maximum(found, reading.dt)  # equal but for float32's rounding

    def whole(self, name: str, default: int | None = None) -> Any:
        """A whole number or several of them, as Python's; a text stays one."""
        value = self.node.fields.get(name, default)
        if isinstance(value, (str, bytes)):
            return value.decode() if isinstance(value, bytes) else value
        found = np.asarray(value)
        if found.dtype.kind not in "iu" and not (found.dtype.kind == "f" and (found == np.floor(found)).all()):
            self.fault(name, f"is no whole number (got {value!r:.60})", "write whole numbers there")
            return 1 if default is None else default
        return found.astype(int).tolist()


def translated(path: str, node: NirNode, reading: Reading) -> Translated:
    """A node of a file as ours. Raises InvalidData with every problem of the node."""
    known = KINDS.get(node.type)
    if known is None:
        mend = f"known are {', '.join(KINDS)}; the file itself can still be read, and written again, by npt.nir.load"
        raise InvalidData([Problem(path, f"a node of the type {node.type!r} cannot be run", mend)], "NIR graph")
    fields = Fields(path, node)
    try:
        found = known(fields, reading)
    except Invalid as error:
        found = None
        fields.problems += [problem.under(path) for problem in error.problems]
    if fields.problems or found is None:
        raise InvalidData(fields.problems, "NIR graph")
    return found


# --- values -------------------------------------------------------------------------------------


def _values(fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Array]]:
    """Fields of a description: one number where an array holds one value alone, else the array beside it."""
    described: dict[str, Any] = {}
    arrays: dict[str, Array] = {}
    for name, value in fields.items():
        array = np.asarray(value)
        if (array == array.flat[0]).all():
            described[name] = float(array.flat[0])
            continue
        # (C, 1, 1): one value a channel
        per = "channel" if array.ndim > 1 and array.size == len(array) else "neuron"
        described[name] = Parameter(value=Constant(value=float(array.mean())), per=per, trainable=False)
        arrays[name] = array
    return described, arrays


def _neuron(kind: type[neurons.Neuron], of: Fields, reading: Reading, values: dict[str, Any]) -> Translated:
    described, arrays = _values(values)
    numerics = reading.preset.of(of.node.type, reading.reset)
    set_ = {name: getattr(numerics, name) for name in numerics.model_fields_set if name not in kind.fixed}
    return Translated(kind(**described, numerics=Numerics(**set_)), arrays)


def _ends(of: Fields, reading: Reading) -> dict[str, Any]:
    """Threshold and reset of a spiking neuron."""
    reset = np.zeros(()) if reading.preset.resets_to_zero else of.array("v_reset", 0.0)
    return {"v_threshold": of.array("v_threshold"), "v_reset": reset}


def _resistance(of: Fields, reading: Reading) -> Array:
    """r of an integrator without leak: what it adds in one step for an input of one."""
    if reading.preset.unit_gains:
        return np.ones(())
    r = of.array("r")
    return np.asarray(reading.step(of.node.type).charge(r)) if reading.preset.charge == "second" else r


def _low_pass(of: Fields, reading: Reading, tau: str, decay: str) -> dict[str, Any]:
    """A time constant, or under unit gains the decay that it means."""
    value = of.time(tau, reading, of.node.type)
    if not reading.preset.unit_gains or of.problems:
        return {tau: value}
    return {decay: np.asarray(reading.step(of.node.type).low_pass(value).decay)}


def _membrane(of: Fields, reading: Reading) -> dict[str, Any]:
    if reading.preset.unit_gains:
        return {}
    return {"r": of.array("r"), "v_leak": of.array("v_leak", 0.0)}


# --- neurons ------------------------------------------------------------------------------------


def _if(of: Fields, reading: Reading) -> Translated:
    values = {"r": _resistance(of, reading), **_ends(of, reading)}
    if reading.preset.if_decay is not None:
        return _neuron(neurons.LIF, of, reading, {"decay": reading.preset.if_decay, **values})
    return _neuron(neurons.IF, of, reading, values)


def _i(of: Fields, reading: Reading) -> Translated:
    return _neuron(neurons.I, of, reading, {"r": _resistance(of, reading)})


def _lif(of: Fields, reading: Reading) -> Translated:
    values = {**_low_pass(of, reading, "tau", "decay"), **_membrane(of, reading), **_ends(of, reading)}
    return _neuron(neurons.LIF, of, reading, values)


def _li(of: Fields, reading: Reading) -> Translated:
    return _neuron(neurons.LI, of, reading, {**_low_pass(of, reading, "tau", "decay"), **_membrane(of, reading)})


def _synapse(of: Fields, reading: Reading) -> dict[str, Any]:
    gain = {} if reading.preset.unit_gains else {"w_in": of.array("w_in", 1.0)}
    return {**_low_pass(of, reading, "tau_syn", "decay_syn"), **_low_pass(of, reading, "tau_mem", "decay_mem"),
            **_membrane(of, reading), **gain}


def _cuba_lif(of: Fields, reading: Reading) -> Translated:
    return _neuron(neurons.CubaLIF, of, reading, {**_synapse(of, reading), **_ends(of, reading)})


def _cuba_li(of: Fields, reading: Reading) -> Translated:
    return _neuron(neurons.CubaLI, of, reading, _synapse(of, reading))


def _threshold(of: Fields, reading: Reading) -> Translated:
    return _neuron(neurons.Threshold, of, reading, {"v_threshold": of.array("threshold")})


# --- layers -------------------------------------------------------------------------------------


def _connection(of: Fields, reading: Reading) -> Translated:
    weight = of.array("weight")
    if weight.ndim != 2:
        mend = "split it into nodes with one matrix (out, in) each"
        of.fault("weight", f"has shape {weight.shape}, no matrix", mend)
        return Translated(layers.Flatten())
    arrays = {"weight": weight, **_bias(of, len(weight))}
    node = layers.Linear(out_features=len(weight), in_features=weight.shape[1], bias="bias" in arrays)
    return Translated(node, arrays)


def _bias(of: Fields, size: int) -> dict[str, Array]:
    if of.node.fields.get("bias") is None:
        return {}
    bias = of.array("bias")
    if bias.size not in (1, size):
        of.fault("bias", f"has shape {bias.shape}, the weight gives {size} outputs", f"give shape ({size},)")
        return {}
    return {"bias": np.broadcast_to(bias.reshape(-1), (size,)).copy()}


def _convolution(axes: int) -> Callable[[Fields, Reading], Translated]:
    def convolution(of: Fields, reading: Reading) -> Translated:
        weight = of.array("weight")
        if weight.ndim != axes + 2:
            of.fault("weight", f"has shape {weight.shape}", f"give (C_out, C_in / groups, {axes} axes of the kernel)")
            return Translated(layers.Flatten())
        arrays = {"weight": weight, **_bias(of, len(weight))}
        kind = layers.Conv1d if axes == 1 else layers.Conv2d
        node = kind(
            out_channels=len(weight), kernel_size=weight.shape[2:], bias="bias" in arrays,
            groups=_one(of.whole("groups", 1)),
            **{name: _spatial(of.whole(name, default), axes)
               for name, default in (("stride", 1), ("padding", 0), ("dilation", 1))},
        )
        return Translated(node, arrays)

    return convolution


def _one(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _spatial(value: Any, axes: int) -> Any:
    """A number for each axis of an image, from what files hold: a number, a list of one, a list."""
    value = _one(value)
    return value if isinstance(value, str) else tuple(value) if isinstance(value, list) else (value,) * axes


def _pool(kind: type[layers.Pool2d]) -> Callable[[Fields, Reading], Translated]:
    def pool(of: Fields, reading: Reading) -> Translated:
        size = _spatial(of.whole("kernel_size"), 2)
        stride = size if of.node.fields.get("stride") is None else _spatial(of.whole("stride"), 2)
        return Translated(kind(kernel_size=size, stride=stride, padding=_spatial(of.whole("padding", 0), 2)))

    return pool


def _flatten(of: Fields, reading: Reading) -> Translated:
    return Translated(layers.Flatten(start_dim=_one(of.whole("start_dim", 1)), end_dim=_one(of.whole("end_dim", -1))))


def _scale(of: Fields, reading: Reading) -> Translated:
    described, arrays = _values({"scale": of.array("scale")})
    return Translated(layers.Scale(**described), arrays)


def _delay(of: Fields, reading: Reading) -> Translated:
    return Translated(layers.Delay(delay=_listed(of.array("delay") * reading.time_unit)))


def _listed(array: Array) -> Any:
    return float(array.flat[0]) if (array == array.flat[0]).all() else array.tolist()


def _input(of: Fields, reading: Reading) -> Translated:
    shape = of.whole("shape")
    return Translated(Input(shape=tuple(shape) if isinstance(shape, list) else (shape,)))


KINDS: dict[str, Callable[[Fields, Reading], Translated]] = {
    "Input": _input, "Output": lambda of, reading: Translated(Output()),
    "Affine": _connection, "Linear": _connection, "Conv1d": _convolution(1), "Conv2d": _convolution(2),
    "SumPool2d": _pool(layers.SumPool2d), "AvgPool2d": _pool(layers.AvgPool2d), "Flatten": _flatten, "Scale": _scale,
    "Delay": _delay, "Threshold": _threshold, "I": _i, "IF": _if, "LI": _li, "LIF": _lif, "CubaLI": _cuba_li,
    "CubaLIF": _cuba_lif,
}
SPIKING = frozenset({"IF", "LIF", "CubaLIF"})  # those with a reset
STATEFUL = SPIKING | {"I", "LI", "CubaLI", "Threshold"}
TIMED = {"LI": "tau", "LIF": "tau", "CubaLI": "tau_mem", "CubaLIF": "tau_mem", "Delay": "delay"}  # they depend on dt
