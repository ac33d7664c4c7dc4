"""The source "events": one's own recordings as event arrays in one .npz file, and how to write it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neuroport.data.events import Events
from neuroport.data.npz import PARTS, read_arrays
from neuroport.data.options import binning, parts_of
from neuroport.data.paths import expanded
from neuroport.data.plan import Part, Plan
from neuroport.errors import InvalidData, Problem

ARRAYS = ("times", "units", "offsets", "labels")


def save(path: str | Path, train: Events, validation: Events | None = None, test: Events | None = None) -> None:
    """Write recordings for the source "events": shape, and PART_times, PART_units, PART_offsets, PART_labels.

    And PART_rounding, where the recordings have one.
    """
    given = {"train": train, "validation": validation, "test": test}
    arrays: dict[str, Any] = {"shape": np.array(train.shape)}
    for part, events in given.items():
        if events is not None:
            arrays |= {f"{part}_{name}": getattr(events, name) for name in ARRAYS}
            if events.rounding is not None:
                arrays[f"{part}_rounding"] = events.rounding
    np.savez_compressed(path, **arrays)


def read(path: str | Path) -> dict[str, Events]:
    """The parts that a file holds. Raises InvalidData."""
    arrays = read_arrays(path)
    held = [part for part in PARTS if any(name.startswith(f"{part}_") for name in arrays)] or ["train"]
    wanted = ["shape", *(f"{part}_{name}" for part in held for name in ARRAYS)]
    missing = [name for name in wanted if name not in arrays]
    if missing:
        mend = "write the file with neuroport.data.event_file.save"
        raise InvalidData([Problem(f"{path}: {name}", "is missing", mend) for name in missing])
    shape, found = tuple(int(length) for length in np.atleast_1d(arrays["shape"])), {}
    for part in held:
        try:
            found[part] = Events(
                **{name: arrays[f"{part}_{name}"] for name in ARRAYS}, shape=shape,
                rounding=arrays.get(f"{part}_rounding"))
        except InvalidData as error:
            raise InvalidData([problem.under(part) for problem in error.problems], f"events in {path}") from None
    return found


def load(
    path: str | Path, *, dt: float, steps: int | None = None, duration: float | None = None, start: float = 0.0,
    pool: int | list[int] = 1, values: str = "binary", beyond: str = "crop", validation: float = 0.15,
    test: float = 0.0, seed: int = 0, by: str = "class", classes: int = 0, cache: bool = True,
) -> Plan:
    """The source "events": see ``save`` for the file.

    Where it holds no part validation (or test), a share of the training samples goes there, drawn by ``seed``, by
    "class" (each alike) or "sample". The rest: see ``data.binning.Binning``.
    """
    packer = binning(dt=dt, steps=steps, duration=duration, start=start, pool=pool, values=values, beyond=beyond)
    file = expanded(path)
    events = read(file)
    parts = {name: Part.all(one) for name, one in events.items()}
    if "validation" not in parts:
        parts |= parts_of(events["train"], validation, seed, by, test=0.0 if "test" in parts else test)
    return Plan(name=file.stem, parts=parts, packer=packer, classes=classes, identity={"source": "events"},
                files={"events": file}, cache=cache)
