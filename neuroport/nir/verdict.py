"""What a check found: the verdict, a report for people, plain data, and a picture of where it goes apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np

from neuroport.compare.agreement import VOLTAGES, FirstDifference
from neuroport.errors import InvalidData, Problem, listed
from neuroport.nir.divergence import NodeCheck, place

EQUAL, WITHIN, DIFFERENT = "equal", "within tolerance", "different"
TOLERANCE = 1e-5  # of the threshold: what rounding in float32 may tip
NAMED = 8  # differing spikes that a report names one by one
WIDTH = 100


@dataclass(frozen=True, eq=False)
class Check:
    """Two runs held against each other.

    names: what A and B are. dt: of A, in seconds. nodes: those compared, in the order in which a step computes
    them. alone: nodes of A, and of B, without a partner. accuracy: of A and B, where labels were given; None for a
    recording that lacks the readout. tolerance: see ``check``.
    """

    names: tuple[str, str]
    dt: float
    steps: int
    samples: int
    nodes: tuple[NodeCheck, ...]
    alone: tuple[tuple[str, ...], tuple[str, ...]]
    accuracy: tuple[float | None, float | None] | None
    tolerance: float

    @property
    def first(self) -> FirstDifference | None:
        """Where they go apart: the first node, in the order of computing, that differs at all."""
        return next((node.first for node in self.nodes if node.first is not None), None)

    @property
    def earliest(self) -> FirstDifference | None:
        """What differs first in time, which may be in a later node."""
        found = [node.first for node in self.nodes if node.first is not None]
        return min(found, key=lambda one: one.step, default=None)

    @property
    def differing(self) -> int:
        """Spikes that one side has and the other has not."""
        return sum(len(node.differing) for node in self.nodes)

    @property
    def farthest(self) -> float | None:
        """The largest distance from the threshold among spikes that differ while nothing differed before.

        In A, in the model's unit; NaN where one is not known; None where no spike differs.
        """
        found = [node.differing.distance[node.differing.cause] for node in self.nodes if len(node.differing)]
        return float(np.max(np.concatenate(found))) if found else None

    @property
    def verdict(self) -> str:
        """"equal": every spike, and potentials up to rounding. "within tolerance": a spike differs only where its
        potential stood at the threshold, or as a consequence of one. Else "different"."""
        return self._judged[0]

    @property
    def reason(self) -> str:
        """Why, in a sentence."""
        return self._judged[1]

    @property
    def exit_code(self) -> int:
        """Of the command: 0 where the two agree, 1 where they do not."""
        return int(self.verdict == DIFFERENT)

    @property
    def _judged(self) -> tuple[str, str]:
        far = next((node for node in self.nodes if not node.voltages_agree), None)
        if far is not None:
            when = "before a spike differs" if self.differing else "over the whole run"
            return DIFFERENT, (f"potentials of {far.node} differ by {far.voltage_relative:.1e} of their size {when}, "
                               f"more than rounding ({VOLTAGES:g})")
        if not self.differing:
            known = any(node.voltage_relative is not None for node in self.nodes)
            return EQUAL, "every spike is equal" + (", and potentials up to rounding" if known else "")
        shares = np.concatenate([node.differing.share[node.differing.cause] for node in self.nodes])
        if not np.isfinite(shares).all():
            return DIFFERENT, "spikes differ, and how far their potentials stood from the threshold is not known"
        worst = float(shares.max())
        if worst > self.tolerance:
            return DIFFERENT, (f"a spike differs although its potential stood {worst:.1e} of the threshold away from "
                               f"it, more than rounding ({self.tolerance:g})")
        return WITHIN, (f"spikes differ first where potentials stood at the threshold, within {worst:.1e} of it: "
                        "rounding tips them")

    def to_data(self) -> dict[str, Any]:
        """As plain data for JSON, without traces."""
        a, b = self.accuracy or (None, None)
        return {
            "a": self.names[0], "b": self.names[1], "verdict": self.verdict, "reason": self.reason, "dt": self.dt,
            "steps": self.steps, "samples": self.samples, "differing": self.differing,
            "values": sum(node.values for node in self.nodes if node.counts is not None), "farthest": self.farthest,
            "tolerance": self.tolerance, "first": place(self.first), "earliest": place(self.earliest),
            "accuracy": None if self.accuracy is None else {"a": a, "b": b},
            "nodes": [node.to_data() for node in self.nodes], "only_a": list(self.alone[0]),
            "only_b": list(self.alone[1]),
        }

    def report(self) -> str:
        """For people: the verdict, where they go apart, each node, and the spikes that differ by name."""
        from rich.console import Console

        text = StringIO()
        console = Console(file=text, width=WIDTH, highlight=False)
        length = f"{_grouped(self.steps)} steps of {1e3 * self.dt:g} ms, {_counted(self.samples, 'sample')}"
        for side, name in zip("AB", self.names, strict=True):
            console.print(f"{side}: {name}", markup=False, soft_wrap=True)
        console.print(length)
        console.print(f"\n{self.verdict}: {self.reason}", markup=False)
        for line in self._places():
            console.print(line, markup=False)
        console.print(self._table())
        for side, names in zip("AB", self.alone, strict=True):
            if names:
                console.print(f"only in {side}, not compared: {listed(names)}", markup=False)
        if self.accuracy is not None:
            shown = ["not known" if one is None else f"{100 * one:.2f} %" for one in self.accuracy]
            console.print(f"accuracy: {shown[0]} in A, {shown[1]} in B")
        for line in self._spikes():
            console.print(line, markup=False)
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines())

    def _places(self) -> Iterator[str]:
        first, earliest = self.first, self.earliest
        if first is None:
            return
        yield f"first node that differs: {_where(first)}"
        if earliest is not None and earliest.step < first.step:
            yield f"earlier in time: {_where(earliest)}"

    def _table(self) -> Any:
        from rich import box
        from rich.markup import escape
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
        table.add_column("node")
        for heading in ("spikes A", "spikes B", "differing", "share", "van Rossum", "potentials apart"):
            table.add_column(heading, justify="right")
        for node in self.nodes:
            name = node.node if node.node == node.other else f"{node.node} / {node.other}"
            counts = ["do not spike", "", "", "", ""] if node.counts is None else [
                *(_grouped(count) for count in node.counts), f"{_grouped(len(node.differing))} of "
                f"{_grouped(node.values)}", _percent(node.share), f"{node.van_rossum:.3g}"]
            apart = "not known"
            if node.voltage_max is not None and node.voltage_relative is not None:
                apart = f"{node.voltage_max:.1e} ({node.voltage_relative:.1e})" if node.voltage_max else "0"
            table.add_row(escape(name), *counts, apart)
        if any(node.voltage_max for node in self.nodes):
            table.caption = ("potentials apart: largest difference in the model's unit, and ||B - A|| / ||A||, "
                             "both before a sample's first differing spike")
            table.caption_justify = "left"
        return table

    def _spikes(self) -> Iterator[str]:
        """The spikes that differ while nothing differed before, the farthest from the threshold first."""
        rows = []
        for node in self.nodes:
            spikes = node.differing
            for at in np.flatnonzero(spikes.cause):
                rows.append((spikes.distance[at], spikes.share[at], node.node, int(spikes.step[at]),
                             int(spikes.sample[at]), _index(spikes.neuron[at]), "B" if spikes.extra[at] > 0 else "A"))
        if not rows:
            return
        rows.sort(key=lambda row: (-np.nan_to_num(row[0], nan=np.inf), row[3]))
        follow = self.differing - len(rows)
        verb, them = ("differs", "it") if len(rows) == 1 else ("differ", "them")
        more = f"; {_grouped(follow)} more may follow from {them}" if follow else ""
        yield f"{_counted(len(rows), 'spike')} {verb} while nothing differed before{more}:"
        for distance, share, name, step, sample, neuron, side in rows[:NAMED]:
            far = "distance from the threshold not known" if np.isnan(distance) else (
                f"{distance:.1e} from the threshold ({share:.1e} of it)")
            yield f"  {name} {neuron}, step {step}, sample {sample}: only {side} spikes, {far}"
        if len(rows) > NAMED:
            yield f"  ... and {len(rows) - NAMED} more, nearer to it"

    def figure(self, node: str | None = None, figure: Any = None) -> Any:
        """The two rasters around the place where they go apart, with differing spikes marked.

        node: of A; None: the first that differs, or the first that spikes. Raises InvalidData.
        """
        from neuroport.pictures.divergence import divergence

        with_spikes = {one.node: one for one in self.nodes if one.spikes is not None}
        first = self.first
        name = node or (first.node if first is not None and first.node in with_spikes
                        else next(iter(with_spikes), None))
        if name not in with_spikes:
            wrong = f"there are no spikes of {name!r}" if name else "no node has spikes on both sides"
            raise InvalidData([Problem("node", wrong, f"nodes with spikes: {listed(with_spikes)}")])
        chosen = with_spikes[name]
        assert chosen.spikes is not None
        at = chosen.first
        sample, step, index = (0, 0, None) if at is None else (
            at.sample, at.step, int(np.ravel_multi_index(at.neuron, chosen.spikes[0].shape[2:])))
        spikes = [values[:, sample].reshape(self.steps, -1) for values in chosen.spikes]
        potentials = None if chosen.potentials is None or index is None else [
            values[:, sample].reshape(self.steps, -1)[:, index] for values in chosen.potentials]
        title = f"{name}, sample {sample}: {_counted(len(chosen.differing), 'differing spike')} in all samples"
        return divergence(spikes[0], spikes[1], self.names, self.dt, step, index, potentials, title, figure)


def _where(first: FirstDifference) -> str:
    far = "" if first.margin is None else f", {first.margin:.1e} from its threshold"
    return f"{first.node} {_index(first.neuron)}, step {first.step}, sample {first.sample}{far}"


def _index(neuron: Sequence[int]) -> str:
    """``neuron 3``, of images ``neuron (0, 2, 5)``."""
    numbers = [int(one) for one in neuron]
    return f"neuron {numbers[0]}" if len(numbers) == 1 else f"neuron {tuple(numbers)}"


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{_grouped(count)} {one if count == 1 else many or one + 's'}"


def _grouped(number: float) -> str:
    """``77 812``: groups of three, as a comma could be a decimal one."""
    return f"{number:,.0f}".replace(",", " ")


def _percent(share: float) -> str:
    return "0 %" if share == 0 else f"{100 * share:.2g} %"
