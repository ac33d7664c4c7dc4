"""The training step in neuroport, for one engine: `python worker.py neuroport_step jax` (or torch).

What is timed is one call of the engine's `train_segment` over staged, bit-packed samples: gathering and unpacking a
batch, forward, backward, Adam. Run from a checkout: PYTHONPATH=.:engines
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from workload import Workload, batch_order, inputs, targets, weights

from neuroport.data.staging import stage
from neuroport.engine.base import Options, Trainable
from neuroport.model.graph import Model
from neuroport.model.layers import Linear
from neuroport.model.losses import CrossEntropy
from neuroport.model.neurons import LI, LIF
from neuroport.model.optimizers import Adam
from neuroport.model.training import Training
from neuroport.program.lower import lower

Run = Callable[[int], list[float]]
ENGINES = {"jax": "neuroport_jax.engine:JaxEngine", "torch": "neuroport_torch.engine:TorchEngine"}
FRAMEWORKS = {"jax": ("jax", "jaxlib", "optax"), "torch": ("torch", "numba")}


def prepare(workload: Workload, engine: str) -> tuple[dict[str, str], Run]:
    """Versions, and the run of k training steps that returns their losses."""
    names = ("neuroport", *FRAMEWORKS[engine], "numpy")
    return {name: _version(name) for name in names}, make_step(engine, workload)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "checkout"


def make_step(engine: str, workload: Workload) -> Run:
    """The one place that knows how neuroport trains: k -> the losses of k further steps, all finished."""
    module, name = ENGINES[engine].split(":")
    training = Training(
        loss=CrossEntropy(over="mean"), optimizer=Adam(learning_rate=workload.learning_rate), batch_size=workload.batch
    )
    program = lower(build(workload))
    executable: Trainable = getattr(importlib.import_module(module), name)().compile(
        program, Options(device="cpu", precision="float32", training=training)
    )
    state = executable.init_training(executable.load(parameters(workload)))
    staged = executable.stage(stage(*samples(workload)))
    done = 0

    def run(count: int) -> list[float]:
        nonlocal state, done
        order = sample_order(batch_order(done, count, workload), workload)
        mask = np.ones(order.shape, np.float32)
        state, metrics = executable.train_segment(state, staged, order, mask, np.ones(count), (workload.seed, 0))
        executable.wait()
        done += count
        return metrics.loss.tolist()

    return run


def build(workload: Workload) -> Model:
    """Linear + LIF for each hidden layer, Linear + LI for the readout; spikes in the same step, soft reset."""
    first, *hidden, classes = workload.sizes
    layers: list[Any] = []
    for n in hidden:
        layers += [Linear(n, bias=False), LIF.from_decay(beta=workload.beta, v_threshold=workload.threshold)]
    layers += [Linear(classes, bias=False), LI.from_decay(beta=workload.beta)]
    return Model.sequential(input=(first,), dt=1e-3, layers=layers)


def parameters(workload: Workload) -> dict[str, np.ndarray]:
    """The workload's weights under neuroport's names; every second node is a Linear."""
    return {f"{2 * i}_linear.weight": matrix for i, matrix in enumerate(weights(workload))}


def samples(workload: Workload) -> tuple[np.ndarray, np.ndarray]:
    """All batches as one data set, sample-major: x (N, T, channels) of 0 and 1, y (N,)."""
    x = np.moveaxis(inputs(workload), 1, 2)  # (batches, B, T, channels)
    return x.reshape(-1, *x.shape[2:]).astype(np.uint8), targets(workload).reshape(-1)


def sample_order(batches: np.ndarray, workload: Workload) -> np.ndarray:
    """Indices into the data set for each of the given batches, int64 (count, B)."""
    return batches[:, None].astype(np.int64) * workload.batch + np.arange(workload.batch)
