"""One engine at work for others: ``python -m neuroport.compare.worker``, JSON lines in, JSON lines out.

    {"share": Task}    ->  a Share: its part of a comparison
    {"trial": Trial}   ->  Ready to be timed
    {"lap": None}      ->  a Lap: one more timed round

or {"failure": Failure}. Everything else that is printed goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from neuroport import registry
from neuroport.compare.probe import Steps, first_steps, probe
from neuroport.compare.processes import Lap, Ready, Share, Task, Trained, Trial, write_traces
from neuroport.data.splits import Splits
from neuroport.engine.base import Engine
from neuroport.errors import NeuroportError
from neuroport.model.training import Experiment
from neuroport.runtime.callbacks import Callback, Plan
from neuroport.runtime.fit import fit
from neuroport.runtime.imports import failed_in_own, import_first
from neuroport.runtime.overrides import overridden
from neuroport.runtime.prepare import check_fit, load_data
from neuroport.runtime.progress import LiveProgress, warnings_on

if TYPE_CHECKING:
    from neuroport.runtime.run import Run


def work(task: Task) -> Share:
    """The probe, the first steps and the trainings that a task asks for."""
    experiment, data, engine, device = _begun(task)
    able = engine.capabilities(device).precisions
    write_traces(task.traces, probe(experiment, data, task.engine, task.device))
    if task.plain and "float32" in able:
        write_traces(task.plain, probe(experiment, data, task.engine, task.device, "float32"))
    losses, seconds = first_steps(experiment, data, task.engine, task.device)
    trainings = []
    for seed in task.seeds:
        out = Path(task.runs) / f"{task.engine}-seed{seed}" if task.runs else None
        run = fit(overridden(experiment, seed=seed), task.engine, out, _watchers(task, seed), task.device, data)
        trainings.append(Trained(seed, run.summary or {}, run.history))
    return Share(task.engine, device, able[0], engine.versions(), losses, seconds, trainings, peak_memory())


def _begun(asked: Task | Trial) -> tuple[Experiment, Splits, Engine, str]:
    """What every answer begins with: the experiment, its data, the engine and its device."""
    import_first(asked.imports)
    experiment = Experiment.parse(asked.experiment)
    data = load_data(experiment)
    check_fit(experiment, data)
    engine = registry.engine(asked.engine)
    return experiment, data, engine, asked.device or engine.devices()[0]


class Timed:
    """An engine's part in a measurement of speed: prepared once, then asked for laps."""

    steps: Steps | None = None

    def prepare(self, trial: Trial) -> Ready:
        """Record the probe, and warm up."""
        experiment, data, engine, device = _begun(trial)
        precision = trial.precision or engine.capabilities(device).precisions[0]
        if not trial.warmup:
            write_traces(trial.traces, probe(experiment, data, trial.engine, trial.device, trial.precision))
            return Ready(device, precision, engine.versions())
        started = time.perf_counter()
        self.steps = Steps(experiment, data, trial.engine, trial.device, trial.precision, trial.batches)
        losses = self.steps.run()
        first = time.perf_counter() - started
        for _ in range(trial.warmup - 1):
            losses += self.steps.run()
        memory = peak_memory()  # of training: the probe, which records all there is, comes after it
        write_traces(trial.traces, probe(experiment, data, trial.engine, trial.device, trial.precision))
        return Ready(device, precision, engine.versions(), int(self.steps.mask.sum()), len(self.steps.factors), losses,
                     first, memory)

    def lap(self) -> Lap:
        """One timed round."""
        assert self.steps is not None
        wall, cpu = time.perf_counter(), time.process_time()
        self.steps.run()
        return Lap(time.perf_counter() - wall, time.process_time() - cpu)


def _watchers(task: Task, seed: int) -> Sequence[Callback]:
    if task.quiet:
        return []
    return [LiveProgress()] if sys.stderr.isatty() else [_OneLine(seed)]


class _OneLine(Callback):
    """A line for each training that is done: what a log has room for."""

    def __init__(self, seed: int):
        self.seed = seed

    def on_start(self, plan: Plan) -> None:
        self.plan = plan

    def on_end(self, run: Run | None) -> None:
        if run is not None and run.summary is not None:
            clock = f"{run.summary['seconds']:.0f} s, {run.summary['samples_per_second']:,.0f} samples/s"
            print(f"{self.plan.engine} ({self.plan.device}), seed {self.seed}: {clock}", file=sys.stderr)


def peak_memory() -> int | None:
    """Bytes of host memory that this process has held at most; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer each line of ``requests``; in between, the process sleeps."""
    handlers: dict[str, Callable[[Any], Any]] = {
        "share": lambda given: work(Task(**_with_tuples(given, "seeds", "imports"))),
        "trial": lambda given: trial.prepare(Trial(**_with_tuples(given, "imports"))), "lap": lambda _: trial.lap(),
    }
    trial = Timed()
    for line in requests:
        (what, given), = json.loads(line).items()
        quiet = isinstance(given, dict) and given.get("quiet", False)
        answers.write(json.dumps(_answer(partial(handlers[what], given), quiet)) + "\n")
        answers.flush()


def _with_tuples(given: dict[str, Any], *names: str) -> dict[str, Any]:
    """JSON has lists alone."""
    return {**given, **{name: tuple(given[name]) for name in names}}


def _answer(call: Callable[[], Any], quiet: bool) -> dict[str, Any]:
    """What a call gives, as plain data, or its failure."""
    from rich.console import Console

    with warnings_on(Console(stderr=True, quiet=quiet)):
        try:
            return asdict(call())
        except NeuroportError as error:
            return {"failure": {"message": str(error), "exit_code": error.exit_code}}
        except Exception as error:
            said = failed_in_own(error)
            if not said:
                raise
            return {"failure": {"message": f"your own code failed: {said}", "exit_code": 1}}


def private_pipes() -> tuple[TextIO, TextIO]:
    """The real standard input and output; whoever else reads finds nothing, and prints to standard error."""
    requests, answers = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return requests, answers


if __name__ == "__main__":
    try:
        serve(*private_pipes())
    except KeyboardInterrupt:
        sys.exit(130)
