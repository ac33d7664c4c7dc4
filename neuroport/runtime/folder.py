"""The folder of a run. A file in it is whole or absent: written beside its place, then moved there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save as safetensors

from neuroport.data.disk import write_atomically
from neuroport.errors import NotWritten, UnusableFolder
from neuroport.model.training import Experiment
from neuroport.runtime.claim import Claim

EXPERIMENT, METRICS, SUMMARY = "experiment.yaml", "metrics.jsonl", "summary.json"
BEST, LAST, CHECKPOINTS = "parameters.safetensors", "last.safetensors", "checkpoints"
START = "start.safetensors"  # only where a training does not start from what its seed draws
FILES = (EXPERIMENT, METRICS, SUMMARY, BEST, LAST, START)
Row = Mapping[str, Any]
_CHECKPOINT = re.compile(r"\d{4,}-\d{4,}\.safetensors")


@dataclass(frozen=True)
class RunFolder:
    """Where a run is written. Make one with ``create``, or with ``reopen`` for a run that goes on.

    What it writes raises NotWritten where the disk is full or the folder can no longer be written.
    """

    path: Path

    @staticmethod
    def create(
        path: str | Path, experiment: Experiment, overwrite: bool = False, claim: Claim | None = None,
        start: Mapping[str, np.ndarray] | None = None,
    ) -> RunFolder:
        """Make a folder for a new run and write its experiment. overwrite: files of another run there are removed.

        claim: takes the folder, before anything in it is looked at. start: parameters that are given to start from.
        Raises UnusableFolder where it cannot be written, holds another run or is written by another process.
        """
        path = Path(path)
        if claim is not None:
            with _opening(path):
                path.mkdir(parents=True, exist_ok=True)
            claim.take(path)
        held = held_files(path)
        if held and not overwrite:
            raise UnusableFolder(
                f"{path} holds another run already (found {', '.join(held)})\n  mend: choose a new folder, go on with "
                "that run (--resume, fit(..., resume=True)), or replace it (--overwrite, fit(..., overwrite=True))"
            )
        with _opening(path):
            for name in FILES:
                (path / name).unlink(missing_ok=True)
            for file in checkpoint_files(path):
                file.unlink()
            (path / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
            _remove_rests(path)
            if start is not None:
                write_atomically(path / START, safetensor_bytes(start))
            write_atomically(path / EXPERIMENT, experiment.to_yaml().encode())
        return RunFolder(path)

    @staticmethod
    def reopen(path: Path, experiment: Experiment, history: Sequence[Row]) -> RunFolder:
        """A run's folder as it was when ``history`` was all there was, without the rests of a crash.

        Raises UnusableFolder where it cannot be written.
        """
        with _opening(path):
            (path / CHECKPOINTS).mkdir(exist_ok=True)
            _remove_rests(path)
            (path / SUMMARY).unlink(missing_ok=True)  # first: what follows makes the run an unfinished one
            write_atomically(path / METRICS, b"".join(map(_line, history)))
            write_atomically(path / EXPERIMENT, experiment.to_yaml().encode())
        return RunFolder(path)

    def add_row(self, row: Row) -> None:
        """One more line of metrics.jsonl; where there is no room for all of it, none of it."""
        with self._writing(METRICS), open(self.path / METRICS, "ab", buffering=0) as file:
            before, rest = file.tell(), memoryview(_line(row))
            try:
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(before)
                raise

    def write_parameters(self, name: str, parameters: Mapping[str, np.ndarray]) -> None:
        """Parameters as ``BEST`` or ``LAST``."""
        self._write(name, safetensor_bytes(parameters))

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        self._write(SUMMARY, json.dumps(summary, indent=2, allow_nan=False).encode() + b"\n")

    def write_checkpoint(self, name: str, content: bytes) -> None:
        self._write(f"{CHECKPOINTS}/{name}", content)

    def remove(self, files: Iterable[Path]) -> None:
        """Files that are no longer wanted."""
        for path in files:
            with self._writing(path.name):
                path.unlink(missing_ok=True)

    def _write(self, name: str, content: bytes) -> None:
        with self._writing(name):
            write_atomically(self.path / name, content)

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        """Turns what the disk says into what it means for the run."""
        try:
            yield
        except OSError as error:
            files = [file.relative_to(self.path) for file in checkpoint_files(self.path)]
            lost, then = ("what was trained since the last checkpoint", f"goes on from {files[0]}") if files else (
                "what was trained so far, no checkpoint stands yet", "begins again")
            raise NotWritten(
                f"the run in {self.path} cannot be written any more: {error.strerror or error} (at {name})\n"
                f"  lost: {lost}; every file there is whole\n"
                "  mend: make room there, or make it writable; then the same command with --resume "
                f"(fit(..., resume=True)) {then}"
            ) from error


def held_files(path: Path) -> list[str]:
    """Which files of a run a folder holds."""
    found = [name for name in FILES if (path / name).exists()]
    return found + ([CHECKPOINTS] if checkpoint_files(path) else [])


def checkpoint_files(path: Path) -> list[Path]:
    """The checkpoints in a run's folder, the newest first."""
    found = [file for file in (path / CHECKPOINTS).glob("*.safetensors") if _CHECKPOINT.fullmatch(file.name)]
    return sorted(found, key=place, reverse=True)


def place(checkpoint: Path) -> tuple[int, int]:
    """The moment that a checkpoint's name says: epochs done, and pieces of the next one."""
    epoch, _, piece = checkpoint.stem.partition("-")
    return int(epoch), int(piece)


def unused(path: Path) -> Path:
    """The path itself, or with -2, -3, ... behind it: the first that does not exist."""
    candidate, count = path, 1
    while candidate.exists():
        count += 1
        candidate = path.with_name(f"{path.name}-{count}")
    return candidate


def safetensor_bytes(arrays: Mapping[str, np.ndarray], metadata: dict[str, str] | None = None) -> bytes:
    """Arrays in the safetensors format, names in order; equal arrays give equal bytes."""
    ordered = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    return bytes(safetensors(ordered, metadata))


def _line(row: Row) -> bytes:
    return json.dumps(row, allow_nan=False).encode() + b"\n"


def _remove_rests(path: Path) -> None:
    """What writing left behind when it was cut off."""
    for rest in [*path.glob(".*.tmp"), *(path / CHECKPOINTS).glob(".*.tmp")]:
        rest.unlink(missing_ok=True)


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnusableFolder(
            f"a run cannot be written to {path}: {error.strerror or error}\n"
            "  mend: choose a folder that you may write to, on a disk with space left"
        ) from None
