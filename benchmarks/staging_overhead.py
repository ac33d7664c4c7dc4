"""What unpacking, shuffling and augmentation add to a training step of 128-512-512-20, in CPU time, on each engine.

    python benchmarks/staging_overhead.py [--engines torch jax] [--rounds 20] [--write]

A step whose input lies ready on the device, the same in every step, is compared with steps on staged, bit-packed data:
samples in the shared order of an epoch, gathered, unpacked, and changed by one augmentation each, or by several. They
take turns in one process an engine, each after a run on the fixed input. "alone" is that part of the step by itself.
--write: the tables become benchmarks/results/staging_overhead_cpu.md and .json. Run from a checkout:
PYTHONPATH=.:engines
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import machine
import neuroport_step
import numpy as np
from workload import Workload

from neuroport.data.order import batches, epoch_order, epoch_partners
from neuroport.data.staging import stage
from neuroport.engine.base import Options
from neuroport.model.augmentation import (
    Augmentation,
    ChannelShift,
    Crop,
    Mix,
    NoiseSpikes,
    SpikeDropout,
    Thinning,
    TimeJitter,
    TimeShift,
    TimeStretch,
)
from neuroport.model.losses import CrossEntropy
from neuroport.model.optimizers import Adam
from neuroport.model.training import Training
from neuroport.program.augment import needs_partner
from neuroport.program.lower import lower

RESULT = Path(__file__).parent / "results" / "staging_overhead_cpu"
SETTLE = 0.05  # seconds between two runs: threads of the last one spin for some milliseconds before they sleep
STAGED = "staged"
AUGMENTATIONS: dict[str, tuple[Augmentation, ...]] = {
    "SpikeDropout(p=0.1)": (SpikeDropout(p=0.1),),
    "NoiseSpikes(rate=1)": (NoiseSpikes(rate=1.0),),
    "TimeShift(reach=10 steps)": (TimeShift(reach=10e-3),),
    "ChannelShift(reach=5)": (ChannelShift(reach=5),),
    "TimeJitter(reach=2 steps)": (TimeJitter(reach=2e-3),),
    "Mix(share=0.5)": (Mix(share=0.5),),
    "Crop(duration=100 of 128 steps)": (Crop(duration=0.1),),
    "TimeStretch(most=1.25)": (TimeStretch(most=1.25),),
    "Thinning(most=0.5)": (Thinning(most=0.5),),
}
AUGMENTATIONS["the first four"] = sum(list(AUGMENTATIONS.values())[:4], ())
# more batches than in the other benchmarks: an epoch's order and partners are drawn once for all of them. A learning
# rate that leaves weights where they are, so that no variant drifts to other rates of spikes than the next one
WORK = replace(Workload(), batches=8, learning_rate=1e-12, steps_per_run=8)


@dataclass(frozen=True)
class Variant:
    """``step(epoch)`` trains on all batches once; ``alone(epoch)``, where there is one, only makes them."""

    step: Callable[[int], None]
    alone: Callable[[int], None] | None = None


def make(engine: str, augmentation: tuple[Augmentation, ...], fixed: bool) -> Variant:
    """One variant, compiled and run once."""
    module, name = neuroport_step.ENGINES[engine].split(":")
    training = Training(
        loss=CrossEntropy(over="mean"), optimizer=Adam(learning_rate=WORK.learning_rate), batch_size=WORK.batch,
        augmentation=augmentation,
    )
    executable = getattr(importlib.import_module(module), name)().compile(
        lower(neuroport_step.build(WORK)), Options(device="cpu", precision="float32", training=training))
    state = executable.init_training(executable.load(neuroport_step.parameters(WORK)))
    x, y = neuroport_step.samples(WORK)
    packed, factors = stage(x, y), np.ones(WORK.batches)
    staged = executable.stage(packed)
    ready = np.arange(len(y)).reshape(WORK.batches, WORK.batch)

    def drawn(epoch: int) -> tuple[np.ndarray, np.ndarray | None]:
        order, _ = batches(epoch_order(len(y), WORK.seed, epoch), WORK.batch)
        others = epoch_partners(packed.labels, WORK.seed, epoch)[order] if needs_partner(training) else None
        return order, others

    def step(epoch: int) -> None:
        nonlocal state
        order, others = (ready, None) if fixed else drawn(epoch)
        state, _ = executable.train_segment(
            state, staged, order, np.ones(order.shape), factors, (WORK.seed, epoch), None, others)
        executable.wait()

    of_engine = ALONE[engine](executable, staged)

    def alone(epoch: int) -> None:
        of_engine(*drawn(epoch), epoch)

    if not fixed:
        step(0)
        alone(0)
        return Variant(step, alone)
    with fixed_input(engine, x[: WORK.batch]):
        step(0)  # jax compiles it here, once
    return Variant(within(lambda: fixed_input(engine, x[: WORK.batch]), step))


def within(context: Callable[[], Any], work: Callable[[int], None]) -> Callable[[int], None]:
    def there(epoch: int) -> None:
        with context():
            work(epoch)

    return there


@contextmanager
def fixed_input(engine: str, x: np.ndarray) -> Iterator[None]:
    """The engine's training takes x (B, T, channels) in place of every batch."""
    if engine == "torch":
        import torch as framework
    else:
        import jax.numpy as framework  # type: ignore[no-redef]
    given = framework.asarray(np.ascontiguousarray(np.moveaxis(x, 0, 1), np.float32))
    module = importlib.import_module(f"neuroport_{engine}.training")
    usual = module.entering
    module.entering = lambda *_: given
    try:
        yield
    finally:
        module.entering = usual


def torch_alone(executable: Any, staged: Any) -> Callable[..., None]:
    import torch
    from neuroport_torch.arena import Arena
    from neuroport_torch.kernels.threads import alone
    from neuroport_torch.runner import Noise
    from neuroport_torch.training import entering

    arena = Arena()

    def run(order: np.ndarray, others: np.ndarray | None, epoch: int) -> None:
        rows = torch.tensor(order, dtype=torch.int64)
        partners = rows if others is None else torch.tensor(others, dtype=torch.int64)
        for samples, other in zip(rows, partners, strict=True):
            arena.reset()
            entering(executable.compiled, executable.training, staged, samples, None if others is None else other,
                     Noise(WORK.seed, torch.tensor([epoch]), samples), arena)

    return lambda *given: alone(True, lambda: run(*given))


def jax_alone(executable: Any, staged: Any) -> Callable[..., None]:
    import jax
    import jax.numpy as jnp
    from neuroport_jax.training import Batches, entering

    data, steps, binary = staged

    @jax.jit
    def run(data: Any, batches: Batches, epoch: Any) -> Any:
        def one(x: Any, batch: Batches) -> tuple[Any, None]:
            return entering(executable.program, executable.training, steps, binary, data, batch, WORK.seed, epoch), None

        return jax.lax.scan(one, jnp.zeros((steps, WORK.batch, WORK.sizes[0])), batches)[0]

    def given(order: np.ndarray, others: np.ndarray | None, epoch: int) -> None:
        rows = jnp.asarray(order, jnp.int32)
        partners = None if others is None else jnp.asarray(others, jnp.int32)
        run(data, Batches(rows, jnp.ones(order.shape), rows, partners), jnp.asarray([epoch], jnp.uint32)
            ).block_until_ready()

    return given


ALONE: dict[str, Callable[..., Callable[..., None]]] = {"torch": torch_alone, "jax": jax_alone}


def cpu_ms(work: Callable[[int], None], epoch: int) -> float:
    """CPU time of all threads for one batch, in milliseconds, over an epoch."""
    time.sleep(SETTLE)
    started = time.process_time()
    work(epoch)
    return 1e3 * (time.process_time() - started) / WORK.batches


def measure(engine: str, rounds: int) -> dict[str, Any]:
    """CPU-ms a step of each variant in each round, of the fixed input just before it, and of its batches alone."""
    fixed = make(engine, (), True)
    variants = {STAGED: make(engine, (), False)}
    variants |= {name: make(engine, augmentation, False) for name, augmentation in AUGMENTATIONS.items()}
    found: dict[str, dict[str, list[float]]] = {name: {"fixed": [], "step": [], "alone": []} for name in variants}
    names = list(variants)
    for index in range(-1, rounds):  # the first one warms up
        first = index % len(names)
        for name in names[first:] + names[:first]:
            works = (fixed.step, variants[name].step, variants[name].alone)
            for kind, work in zip(found[name], works, strict=True):
                assert work
                took = cpu_ms(work, index + 1)
                if index >= 0:
                    found[name][kind].append(took)
    versions = {"python": platform.python_version()}
    versions |= {name: neuroport_step._version(name) for name in (*neuroport_step.FRAMEWORKS[engine], "numpy")}
    return {"versions": versions, "cpu_ms": found}


def summary(found: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Medians, in ms and in parts of the step on the fixed input; ``overhead`` is of differences in a pair of runs."""
    rows = {}
    base = median(took for times in found["cpu_ms"].values() for took in times["fixed"])
    for name, times in found["cpu_ms"].items():
        pairs = list(zip(times["fixed"], times["step"], strict=True))
        rows[name] = {
            "fixed_ms": median(times["fixed"]), "step_ms": median(times["step"]),
            "overhead_ms": median(step - fixed for fixed, step in pairs),
            "overhead": median(step / fixed - 1 for fixed, step in pairs),
            "alone_ms": median(times["alone"]), "alone": median(times["alone"]) / base,
        }
    return rows


def markdown(report: dict[str, Any]) -> str:
    where, work = report["machine"], report["workload"]
    lines = [
        f"# What staged data add to a training step of {'-'.join(map(str, work['sizes']))}", "",
        f"T = {work['steps']}, B = {work['batch']}, float32, CPU-ms a step of all threads, medians over "
        f"{report['rounds']} rounds of {work['batches']} steps.",
        "", '"fixed input": nothing is gathered, unpacked or drawn. "staged": samples in the order of the epoch,',
        "gathered and unpacked from bits; the rows below it add one augmentation each, the last one four together.",
        'Overhead is against a run on the fixed input just before; it has in it that augmentations change how many',
        'spikes there are to work on. "alone" is order, gathering, unpacking and augmentation without the step.',
        'Where two runs of a step differ by 10 %, as on a shared machine, only what stands under "alone" is resolved.',
    ]
    for engine, rows in report["summary"].items():
        head = "| | fixed input | step | overhead | of the step | alone | of the step |"
        lines += ["", f"## {engine}", "", head, "|---" * 7 + "|"]
        for name, row in rows.items():
            lines.append(
                f"| {name} | {row['fixed_ms']:.1f} | {row['step_ms']:.1f} | {row['overhead_ms']:.1f} | "
                f"{row['overhead']:.1%} | {row['alone_ms']:.2f} | {row['alone']:.1%} |")
    lines.append("")
    for engine, found in report["measured"].items():
        lines.append(f"- {engine}: " + ", ".join(f"{name} {version}" for name, version in found["versions"].items()))
    state = f"commit {where['commit']}" + (" (modified)" if where["modified"] else "")
    lines += ["", f"{where['cpu_model']}, {where['cpus']} cores, load {where['load']} before; {where['system']}; "
              f"{where['date']}; {state}.", ""]
    return "\n".join(lines)


def apart(engine: str, rounds: int) -> dict[str, Any]:
    """``measure`` in a process of its own."""
    ended = subprocess.run([sys.executable, __file__, "--one", engine, "--rounds", str(rounds)], text=True,
                           stdout=subprocess.PIPE, env=os.environ, check=False)
    if ended.returncode:
        raise SystemExit(ended.returncode)
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--engines", nargs="+", choices=ALONE, default=list(ALONE))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--write", action="store_true", help=f"the tables become {RESULT.name}.md and .json")
    parser.add_argument("--one", choices=ALONE, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure(asked.one, asked.rounds)))
        return
    where = machine.describe()
    measured = {engine: apart(engine, asked.rounds) for engine in asked.engines}
    report = {"machine": where, "workload": WORK.as_dict(), "rounds": asked.rounds,
              "summary": {engine: summary(found) for engine, found in measured.items()}, "measured": measured}
    print(markdown(report))
    if asked.write:
        RESULT.with_suffix(".md").write_text(markdown(report), encoding="utf-8")
        RESULT.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
