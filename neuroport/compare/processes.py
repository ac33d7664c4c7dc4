"""Each engine works in a process of its own: what it is asked, what it answers, and how it is waited for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

WORKER = "neuroport.compare.worker"


@dataclass(frozen=True)
class Task:
    """What one engine is asked to do.

    experiment: as plain data, overrides resolved. traces: where what the probe records is written, .npz.
    plain: the same in float32, where the engine can (the reference's, for equal bits); "" for none.
    seeds: of the trainings; none: the first steps alone. runs: a folder for them; "" for none.
    imports: the user's files and modules to import first. quiet: no progress.
    """

    experiment: dict[str, Any]
    engine: str
    device: str | None
    traces: str
    plain: str = ""
    seeds: tuple[int, ...] = ()
    runs: str = ""
    imports: tuple[str, ...] = ()
    quiet: bool = False


@dataclass(frozen=True)
class Trained:
    """One training. summary: as in summary.json; history: as in metrics.jsonl."""

    seed: int
    summary: dict[str, Any]
    history: list[dict[str, Any]]


@dataclass(frozen=True)
class Share:
    """What one engine's process found.

    first_losses: of the first batches from the experiment's seed; first_seconds: how long those took, compiling
    included. peak_memory: bytes of host memory that the process held at most; None where the system does not say.
    """

    engine: str
    device: str
    precision: str
    versions: dict[str, str]
    first_losses: list[float]
    first_seconds: float
    trainings: list[Trained] = field(default_factory=list)
    peak_memory: int | None = None

    @staticmethod
    def of_data(data: Mapping[str, Any]) -> Share:
        return Share(**{**data, "trainings": [Trained(**one) for one in data["trainings"]]})


@dataclass(frozen=True)
class Failure:
    """An engine that gave no answer: why, and what a command should end with."""

    message: str
    exit_code: int


def asked(task: Task, place: Path) -> Share | Failure:
    """Give a task to a process of its own and wait for the answer. place: a folder for the task's own file."""
    file = place / f"{task.engine}.task.json"
    file.write_text(json.dumps(asdict(task)))
    command = [sys.executable, "-m", WORKER, str(file)]
    # progress goes to standard error; Ctrl-C reaches us alone, so that nobody else has to say something about it
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            said, _ = process.communicate()
        except BaseException:  # Ctrl-C too: no engine works on behind our back
            process.terminate()
            raise
    try:
        answer = json.loads(said)
    except ValueError:
        code = process.returncode
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return Failure(f"its process ended {how}; what it had to say stands above", 1)
    return Failure(**answer["failure"]) if "failure" in answer else Share.of_data(answer)


def write_traces(path: str, traces: Mapping[str, np.ndarray]) -> None:
    """What a probe recorded, by "node.variable", for ``read_traces``."""
    np.savez(path, **traces)  # type: ignore[arg-type]  # no trace is called allow_pickle


def read_traces(path: str) -> dict[str, np.ndarray]:
    """What a probe recorded, by "node.variable"."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
