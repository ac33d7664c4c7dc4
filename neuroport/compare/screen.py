"""A comparison on one screen, in words that a stranger understands: agreement first, then speed and memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from neuroport.compare.agreement import BIT, NONE, NORM, STATISTICAL, SpikeAgreement
from neuroport.compare.comparison import Comparison
from neuroport.compare.processes import Share

WIDTH = 100
CURVE = 40  # blocks of a curve
BLOCKS = "▁▂▃▄▅▆▇█"
SHOWN_LOSSES = (1, 2, 3, 5, 10)  # batches, from 1
MESSAGE = 6  # lines of what an engine said that gave no answer
STYLE = {BIT: "bold green", NORM: "bold green", STATISTICAL: "bold cyan", NONE: "bold red"}
TIERS = (
    "bit: every bit is equal · norm: all spikes are equal, potentials up to rounding · statistical: equal until "
    "rounding tips a spike whose potential stands at the threshold; single spikes may differ from there on, rates and "
    "accuracies do not · potentials: relative distance until a sample's spikes differ"
)


def screen(found: Comparison) -> Group:
    """At most 100 columns and, for up to four engines that answer, 40 lines."""
    gap = Text()
    return Group(*_head(found), gap, *_spikes(found), gap, *_losses(found), *_trainings(found), gap, *_costs(found),
                 *_verdicts(found))


def _head(found: Comparison) -> list[RenderableType]:
    experiment, data = found.experiment, found.data
    sizes = ", ".join(f"{len(packed)} {part}" for part, packed in data.parts.items())
    title = f"{experiment.name or 'experiment'} on {' · '.join(found.asked)}: one description, one seed"
    about = f"data {data.name}: {sizes} samples of {data.steps} steps · {found.machine}"
    return [Text(title, style="bold"), dim(about)]


def section(number: int, title: str, words: str) -> list[RenderableType]:
    return [Rule(f"[b]{number}  {title}[/b]", align="left", style="dim"), dim(words)]


def dim(words: str) -> Text:
    return Text(words, style="dim")


def table_of(*headings: str, left: Sequence[str] = ()) -> Table:
    """A plain table; the first column and those in ``left`` are flush left, and give way where it is narrow."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    for index, heading in enumerate(headings):
        words = index == 0 or heading in left
        table.add_column(heading, justify="left" if words else "right", no_wrap=not words)
    return table


# --- 1: spikes ----------------------------------------------------------------------------------


def _spikes(found: Comparison) -> list[RenderableType]:
    precision = found.shares[found.reference].precision
    return agreement(found.spikes, f"{found.reference} ({precision})")


def agreement(spikes: Mapping[str, SpikeAgreement], measure: str) -> list[RenderableType]:
    """Spikes and potentials of one batch, by engine. measure: what they are held to, in words."""
    first = "first spike that differs"
    table = table_of("engine", "equal spikes", first, "potentials apart", "agreement", left=(first, "agreement"))
    for name, one in spikes.items():
        equal = f"{grouped(one.equal)} of {grouped(one.total)}" if one.total else "no neuron spikes"
        tier = f"[{STYLE[one.tier]}]{one.tier}[/]"
        table.add_row(escape(name), equal, escape(_first(one)), percent(one.voltages), tier)
    samples = next((f"{one.samples} samples" for one in spikes.values()), "samples")
    words = f"{samples} through the untrained network; the measure is {measure}, the definition"
    return [*section(1, "Do they compute the same?", words), table, dim(TIERS)]


def _first(one: SpikeAgreement) -> str:
    if one.first is None:
        return "none" if one.total else ""
    neuron = ",".join(map(str, one.first.neuron))
    margin = "" if one.first.margin is None else f", {one.first.margin:.0e} from threshold"
    return f"{one.first.node} {neuron}, step {one.first.step}{margin}"


def grouped(number: int) -> str:
    """``77 812``: groups of three, as a comma could be a decimal one."""
    return f"{number:,}".replace(",", " ")


def percent(share: float) -> str:
    """``1.3 %``, and of small shares the digit that counts: ``0.00003 %``."""
    value = 100 * share
    if not math.isfinite(value) or value == 0 or value >= 0.1:
        return f"{value:.2g} %" if value < 100 or not math.isfinite(value) else f"{value:.0f} %"
    return f"{value:.{-math.floor(math.log10(value))}f} %"


# --- 2: learning --------------------------------------------------------------------------------


def _losses(found: Comparison) -> list[RenderableType]:
    first = found.shares[found.reference].first_losses
    shown = [batch for batch in SHOWN_LOSSES if batch <= len(first)]
    headings = [f"loss of batch {batch}" if batch == 1 else str(batch) for batch in shown]
    table = table_of("engine", *headings, "apart at most")
    for name, share in found.shares.items():
        losses = [f"{share.first_losses[batch - 1]:.5f}" for batch in shown if batch <= len(share.first_losses)]
        losses += [""] * (len(shown) - len(losses))
        if name == found.reference:
            table.add_row(escape(name), *losses, "")
            continue
        one = found.losses[name]
        style = "green" if one.agrees else "bold red"
        table.add_row(escape(name), *losses, f"[{style}]{percent(one.largest)}[/] at batch {one.batch}")
    words = f"from equal weights, on equal batches: the losses of the first {len(first)} batches, then whole trainings"
    return [*section(2, "Do they learn the same?", words), table]


def _trainings(found: Comparison) -> list[RenderableType]:
    trained = {name: share for name, share in found.shares.items() if share.trainings}
    if not trained or found.seeds is None:
        return []
    count = len(next(iter(trained.values())).trainings)
    what = found.measure.replace("_", " ")
    seeds = "1 seed" if count == 1 else f"{count} seeds"
    losses_of = "training loss, epoch by epoch (log)"
    table = table_of("engine", losses_of, "first", "last", f"{what}, {seeds}", left=(losses_of,))
    for name, share in trained.items():
        losses = [row["train_loss"] for row in share.trainings[0].history]
        spread = f" ± {_value(found, found.seeds.deviations[name])}" if count > 1 else ""
        reached = f"[b]{_value(found, found.seeds.means[name])}[/b]{spread}{_unit(found)}"
        table.add_row(escape(name), curve(losses), f"{losses[0]:.3f}", f"{losses[-1]:.3f}", reached)
    return [Text(), table, Text.from_markup(_within(found), style="dim")]


def _is_share(found: Comparison) -> bool:
    return found.measure.endswith("accuracy")


def _value(found: Comparison, value: float) -> str:
    return f"{100 * value:.1f}" if _is_share(found) else f"{value:.4g}"


def _unit(found: Comparison) -> str:
    return " %" if _is_share(found) else ""


def _within(found: Comparison) -> str:
    seeds = found.seeds
    assert seeds is not None
    points = " points" if _is_share(found) else ""
    if len(seeds.means) < 2:
        return "one engine was trained in full: there is none to compare that with"
    means = f"the means differ by {_value(found, seeds.apart)}{points}"
    if seeds.within is None:
        return f"{means}; a single seed has no spread to judge that by (--seeds 3)"
    widest = max(seeds.spreads, key=lambda name: seeds.spreads[name])
    spread = f"the seeds of {escape(widest)} alone by up to {_value(found, seeds.spreads[widest])}"
    verdict = "[green]within the spread[/]" if seeds.within else "[bold red]more than the spread over seeds[/]"
    return f"{means}, {spread}: {verdict}"


def curve(values: Sequence[float]) -> str:
    """Values as a row of blocks, the highest a full one; where there are many, means of neighbors.

    Equal steps are equal ratios where all values are positive: a loss that falls by and by shows that way.
    """
    if min(values) > 0:
        values = [math.log(value) for value in values]
    groups = min(CURVE, len(values))
    cuts = [round(index * len(values) / groups) for index in range(groups + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in zip(cuts, cuts[1:], strict=False)]
    low, high = min(means), max(means)
    scale = (len(BLOCKS) - 1) / ((high - low) or 1.0)
    return "".join(BLOCKS[round((value - low) * scale)] for value in means)


# --- 3: costs -----------------------------------------------------------------------------------


def _costs(found: Comparison) -> list[RenderableType]:
    first = len(found.shares[found.reference].first_losses)
    table = table_of("engine", "device", "samples/s", f"first {first} batches", "one training", "peak memory",
                   left=("device",))
    for name in found.asked:
        if name in found.shares:
            table.add_row(escape(name), *_cost(found, found.shares[name]))
    words = ("one after the other, each in a process of its own · samples/s: of training, after the first epoch · "
             f"first {first} batches: compiling included · memory: host memory of the process")
    if found.reference in found.asked and not found.shares[found.reference].trainings:
        words += f" · {found.reference} is written to be read: it did not train beyond {first} batches (--full lets it)"
    return [*section(3, "How fast, how large?", words), table]


def _cost(found: Comparison, share: Share) -> tuple[str, ...]:
    """Device, speed, start, training and memory; estimates where an engine was not trained in full."""
    if share.trainings:
        speeds = [one.summary["samples_per_second"] for one in share.trainings]
        seconds = [one.summary["seconds"] for one in share.trainings]
        speed, whole = f"{sum(speeds) / len(speeds):,.0f}", f"{sum(seconds) / len(seconds):,.1f} s"
    else:
        samples = min(len(share.first_losses) * found.experiment.training.batch_size, len(found.data.train))
        rate = samples / share.first_seconds
        speed, whole = f"≈ {rate:,.0f}", f"≈ {found.experiment.training.epochs * len(found.data.train) / rate:,.0f} s"
    memory = "not known" if share.peak_memory is None else f"{share.peak_memory / 2**20:,.0f} MB"
    return f"{share.device}, {share.precision}", speed, f"{share.first_seconds:.1f} s", whole, memory


# --- the verdict --------------------------------------------------------------------------------


def _verdicts(found: Comparison) -> list[RenderableType]:
    lines: list[RenderableType] = [Rule(style="dim")]
    agreeing = [name for name in found.spikes if found.agrees(name)]
    if agreeing:
        verb = "agrees" if len(agreeing) == 1 else "agree"
        named = enumerated([f"{name} ({found.spikes[name].tier})" for name in agreeing])
        lines.append(Text(f"✓ {named} {verb} with {found.reference}", style="bold green"))
    for name in found.spikes:
        if not found.agrees(name):
            why = f"✗ {name} does not agree with {found.reference}: {found.why_not(name)}"
            lines.append(Text(why, style="bold red"))
    for name, failure in found.failures.items():
        said = "\n".join(failure.message.splitlines()[:MESSAGE])
        lines.append(Text(f"✗ {name} gave no answer: {said}", style="bold red"))
    return lines


def enumerated(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
