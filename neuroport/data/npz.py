"""Packed splits from .npz files: the user's own arrays, and the shipped ones. No pickle is ever loaded."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from neuroport.data.packing import Packed
from neuroport.data.paths import expanded
from neuroport.data.splits import Splits, splits
from neuroport.errors import InvalidData, Problem

PARTS = ("train", "validation", "test")


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name. Raises InvalidData where it is missing or no such file."""
    path = Path(path)
    if not path.is_file():
        raise InvalidData([Problem(str(path), "there is no such file", f"the path is taken from {Path.cwd()}")])
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it holds one array, not several by name")
        with archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        mend = "write it with np.savez_compressed, numbers alone"
        raise InvalidData([Problem(str(path), f"cannot be read as .npz: {error}", mend)]) from None


def read_array(path: Path) -> np.ndarray:
    """The array of an .npy file. Raises InvalidData."""
    if not path.is_file():
        raise InvalidData([Problem(str(path), "there is no such file", f"the path is taken from {Path.cwd()}")])
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, EOFError, ValueError) as error:
        raise InvalidData([Problem(str(path), f"cannot be read as .npy: {error}", "write it with np.save")]) from None


def own(path: str | Path) -> Splits:
    """The source "npz": x_train, y_train, x_validation, y_validation and, if wanted, x_test, y_test.

    x: (N, T, *shape), whole numbers 0..255. y: (N,), class indices.
    """
    path = expanded(path)
    arrays = read_arrays(path)
    wanted = [f"{axis}_{part}" for part in PARTS[:2] for axis in "xy"]
    if "x_test" in arrays or "y_test" in arrays:
        wanted += ["x_test", "y_test"]
    missing = [name for name in wanted if name not in arrays]
    if missing:
        held = ", ".join(arrays) or "nothing"
        raise InvalidData([Problem(f"{path}: {name}", "is missing", f"the file holds {held}") for name in missing])
    pairs = {part: (arrays[f"x_{part}"], arrays[f"y_{part}"]) for part in PARTS if f"x_{part}" in wanted}
    return splits(pairs["train"], pairs["validation"], pairs.get("test"), name=path.stem)


def save_packed(path: str | Path, data: Splits) -> None:
    """Write splits as they are packed."""
    arrays: dict[str, Any] = {"steps": np.int64(data.steps), "classes": np.int64(data.classes)}
    for part, packed in data.parts.items():
        arrays |= {f"{part}_values": packed.values, f"{part}_labels": packed.labels.astype(np.uint8),
                   f"{part}_binary": np.bool_(packed.binary)}
    np.savez_compressed(path, **arrays)


def load_packed(path: str | Path, name: str) -> Splits:
    """Read what ``save_packed`` wrote."""
    arrays = read_arrays(path)
    parts: dict[str, Any] = {
        part: Packed(arrays[f"{part}_values"], int(arrays["steps"]), arrays[f"{part}_labels"].astype(np.int32),
                     "bits" if arrays[f"{part}_binary"] else "counts")
        for part in PARTS if f"{part}_values" in arrays
    }
    return Splits(**parts, classes=int(arrays["classes"]), name=name)
