"""From contestants' answers to numbers and tables: medians, spread, ratios within rounds, the distance from a bound."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, median
from typing import Any

import scaling
from contestants import CONTESTANTS
from limits import Limits, least
from machine import conditions
from workload import Workload

from neuroport.bench.timing import Spread, fastest, number, ratios, spread

CLOCKS = ("cpu", "wall")
KINDS = ("layer", "linear_lif", "feedforward", "recurrent", "conv")
TITLES = {
    "layer": "(a) one LIF layer, forward and reverse", "linear_lif": "(b) Linear and LIF, forward and reverse",
    "feedforward": "(c) feed-forward network, training step", "recurrent": "(d) recurrent network, training step",
    "conv": "(e) convolutional network, training step",
}
GPU_COMMAND = "python benchmarks/suite.py --device cuda --write"
CPU_COMMAND = "python benchmarks/suite.py --write"
GENERATED = "<!-- made by benchmarks/suite.py --write (or --report); edits here are lost -->\n"

Answers = Mapping[str, Sequence[Mapping[str, Any] | None]]


# --- judging --------------------------------------------------------------------------------------


def not_learning(losses: Sequence[float], workload: Workload) -> str:
    """Why a contestant is not timed: losses that are not finite, or, where it trains, do not fall; "" if they do."""
    if not all(map(math.isfinite, losses)):
        return f"a loss is not finite: {losses}"
    if not workload.trains:
        return ""
    first, last = fmean(losses[: workload.batches]), fmean(losses[-workload.batches :])
    return "" if last < first else f"the loss does not fall while it warms up: {losses}"


def sits_out(name: str, taken: Mapping[str, Sequence[float]], slow: float, rounds: int) -> bool:
    """Whether a contestant has taken part often enough: so many rounds, if it is so many times slower than the fastest.

    taken: seconds of the rounds so far, by name.
    """
    medians = {other: median(its) for other, its in taken.items() if its}
    return len(taken[name]) >= rounds and medians[name] > slow * min(medians.values())


# --- numbers --------------------------------------------------------------------------------------


def of_workload(
    where: Mapping[str, Any], limits: Limits, workload: Workload, rounds: int, raw: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything about one workload: what `suite.measure` found, and what follows from it."""
    return {
        "machine": dict(where), "limits": limits.as_dict(), "workload": workload.as_dict(), "rounds": rounds,
        "least": asdict(least(workload)), "best_peer": best_peers(raw["answers"], workload),
        "results": results(raw["ready"], raw["answers"], workload, limits), "left_out": dict(raw["left_out"]),
        "answers": {name: list(its) for name, its in raw["answers"].items()},
    }


def seconds(answers: Answers, clock: str) -> dict[str, list[float]]:
    """Of the rounds in which each contestant took part; nobody who took part in none."""
    found = {name: [one[f"{clock}_seconds"] for one in its if one is not None] for name, its in answers.items()}
    return {name: its for name, its in found.items() if its}


def best_peers(answers: Answers, workload: Workload) -> dict[str, str | None]:
    """The fastest peer by each clock; None where there is none."""
    peers = {name: its for name, its in answers.items() if CONTESTANTS[name].kind == "peer"}
    return {clock: fastest(seconds(peers, clock)) for clock in CLOCKS}


def within_rounds(mine: Sequence[Mapping[str, Any] | None], others: Sequence[Mapping[str, Any] | None],
                  clock: str) -> Spread:
    """Ratios of the rounds in which both took part."""
    key = f"{clock}_seconds"
    both = [(a[key], b[key]) for a, b in zip(mine, others, strict=True) if a is not None and b is not None]
    return ratios([a for a, _ in both], [b for _, b in both])


def results(
    ready: Mapping[str, Any], answers: Answers, workload: Workload, limits: Limits
) -> dict[str, dict[str, Any]]:
    """By contestant, the one that takes the least CPU time first: milliseconds a step, ratios to the best peer."""
    best, bound = best_peers(answers, workload), least(workload)
    table = {}
    for name, cpu in sorted(seconds(answers, "cpu").items(), key=lambda one: median(one[1])):
        entry, its, steps = CONTESTANTS[name], answers[name], workload.steps_per_run
        row: dict[str, Any] = {"about": entry.about, "kind": entry.kind, "rounds": len(cpu), **ready[name]}
        for clock in CLOCKS:
            row[f"{clock}_ms"] = asdict(spread([1e3 * s / steps for s in seconds(answers, clock)[name]]))
            peer = best[clock]
            row[f"{clock}_ratio"] = None if peer is None else asdict(within_rounds(its, answers[peer], clock))
        row["idle_cpu_ms"] = 1e3 * max(one["idle_cpu_seconds"] for one in its if one is not None)
        at_least = bound.seconds(limits, entry.precision) if entry.precision in limits.products else None
        row["of_bound"] = None if at_least is None else 1e3 * at_least / row["wall_ms"]["median"]
        table[name] = row
    return table


# --- words ----------------------------------------------------------------------------------------


def limits_in_words(limits: Limits) -> str:
    products = ", ".join(f"{name} products {rate / 1e9:.0f} GFLOP/s" for name, rate in limits.products.items())
    return f"this machine: copy {limits.copy / 1e9:.1f} GB/s, {products}"


def sizes_in_words(workload: Workload) -> str:
    sizes = "-".join(map(str, workload.sizes))
    image = f" on {workload.image[0]}x{workload.image[1]}" if workload.kind == "conv" else ""
    return f"{sizes}{image}, T = {workload.steps}, B = {workload.batch}"


def markdown(report: Mapping[str, Any]) -> str:
    """One workload as a table, with the conditions under it."""
    work, best, where = Workload.from_dict(report["workload"]), report["best_peer"], report["machine"]
    limits, rows = Limits(**report["limits"]), report["results"]
    heads = [f"{clock.upper() if clock == 'cpu' else clock} / {best[clock] or 'best peer'}" for clock in CLOCKS]
    lines = [
        f"### {TITLES[work.kind]}: {sizes_in_words(work)}", "",
        f"| contestant | agreement | CPU-ms | wall-ms | {' | '.join(heads)} | saved MiB | first run s | of the bound |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        said = "" if row["agreement"] is None else row["agreement"]["words"]
        times = [str(Spread(**row[f"{clock}_ms"])) for clock in CLOCKS]
        shares = ["" if row[f"{clock}_ratio"] is None else f"{row[f'{clock}_ratio']['median']:.2f}" for clock in CLOCKS]
        saved = "" if row["saved_mib"] is None else number(row["saved_mib"])
        bound = "" if row["of_bound"] is None else f"{100 * row['of_bound']:.0f} %"
        shown = f"**{name}**" if row["kind"] == "ours" else name
        cells = [shown, said, *times, *shares, saved, f"{row['compile_seconds']:.1f}", bound]
        lines.append(f"| {' | '.join(cells)} |")
    for name, why in report["left_out"].items():
        lines.append(f"| {name} | not timed: {one_line(why)} | | | | | | | |")
    of_bound = least(work)
    lines += [
        "", f"Milliseconds a step: median (smallest to largest) over {report['rounds']} interleaved rounds of "
        f"{work.steps_per_run}; slow contestants take part in fewer. CPU: all cores together. Ratios are taken within "
        "rounds, to the fastest peer by that clock. Saved: between forward and reverse, without parameters and inputs; "
        "in jax an upper bound, before XLA compiles. First run: caches on disk may be warm.",
        f"The bound: {of_bound.bytes / 1e6:.0f} MB moved and {of_bound.operations / 1e9:.1f} GFLOP of dense products, "
        f"whichever takes longer at what was measured here ({limits_in_words(limits)}); products that read only the "
        "spikes can be faster than it.", "",
    ]
    for name, row in rows.items():
        versions = ", ".join(f"{key} {value}" for key, value in row["versions"].items())
        lines.append(f"- {name}: {row['about']}; {versions}")
    return "\n".join([*lines, "", conditions(where)]) + "\n"


def one_line(words: str) -> str:
    return " ".join(words.replace("|", "/").split())


# --- files ----------------------------------------------------------------------------------------


def write(folder: Path, name: str, report: Mapping[str, Any], text: str) -> None:
    (folder / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (folder / f"{name}.md").write_text(GENERATED + text, encoding="utf-8")


def read(folder: Path, name: str) -> dict[str, Any] | None:
    """A report that was written, or None."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def write_overview(folder: Path) -> None:
    """README.md, which leads to all tables, and summary.md, to be pasted into a page, from the .json files."""
    reports = {kind: found for kind in KINDS if (found := read(folder, f"{kind}_cpu")) is not None}
    (folder / "README.md").write_text(GENERATED + overview(folder, reports), encoding="utf-8")
    (folder / "summary.md").write_text(GENERATED + summary(reports), encoding="utf-8")


def summary(reports: Mapping[str, Mapping[str, Any]]) -> str:
    """Ours beside the fastest peer, one row a workload; paths are those of the repository's root."""
    if not reports:
        return f"Not measured yet: `{CPU_COMMAND}`.\n"
    report = next(iter(reports.values()))
    ours = [name for name, entry in CONTESTANTS.items() if entry.kind == "ours"]
    lines = [
        "![CPU time of one step of each workload in neuroport and in other libraries](docs/benchmark.svg)", "",
        "Each contestant that computes the same network was held to the reference, stepping as that library steps, "
        "before it was timed; peers compute in float32. "
        f"CPU time of all cores together, median of {report['rounds']} interleaved rounds, and how many times as fast "
        "as the fastest peer that is, within rounds ([everything measured](benchmarks/results/README.md)). "
        f"{conditions(report['machine'])}", "",
        f"| CPU-ms a step | {' | '.join(f'**{name}**' for name in ours)} | fastest peer |",
        f"|---|{'---|' * (len(ours) + 1)}",
    ]
    for kind, report in reports.items():
        rows, peer = report["results"], report["best_peer"]["cpu"]
        cells = [_beside_peer(rows[name]) if name in rows else "" for name in ours]
        cells.append("" if peer is None else f"{number(rows[peer]['cpu_ms']['median'])}, {peer}")
        sizes = sizes_in_words(Workload.from_dict(report["workload"]))
        title = f"[{TITLES[kind]}](benchmarks/results/{kind}_cpu.md): {sizes}"
        lines.append(f"| {title} | {' | '.join(cells)} |")
    again = f"bash benchmarks/make_peers.sh spyx snntorch norse spikingjelly && .venv/bin/{CPU_COMMAND}"
    lines += ["", f"`{again}` repeats it. On a GPU: not measured yet; `{GPU_COMMAND}` measures "
              "neuroport there (the peers' contestants are written for the CPU)."]
    return "\n".join(lines) + "\n"


def _beside_peer(row: Mapping[str, Any]) -> str:
    """``92 (1.54 ×)``: milliseconds, and how many times as fast as the fastest peer."""
    ratio = row["cpu_ratio"]
    beside = "" if ratio is None else f" ({1 / ratio['median']:.2f} ×)"
    return f"{number(row['cpu_ms']['median'])}{beside}"


def overview(folder: Path, reports: Mapping[str, Mapping[str, Any]]) -> str:
    """What was measured here, and what was not."""
    here = summary(reports).replace("(benchmarks/results/", "(").replace("(docs/", "(../../docs/")
    lines = ["# Measurements", "", "## neuroport and other libraries on a CPU", "", here]
    for kind, report in reports.items():
        count = len(report["results"])
        lines.append(f"- [{TITLES[kind]}]({kind}_cpu.md): {count} contestants, {conditions(report['machine'])}")
    grown = read(folder, "scaling_cpu")
    if grown is not None:
        lines += ["- [scaling in T, B and N](scaling_cpu.md)", "", "## Scaling", ""]
        lines.append(scaling.exponents(grown["scaling"]))
    own = {f"{kind}_{device}" for kind in (*KINDS, "scaling") for device in ("cpu", "cuda")} | {"README", "summary"}
    others = sorted(path.name for path in folder.glob("*.md") if path.stem not in own)
    lines += ["", "## Others", "", *(f"- [{name.removesuffix('.md')}]({name})" for name in others)] if others else []
    measured = [kind for kind in KINDS if read(folder, f"{kind}_cuda") is not None]
    lines += ["", "## On a GPU", ""]
    lines += [f"- [{TITLES[kind]}]({kind}_cuda.md)" for kind in measured]
    if not measured:
        lines += ["| | |", "|---|---|", *(f"| {TITLES[kind]} | not measured yet |" for kind in KINDS), "",
                  f"One command measures it: `{GPU_COMMAND}`. The kernels by themselves: `python "
                  "benchmarks/gpu_kernels.py --write`."]
    return "\n".join(lines) + "\n"
