"""What a population takes along in its own kernel on the CPU: the product that it alone reads, the marks of its spikes.

Neither the product nor the spikes are then written as numbers: see ``neuroport_loops/fused_source.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from neuroport.dynamics.trace import Traced
from neuroport.model.layers import Linear
from neuroport.program.lower import Program
from neuroport.program.schedule import Parallel


class Along(NamedTuple):
    """product: the Linear before. readers: the Linears after, none where something needs the spikes as numbers."""

    product: str | None
    readers: tuple[str, ...]


def taken_along(program: Program, populations: Collection[str]) -> dict[str, Along]:
    """By population, of those that can: what its kernel takes along, as far as the program decides it."""
    parallel = {segment.node for segment in program.segments if isinstance(segment, Parallel)}
    linear = {name for name in parallel if isinstance(program.node(name), Linear)}
    found = {}
    for name in populations:
        traced, before, readers = program.neurons[name].kept, _only(program, name), _readers(program, name)
        forgets = runs_again(traced) or not traced.reads_input
        alone = all(reader in linear and _only(program, reader) == name for reader in readers)
        found[name] = Along(
            before if before in linear and len(_readers(program, before)) == 1 and forgets else None,
            readers if alone and traced.after.outputs["out"].op == "spike" else ())
    return found


def runs_again(traced: Traced) -> bool:
    """Whether what a step's reverse reads is made anew from states: not where decisions are kept in their place."""
    return bool(traced.saved) and bool(traced.state)


def owing(plan: Mapping[str, Along], wanted: Collection[str] | None) -> set[str]:
    """The Linears whose product a population takes. wanted: nodes whose outputs are asked for, None for all."""
    return set() if wanted is None else {
        one.product for one in plan.values() if one.product is not None and one.product not in wanted}


def _only(program: Program, name: str) -> str | None:
    """The node that alone feeds this one, at once; None where there is no such node."""
    edges = program.incoming[name]
    return edges[0].source if len(edges) == 1 and not edges[0].delay and edges[0].lags is None else None


def _readers(program: Program, name: str | None) -> tuple[str, ...]:
    return tuple(edge.target for edge in program.wires if edge.source == name)
