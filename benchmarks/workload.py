"""The tasks that every contestant gets: equal sizes, inputs, targets, cotangents and initial weights, by numpy alone.

Five kinds. Two are parts of a network, run forward and in reverse with a given cotangent:

    layer       one LIF layer, its input given; the gradient of that input
    linear_lif  Linear and LIF, as Open Neuromorphic's comparison; the gradient of the weights

Three are networks, trained with Adam on the cross-entropy of a leaky readout's mean over time:

    feedforward  Linear and LIF, twice; Linear and LI
    recurrent    Linear and a LIF that feeds back through a Linear, a step later; Linear and LI (shaped as SHD)
    conv         Conv2d, LIF and a sum over each window, twice; Linear and LI (shaped as N-MNIST)

LIF: v <- beta v + x, a spike where v > threshold, which subtracts it. LI: v <- beta v + x. No biases anywhere.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

Kind = Literal["layer", "linear_lif", "feedforward", "recurrent", "conv"]


@dataclass(frozen=True)
class Workload:
    """Sizes and constants of one task; the defaults are the network 128-512-512-20."""

    kind: Kind = "feedforward"
    sizes: tuple[int, ...] = (128, 512, 512, 20)  # neurons, in conv channels: input, hidden ..., classes
    image: tuple[int, int] = (34, 34)  # of conv's input: height and width
    kernel: int = 5  # of both convolutions, in conv
    pool: int = 2  # width and stride of the windows summed, in conv
    steps: int = 128  # time steps in a sample
    batch: int = 64  # samples in a batch
    batches: int = 4  # different batches, staged once and taken in turn
    input_rate: float = 0.02  # probability of a one in the input, per channel and step; layer: deviation of its input
    beta: float = 0.9  # decay of the membrane over one step
    threshold: float = 1.0  # membrane value at which a neuron spikes; the reset subtracts it
    learning_rate: float = 1e-4  # of Adam; at 1e-3 the loss of a sum over 128 steps overshoots before it falls
    # Dense products take the same time for silent neurons, event-driven ones do not: these gains put all spiking
    # layers at 2-8 % spikes a step, where networks trained on event data are. One for each matrix of `weights`.
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

    @property
    def trains(self) -> bool:
        """Whether there is a loss and an optimizer; otherwise forward and reverse alone."""
        return self.kind in ("feedforward", "recurrent", "conv")

    @property
    def sample(self) -> tuple[int, ...]:
        """Shape of one sample's input in one step."""
        return (self.sizes[0], *self.image) if self.kind == "conv" else (self.sizes[0],)

    @property
    def grids(self) -> list[tuple[int, int]]:
        """Of conv: height and width of each spiking layer."""
        found, (height, width) = [], self.image
        for _ in self.sizes[1:-1]:
            height, width = height - self.kernel + 1, width - self.kernel + 1
            found.append((height, width))
            height, width = height // self.pool, width // self.pool
        return found

    @property
    def features(self) -> int:
        """Of conv: inputs of the Linear layer, after the last windows were summed; flattened as (channel, y, x)."""
        height, width = self.grids[-1]
        return self.sizes[-2] * (height // self.pool) * (width // self.pool)


WORKLOADS = {
    "layer": Workload("layer", sizes=(512,), batches=2, input_rate=0.45, gains=(), steps_per_run=2),
    "linear_lif": Workload("linear_lif", sizes=(2048, 2048), steps=500, batch=16, batches=1, gains=(2.7,),
                           steps_per_run=1),
    # Open Neuromorphic's own sizes: weights of 1 GiB, for a GPU
    "linear_lif_16k": Workload("linear_lif", sizes=(16384, 16384), steps=500, batch=16, batches=1, gains=(2.7,),
                               steps_per_run=1),
    "feedforward": Workload(),
    "recurrent": Workload("recurrent", sizes=(140, 256, 20), steps=250, gains=(3.0, 1.0, 0.02)),
    "conv": Workload("conv", sizes=(2, 12, 32, 10), steps=50, batch=8, gains=(3.0, 0.8, 0.02)),
}


def inputs(workload: Workload) -> np.ndarray:
    """Random zeros and ones, float32, time-major (batches, T, B, *sample); for a layer normal, with mean 0."""
    shape = (workload.batches, workload.steps, workload.batch, *workload.sample)
    if workload.kind == "layer":
        return _generator(workload, 0).standard_normal(shape, np.float32) * np.float32(workload.input_rate)
    return (_generator(workload, 0).random(shape) < workload.input_rate).astype(np.float32)


def targets(workload: Workload) -> np.ndarray:
    """Random classes, int32, (batches, B), for the kinds that train."""
    return _generator(workload, 1).integers(workload.sizes[-1], size=(workload.batches, workload.batch), dtype=np.int32)


def cotangents(workload: Workload) -> np.ndarray:
    """Of the spikes, for the kinds that do not train: normal, float32, (T, B, neurons), the same for all batches."""
    shape = (workload.steps, workload.batch, workload.sizes[-1])
    return _generator(workload, 3).standard_normal(shape, np.float32)


def weights(workload: Workload) -> list[np.ndarray]:
    """The float32 arrays of the Linear and Conv2d layers, in order, normal with deviation gain / sqrt(inputs).

    A matrix is (out, in), a convolution's kernels (out, in, y, x). recurrent: into the neurons, from them to
    themselves, to the readout. layer: none.
    """
    generator = _generator(workload, 2)
    shapes = _weight_shapes(workload)
    fan_in = [math.prod(shape[1:]) for shape in shapes]
    return [
        generator.normal(0.0, gain / np.sqrt(m), shape).astype(np.float32)
        for shape, m, gain in zip(shapes, fan_in, workload.gains, strict=True)
    ]


def _weight_shapes(workload: Workload) -> list[tuple[int, ...]]:
    sizes = workload.sizes
    if workload.kind == "recurrent":
        first, hidden, classes = sizes
        return [(hidden, first), (hidden, hidden), (classes, hidden)]
    if workload.kind == "conv":
        between = zip(sizes[:-2], sizes[1:-1], strict=True)
        return [*((n, m, workload.kernel, workload.kernel) for m, n in between), (sizes[-1], workload.features)]
    return [(n, m) for m, n in zip(sizes[:-1], sizes[1:], strict=True)]


def batch_order(done: int, count: int, workload: Workload) -> np.ndarray:
    """Which staged batch each of the next `count` steps takes, int32, after `done` steps."""
    return ((done + np.arange(count)) % workload.batches).astype(np.int32)


def _generator(workload: Workload, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[workload.seed, stream]))
