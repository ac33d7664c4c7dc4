"""The torch engine on a GPU: kernels against a plain copy and torch's step loop, training steps as a graph or plain.

    python benchmarks/gpu_kernels.py [--device cuda:0] [--write]

A LIF population, forward and in reverse, has to read its input, the cotangent of its output and one membrane a step,
and to write its output, that membrane and the cotangent of its input: six numbers a neuron and step. Its share is
that many bytes over the time taken, of the bandwidth of a large copy on the same device. A cycle of Linear and LIF is
compared with the same equations step by step in torch. Both are checked against that plain loop before they are timed;
times are medians between the device's own events. A training step of 128-512-512-20 is run kernel by kernel and from a
CUDA graph, over data on the device: first to equal losses, then by the clock, the host's work included. --write: the
tables become benchmarks/results/gpu_kernels.md and .json. Run from a checkout: PYTHONPATH=.:engines
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import machine
import numpy as np
import torch
from neuroport_torch.arena import Arena
from neuroport_torch.engine import TorchExecutable
from neuroport_torch.graphs import GRAPH, CudaGraphs, Graphs
from neuroport_torch.runner import Compiled, language
from neuroport_torch.stepped import Past, Ran, Reversed, TimeLoop

from neuroport.data.staging import stage
from neuroport.engine.base import Options
from neuroport.model.graph import Model, Recurrent
from neuroport.model.layers import Linear
from neuroport.model.neurons import LI, LIF
from neuroport.model.optimizers import Adam
from neuroport.model.training import Training
from neuroport.program.execute import segment_arrays
from neuroport.program.initialize import init
from neuroport.program.lower import lower
from neuroport.program.schedule import Stepped

RESULT = Path(__file__).parent / "results" / "gpu_kernels"
NUMBERS = 6  # that a LIF's forward and reverse move for each neuron and step
COPY = 2**28  # numbers of the copy: 1 GiB
POPULATIONS = [(lanes, steps) for lanes in (2**14, 2**16, 2**18, 2**20) for steps in (16, 64, 256, 1024)]
LARGEST = 2**28  # lanes times steps of a population: six arrays of 1 GiB
CYCLES = [(units, batch) for units in (64, 128, 256, 512) for batch in (32, 128, 512)]
CYCLE_STEPS = 250
CHECKED = 20  # steps: in a cycle, one spike that rounding moves changes all that follow
STEPS = [(8, 32), (64, 128), (256, 128)]  # samples and time steps of a training step
RUN, ROUNDS = 50, 7  # training steps of a run that is timed, and how often
WANTED = {"share of the copy's bandwidth": 0.7, "times faster than the step loop": 3.0}

Timer = Callable[[Callable[[], Any]], float]  # seconds of a call


@dataclass
class Case:
    """One stepped segment with a task: inputs that make neurons spike, and cotangents."""

    compiled: Compiled
    plain: Compiled
    segment: Stepped
    batch: int
    steps: int

    @staticmethod
    def of(model: Model, batch: int, steps: int, device: torch.device) -> Case:
        program = lower(model)
        (segment,) = [one for one in program.segments if isinstance(one, Stepped)]
        compiled, plain = (Compiled(program, torch.float32, device, fused) for fused in (True, False))
        return Case(compiled, plain, segment, batch, steps)

    def __post_init__(self) -> None:
        program, device = self.compiled.program, self.compiled.device
        self.name = next(name for name in self.segment.nodes if name in program.neurons)
        bound, draw = program.neurons[self.name], torch.Generator(device).manual_seed(1)
        shape = (self.steps, self.batch, *bound.shape)
        self.x = torch.rand(shape, generator=draw, device=device)
        self.g = torch.randn(shape, generator=draw, device=device)
        parameters = {name: torch.as_tensor(value, device=device) for name, value in init(program.model, 1).items()}
        self.arrays = segment_arrays(program, self.segment, parameters)
        self.state = self.compiled.zero_state(self.batch)
        self.arena = Arena()

    def forward(self, loop: TimeLoop) -> Ran:
        self.arena.reset()
        step = loop.steps[self.name]
        keep = {self.name: (*step.saved, *step.bits)}
        return loop.forward(self.arrays, self.state, {self.name: self.x}, keep, (), {}, self.arena)

    def reverse(self, loop: TimeLoop, ran: Ran) -> Reversed:
        read = {f"cut.{key}": value for key, value in ran.cuts[self.name].items()}
        read |= {"x": self.x} if loop.steps[self.name].reads_input else {}
        of_after = {key: torch.zeros_like(value) for key, value in self.state.items()}
        past = Past({self.name: read}, ran.cuts, self.state, of_after)
        return loop.reverse(self.arrays, past, {self.name: self.g}, {}, self.arena)

    def both(self, of: Compiled) -> tuple[Ran, Reversed]:
        ran = self.forward(of.loops[self.segment])
        return ran, self.reverse(of.loops[self.segment], ran)

    def check(self) -> None:
        """For some steps the kernels give what the plain loop gives, where no rounding decides a spike otherwise."""
        short = replace(self, steps=min(self.steps, CHECKED))
        (ran, back), (expected, expected_back) = (
            (ran.outputs[self.name].clone(), back.given[self.name].clone())
            for ran, back in map(short.both, (self.compiled, self.plain)))
        same = (ran == expected).flatten(2).all(0).all(-1)  # (B,): a cycle spreads one other spike over its sample
        if not 0 < float(expected.mean()) < 1 or float(same.float().mean()) < 0.9:
            raise SystemExit(f"{self.describe()}: spikes differ from the plain loop's in {int((~same).sum())} samples")
        torch.testing.assert_close(back[:, same], expected_back[:, same], rtol=1e-3, atol=1e-3)

    def describe(self) -> str:
        return f"{', '.join(self.segment.nodes)}, {self.batch} samples, {self.steps} steps"


def population(lanes: int, steps: int, device: torch.device) -> Case:
    units = min(lanes, 1024)
    model = Model.sequential(input=(units,), dt=1e-3, layers=[LIF(tau=4e-3, r=3.0)])
    return Case.of(model, lanes // units, steps, device)


def cycle(units: int, batch: int, steps: int, device: torch.device) -> Case:
    layers = [Recurrent(Linear(units), LIF(tau=4e-3, r=3.0))]
    return Case.of(Model.sequential(input=(units,), dt=1e-3, layers=layers), batch, steps, device)


def copy_bandwidth(numbers: int, device: torch.device, timer: Timer) -> float:
    """Bytes a second of a large copy, read and written."""
    source = torch.rand(numbers, device=device)
    into = torch.empty_like(source)
    return 2 * source.numel() * source.element_size() / timer(lambda: into.copy_(source))


def measure_population(case: Case, bandwidth: float, timer: Timer) -> dict[str, Any]:
    case.check()
    loop = case.compiled.loops[case.segment]
    forward = timer(lambda: case.forward(loop))
    ran = case.forward(loop)
    reverse = timer(lambda: case.reverse(loop, ran))
    moved = NUMBERS * 4 * case.x.numel()
    return {"neurons x samples": case.x[0].numel(), "steps": case.steps, "forward ms": 1e3 * forward,
            "reverse ms": 1e3 * reverse, "GB/s": moved / (forward + reverse) / 1e9,
            "share of the copy's bandwidth": moved / (forward + reverse) / bandwidth}


def measure_cycle(case: Case, timer: Timer) -> dict[str, Any]:
    case.check()
    fused, plain = (timer(lambda of=of: case.both(of)) for of in (case.compiled, case.plain))
    return {"neurons": case.x[0, 0].numel(), "samples": case.batch, "steps": case.steps,
            "kernels ms": 1e3 * fused, "step loop ms": 1e3 * plain, "times faster than the step loop": plain / fused}


class Lesson:
    """A training of 128-512-512-20 on random spikes. graphs: what records its steps, None: none are."""

    def __init__(self, samples: int, steps: int, device: torch.device, graphs: Graphs | None):
        layers = [Linear(512), LIF(tau=9e-3, r=3.0), Linear(512), LIF(tau=9e-3, r=3.0), Linear(20), LI(tau=9e-3)]
        model, random = Model.sequential(input=128, dt=1e-3, layers=layers), np.random.default_rng(0)
        training = Training(optimizer=Adam(learning_rate=1e-4), batch_size=samples)
        self.executable = TorchExecutable(lower(model), Options(str(device), None, training), device)
        self.executable.graphs = graphs
        count = 4 * samples
        x, y = random.random((count, steps, 128)) < 0.05, random.integers(0, 20, count)
        self.staged = self.executable.stage(stage(x.astype(np.uint8), y))
        self.order = np.resize(random.permutation(count), (RUN, samples))
        self.state = self.executable.init_training(self.executable.load(init(model, 1)))

    def run(self) -> np.ndarray:
        """The losses of one run."""
        mask = np.ones(self.order.shape, np.float32)
        self.state, found = self.executable.train_segment(
            self.state, self.staged, self.order, mask, np.ones(RUN), (0, 0))
        self.executable.wait()
        return found.loss

    def seconds(self) -> float:
        """Of one step, in one run."""
        start = time.perf_counter()
        self.run()
        return (time.perf_counter() - start) / RUN


def measure_step(samples: int, steps: int, device: torch.device, graphs: Graphs) -> dict[str, Any]:
    lessons = {"kernel by kernel ms": Lesson(samples, steps, device, None), f"{GRAPH} ms": Lesson(
        samples, steps, device, graphs)}
    plain, recorded = (lesson.run()[:CHECKED] for lesson in lessons.values())
    np.testing.assert_allclose(recorded, plain, rtol=1e-3)
    times: dict[str, list[float]] = {name: [] for name in lessons}
    for _ in range(ROUNDS):
        for name, lesson in lessons.items():
            times[name].append(lesson.seconds())
    medians = {name: 1e3 * float(np.median(found)) for name, found in times.items()}
    one, other = medians.values()
    return {"samples": samples, "steps": steps, **medians, "times faster from a graph": one / other}


def table(rows: list[dict[str, Any]]) -> str:
    """Rows of equal columns as Markdown."""
    def cell(value: Any) -> str:
        return f"{value:.3g}" if isinstance(value, float) else f"{value:,}"

    lines = ["| " + " | ".join(rows[0]) + " |", "|---" * len(rows[0]) + "|"]
    return "\n".join(lines + ["| " + " | ".join(map(cell, row.values())) + " |" for row in rows]) + "\n"


def markdown(report: dict[str, Any]) -> str:
    of = report["machine"]
    text = "# The torch engine's kernels on a GPU\n\nOne LIF population, forward and reverse, float32. "
    text += f"A copy of {COPY * 4 / 2**30:.0f} GiB: {report['copy GB/s']:.0f} GB/s.\n\n{table(report['populations'])}\n"
    text += "A cycle of Linear and LIF, forward and reverse, without the gradient of its weights.\n\n"
    wanted = "; ".join(f"{what} at least {least}" for what, least in WANTED.items())
    text += f"{table(report['cycles'])}\nA training step of 128-512-512-20: forward, backward, Adam.\n\n"
    text += f"{table(report['training steps'])}\nWanted: {wanted}.\n\n"
    return f"{text}{of['device']}; {of['system']}; torch {of['torch']}, triton {of['triton']}; {of['date']}; " \
           f"commit {of['commit']}{' with changes' if of['modified'] else ''}.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}.md and .json into results/")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("No GPU here: this measures kernels for CUDA. On a machine with an NVIDIA GPU, run it again.")
    device = torch.device(options.device)
    if language(device) != "triton":
        sys.exit(f"No kernels for {device}: they need triton and a GPU of compute capability 8.0 or later.")
    import triton

    def timer(call: Callable[[], Any]) -> float:
        return float(triton.testing.do_bench(call, return_mode="median")) / 1e3

    bandwidth = copy_bandwidth(COPY, device, timer)
    report: dict[str, Any] = {
        "machine": {**machine.describe(), "device": torch.cuda.get_device_name(device), "torch": torch.__version__,
                    "triton": triton.__version__},
        "copy GB/s": bandwidth / 1e9,
        "populations": [measure_population(population(lanes, steps, device), bandwidth, timer)
                        for lanes, steps in POPULATIONS if lanes * steps <= LARGEST],
        "training steps": [measure_step(samples, steps, device, CudaGraphs(device)) for samples, steps in STEPS],
        "cycles": [measure_cycle(cycle(units, batch, CYCLE_STEPS, device), timer) for units, batch in CYCLES],
    }
    print(markdown(report))
    if options.write:
        RESULT.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        RESULT.with_suffix(".md").write_text(markdown(report), encoding="utf-8")


if __name__ == "__main__":
    main()
