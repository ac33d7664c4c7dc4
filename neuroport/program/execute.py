"""A whole run of a program, segment by segment, on arrays of any kind.

An engine gives two functions: how a stateless node runs over all T x B, and how a stepped segment
runs through time. The order of nodes, the sums of edges and the bookkeeping of states stand here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from neuroport.dynamics.ops import Array
from neuroport.model.nodes import Input
from neuroport.program.lower import Program
from neuroport.program.schedule import Parallel, Segment, Stepped
from neuroport.program.stepping import Arrays
from neuroport.program.wires import delayed

Records = Sequence[tuple[str, str]]


class Runner(Protocol):
    """What an engine does for a run."""

    def parallel(self, name: str, parameters: Mapping[str, Array], x: Array) -> Array:
        """A stateless node on x (T, B, *shape)."""

    def stepped(
        self, segment: Stepped, arrays: Arrays, state: Mapping[str, Array], given: Mapping[str, Array], record: Records,
    ) -> tuple[dict[str, Array], dict[str, Array], dict[tuple[str, str], Array]]:
        """A segment through all of ``given`` (T, B, *shape): outputs by node, states after, records."""


@dataclass(frozen=True)
class Activity:
    """Outputs (T, B, *shape) of every node, records, and the state after the run, by name."""

    values: dict[str, Array]
    records: dict[tuple[str, str], Array]
    state: dict[str, Array]


def execute(
    program: Program, runner: Runner, parameters: Mapping[str, Array], state: Mapping[str, Array],
    inputs: Mapping[str, Array], record: Records = (), wanted: Collection[str] | None = None,
) -> Activity:
    """Run a program over ``inputs`` (T, B, *shape) by Input node.

    wanted: nodes whose outputs are asked for, None for all; any other is let go of as soon as its last reader has run.
    """
    values: dict[str, Array] = {}
    records: dict[tuple[str, str], Array] = {}
    after: dict[str, Array] = {}
    lines: dict[str, Array] = {}

    def arriving(segment: Segment, name: str) -> Array | None:
        total = inputs[name] if isinstance(program.node(name), Input) else None
        for edge in program.external(segment, name):
            term = values[edge.source]
            if edge.delay:
                term, lines[edge.key] = delayed(term, state[edge.key], edge)
            total = term if total is None else total + term
        return total

    def run(segment: Segment) -> None:
        if isinstance(segment, Parallel):
            name = segment.node
            values[name] = runner.parallel(name, program.local(name, parameters), arriving(segment, name))
            return
        given = {name: arriving(segment, name) for name in segment.nodes}
        outputs, states, seen = runner.stepped(
            segment, segment_arrays(program, segment, parameters), state,
            {name: x for name, x in given.items() if x is not None},
            [asked for asked in record if asked[0] in segment.nodes],
        )
        values.update(outputs)
        after.update(states)
        records.update(seen)

    done = _done(program) if wanted is not None else [[]] * len(program.segments)
    for segment, names in zip(program.segments, done, strict=True):
        run(segment)
        for name in names:
            if name not in (wanted or ()):
                del values[name]
    return Activity(values, records, {**after, **lines})


def _done(program: Program) -> list[list[str]]:
    """By segment: the nodes whose outputs nothing reads after it has run."""
    last: dict[str, int] = {}
    for index, segment in enumerate(program.segments):
        for name in (segment.node,) if isinstance(segment, Parallel) else segment.nodes:
            last[name] = index
            last.update({edge.source: index for edge in program.external(segment, name)})
    found: list[list[str]] = [[] for _ in program.segments]
    for name, index in last.items():
        found[index].append(name)
    return found


def windows(steps: int, length: int | None) -> list[slice]:
    """The stretches of time between which no gradient passes: all steps, or ``length`` each, the last one shorter."""
    size = steps if length is None else length
    return [slice(first, min(first + size, steps)) for first in range(0, steps, size)]


def segment_arrays(program: Program, segment: Stepped, parameters: Mapping[str, Array]) -> Arrays:
    """Coefficients and parameters of a segment's nodes, from the model's arrays by name."""
    neurons = [name for name in segment.nodes if name in program.neurons]
    return Arrays(
        {name: program.neurons[name].coefficients(parameters) for name in neurons},
        {name: program.local(name, parameters) for name in segment.nodes if name not in neurons},
    )
