"""A measurement on one screen: agreement first, then speed."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.rule import Rule
from rich.text import Text

from neuroport.bench.benchmark import EXACT, Benchmark, measure_of
from neuroport.bench.timing import number
from neuroport.compare.agreement import NONE
from neuroport.compare.screen import agreement, dim, section, table_of

GAPS = 24  # lines of what an engine said that cannot run the model


def screen(found: Benchmark) -> Group:
    """At most 100 columns; 40 lines for up to four contestants that answer."""
    gap = Text()
    held = dict.fromkeys(measure_of(one.precision) for one in found.asked)
    measure = f"{found.reference} ({', '.join(held) or EXACT})"
    return Group(*_head(found), gap, *agreement(found.spikes, measure), gap, *_speeds(found), *_verdicts(found))


def _head(found: Benchmark) -> list[RenderableType]:
    title = f"{found.experiment.name or 'experiment'} on {' · '.join(one.label for one in found.asked)}"
    return [Text(title, style="bold"), dim(f"{found.about} · {found.machine}")]


def _speeds(found: Benchmark) -> list[RenderableType]:
    table = table_of("engine", "device", "samples/s", "ms a step", "CPU-ms a step", "× fastest", "start", "memory",
                     left=("device",))
    for label, speed in found.speeds.items():
        ready = found.ready[label]
        memory = "not known" if speed.peak_memory is None else f"{speed.peak_memory / 2**20:,.0f} MB"
        table.add_row(
            escape(label), f"{ready.device}, {ready.precision}", f"[b]{speed.samples_per_second:,.0f}[/b]",
            *(f"{number(1e3 * one.median)}\n[dim]{number(1e3 * one.low)}–{number(1e3 * one.high)}[/dim]"
              for one in (speed.wall, speed.cpu)),
            number(speed.to_fastest.median), f"{speed.first_seconds:.1f} s", memory)
    words = (f"one training step, batch size {found.experiment.training.batch_size}: forward, backward, optimizer · "
             f"median and spread of {found.rounds} rounds, engines in turn · × fastest: within rounds · CPU: all cores "
             "together · start: compiling and the first round · memory: host memory of the process, at most")
    return [*section(2, "How fast do they train?", words), table]


def _verdicts(found: Benchmark) -> list[RenderableType]:
    lines: list[RenderableType] = [Rule(style="dim")]
    for label, one in found.spikes.items():
        if one.tier == NONE:
            lines.append(Text(f"✗ {label} was not timed, it does not agree: {one.reason}", style="bold red"))
    for label, failure in found.failures.items():
        said = failure.message.splitlines()
        more = [f"... and {len(said) - GAPS} more lines (--json has them)"] if len(said) > GAPS else []
        style = "bold red" if found.named else "yellow"
        lines.append(Text(f"✗ {label} was left out: " + "\n".join([*said[:GAPS], *more]), style=style))
    if not found.speeds:
        lines.append(Text("✗ nobody was timed", style="bold red"))
    fastest = min(found.speeds, key=lambda label: found.speeds[label].wall.median, default=None)
    if fastest is not None:
        lines.append(Text(f"✓ {fastest} is the fastest of {len(found.speeds)} that agree with {found.reference}",
                          style="bold green"))
    if found.reference not in {one.engine for one in found.asked}:
        lines.append(dim(f"{found.reference} is the measure, written to be read; --engines names it to be timed too"))
    return lines
