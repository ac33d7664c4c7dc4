"""The workloads in neuroport: `python worker.py neuroport_step ENGINE [PRECISION]`, jax or torch, float32 or bfloat16.

Workloads that train: one run is one call of the engine's `train_segment`, as `npt.fit` makes it, over staged,
bit-packed samples: gathering and unpacking a batch, forward, backward, Adam. Those that do not train take the view of
a compiled model that the documentation gives to the engine's users: `executable.function()` under `jax.jit` with
`jax.vjp`, and `executable.module()` under autograd. Arrays lie on the device before the clock starts.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from contestant import Contestant, Run
from workload import Workload, batch_order, inputs, targets, weights

from neuroport.data.staging import stage
from neuroport.engine.base import Options, Trainable
from neuroport.model.graph import Model, Recurrent
from neuroport.model.layers import Conv2d, Flatten, Linear, SumPool2d
from neuroport.model.losses import CrossEntropy
from neuroport.model.neurons import LI, LIF
from neuroport.model.numerics import Numerics
from neuroport.model.optimizers import Adam
from neuroport.model.training import Training
from neuroport.program.lower import lower

ENGINES = {"jax": "neuroport_jax.engine:JaxEngine", "torch": "neuroport_torch.engine:TorchEngine"}
FRAMEWORKS = {"jax": ("jax", "jaxlib", "optax"), "torch": ("torch", "numba")}
VIEWS = {"jax": "neuroport_view_jax", "torch": "neuroport_view_torch"}
DT = 1e-3  # seconds; neurons are given by their decays, so that nothing depends on it


def prepare(workload: Workload, engine: str, precision: str = "float32", device: str = "cpu") -> Contestant:
    """The contestant. Ends the program where the engine declares no such precision or device."""
    executable = compiled(workload, engine, precision, device)
    view = importlib.import_module(VIEWS[engine])
    arrays = parameters(workload)
    run = training_run(executable, workload, arrays) if workload.trains else view.reverse_run(
        executable, workload, arrays)
    names = ("neuroport", *FRAMEWORKS[engine], "numpy")
    return Contestant(
        {name: _version(name) for name in names}, run, lambda: forward(executable, workload, arrays),
        lambda: view.saved_bytes(executable, workload, arrays) / 2**20)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "checkout"


def compiled(workload: Workload, engine: str, precision: str, device: str) -> Trainable:
    """The workload's network, for training. Ends the program where the engine cannot."""
    module, name = ENGINES[engine].split(":")
    made = getattr(importlib.import_module(module), name)()
    known = [one for one in made.devices() if one == device or one.startswith(f"{device}:")]
    if not known:
        raise SystemExit(f"engine {engine} has no device {device!r} here, but {', '.join(made.devices())}")
    able = made.capabilities(known[0]).precisions
    if precision not in able:
        raise SystemExit(f"engine {engine} declares no precision {precision!r} on {known[0]}, but {', '.join(able)}")
    training = Training(
        loss=CrossEntropy(over="mean"), optimizer=Adam(learning_rate=workload.learning_rate), batch_size=workload.batch
    )
    return made.compile(lower(build(workload)), Options(device=known[0], precision=precision, training=training))


def training_run(executable: Trainable, workload: Workload, arrays: dict[str, np.ndarray]) -> Run:
    """The one place that knows how neuroport trains: k -> the losses of k further steps, all finished."""
    state = executable.init_training(executable.load(arrays))
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


def forward(executable: Trainable, workload: Workload, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """What the first batch gives, float32 (T, B, classes or neurons)."""
    x = inputs(workload)[0]
    (source,) = executable.program.inputs
    found = executable.run(executable.load(arrays), executable.init_state(workload.batch), {source: x})
    return np.asarray(next(iter(found.outputs.values())), np.float32)


def build(workload: Workload, numerics: Numerics | None = None) -> Model:
    """The network; numerics: how it steps, where another library's reading of it is wanted."""
    return Model.sequential(
        input=workload.sample, dt=DT, layers=LAYERS[workload.kind](workload), numerics=numerics or Numerics())


def _neurons(workload: Workload) -> LIF:
    return LIF.from_decay(beta=workload.beta, v_threshold=workload.threshold)


def _linear(count: int) -> Linear:
    return Linear(count, bias=False)


def _readout(workload: Workload) -> list[Any]:
    return [_linear(workload.sizes[-1]), LI.from_decay(beta=workload.beta)]


def _feedforward(workload: Workload) -> list[Any]:
    layers: list[Any] = []
    for count in workload.sizes[1:-1]:
        layers += [_linear(count), _neurons(workload)]
    return [*layers, *_readout(workload)]


def _recurrent(workload: Workload) -> list[Any]:
    _, hidden, _ = workload.sizes
    return [_linear(hidden), Recurrent(_linear(hidden), _neurons(workload)), *_readout(workload)]


def _conv(workload: Workload) -> list[Any]:
    layers: list[Any] = []
    for channels in workload.sizes[1:-1]:
        layers += [Conv2d(channels, workload.kernel, bias=False), _neurons(workload), SumPool2d(workload.pool)]
    return [*layers, Flatten(), *_readout(workload)]


LAYERS: dict[str, Callable[[Workload], list[Any]]] = {
    "layer": lambda workload: [_neurons(workload)],
    "linear_lif": lambda workload: [_linear(workload.sizes[-1]), _neurons(workload)],
    "feedforward": _feedforward, "recurrent": _recurrent, "conv": _conv,
}


def parameters(workload: Workload) -> dict[str, np.ndarray]:
    """The workload's weights under neuroport's names, which come in the same order."""
    return dict(zip(build(workload).parameters, weights(workload), strict=True))


def samples(workload: Workload) -> tuple[np.ndarray, np.ndarray]:
    """All batches as one data set, sample-major: x (N, T, *shape) of 0 and 1, y (N,)."""
    x = np.moveaxis(inputs(workload), 1, 2)  # (batches, B, T, *shape)
    return x.reshape(-1, *x.shape[2:]).astype(np.uint8), targets(workload).reshape(-1)


def sample_order(batches: np.ndarray, workload: Workload) -> np.ndarray:
    """Indices into the data set for each of the given batches, int64 (count, B)."""
    return batches[:, None].astype(np.int64) * workload.batch + np.arange(workload.batch)
