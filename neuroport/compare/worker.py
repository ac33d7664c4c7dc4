"""One engine's share of a comparison: ``python -m neuroport.compare.worker TASK.json``.

Prints one JSON document, a ``Share`` or a failure, on standard output; everything else goes to standard error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroport import registry
from neuroport.compare.probe import first_steps, probe
from neuroport.compare.processes import Share, Task, Trained, write_traces
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
    import_first(task.imports)
    experiment = Experiment.parse(task.experiment)
    data = load_data(experiment)
    check_fit(experiment, data)
    engine = registry.engine(task.engine)
    device = task.device or engine.devices()[0]
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


def main(path: str) -> int:
    """Do the task in a file; print the answer. Returns the exit code."""
    from rich.console import Console

    given: dict[str, Any] = json.loads(Path(path).read_text())
    task = Task(**{**given, "seeds": tuple(given["seeds"]), "imports": tuple(given["imports"])})
    code = 0
    with redirect_stdout(sys.stderr), warnings_on(Console(stderr=True, quiet=task.quiet)):
        try:
            answer = asdict(work(task))
        except NeuroportError as error:
            code, answer = error.exit_code, {"failure": {"message": str(error), "exit_code": error.exit_code}}
        except KeyboardInterrupt:
            return 130
        except Exception as error:
            said = failed_in_own(error)
            if not said:
                raise
            code, answer = 1, {"failure": {"message": f"your own code failed: {said}", "exit_code": 1}}
    print(json.dumps(answer))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
