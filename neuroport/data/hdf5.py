"""Spikes from HDF5 in the layout of the Spiking Heidelberg Digits (Cramer et al. 2022, zenkelab.org/datasets).

``spikes/times``: (N,) lists of seconds; ``spikes/units``: (N,) lists of channels; ``labels``: (N,). If wanted,
``extra/keys``: names of the classes; ``extra/speaker`` or other ``extra/NAME``: (N,) whole numbers, groups to split by.
Read a piece at a time, never as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neuroport.data.events import Events
from neuroport.data.options import binning, parts_of
from neuroport.data.paths import expanded, folder, only
from neuroport.data.plan import Part, Plan
from neuroport.errors import InvalidData, Problem

CHANNELS = 700
SUFFIXES = (".h5", ".hdf5")


class Hdf5Reader:
    """The samples of one file."""

    def __init__(self, path: Path, channels: int = CHANNELS, sort: bool = False):
        self.path, self.channels, self.sort = path, channels, sort
        try:
            with h5py.File(path, "r") as file:
                self.labels = np.asarray(file["labels"][()])
                self.count = len(file["spikes/times"])
                problems = list(_problems(file, path))
        except (OSError, KeyError) as error:
            mend = "give a file with spikes/times, spikes/units and labels, as the Spiking Heidelberg Digits have them"
            wrong = f"cannot be read as HDF5 with spikes and labels: {' '.join(str(error).split())}"
            raise InvalidData([Problem(str(path), wrong, mend)]) from None
        if problems:
            raise InvalidData(problems)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.channels,)

    def __len__(self) -> int:
        return self.count

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Names of the classes; () where the file has none."""
        with h5py.File(self.path, "r") as file:
            held = file["extra/keys"][()] if "extra/keys" in file else ()
        return tuple(key.decode() if isinstance(key, bytes) else str(key) for key in held)

    def groups(self, name: str) -> np.ndarray:
        """``extra/NAME`` of each sample, (N,). Raises InvalidData where there is none."""
        with h5py.File(self.path, "r") as file:
            if f"extra/{name}" not in file or file[f"extra/{name}"].shape != (self.count,):
                held = ", ".join(key for key, one in file.get("extra", {}).items() if one.shape == (self.count,))
                mend = f"split by one of: class, sample{', ' + held if held else ''}"
                raise InvalidData([Problem(f"{self.path}: extra/{name}", "is not there for each sample", mend)])
            return np.asarray(file[f"extra/{name}"][()])

    def read(self, samples: np.ndarray) -> Events:
        try:
            with h5py.File(self.path, "r") as file:
                times, units = (_rows(file[f"spikes/{name}"], samples) for name in ("times", "units"))
        except OSError as error:
            wrong = f"cannot be read at samples {samples[0]} to {samples[-1]}: {error}"
            raise InvalidData([Problem(str(self.path), wrong, "fetch the file again: it is damaged")]) from None
        try:
            return Events.of(list(zip(times, units, strict=True)), self.labels[samples], self.shape, sort=self.sort,
                             numbers=samples)
        except InvalidData as error:
            named = [Problem(f"{self.path.name}: {one.path}", one.wrong, one.mend) for one in error.problems]
            raise InvalidData(named, "events") from None


def _rows(dataset: Any, samples: np.ndarray) -> list[np.ndarray]:
    """Lists of some samples, ascending: as a stretch where most of it is wanted, else one by one."""
    first, last = int(samples[0]), int(samples[-1])
    if last - first < 2 * len(samples):
        return list(dataset[first:last + 1][samples - first])
    return [dataset[int(sample)] for sample in samples]


def _problems(file: Any, path: Path) -> Iterator[Problem]:
    count = len(file["spikes/times"])
    for name in ("spikes/units", "labels"):
        if len(file[name]) != count:
            wrong = f"holds {len(file[name])} samples, spikes/times {count}"
            yield Problem(f"{path}: {name}", wrong, "give one for each sample")
    for name in ("spikes/times", "spikes/units"):
        if h5py.check_vlen_dtype(file[name].dtype) is None:
            yield Problem(f"{path}: {name}", f"holds {file[name].dtype}, not a list for each sample",
                          "write it with h5py.vlen_dtype")


def load(
    path: str | Path = "", *, dt: float, steps: int | None = None, duration: float | None = None, start: float = 0.0,
    pool: int = 1, values: str = "binary", beyond: str = "crop", train: str = "", test: str = "",
    validation_file: str = "", validation: float = 0.1, seed: int = 0, by: str = "class",
    speakers: tuple[int, ...] = (), channels: int = CHANNELS, sort: bool = False, cache: bool = True,
) -> Plan:
    """The source "hdf5".

    path: a folder that holds one file for training (*train*.h5) and, if wanted, for test (*test*.h5) and validation
    (*valid*.h5); or name them: train, test, validation_file. Without a file for validation, a share (validation) of the
    training samples validates, drawn by ``seed``: by "class" (each alike), "sample", or as whole groups by "speaker"
    or another name of extra/; ``speakers``: these validate. The rest: see ``data.binning.Binning``.
    """
    packer = binning(dt=dt, steps=steps, duration=duration, start=start, pool=pool, values=values, beyond=beyond)
    files = _files(path, {"train": train, "validation": validation_file, "test": test})
    readers = {part: Hdf5Reader(file, channels, sort) for part, file in files.items()}
    parts = {name: Part.all(reader) for name, reader in readers.items()}
    if "validation" not in parts:
        parts |= parts_of(readers["train"], validation, seed, by, readers["train"].groups, speakers)
    keys = readers["train"].keys
    return Plan(
        name=(expanded(path).name if path else files["train"].stem) or "hdf5", parts=parts, packer=packer,
        classes=len(keys), identity={"source": "hdf5", "channels": channels, "sort": sort}, files=files, cache=cache,
    )


def _files(path: str | Path, named: dict[str, str]) -> dict[str, Path]:
    found = {part: expanded(given, part) for part, given in named.items() if given}
    if path:
        where = folder(path, "train.h5 and test.h5")
        inside = [file for file in where.iterdir() if file.suffix in SUFFIXES]
        for part, word in (("train", "train"), ("validation", "valid"), ("test", "test")):
            matching = [file for file in inside if word in file.name.lower()]
            if part not in found and (matching or part == "train"):
                found[part] = only(matching, where, f"file with {word!r} in its name, such as {word}.h5")
    elif "train" not in found:
        raise InvalidData([Problem("data.options.path", "is missing", "give the folder of train.h5 and test.h5")])
    return found
