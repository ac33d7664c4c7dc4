"""Initial values: NumPy Philox keyed by seed and parameter name, the same for every engine."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import numpy as np

from neuroport.model import values
from neuroport.model.graph import Model
from neuroport.model.layers import Convolution, Linear, Scale
from neuroport.model.nodes import ParameterSpec
from neuroport.model.values import Bound, Initializer
from neuroport.program.bound import BoundNeuron
from neuroport.program.lower import Program, lower

HORIZON = 1000  # steps after which the memory of a membrane counts no more


def generator(seed: int, name: str) -> np.random.Generator:
    """A stream of its own for each (seed, name)."""
    word = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
    return np.random.Generator(np.random.Philox(key=np.array([seed, word], dtype=np.uint64)))


def init(model: Model, seed: int = 0) -> dict[str, np.ndarray]:
    """Initial arrays of a model, float32, by "node.parameter".

    Equal for equal (seed, name, shape), whatever else the model holds and whatever engine runs it.
    """
    program = lower(model)
    return {name: _draw(program, name, spec, generator(seed, name)) for name, spec in program.parameters.items()}


def _draw(program: Program, name: str, spec: ParameterSpec, random: np.random.Generator) -> np.ndarray:
    if isinstance(spec.value, Initializer):
        drawn = _INITIALIZERS[type(spec.value)](program, name, spec, random)
    else:
        given = np.asarray(spec.value, dtype=np.float64)
        drawn = given.reshape(spec.shape) if given.size == np.prod(spec.shape) else np.broadcast_to(given, spec.shape)
    if spec.bound is Bound.TIME:  # a drawn time constant stays one
        drawn = np.maximum(drawn, program.model.dt)
    elif spec.bound is Bound.DECAY:
        drawn = np.clip(drawn, 0.0, 1.0)
    return np.array(drawn, dtype=np.float32)


def _constant(program, name, spec, random):  # type: ignore[no-untyped-def]
    return np.full(spec.shape, spec.value.value)


def _uniform(program, name, spec, random):  # type: ignore[no-untyped-def]
    return random.uniform(spec.value.low, spec.value.high, spec.shape)


def _normal(program, name, spec, random):  # type: ignore[no-untyped-def]
    return random.normal(spec.value.mean, spec.value.std, spec.shape)


def _kaiming(program, name, spec, random):  # type: ignore[no-untyped-def]
    limit = spec.value.gain * np.sqrt(3 / spec.fans[0])
    return random.uniform(-limit, limit, spec.shape)


def _xavier(program, name, spec, random):  # type: ignore[no-untyped-def]
    limit = spec.value.gain * np.sqrt(6 / sum(spec.fans))
    return random.uniform(-limit, limit, spec.shape)


def _lecun(program, name, spec, random):  # type: ignore[no-untyped-def]
    return random.normal(0.0, spec.value.gain / np.sqrt(spec.fans[0]), spec.shape)


def _orthogonal(program, name, spec, random):  # type: ignore[no-untyped-def]
    rows, columns = spec.shape[0] if spec.shape else 1, int(np.prod(spec.shape[1:]))
    tall = random.normal(size=(max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diag(r))
    return spec.value.gain * (q if rows >= columns else q.T).reshape(spec.shape)


def _fluctuation_driven(program, name, spec, random):  # type: ignore[no-untyped-def]
    followers = populations_after(program, name.rsplit(".", 1)[0])
    per_unit = [1.0] if not followers else [_response(bound) for bound in followers]
    std = 1.0 / (spec.value.kappa * np.sqrt(spec.fans[0] * spec.value.input_rate) * max(per_unit))
    return random.normal(0.0, std, spec.shape)


_INITIALIZERS = {
    values.Constant: _constant, values.Uniform: _uniform, values.Normal: _normal,
    values.KaimingUniform: _kaiming, values.XavierUniform: _xavier, values.LecunNormal: _lecun,
    values.Orthogonal: _orthogonal, values.FluctuationDriven: _fluctuation_driven,
}


def populations_after(program: Program, name: str) -> list[BoundNeuron]:
    """The populations that a layer drives, through nodes that only reshape or sum."""
    found, pending, seen = [], [name], {name}
    while pending:
        current = pending.pop()
        for edge in program.model.edges:
            if edge.source == current and edge.target not in seen:
                seen.add(edge.target)
                if edge.target in program.neurons:
                    found.append(program.neurons[edge.target])
                elif not isinstance(program.node(edge.target), (Linear, Convolution, Scale)):
                    pending.append(edge.target)
    return found


def _response(bound: BoundNeuron) -> float:
    """sqrt(sum_k h_k^2) / threshold: the fluctuation of the membrane per unit of input noise.

    h is the membrane's own response to one unit input without spikes, so it holds for any neuron.
    """
    arrays = {name: _typical(bound, field) for name, field in bound.arrays.items()}
    c = SimpleNamespace(**bound.coefficients({**arrays, **dict.fromkeys(bound.biases, 0.0)}))
    quiet = bound.neuron.State(*(np.zeros(()) for _ in bound.neuron.state))
    resting, driven = quiet, quiet
    energy = 0.0
    for k in range(HORIZON):
        resting = bound.neuron.integrate(c, resting, np.zeros(()))
        driven = bound.neuron.integrate(c, driven, np.full((), 1.0 if k == 0 else 0.0))
        energy += float(np.square(driven.v - resting.v))
    theta = abs(float(np.mean(bound.neuron.threshold(c, quiet)))) if bound.neuron.spiking else 1.0
    return float(np.sqrt(energy) / (theta or 1.0))


def _typical(bound: BoundNeuron, field: str) -> float:
    """One number that stands for an array of a neuron, for scaling only."""
    value = getattr(bound.neuron, field).value
    if isinstance(value, (values.Uniform,)):
        return (value.low + value.high) / 2
    if isinstance(value, values.Normal):
        return value.mean
    if isinstance(value, values.Constant):
        return value.value
    return float(np.mean(np.asarray(value, dtype=np.float64))) if not isinstance(value, Initializer) else 1.0
