"""Recordings for the tests, and the files they come in."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from neuroport.data import Events

Sample = tuple[np.ndarray, np.ndarray]
DATA = Path(os.environ.get("NEUROPORT_DATA") or Path(__file__).parents[2] / "shared" / "data")


def nir_recording(name: str) -> Path:
    """A file that the NIR paper published. The test that asks for it is skipped where it is missing."""
    path = DATA / "nir" / name
    if not path.is_file():
        pytest.skip(f"{path.name} of the NIR paper is not there: set NEUROPORT_DATA to the folder that holds nir/")
    return path


def samples(count: int, channels: int = 12, seconds: float = 0.5, seed: int = 0, mean: int = 30) -> list[Sample]:
    """Pairs of sorted float16 times and units; some hold no event."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        size = random.poisson(mean) * (random.random() > 0.1)
        times = np.sort((random.random(size) * seconds).astype(np.float16))
        found.append((times, random.integers(0, channels, size).astype(np.uint16)))
    return found


def events(count: int, channels: int = 12, classes: int = 3, seed: int = 0) -> Events:
    return Events.of(samples(count, channels, seed=seed), np.arange(count) % classes, (channels,))


def write_hdf5(
    path: Path, recorded: list[Sample], labels: np.ndarray, speakers: np.ndarray | None = None,
    keys: tuple[bytes, ...] = (b"a", b"b", b"c"),
) -> Path:
    """A file in the layout of the Spiking Heidelberg Digits."""
    with h5py.File(path, "w") as file:
        for name, part, kind in (("times", 0, np.float16), ("units", 1, np.uint16)):
            held = file.create_dataset(f"spikes/{name}", (len(recorded),), h5py.vlen_dtype(kind))
            for index, sample in enumerate(recorded):
                held[index] = sample[part]
        file["labels"] = labels.astype(np.uint16)
        file["extra/speaker"] = (np.arange(len(recorded)) % 4 if speakers is None else speakers).astype(np.uint16)
        file["extra/keys"] = np.array(keys)
    return path


def write_digits(folder: Path, train: int = 24, test: int = 6, channels: int = 700) -> Path:
    """train.h5 and test.h5 in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count, seed in (("train", train, 1), ("test", test, 2)):
        write_hdf5(folder / f"{name}.h5", samples(count, channels, seed=seed), np.arange(count) % 3)
    return folder
