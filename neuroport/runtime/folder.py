"""The folder of a run. A file in it is whole or absent: written beside its place, then moved there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save as safetensors

from neuroport.errors import UnusableFolder
from neuroport.model.training import Experiment

EXPERIMENT, METRICS, SUMMARY = "experiment.yaml", "metrics.jsonl", "summary.json"
BEST, LAST, CHECKPOINTS = "parameters.safetensors", "last.safetensors", "checkpoints"


@dataclass(frozen=True)
class RunFolder:
    """Where a run is written. Make one with ``create``."""

    path: Path

    @staticmethod
    def create(path: str | Path, experiment: Experiment) -> RunFolder:
        """Claim a folder for a new run and write its experiment.

        Raises UnusableFolder where it cannot be written or holds another run.
        """
        path = Path(path)
        held = [name for name in (EXPERIMENT, METRICS, SUMMARY, BEST, LAST) if (path / name).exists()]
        if held:
            raise UnusableFolder(
                f"{path} holds another run already (found {', '.join(held)})\n  mend: choose a new folder, or remove it"
            )
        try:
            (path / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
            write_atomically(path / EXPERIMENT, experiment.to_yaml().encode())
        except OSError as error:
            raise UnusableFolder(
                f"a run cannot be written to {path}: {error.strerror or error}\n"
                "  mend: choose a folder that you may write to, on a disk with space left"
            ) from None
        return RunFolder(path)

    def add_row(self, row: Mapping[str, Any]) -> None:
        """One more line of metrics.jsonl."""
        with open(self.path / METRICS, "ab") as file:
            file.write(json.dumps(row, allow_nan=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def write_parameters(self, name: str, parameters: Mapping[str, np.ndarray]) -> None:
        """Parameters as ``BEST`` or ``LAST``."""
        write_atomically(self.path / name, parameter_bytes(parameters))

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        write_atomically(self.path / SUMMARY, json.dumps(summary, indent=2, allow_nan=False).encode() + b"\n")


def unused(path: Path) -> Path:
    """The path itself, or with -2, -3, ... behind it: the first that does not exist."""
    candidate, count = path, 1
    while candidate.exists():
        count += 1
        candidate = path.with_name(f"{path.name}-{count}")
    return candidate


def parameter_bytes(parameters: Mapping[str, np.ndarray]) -> bytes:
    """Parameters in the safetensors format, names in order."""
    ordered = {name: np.ascontiguousarray(parameters[name]) for name in sorted(parameters)}
    return bytes(safetensors(ordered))


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file's content at once: a reader, or a crash, sees the old one or the new one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
