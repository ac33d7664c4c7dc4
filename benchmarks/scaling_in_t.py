"""How the time of engine torch grows with the number of steps, T = 64 ... 4096, on this CPU.

    PYTHONPATH=.:engines python benchmarks/scaling_in_t.py [--write]

Forward and reverse of a population of LIF neurons, and whole training steps (with Adam) of a feed-forward and of a
recurrent network, float32, CPU time of all threads. All lengths are run in turn, and of each the median counts. The
exponent is the slope of a line through log time over log T. --write: to results/scaling_in_t_cpu.json and .md. The
numbers are a report: no test depends on them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import machine
import numpy as np
import torch
from gpu_kernels import Case
from neuroport_torch.engine import TorchEngine
from scaling import slope

from neuroport.data.staging import stage
from neuroport.engine.base import Options
from neuroport.model.graph import Model, Recurrent
from neuroport.model.layers import Linear
from neuroport.model.losses import CrossEntropy
from neuroport.model.neurons import LI, LIF
from neuroport.model.training import Training
from neuroport.program.initialize import init
from neuroport.program.lower import lower

HERE = Path(__file__).resolve().parent
LENGTHS = [64, 128, 256, 512, 1024, 2048, 4096]
UNITS, BATCH = 512, 64


def population(steps: int) -> Callable[[], Any]:
    model = Model.sequential(input=(UNITS,), dt=1e-3, layers=[LIF(tau=4e-3, r=3.0)])
    case = Case.of(model, BATCH, steps, torch.device("cpu"))
    return lambda: case.both(case.compiled)


def training(cycle: bool, steps: int, checkpoint_steps: Any = None) -> Callable[[], Any]:
    """One step of the optimizer."""
    neuron = LIF.from_decay(0.9)
    hidden = [Linear(UNITS), Recurrent(Linear(UNITS), neuron)] if cycle else [
        Linear(UNITS), neuron, Linear(UNITS), neuron]
    model = Model.sequential(input=(64,), dt=1e-3, layers=[*hidden, Linear(10), LI.from_decay(0.9)])
    taught = Training(loss=CrossEntropy(over="mean"), checkpoint_steps=checkpoint_steps)
    executable = TorchEngine().compile(lower(model), Options(device="cpu", precision="float32", training=taught))
    state = executable.init_training(executable.load(init(model, 1)))
    random = np.random.default_rng(0)
    x = (random.random((BATCH, steps, 64)) < 0.05).astype(np.uint8)
    staged = executable.stage(stage(x, np.arange(BATCH) % 10))
    order, mask = np.arange(BATCH)[None], np.ones((1, BATCH), np.float32)
    return lambda: executable.train_segment(state, staged, order, mask, np.ones(1), (0, 0))


WORKLOADS: dict[str, Callable[[int], Callable[[], Any]]] = {
    "a population, forward and reverse": population,
    "a training step, feed-forward": lambda steps: training(False, steps),
    "a training step, recurrent": lambda steps: training(True, steps),
    'a training step, feed-forward, checkpoint_steps="sqrt"': lambda steps: training(False, steps, "sqrt"),
}


def measure(make: Callable[[int], Callable[[], Any]], rounds: int) -> dict[int, float]:
    """CPU milliseconds by number of steps."""
    runs = {steps: make(steps) for steps in LENGTHS}
    times: dict[int, list[float]] = {steps: [] for steps in LENGTHS}
    for number in range(rounds + 1):
        for steps, run in runs.items():
            times_of_run = max(1, 512 // steps)  # what is short is run several times at once
            started = time.process_time()
            for _ in range(times_of_run):
                run()
            if number:
                times[steps].append(1e3 * (time.process_time() - started) / times_of_run)
    return {steps: median(of) for steps, of in times.items()}


def markdown(found: dict[str, Any]) -> str:
    lines = [f"CPU-ms by number of steps, B = {BATCH}, layers of {UNITS}, float32, engine torch; medians of "
             f"{found['rounds']} rounds:", "", f"| | exponent | {' | '.join(f'T = {steps}' for steps in LENGTHS)} |",
             "|---|---|" + "---|" * len(LENGTHS)]
    for name, of in found["workloads"].items():
        times = " | ".join(f"{of['cpu_ms'][str(steps)]:.1f}" for steps in LENGTHS)
        lines.append(f"| {name} | {of['exponent']:.2f} | {times} |")
    lines += ["", machine.conditions(found["machine"])]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    found: dict[str, Any] = {"machine": machine.describe(), "rounds": options.rounds, "workloads": {}}
    for name, make in WORKLOADS.items():
        times = measure(make, options.rounds)
        found["workloads"][name] = {
            "exponent": slope(times), "cpu_ms": {str(steps): of for steps, of in times.items()}}
    print(markdown(found), end="")
    if options.write:
        (HERE / "results/scaling_in_t_cpu.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (HERE / "results/scaling_in_t_cpu.md").write_text(markdown(found), encoding="utf-8")


if __name__ == "__main__":
    main()
