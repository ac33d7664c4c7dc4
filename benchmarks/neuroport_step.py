"""The training step in neuroport, for one engine: `python worker.py neuroport_step jax` (or torch).

Written against the planned interface (Executable.init_training, stage, train_segment) and not yet run.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
from workload import Workload, batch_order, inputs, targets, weights

import neuroport as npt

Run = Callable[[int], list[float]]
FRAMEWORKS = {"jax": ("jax", "jaxlib", "optax"), "torch": ("torch", "numba")}


def prepare(workload: Workload, engine: str) -> tuple[dict[str, str], Run]:
    """Versions, and the run of k training steps that returns their losses."""
    names = ("neuroport", *FRAMEWORKS.get(engine, ()), "numpy")
    return {name: version(name) for name in names}, make_step(engine, workload)


def make_step(engine: str, workload: Workload) -> Run:
    """The one place that knows how neuroport trains: k -> the losses of k further steps, all finished."""
    executable = npt.compile(build(workload), engine=engine, device="cpu", precision="float32")
    training = executable.init_training(executable.load(parameters(workload)))
    staged = executable.stage(npt.data.stage(*samples(workload)))
    done = 0

    def run(count: int) -> list[float]:
        nonlocal training, done
        order = sample_order(batch_order(done, count, workload), workload)
        training, metrics = executable.train_segment(training, staged, order, np.ones(order.shape, bool))
        executable.wait()
        done += count
        return [float(loss) for loss in metrics["loss"]]

    return run


def build(workload: Workload) -> Any:
    """Linear + LIF for each hidden layer, Linear + LI for the readout; spikes in the same step, soft reset."""
    first, *hidden, classes = workload.sizes
    layers = []
    for n in hidden:
        layers += [npt.Linear(n), npt.LIF.from_decay(beta=workload.beta, v_threshold=workload.threshold)]
    layers += [npt.Linear(classes), npt.LI.from_decay(beta=workload.beta)]
    return npt.Model.sequential(input=(first,), dt=1e-3, layers=layers)


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
