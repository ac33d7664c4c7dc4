"""The source "folder": .npy and .npz files, one for each sample, or one for all.

    set/train/CLASS/*.npy          a sample each, in a folder for each class; likewise test and, if wanted, validation
    set/CLASS/*.npy                all of them, from which shares go to validation and test
    set/x_train.npy, y_train.npy   all samples of a part in one array (N, T, *shape), memory-mapped

A sample is activity (T, *shape), or events: a structured array with the columns t, x, y, p, or an .npz of arrays of
these names, or of times (seconds) and units. No pickle is ever loaded.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from neuroport.data import paths
from neuroport.data.encode import Analog
from neuroport.data.events import Events, columns
from neuroport.data.layout import Layout
from neuroport.data.options import binning, parts_of
from neuroport.data.packer import ArrayReader, Packer, Reader, dense_rows
from neuroport.data.plan import Part, Plan
from neuroport.data.tally import Tally
from neuroport.errors import InvalidData, InvalidExperiment, Problem

PARTS = ("train", "validation", "test")
SUFFIXES = (".npy", ".npz")


class Dense(Packer):
    """Activity that is binned already: whole numbers, 0/1 ("binary") or 0..255 ("counts")."""

    values: Literal["binary", "counts"] = "binary"

    @property
    def layout(self) -> Layout:
        return "bits" if self.values == "binary" else "counts"

    def length(self, shape: tuple[int, ...]) -> int:
        return shape[0]

    def packed_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape[1:]

    def pack(self, raw: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, Tally]:
        top = 1 if self.values == "binary" else 255
        bad = ((raw < 0) | (raw > top) | (raw != np.floor(raw))).reshape(len(raw), -1).any(1)
        if bad.any():
            wrong = f"holds values that are no whole numbers in 0..{top}"
            mend = "give values: counts or values: floats" if top == 1 else "give values: floats"
            raise InvalidData([Problem(f"sample {samples[int(bad.argmax())]}", wrong, mend)])
        return dense_rows(raw.astype(np.uint8), self.layout, raw.shape[1])


class FileReader:
    """Samples in a file each. Files of activity give arrays, files of events give Events."""

    def __init__(self, files: Sequence[Path], labels: np.ndarray, shape: tuple[int, ...] = (), time_unit: float = 1.0,
                 sort: bool = False, align: bool = False):
        self.files, self.labels, self.time_unit, self.sort, self.align = files, labels, time_unit, sort, align
        first = read_sample(files[0])
        self.events = not isinstance(first, np.ndarray) or bool(columns(first))
        if self.events and not shape:
            mend = "give shape: [channels], or [polarities, height, width] for the columns t, x, y, p"
            raise InvalidExperiment([Problem("data.options.shape", "is missing: the files hold events", mend)])
        self._shape = tuple(shape) if self.events else np.shape(first)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    def __len__(self) -> int:
        return len(self.files)

    def read(self, samples: np.ndarray) -> Any:
        found = [read_sample(self.files[sample]) for sample in samples]
        if self.events:
            try:
                labels = self.labels[samples]
                return Events.of(found, labels, self.shape, self.time_unit, self.sort, self.align, samples)
            except InvalidData as error:
                raise InvalidData([self._named(problem) for problem in error.problems], "events") from None
        for sample, one in zip(samples, found, strict=True):
            if np.shape(one) != self.shape or one.dtype.kind not in "buif" or not np.isfinite(one).all():
                wrong = f"holds {np.shape(one)} of {one.dtype}, perhaps NaN; the first sample has {self.shape}"
                mend = "give all samples the same steps and shape, finite numbers"
                raise InvalidData([Problem(str(self.files[sample]), wrong, mend)])
        return np.stack(found)

    def _named(self, problem: Problem) -> Problem:
        """With the file in place of the sample's number: "sample 17, event 3"."""
        place, comma, event = problem.path.partition(",")
        number = place.removeprefix("sample ").partition(":")[0]
        file = "/".join(self.files[int(number)].parts[-2:]) if number.isdigit() else place
        return Problem(f"{file}{comma}{event}", problem.wrong, problem.mend)


def read_sample(path: Path) -> Any:
    """One file: an array, or a pair (times, units). Raises InvalidData."""
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.lib.npyio.NpzFile):
            with found:
                return _of_archive({name: found[name] for name in found.files})
        return found
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        mend = "write it with np.save or np.savez, numbers alone"
        raise InvalidData([Problem(str(path), f"cannot be read: {error}", mend)]) from None


def _of_archive(arrays: dict[str, np.ndarray]) -> Any:
    if {"times", "units"} <= set(arrays):
        return arrays["times"], arrays["units"]
    names = [name for name in ("t", "x", "y", "p") if name in arrays]
    if {"t", "x"} <= set(names):
        dtype = np.dtype([(name, arrays[name].dtype) for name in names])
        events = np.empty(len(arrays["t"]), dtype)
        for name in names:
            events[name] = arrays[name]
        return events
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    raise ValueError(f"it holds {', '.join(arrays)}: neither times and units, nor t, x, y, p, nor one array")


def load(
    path: str | Path, *, dt: float | None = None, steps: int | None = None, duration: float | None = None,
    start: float = 0.0, pool: int | list[int] = 1, values: str = "binary", beyond: str = "crop",
    shape: tuple[int, ...] = (), time_unit: float = 1.0, sort: bool = False, align: bool = False,
    validation: float = 0.15, test: float = 0.15, seed: int = 0, by: str = "class", cache: bool = True,
) -> Plan:
    """The source "folder".

    For events: dt, steps or duration, start, pool, values, beyond as in ``data.binning.Binning``; shape of a step,
    (channels,) or (P, H, W); time_unit: seconds of a time of 1 (1e-6: microseconds); sort, align: see ``Events.of``.
    For activity: values: "binary", "counts" or "floats". Classes are the folders' names in alphabetical order.
    Parts that have no folder are shares, drawn by ``seed`` by "class" (each alike) or "sample".
    """
    where = paths.folder(path, "folders of .npy or .npz files, or x_train.npy and y_train.npy")
    readers: dict[str, Reader]
    if (where / "x_train.npy").is_file():
        readers, files, classes = _whole_arrays(where)
    else:
        readers, files, classes = _one_file_each(where, shape, time_unit, sort, align)
    packer: Packer
    if any(getattr(reader, "events", False) for reader in readers.values()):
        packer = binning(dt=dt, steps=steps, duration=duration, start=start, pool=pool, values=values, beyond=beyond)
    elif values == "floats":
        packer = Analog(dt=dt)
    elif values in ("binary", "counts"):
        packer = Dense(values=values)
    else:
        mend = "choose binary, counts or floats"
        raise InvalidExperiment([Problem("data.options.values", f"is {values!r}", mend)])
    parts = {part: Part.all(reader) for part, reader in readers.items()}
    if "validation" not in parts:
        parts |= parts_of(readers["train"], validation, seed, by, test=0.0 if "test" in parts else test)
    identity = {"source": "folder", "shape": list(shape), "time_unit": time_unit, "sort": sort, "align": align}
    return Plan(name=where.name or "folder", parts=parts, packer=packer, classes=classes, identity=identity,
                files=files, cache=cache)


def _whole_arrays(where: Path) -> tuple[dict[str, Reader], dict[str, Path], int]:
    readers: dict[str, Reader] = {}
    files: dict[str, Path] = {}
    for part in PARTS:
        pair = [where / f"{axis}_{part}.npy" for axis in "xy"]
        if not any(file.is_file() for file in pair):
            continue
        try:
            x, y = (np.load(file, mmap_mode="r", allow_pickle=False) for file in pair)
        except (OSError, EOFError, ValueError) as error:
            mend = f"give x_{part}.npy and y_{part}.npy, numbers alone"
            raise InvalidData([Problem(str(where), f"the part {part} cannot be read: {error}", mend)]) from None
        readers[part] = ArrayReader(x, y, f"x_{part}.npy")
        files |= {file.name: file for file in pair}
    return readers, files, 0


def _one_file_each(
    where: Path, shape: tuple[int, ...], time_unit: float, sort: bool, align: bool,
) -> tuple[dict[str, Reader], dict[str, Path], int]:
    folders = {part: where / part for part in PARTS if (where / part).is_dir()} or {"train": where}
    if "train" not in folders:
        raise InvalidData([Problem(str(where), "holds no folder train", "put the training samples there")])
    found = {part: _samples(folder) for part, folder in folders.items()}
    names = sorted({name for samples in found.values() for name, _ in samples})
    readers: dict[str, Reader] = {}
    for part, samples in found.items():
        if not samples:
            mend = "put .npy or .npz files there, in a folder for each class"
            raise InvalidData([Problem(str(folders[part]), "holds no samples", mend)])
        labels = np.array([names.index(name) for name, _ in samples])
        readers[part] = FileReader([file for _, file in samples], labels, shape, time_unit, sort, align)
    files = {file.relative_to(where).as_posix(): file for samples in found.values() for _, file in samples}
    return readers, files, len(names)


def _samples(folder: Path) -> list[tuple[str, Path]]:
    """Class and file of each sample, in alphabetical order."""
    return [(one.name, file) for one in sorted(folder.iterdir()) if one.is_dir() and not one.name.startswith(".")
            for file in sorted(one.iterdir()) if file.suffix in SUFFIXES]
