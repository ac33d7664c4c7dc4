"""The source "images": images or signals from one .npz file, encoded as spikes or currents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neuroport.data.binning import Binning
from neuroport.data.npz import PARTS, read_arrays
from neuroport.data.options import encoding as encoder
from neuroport.data.options import parts_of
from neuroport.data.packer import ArrayReader
from neuroport.data.paths import expanded
from neuroport.data.plan import Part, Plan
from neuroport.errors import InvalidData, InvalidExperiment, Problem


def load(
    path: str | Path, encoding: Any, *, validation: float = 0.15, test: float = 0.0, seed: int = 0, by: str = "class",
    classes: int = 0, cache: bool = True,
) -> Plan:
    """The source "images": x_train, y_train and, if wanted, x_validation, y_validation, x_test, y_test in a file.

    encoding: {type: Latency | Rate | Current, steps: ...} of images (N, *shape) in [0, 1] or uint8, or {type:
    Delta | Analog, ...} of signals (N, T, *shape); see ``data.encode``. y: class indices (N,), or traces
    (N, T, *shape). Where there is no validation (or test) part, a share of the training samples goes there.
    """
    packer = encoder(encoding)
    if isinstance(packer, Binning):
        wrong = "Binning is for events"
        raise InvalidExperiment([Problem("data.options.encoding", wrong, 'choose an encoder, or source: "events"')])
    file = expanded(path)
    arrays = read_arrays(file)
    held = [part for part in PARTS if f"x_{part}" in arrays or f"y_{part}" in arrays] or ["train"]
    missing = [f"{axis}_{part}" for part in dict.fromkeys(("train", *held)) for axis in "xy"
               if f"{axis}_{part}" not in arrays]
    if missing:
        mend = f"the file holds {', '.join(arrays) or 'nothing'}"
        raise InvalidData([Problem(f"{file}: {name}", "is missing", mend) for name in missing])
    readers = {part: ArrayReader(arrays[f"x_{part}"], arrays[f"y_{part}"], f"{file.name}: x_{part}") for part in held}
    parts = {part: Part.all(reader) for part, reader in readers.items()}
    if "validation" not in parts:
        parts |= parts_of(readers["train"], validation, seed, by, test=0.0 if "test" in parts else test)
    return Plan(name=file.stem, parts=parts, packer=packer, classes=classes, identity={"source": "images"},
                files={"images": file}, cache=cache)
