"""Each engine works in a process of its own: what it is asked, what it answers, and how it is waited for."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
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
class Trial:
    """What one engine is asked to do for a measurement of its speed.

    experiment: as plain data. precision: None is the engine's native one. traces: where what the probe records is
    written, .npz. batches: of the training set, which a round trains on. warmup: rounds before the first that counts;
    0: the probe alone. imports: the user's files and modules to import first. quiet: no warnings.
    """

    experiment: dict[str, Any]
    engine: str
    device: str | None
    precision: str | None
    traces: str
    batches: int = 4
    warmup: int = 0
    imports: tuple[str, ...] = ()
    quiet: bool = False


@dataclass(frozen=True)
class Ready:
    """An engine that waits to be timed. samples, steps: in a round, the latter of the optimizer.

    losses: of every batch so far. first_seconds: of compiling and the first round. peak_memory: as of ``Share``.
    """

    device: str
    precision: str
    versions: dict[str, str]
    samples: int = 0
    steps: int = 0
    losses: list[float] = field(default_factory=list)
    first_seconds: float = 0.0
    peak_memory: int | None = None


@dataclass(frozen=True)
class Lap:
    """One timed round: seconds of the wall's clock, and of all cores together."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Failure:
    """An engine that gave no answer: why, and what a command should end with."""

    message: str
    exit_code: int


class Ended(Exception):
    """A process that ended before it answered. code: as subprocess gives it, negative for a signal."""

    def __init__(self, code: int):
        self.code = code
        super().__init__(f"by signal {-code}" if code < 0 else f"with exit code {code}")


class Conversation:
    """A process that answers each line of JSON with one, and sleeps in between; ended where the ``with`` ends.

    environment: variables beside ours. log: a file for what it says to people, in place of our standard error.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None, log: Path | None = None
    ):
        with contextlib.ExitStack() as opened:
            said = None if log is None else opened.enter_context(log.open("w", encoding="utf-8"))
            # Ctrl-C reaches us alone, so that nobody else has to say something about it
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True, start_new_session=True,
                env={**os.environ, **(environment or {})})

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        if kind is not None:  # Ctrl-C too: nobody works on behind our back
            self._process.terminate()
        self.close()

    def ask(self, request: Mapping[str, Any]) -> Any:
        """Send one line and wait for the answer. Raises Ended."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise Ended(self._process.wait())
        return json.loads(answer)

    def close(self) -> None:
        """End the process by ending its input, and wait for that."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already, and ``ask`` has said so
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def engine_process() -> Conversation:
    """A process for one engine's work; what it and its progress print goes to standard error."""
    return Conversation([sys.executable, "-m", WORKER])


def told(process: Conversation, request: Mapping[str, Any]) -> dict[str, Any] | Failure:
    """An engine's answer, or why there is none."""
    try:
        answer: dict[str, Any] = process.ask(request)
    except Ended as ended:
        return Failure(f"its process ended {ended}; what it had to say stands above", 1)
    return Failure(**answer["failure"]) if "failure" in answer else answer


def asked(task: Task) -> Share | Failure:
    """Give a task to a process of its own and wait for the answer."""
    with engine_process() as process:
        answer = told(process, {"share": asdict(task)})
    return answer if isinstance(answer, Failure) else Share.of_data(answer)


def write_traces(path: str, traces: Mapping[str, np.ndarray]) -> None:
    """What a probe recorded, by "node.variable", for ``read_traces``."""
    np.savez(path, **traces)  # type: ignore[arg-type]  # no trace is called allow_pickle


def read_traces(path: str) -> dict[str, np.ndarray]:
    """What a probe recorded, by "node.variable"."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
