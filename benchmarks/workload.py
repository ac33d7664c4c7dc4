"""The one training task that every contestant gets: equal sizes, inputs, targets and initial weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Workload:
    """Sizes and constants of the network 128-512-512-20 and of its training step."""

    sizes: tuple[int, ...] = (128, 512, 512, 20)  # neurons: input, hidden, hidden, classes
    steps: int = 128  # time steps in a sample
    batch: int = 64  # samples in a batch
    batches: int = 4  # different batches, staged once and trained on in turn
    input_rate: float = 0.02  # probability of a one in the input, per channel and step
    beta: float = 0.9  # decay of the membrane over one step
    threshold: float = 1.0  # membrane value at which a neuron spikes; the reset subtracts it
    learning_rate: float = 1e-4  # of Adam; at 1e-3 the loss of a sum over 128 steps overshoots before it falls
    # Dense products take the same time for silent neurons, event-driven ones do not: these gains put both
    # hidden layers at 2-8 % spikes a step, where networks trained on event data are.
    gains: tuple[float, ...] = (3.5, 2.2, 0.02)
    steps_per_run: int = 4  # training steps in one timed run, a multiple of `batches`
    seed: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Workload:
        """The inverse of `as_dict`, also after JSON has turned tuples into lists."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        return cls(**values)


def inputs(workload: Workload) -> np.ndarray:
    """Random zeros and ones, float32, time-major (batches, T, B, channels)."""
    shape = (workload.batches, workload.steps, workload.batch, workload.sizes[0])
    return (_generator(workload, 0).random(shape) < workload.input_rate).astype(np.float32)


def targets(workload: Workload) -> np.ndarray:
    """Random classes, int32, (batches, B)."""
    return _generator(workload, 1).integers(workload.sizes[-1], size=(workload.batches, workload.batch), dtype=np.int32)


def weights(workload: Workload) -> list[np.ndarray]:
    """One float32 matrix (out, in) per Linear layer, normal with deviation gain / sqrt(in); there are no biases."""
    generator = _generator(workload, 2)
    layers = zip(workload.sizes[:-1], workload.sizes[1:], workload.gains, strict=True)
    return [generator.normal(0.0, gain / np.sqrt(m), (n, m)).astype(np.float32) for m, n, gain in layers]


def batch_order(done: int, count: int, workload: Workload) -> np.ndarray:
    """Which staged batch each of the next `count` training steps takes, int32, after `done` steps."""
    return ((done + np.arange(count)) % workload.batches).astype(np.int32)


def _generator(workload: Workload, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[workload.seed, stream]))
