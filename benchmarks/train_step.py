"""How long one training step takes (forward, backward, Adam) in neuroport and in other libraries, on this CPU.

    python benchmarks/train_step.py --contestants spyx linear linear_jax --rounds 10

Every contestant is a process of its own, in its own environment. They are measured in turn, a few steps each, while
the others wait: whatever else the machine does in a round then falls on all of them, so their ratios within a round
say more than their times. CPU time counts all threads; wall time depends on what the cores are shared with.
Results go to results/train_step_cpu.json and .md. The numbers are a report: no test depends on them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

import machine
from workload import Workload

HERE = Path(__file__).resolve().parent
SPYX = machine.ROOT / ".peers/spyx/bin/python"  # made by make_peers.sh
SETTLE = 0.05  # seconds between two runs: the threads of the last one spin for some milliseconds before they sleep


@dataclass(frozen=True)
class Contestant:
    """A worker's interpreter, its module and arguments, and one line on what it is."""

    python: Path
    command: tuple[str, ...]
    about: str


OWN = Path(sys.executable)
CONTESTANTS = {
    "spyx": Contestant(SPYX, ("peers.spyx_step",), "Spyx, jax: loop over staged batches in one compiled program"),
    "neuroport-jax": Contestant(OWN, ("neuroport_step", "jax"), "neuroport, engine jax"),
    "neuroport-torch": Contestant(OWN, ("neuroport_step", "torch"), "neuroport, engine torch"),
    "linear": Contestant(OWN, ("peers.linear_floor",), "three Linear layers without neurons, PyTorch"),
    "linear_jax": Contestant(OWN, ("peers.linear_floor_jax",), "three Linear layers without neurons, jax"),
}


class Worker:
    """A contestant's process; waits for its next line whenever it is not asked for something."""

    def __init__(self, name: str) -> None:
        contestant = CONTESTANTS[name]
        if not contestant.python.exists():
            raise SystemExit(f"{name}: no interpreter at {contestant.python}; run benchmarks/make_peers.sh {name}")
        self.name = name
        command = [str(contestant.python), str(HERE / "worker.py"), *contestant.command]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Sends one line and waits for the answer."""
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise SystemExit(f"{self.name}: the worker ended (exit code {self.process.wait()}); see its messages above")
        return json.loads(answer)

    def close(self) -> None:
        """Ends the worker by ending its input."""
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):  # it has ended on its own, and `ask` has said so
            self.process.stdin.close()
        self.process.wait()


def require_learning(name: str, losses: list[float], batches: int) -> None:
    """Refuses to time a contestant whose losses are not finite or do not fall from the first pass to the last."""
    first, last = fmean(losses[:batches]), fmean(losses[-batches:])
    if not all(map(math.isfinite, losses)) or not last < first:
        raise SystemExit(f"{name}: the loss must be finite and fall during warm-up, but is {losses}")


def measure(names: list[str], workload: Workload, rounds: int, warmup: int) -> tuple[dict[str, Any], dict[str, list]]:
    """What each contestant said when it was ready, and its answer in each round."""
    workers: dict[str, Worker] = {}
    ready: dict[str, Any] = {}
    answers: dict[str, list] = {name: [] for name in names}
    try:
        for name in names:
            workers[name] = Worker(name)
            ready[name] = workers[name].ask({"prepare": workload.as_dict(), "warmup": warmup})["ready"]
            require_learning(name, ready[name]["losses"], workload.batches)
        for index in range(rounds):
            first = index % len(names)
            for name in names[first:] + names[:first]:
                time.sleep(SETTLE)
                answers[name].append(workers[name].ask({"run": workload.steps_per_run}))
    finally:
        for worker in workers.values():
            worker.close()
    return ready, answers


def summary(values: list[float]) -> dict[str, float]:
    """Median and spread."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def results(names: list[str], answers: dict[str, list], steps: int, baseline: str | None) -> dict[str, Any]:
    """Milliseconds per step, and ratios to `baseline` taken within each round, for CPU and wall time."""
    table: dict[str, Any] = {}
    for name in names:
        row: dict[str, Any] = {"about": CONTESTANTS[name].about}
        for clock in ("cpu", "wall"):
            seconds = [answer[f"{clock}_seconds"] for answer in answers[name]]
            row[f"{clock}_ms"] = summary([1e3 * s / steps for s in seconds])
            if baseline:
                others = [answer[f"{clock}_seconds"] for answer in answers[baseline]]
                row[f"{clock}_ratio"] = summary([s / o for s, o in zip(seconds, others, strict=True)])
        row["idle_cpu_ms"] = 1e3 * max(answer["idle_cpu_seconds"] for answer in answers[name])
        row["last_loss"] = answers[name][-1]["loss"]
        table[name] = row
    return table


def markdown(report: dict[str, Any]) -> str:
    """The report as a short table with the conditions under it."""
    baseline, where, work = report["baseline"], report["machine"], report["workload"]
    lines = [
        f"One training step, {'-'.join(map(str, work['sizes']))}, T = {work['steps']}, B = {work['batch']}, float32:",
        "median (min to max) over rounds; ratios are taken within rounds.",
        "",
        f"| contestant | CPU-ms | wall-ms | CPU / {baseline} | wall / {baseline} |",
        "|---|---|---|---|---|",
    ]
    for name, row in report["results"].items():
        ratios = [_spread(row[key], 2) if key in row else "" for key in ("cpu_ratio", "wall_ratio")]
        lines.append(f"| {name} | {_spread(row['cpu_ms'], 1)} | {_spread(row['wall_ms'], 1)} | {' | '.join(ratios)} |")
    lines += ["", *(f"- {name}: {row['about']}" for name, row in report["results"].items()), ""]
    for name, ready in report["ready"].items():
        versions = ", ".join(f"{key} {value}" for key, value in ready["versions"].items())
        lines.append(f"- {name}: {versions}; first run {ready['compile_seconds']:.1f} s")
    lines += [
        "",
        f"{where['cpu_model']}, {where['cpus']} cores, load {where['load']} before; {report['rounds']} rounds of "
        f"{work['steps_per_run']} steps; {where['date']}; commit {where['commit'] or 'none yet'}"
        f"{' (modified)' if where['modified'] else ''}.",
    ]
    return "\n".join(lines) + "\n"


def _spread(numbers: dict[str, float], digits: int) -> str:
    return "{median:.{d}f} ({min:.{d}f} to {max:.{d}f})".format(d=digits, **numbers)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = ", ".join(CONTESTANTS)
    parser.add_argument(
        "--contestants",
        nargs="+",
        choices=CONTESTANTS,
        default=list(CONTESTANTS),
        metavar="NAME",
        help=f"any of {known}",
    )
    parser.add_argument("--baseline", choices=CONTESTANTS, default="spyx", help="ratios are to this (default: spyx)")
    parser.add_argument("--rounds", type=int, default=10, help="timed runs of each contestant (default: 10)")
    parser.add_argument("--passes", type=int, default=1, help="passes over the batches in one timed run (default: 1)")
    parser.add_argument("--warmup", type=int, default=3, help="runs before timing, at least 2 (default: 3)")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder for the report (default: results)")
    options = parser.parse_args()
    if options.rounds < 1 or options.passes < 1 or options.warmup < 2:
        parser.error("rounds and passes must be at least 1, warm-up at least 2")
    return options


def main() -> None:
    options = arguments()
    names = list(dict.fromkeys(options.contestants))
    baseline = options.baseline if options.baseline in names else None
    workload = Workload()
    workload = replace(workload, steps_per_run=options.passes * workload.batches)
    where = machine.describe()
    ready, answers = measure(names, workload, options.rounds, options.warmup)
    report = {
        "machine": where,
        "workload": workload.as_dict(),
        "rounds": options.rounds,
        "baseline": baseline,
        "ready": ready,
        "results": results(names, answers, workload.steps_per_run, baseline),
        "answers": answers,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "train_step_cpu.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (options.out / "train_step_cpu.md").write_text(markdown(report), encoding="utf-8")
    print(markdown(report), end="")


if __name__ == "__main__":
    main()
