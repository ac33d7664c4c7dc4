"""A whole run of a program, segment by segment, on arrays of any kind.

An engine gives two functions: how a stateless node runs over all T x B, and how a stepped segment
runs through time. The order of nodes, the sums of edges and the bookkeeping of states stand here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    inputs: Mapping[str, Array], record: Records = (),
) -> Activity:
    """Run a program over ``inputs`` (T, B, *shape) by Input node."""
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

    for segment in program.segments:
        if isinstance(segment, Parallel):
            name = segment.node
            values[name] = runner.parallel(name, program.local(name, parameters), arriving(segment, name))
            continue
        given = {name: arriving(segment, name) for name in segment.nodes}
        outputs, states, seen = runner.stepped(
            segment, segment_arrays(program, segment, parameters), state,
            {name: x for name, x in given.items() if x is not None},
            [wanted for wanted in record if wanted[0] in segment.nodes],
        )
        values.update(outputs)
        after.update(states)
        records.update(seen)
    return Activity(values, records, {**after, **lines})


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
