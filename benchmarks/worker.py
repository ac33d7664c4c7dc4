"""One contestant in its own process: JSON lines in, JSON lines out.

    python worker.py MODULE [ARGUMENT ...]

MODULE (`peers.spyx_step`, `neuroport_step`, ...) has one public function, `prepare(workload, *arguments)`. It returns
a `Contestant` (contestant.py), or the pair (versions, run) alone. The driver sends, and gets back:

    {"prepare": {workload}, "warmup": n}  ->  {"ready": {versions, threads, compile_seconds, losses}}
    {"run": k}                            ->  {"cpu_seconds", "wall_seconds", "idle_cpu_seconds", "loss"}
    {"agree": true}                       ->  {"forward": path of an .npy, or null}
    {"memory": true}                      ->  {"saved_mib": number or null}

The last two are answered by a contestant prepared afresh, so at the initial weights, and leave the one that runs as it
is. The file is the asker's to delete.

CPU time is that of the whole process, all threads. `idle_cpu_seconds` was used between the answer to the last
message and this one: a worker that is waiting must use next to none, or it slows down the one that is measured.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
import tempfile
import time
from typing import Any, TextIO

import numpy as np
from contestant import Contestant, Run
from workload import Workload


def build(module: str, arguments: list[str], workload: Workload) -> Contestant:
    """The contestant at its initial weights."""
    return Contestant.of(importlib.import_module(module).prepare(workload, *arguments))


def prepare(module: str, arguments: list[str], request: dict[str, Any]) -> tuple[dict[str, Any], Run]:
    """Builds the contestant and takes the warm-up runs; returns the message `ready` and the run to be timed.

    compile_seconds: wall time of building plus the first run, imports left out.
    """
    workload = Workload.from_dict(request["prepare"])
    importlib.import_module(module)
    started = time.perf_counter()
    contestant = build(module, arguments, workload)
    losses = contestant.run(workload.steps_per_run)
    compile_seconds = time.perf_counter() - started
    for _ in range(request["warmup"] - 1):
        losses += contestant.run(workload.steps_per_run)
    ready = {
        "versions": {"python": platform.python_version(), **contestant.versions},
        "threads": _threads(),
        "compile_seconds": compile_seconds,
        "losses": losses,
    }
    return ready, contestant.run


def forward(contestant: Contestant) -> dict[str, str | None]:
    """Where the outputs of the first batch at the initial weights lie."""
    if contestant.forward is None:
        return {"forward": None}
    with tempfile.NamedTemporaryFile(suffix=".npy", delete=False) as file:
        np.save(file, contestant.forward())
    return {"forward": file.name}


def memory(contestant: Contestant) -> dict[str, float | None]:
    """MiB kept between forward and reverse."""
    return {"saved_mib": contestant.saved_mib() if contestant.saved_mib else None}


def timed(run: Run, steps: int) -> dict[str, float]:
    """Seconds of CPU (all threads) and of wall clock for `steps` training steps, and the last one's loss."""
    wall, cpu = time.perf_counter(), time.process_time()
    losses = run(steps)
    return {
        "cpu_seconds": time.process_time() - cpu,
        "wall_seconds": time.perf_counter() - wall,
        "loss": losses[-1],
    }


def serve(requests: TextIO, answers: TextIO, module: str, arguments: list[str]) -> None:
    """Answers every line of `requests` until it ends; between two lines the process is blocked in a read."""
    run: Run | None = None
    workload = Workload()
    idle_since = time.process_time()
    for line in requests:
        idle = time.process_time() - idle_since
        request = json.loads(line)
        if "prepare" in request:
            workload = Workload.from_dict(request["prepare"])
            ready, run = prepare(module, arguments, request)
            answer: dict[str, Any] = {"ready": ready}
        elif run is None:
            raise SystemExit(f"worker: {next(iter(request))} was asked for before it was prepared")
        elif "agree" in request:
            answer = dict(forward(build(module, arguments, workload)))
        elif "memory" in request:
            answer = dict(memory(build(module, arguments, workload)))
        else:
            answer = timed(run, request["run"]) | {"idle_cpu_seconds": idle}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        idle_since = time.process_time()


def private_stdout() -> TextIO:
    """The real standard output; whatever else prints, in Python or in C, goes to standard error from here on."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _threads() -> int | None:
    """Threads of this process, waiting ones included; None where there is no /proc."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return None


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    serve(sys.stdin, private_stdout(), sys.argv[1], sys.argv[2:])
