"""What the neuron of examples/custom_neuron.py costs beside the built-in LIF, per step and to compile, on this CPU.

    PYTHONPATH=.:engines python benchmarks/custom_neuron_step.py [--write]

A population of 512 neurons, 64 samples, 128 steps, forward and reverse, float32; runs are interleaved. Each with
constants, and with one parameter of each neuron trained. Compile time: the first run, forward and reverse, in a
process of its own with an empty cache folder; then again in a second process. Both in CPU seconds, without imports,
and without what numba takes to start, which any function of it takes: that stands beside.
--write: to results/custom_neuron_cpu.json and .md. The numbers are a report: no test depends on them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import machine
import torch
from gpu_kernels import Case
from neuroport_torch.kernels.where import VALUES, where

import neuroport as npt

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(machine.ROOT / "examples"))

from custom_neuron import Resonator  # noqa: E402

UNITS, BATCH, STEPS = 512, 64, 128


def each(low: float, high: float) -> npt.Parameter:
    return npt.Parameter(npt.Uniform(low, high), per="neuron", trainable=True)


NEURONS = {
    "LIF": lambda: npt.LIF(tau=30e-3),
    "the example's": lambda: Resonator(),
    "LIF, tau trained": lambda: npt.LIF(tau=each(20e-3, 40e-3)),
    "the example's, omega trained": lambda: Resonator(omega=each(40.0, 200.0)),
}
PAIRS = {"the example's": "LIF", "the example's, omega trained": "LIF, tau trained"}


def case(name: str) -> Case:
    model = npt.Model.sequential(input=(UNITS,), dt=1e-3, layers=[NEURONS[name]()])
    return Case.of(model, BATCH, STEPS, torch.device("cpu"))


def spent(cases: dict[str, Case], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """CPU milliseconds of each round, (forward, reverse)."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for number in range(rounds + 3):
        for name, one in cases.items():
            loop, started = one.compiled.loops[one.segment], time.process_time()
            ran = one.forward(loop)
            between = time.process_time()
            one.reverse(loop, ran)
            if number >= 3:
                found[name].append((1e3 * (between - started), 1e3 * (time.process_time() - between)))
    return found


def started_numba() -> float:
    """CPU seconds until some function of numba that is in its cache has run, in a process where none has."""
    values, began = torch.zeros(VALUES), time.process_time()
    assert where(values > 0, values, values) is not None
    return time.process_time() - began


def first_run(name: str) -> dict[str, float]:
    """Seconds of a first run, forward and reverse, in this process."""
    one, start = case(name), started_numba()
    wall, cpu = time.perf_counter(), time.process_time()
    one.both(one.compiled)
    return {"cpu_seconds": time.process_time() - cpu, "wall_seconds": time.perf_counter() - wall,
            "numba_cpu_seconds": start}


def compiled_and_again(name: str) -> dict[str, dict[str, float]]:
    found = {}
    started_numba()  # its function lies in numba's cache from here on
    with tempfile.TemporaryDirectory() as folder:
        for what in ("compiled", "from the cache"):
            command = [sys.executable, str(Path(__file__).resolve()), "--first-run", name]
            done = subprocess.run(command, env={**os.environ, "XDG_CACHE_HOME": folder}, capture_output=True, text=True,
                                  check=True)
            found[what] = json.loads(done.stdout)
    return found


def report(rounds: int) -> dict[str, Any]:
    names = list(NEURONS)
    started = {name: compiled_and_again(name) for name in names if name != "LIF, tau trained"}
    times = spent({name: case(name) for name in names}, rounds)
    rows = {name: {"forward_ms": median(f for f, _ in of), "reverse_ms": median(b for _, b in of)}
            for name, of in times.items()}
    for name, base in PAIRS.items():
        ratios = sorted(sum(one) / sum(other) for one, other in zip(times[name], times[base], strict=True))
        rows[name] |= {"ratio": median(ratios), "low": ratios[len(ratios) // 10], "high": ratios[-len(ratios) // 10]}
    return {"machine": machine.describe(), "sizes": [UNITS, BATCH, STEPS], "rounds": rounds, "rows": rows,
            "first_run": started}


def markdown(found: dict[str, Any]) -> str:
    lines = [
        f"A population of {UNITS}, {BATCH} samples, {STEPS} steps, float32, engine torch: CPU-ms, medians of "
        f"{found['rounds']} interleaved rounds.", "",
        "| neuron | forward | reverse | both, beside | ratio (10 % to 90 %) |", "|---|---|---|---|---|"]
    for name, row in found["rows"].items():
        ratio = f"{row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f})" if "ratio" in row else ""
        times = f"{row['forward_ms']:.1f} | {row['reverse_ms']:.1f}"
        lines.append(f"| {name} | {times} | {PAIRS.get(name, '')} | {ratio} |")
    lines += ["", "First run in a process, CPU seconds:", "",
              "| neuron | compiled | from the cache | numba's own start beside |", "|---|---|---|---|"]
    for name, of in found["first_run"].items():
        times = [of["compiled"]["cpu_seconds"], *(of["from the cache"][key] for key in (
            "cpu_seconds", "numba_cpu_seconds"))]
        lines.append(f"| {name} | {' | '.join(f'{one:.2f}' for one in times)} |")
    lines += ["", machine.conditions(found["machine"])]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--first-run", metavar="NEURON", choices=NEURONS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.first_run:
        print(json.dumps(first_run(options.first_run)))
        return
    found = report(options.rounds)
    print(markdown(found), end="")
    if options.write:
        (HERE / "results/custom_neuron_cpu.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (HERE / "results/custom_neuron_cpu.md").write_text(markdown(found), encoding="utf-8")


if __name__ == "__main__":
    main()
