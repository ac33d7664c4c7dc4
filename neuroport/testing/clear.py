"""Inputs on which two machines must agree: every decision of the reference is taken by a clear margin.

Near the threshold the last bit of a membrane decides about a spike, and everything after it. So the
kit draws parameters and inputs until the reference keeps clear, and counts what it passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from neuroport.dynamics import ops
from neuroport.engine import optimize
from neuroport.engine.base import Gradients, Noise, Options, RunResult, Trainable
from neuroport.model.graph import Model
from neuroport.model.layers import Convolution, Linear
from neuroport.model.losses import CrossEntropy
from neuroport.model.optimizers import Lion
from neuroport.model.training import Training
from neuroport.program.initialize import generator, init
from neuroport.program.lower import Program, lower
from neuroport.program.objective import judged_output
from neuroport.testing.cases import Case
from neuroport.testing.subject import reference

MARGIN = 1e-4  # relative to thresholds, which are of order one in the kit's models
SIGN_MARGIN = 3e-5  # relative to the norm of a parameter's gradient
TRIES = 60
GRID = 64.0
LARGEST = 127  # |k| of a snapped weight k / 64: what 8 bits with a sign hold
RATES = (0.01, 0.95)  # spikes per step and neuron of every population


@dataclass(frozen=True, eq=False)
class Clear:
    """A case with its arrays, and what the float64 reference makes of them.

    passed_over: how many draws came too near to a threshold (or were silent or saturated).
    """

    case: Case
    model: Model
    program: Program
    parameters: dict[str, np.ndarray]
    inputs: dict[str, np.ndarray]
    targets: np.ndarray
    noise: Noise | None
    record: tuple[tuple[str, str], ...]
    result: RunResult
    gradients: Gradients
    passed_over: int


@contextmanager
def watching(margin: float) -> Iterator[list[bool]]:
    """While the block runs, note for every decision of the reference whether it is within ``margin``.

    Lion's sign is one, too: its margin is relative to the whole gradient, whose rounding moves it.
    """
    near: list[bool] = []

    def spike(u: Any, surrogate: Any, inclusive: bool) -> Any:
        slope = [np.asarray(surrogate.derivative(np.asarray(at, np.float64))) for at in (u - margin, u + margin)]
        # a surrogate with an edge, such as a boxcar, decides too
        steep = np.abs(slope[0] - slope[1]) > 0.05 * float(surrogate.derivative(np.zeros(())))
        near.append(bool((np.abs(u) < margin).any() or steep.any()))
        return ops.NUMPY["spike"](u, surrogate, inclusive)

    def floor(x: Any) -> Any:
        whole = np.round(x)
        near.append(bool(((np.abs(x - whole) < margin) & (whole != 0)).any()))
        return ops.NUMPY["floor"](x)

    def lion(o: Lion, step: int, p: Any, g: Any, m: Any, v: Any) -> Any:
        mixed = o.beta1 * m + (1 - o.beta1) * g
        near.append(bool(((np.abs(mixed) < SIGN_MARGIN * np.linalg.norm(mixed)) & (mixed != 0)).any()))
        return plain(o, step, p, g, m, v)

    plain = optimize.CHANGES[Lion]
    ops.register(np.ndarray, {**ops.NUMPY, "spike": spike, "floor": floor})
    optimize.CHANGES[Lion] = lion
    try:
        yield near
    finally:
        ops.register(np.ndarray, ops.NUMPY)
        optimize.CHANGES[Lion] = plain


def snap(program: Program, parameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights of Linear and convolutions moved to k / 64, |k| <= 127: what an engine of 8-bit weights holds exactly."""
    found = dict(parameters)
    for name, value in parameters.items():
        owner, field = name.rsplit(".", 1)
        if field == "weight" and isinstance(program.node(owner), (Linear, Convolution)):
            found[name] = (np.clip(np.round(value * GRID), -LARGEST, LARGEST) / GRID).astype(np.float32)
    return found


def draw_inputs(program: Program, steps: int, batch: int, density: float, seed: int) -> dict[str, np.ndarray]:
    """Zeros and ones (T, B, *shape), float32, by Input node."""
    return {name: (generator(seed, f"inputs of {name}").random((steps, batch, *shape)) < density).astype(np.float32)
            for name, shape in program.inputs.items()}


def draw_targets(program: Program, training: Training, steps: int, batch: int, seed: int) -> np.ndarray:
    """What the loss compares outputs with: classes (B,), or traces (T, B, C), spikes where spikes are judged."""
    judged, random = judged_output(program, training), generator(seed, "targets")
    if training.loss.targets == "classes":
        return random.integers(0, program.outputs[judged][0], batch)
    shape = (steps, batch, int(np.prod(program.outputs[judged])))
    neurons = [program.neurons.get(edge.source) for edge in program.incoming[judged]]
    if all(bound is not None and bound.neuron.spiking for bound in neurons):
        return (random.random(shape) < 0.3).astype(np.float32)
    return random.normal(size=shape).astype(np.float32)


def every_record(program: Program) -> tuple[tuple[str, str], ...]:
    return tuple((name, what) for name, bound in program.neurons.items() for what in bound.records)


def search(attempt: Callable[[int], Any], what: str) -> tuple[Any, int]:
    """The first seed whose attempt is not None, and how many were passed over."""
    for seed in range(TRIES):
        found = attempt(seed)
        if found is not None:
            return found, seed
    raise AssertionError(f"{what}: none of {TRIES} draws keeps clear of the thresholds; this is a fault of the kit")


@cache
def clear(case: Case, dt: float, batch: int, snapped: bool = False, precision: str | None = None) -> Clear:
    """A case's arrays on which the reference keeps clear, and its results; made once a process."""
    model, training = case.build(dt), case.taught(dt)
    program = lower(model)
    executable = reference().compile(program, Options(precision=precision, training=training))
    assert isinstance(executable, Trainable)
    record = every_record(program)

    def attempt(seed: int) -> Clear | None:
        parameters = init(model, seed)
        parameters = snap(program, parameters) if snapped else parameters
        inputs = draw_inputs(program, case.steps, batch, case.density, seed)
        targets = draw_targets(program, training, case.steps, batch, seed)
        noise = Noise(3, seed % 5, np.arange(batch) * 7 + seed) if case.noise else None
        handle, state = executable.load(parameters), executable.init_state(batch)
        with watching(MARGIN) as near:
            result = executable.run(handle, state, inputs, record)
            if any(near) or not alive(program, result) or _tied(result, program, training):
                return None
            gradients = executable.gradients(handle, state, inputs, targets, None, noise)
        if any(near):
            return None
        return Clear(case, model, program, parameters, inputs, targets, noise, record, result, gradients, 0)

    found, passed_over = search(attempt, case.name)
    return Clear(**{**found.__dict__, "passed_over": passed_over})


def alive(program: Program, result: RunResult) -> bool:
    """Whether every population that spikes neither sleeps nor fires without end."""
    spikes = [np.asarray(traces["spikes"]) for traces in result.records.values() if "spikes" in traces]
    return all(RATES[0] <= float((trace > 0).mean()) <= RATES[1] for trace in spikes)


def _tied(result: RunResult, program: Program, training: Training) -> bool:
    """Whether a maximum over time of analog values hangs on less than the margin."""
    if not (isinstance(training.loss, CrossEntropy) and training.loss.over == "max"):
        return False
    two = np.sort(np.asarray(result.outputs[judged_output(program, training)]), axis=0)[-2:]
    gap = two[1] - two[0]
    return bool(((gap < MARGIN) & (gap > 0)).any())  # spikes tie exactly, on every machine
