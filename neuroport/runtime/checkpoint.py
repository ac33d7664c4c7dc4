"""Checkpoints: everything that a training needs to go on, one file each, the newest few kept."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field
from safetensors import SafetensorError, safe_open

from neuroport.errors import Invalid, InvalidExperiment
from neuroport.model.description import Description
from neuroport.runtime.folder import RunFolder, checkpoint_files, place, safetensor_bytes

FORMAT = 1
_FACTS = "neuroport"  # the key of the safetensors header


class Checkpoints(Description):
    """When a training writes checkpoints, and how many of the newest it keeps.

    every_epochs: after every so many epochs. every_minutes: as soon as so many have passed since the one
    before, also within an epoch, which is cut into up to 8 pieces for this. None: not on that account. The last
    epoch is always followed by one.
    """

    error_class: ClassVar[type[Invalid]] = InvalidExperiment

    every_epochs: int | None = Field(1, gt=0)
    every_minutes: float | None = Field(None, gt=0, allow_inf_nan=False)
    keep: int = Field(3, gt=0)


EVERY_EPOCH = Checkpoints()


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A moment of a training. facts: plain data; arrays: by "kind/name".

    facts hold ``epoch`` and ``piece``: how many epochs were done, and pieces of the next one.
    """

    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]

    @property
    def name(self) -> str:
        return f"{self.facts['epoch']:04}-{self.facts['piece']:04}.safetensors"

    def of_kind(self, kind: str) -> dict[str, np.ndarray]:
        """The arrays whose names begin with "kind/", without that."""
        return {name.removeprefix(f"{kind}/"): value for name, value in self.arrays.items()
                if name.startswith(f"{kind}/")}

    def to_bytes(self) -> bytes:
        """As a safetensors file; the facts stand in its header."""
        facts = {"format": FORMAT, "digest": _digest(self.arrays), **self.facts}
        return safetensor_bytes(self.arrays, {_FACTS: json.dumps(facts)})

    @staticmethod
    def read(path: Path) -> Checkpoint:
        """Raises BrokenCheckpoint where the file is not what was written."""
        try:
            with safe_open(path, framework="np") as file:
                facts = json.loads((file.metadata() or {})[_FACTS])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
            written, version = facts.pop("digest"), facts.pop("format")
        except (SafetensorError, OSError, ValueError, LookupError) as error:
            raise BrokenCheckpoint(f"{path} is not whole: {error}") from None
        if version != FORMAT:
            raise BrokenCheckpoint(f"{path} has format {version}; this version of neuroport reads {FORMAT}")
        if written != _digest(arrays):
            raise BrokenCheckpoint(f"{path} is not whole: its content has changed since it was written")
        return Checkpoint(facts, arrays)


class BrokenCheckpoint(Exception):
    """A file that cannot be taken as a checkpoint, and why."""


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(np.asarray(arrays[name], order="C").tobytes())
    return digest.hexdigest()


@dataclass
class Keeper:
    """Writes a training's checkpoints when they are due, and removes the oldest."""

    folder: RunFolder
    wanted: Checkpoints
    before: float = field(default_factory=time.monotonic)  # when the last one was written

    def due(self, epoch: int, piece: int, over: bool) -> bool:
        """Whether one is due after ``epoch`` epochs and ``piece`` pieces of the next."""
        every = self.wanted.every_epochs
        if piece == 0 and (over or every is not None and epoch % every == 0):
            return True
        minutes = self.wanted.every_minutes
        return minutes is not None and time.monotonic() - self.before >= 60 * minutes

    def write(self, checkpoint: Checkpoint) -> None:
        """The checkpoint, and then, when it stands, fewer older ones. Raises NotWritten."""
        self.folder.write_checkpoint(checkpoint.name, checkpoint.to_bytes())
        self.before = time.monotonic()
        files, now = checkpoint_files(self.folder.path), place(Path(checkpoint.name))
        kept = [path for path in files if place(path) <= now][: self.wanted.keep]
        self.folder.remove(path for path in files if path not in kept)  # newer ones: from before a resume, not whole
