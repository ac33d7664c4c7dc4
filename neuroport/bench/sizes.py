"""Workloads by name, for a measurement without an experiment of one's own: random spikes, networks of common shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neuroport.errors import Invalid, Problem, listed
from neuroport.model.graph import Model, Recurrent
from neuroport.model.layers import Conv2d, Flatten, Linear, SumPool2d
from neuroport.model.losses import CrossEntropy
from neuroport.model.neurons import LI, LIF
from neuroport.model.optimizers import Adam
from neuroport.model.training import Data, Experiment, Training
from neuroport.model.values import FluctuationDriven

DT, TAU = 1e-3, 10e-3  # seconds
RATE = 0.05  # of ones in the input, and about that of spikes within
BATCHES, JUDGED = 4, 16  # batches to train on, samples to compare


@dataclass(frozen=True)
class Size:
    """A workload. about: in words. shape: of one step's input; batch: samples of it."""

    about: str
    shape: tuple[int, ...]
    steps: int
    batch: int
    classes: int
    layers: Callable[[], list[object]]


def _drive() -> FluctuationDriven:
    return FluctuationDriven(input_rate=RATE)


def _feedforward(*units: int, classes: int) -> list[object]:
    hidden: list[object] = []
    for count in units:
        hidden += [Linear(out_features=count, weight_init=_drive()), LIF(tau=TAU)]
    return [*hidden, Linear(out_features=classes, weight_init=_drive()), LI(tau=TAU)]


def _recurrent(units: int, classes: int) -> list[object]:
    cycle = Recurrent(connection=Linear(out_features=units), neuron=LIF(tau=TAU))
    return [Linear(out_features=units, weight_init=_drive()), cycle,
            Linear(out_features=classes, weight_init=_drive()), LI(tau=TAU)]


def _convolutional(classes: int) -> list[object]:
    layers: list[object] = []
    for channels in (12, 32):
        layers += [Conv2d(out_channels=channels, kernel_size=5, weight_init=_drive()), LIF(tau=TAU),
                   SumPool2d(kernel_size=2)]
    return [*layers, Flatten(), Linear(out_features=classes, weight_init=_drive()), LI(tau=TAU)]


SIZES = {
    "small": Size("12-32-4", (12,), 64, 16, 4, lambda: _feedforward(32, classes=4)),
    "feedforward": Size("128-512-512-20", (128,), 128, 64, 20, lambda: _feedforward(512, 512, classes=20)),
    "recurrent": Size("140-256-20, the 256 recurrent", (140,), 250, 64, 20, lambda: _recurrent(256, 20)),
    "convolutional": Size("2x34x34, two convolutions, 10", (2, 34, 34), 50, 8, 10, lambda: _convolutional(10)),
}
DEFAULT = "feedforward"


def sized(name: str, folder: Path) -> Experiment:
    """The experiment of a built-in workload; its data go into ``folder``. Raises Invalid for an unknown name."""
    if name not in SIZES:
        raise Invalid([Problem("--size", f"there is no size {name!r}", f"name one of: {listed(SIZES)}")], "request")
    size = SIZES[name]
    path = folder / f"{name}.npz"
    np.savez(path, **_data(size))  # type: ignore[arg-type]  # no array is called allow_pickle
    model = Model.sequential(input=size.shape, dt=DT, layers=size.layers())
    training = Training(loss=CrossEntropy(over="mean"), optimizer=Adam(learning_rate=1e-3), batch_size=size.batch)
    return Experiment(name=name, model=model, data=Data(source="npz", options={"path": str(path)}), training=training)


def _data(size: Size) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    found: dict[str, np.ndarray] = {}
    for part, count in (("train", BATCHES * size.batch), ("validation", JUDGED)):
        found[f"x_{part}"] = (random.random((count, size.steps, *size.shape)) < RATE).astype(np.uint8)
        found[f"y_{part}"] = np.arange(count) % size.classes
    return found
