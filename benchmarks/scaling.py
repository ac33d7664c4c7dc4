"""How a step's time grows with the time steps T, the batch B and the neurons N: few points, one factor at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from contestants import CONTESTANTS
from running import LeftOut, asked, opened
from workload import WORKLOADS, Workload

from neuroport.bench.timing import SETTLE, number
from neuroport.compare.processes import Conversation

TIMES = 3  # timed runs of a point, of which the median counts
LONGEST = 6.0  # seconds of a step: a point that would take longer, by those before it, is left out
ASKED = ("neuroport torch", "neuroport jax", "spyx", "snntorch", "spikingjelly", "norse")  # as they are documented
FACTORS = {"T": "time steps", "B": "samples in a batch", "N": "neurons"}
SMALL = {
    "layer": replace(WORKLOADS["layer"], sizes=(256,), batch=16, batches=1, steps_per_run=1),
    "recurrent": replace(WORKLOADS["recurrent"], batch=16, batches=1, steps_per_run=1),
}
SWEEPS: dict[str, dict[str, tuple[int, ...]]] = {
    "layer": {"T": (64, 512, 4096), "B": (16, 256), "N": (256, 4096)},
    "recurrent": {"T": (100, 250, 1000), "B": (16, 64), "N": (128, 256, 512)},
}


def at(kind: str, factor: str, value: int) -> Workload:
    """The small workload with one factor set."""
    base = SMALL[kind]
    if factor == "N":
        return replace(base, sizes=(value,) if kind == "layer" else (base.sizes[0], value, base.sizes[-1]))
    return replace(base, **{"T": {"steps": value}, "B": {"batch": value}}[factor])


def measure(
    names: Sequence[str], kinds: Sequence[str], device: str, logs: Path
) -> dict[str, Any]:
    """Wall-ms and CPU-ms of a step, by kind, factor, contestant and value; "left_out": who could not, and why."""
    found: dict[str, Any] = {}
    for kind in (kind for kind in SWEEPS if kind in kinds):
        found[kind] = {factor: {} for factor in SWEEPS[kind]}
        for name in names:
            entry = CONTESTANTS[name]
            if name not in ASKED:
                continue
            log = logs / f"scaling-{kind}-{name.replace(' ', '-')}.log"
            with ExitStack() as stack:
                try:
                    process = stack.enter_context(opened(entry, device, log))
                    for factor, values in SWEEPS[kind].items():
                        found[kind][factor][name] = _swept(kind, factor, values, process, log)
                except LeftOut as reason:
                    found[kind].setdefault("left_out", {})[name] = str(reason)
    return found


def _swept(
    kind: str, factor: str, values: Sequence[int], process: Conversation, log: Path
) -> dict[str, dict[str, float]]:
    its: dict[str, dict[str, float]] = {}
    for value in values:
        if predicted(its, value) > 1e3 * LONGEST:
            break
        workload = at(kind, factor, value)
        asked(process, {"prepare": workload.as_dict(), "warmup": 1}, log)
        answers = []
        for _ in range(TIMES):
            time.sleep(SETTLE)
            answers.append(asked(process, {"run": workload.steps_per_run}, log))
        its[str(value)] = {f"{clock}_ms": 1e3 * median(one[f"{clock}_seconds"] for one in answers)
                           for clock in ("cpu", "wall")}
    return its


def predicted(points: Mapping[str, Mapping[str, float]], value: int) -> float:
    """Wall-ms of a larger point: as the last ones grew, of a single one as the size does. 0 without any."""
    if not points:
        return 0.0
    sizes = list(points)
    last = points[sizes[-1]]["wall_ms"]
    slope = exponent({size: points[size] for size in sizes[-2:]}, "wall_ms") or 1.0
    return last * (value / float(sizes[-1])) ** slope


def exponent(points: Mapping[str, Mapping[str, float]], clock: str = "cpu_ms") -> float | None:
    """The slope of log time over log size, least squares: 1 where time grows as size does. None of a single point."""
    if len(points) < 2:
        return None
    return slope({float(size): one[clock] for size, one in points.items()})


def slope(times: Mapping[float, float]) -> float:
    """Of log time over log size, least squares."""
    x, y = ([math.log(value) for value in values] for values in (times, times.values()))
    middle = sum(x) / len(x)
    return sum((a - middle) * b for a, b in zip(x, y, strict=True)) / sum((a - middle) ** 2 for a in x)


def markdown(found: Mapping[str, Any]) -> str:
    """Every point, and the exponents."""
    lines = ["### Scaling", "", "CPU-ms of a step; exponent: slope of log time over log size, 1 where time grows as "
             "size does. Peers as they document themselves, one after another; not interleaved.", ""]
    for kind, sweeps in found.items():
        for factor, names in ((one, its) for one, its in sweeps.items() if one in FACTORS):
            values = [str(value) for value in SWEEPS[kind][factor]]
            lines += [f"{kind}, {FACTORS[factor]}:", "",
                      f"| contestant | {' | '.join(f'{factor} = {value}' for value in values)} | exponent |",
                      f"|---|{'---|' * (len(values) + 1)}"]
            for name, points in names.items():
                cells = [number(points[value]["cpu_ms"]) if value in points else "" for value in values]
                slope = exponent(points)
                lines.append(f"| {name} | {' | '.join(cells)} | {'' if slope is None else f'{slope:.2f}'} |")
            lines.append("")
        for name, why in sweeps.get("left_out", {}).items():
            lines += [f"- {kind}, {name}: {' '.join(why.split())}"]
    return "\n".join(lines) + "\n"


def exponents(found: Mapping[str, Any]) -> str:
    """The exponents alone, as one table."""
    heads = [(kind, factor) for kind, sweeps in found.items() for factor in sweeps if factor in FACTORS]
    names = list(dict.fromkeys(name for kind, factor in heads for name in found[kind][factor]))
    lines = ["How CPU time grows, as the exponent of each factor:", "",
             f"| contestant | {' | '.join(f'{kind}, {factor}' for kind, factor in heads)} |",
             f"|---|{'---|' * len(heads)}"]
    for name in names:
        slopes = [exponent(found[kind][factor].get(name, {})) for kind, factor in heads]
        lines.append(f"| {name} | {' | '.join('' if one is None else f'{one:.2f}' for one in slopes)} |")
    return "\n".join(lines) + "\n"
