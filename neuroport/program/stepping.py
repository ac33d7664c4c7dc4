"""One time step of a segment, forward and reverse, on arrays of any kind.

Engines own the loop over time; what happens in a step, and in which order sums are taken, stands
here. Everything is passed: ``carry`` is what a step hands to the next, dicts of arrays that a
compiled loop can hold:

    forward carry: "node.field" -> (B, *shape), "source->target" -> ``delay`` arrays, oldest first
    reverse carry: the cotangents of states and of what will arrive through each line (which is what the
                   line holds, unless its delays differ: see ``with_lines``), and "node:c.NAME" ->
                   (B, *shape), the sum so far of a coefficient's cotangent
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

from neuroport.dynamics import ops
from neuroport.dynamics.ops import Array
from neuroport.dynamics.spike import LAST_OUTPUT
from neuroport.program.lower import Program
from neuroport.program.schedule import Stepped
from neuroport.program.wires import Wire, delayed, undelayed_ends

Carry = dict[str, Any]
Apply = Callable[[str, Mapping[str, Array], Array], Array]


@dataclass(frozen=True)
class Arrays:
    """What the nodes of a segment compute with: coefficients of neurons, parameters of layers."""

    coefficients: Mapping[str, Mapping[str, Array]]
    parameters: Mapping[str, Mapping[str, Array]]


@dataclass(frozen=True)
class Emitted:
    """What one step gives: outputs by node; cuts by node, as far as asked for; records by (node, name)."""

    outputs: dict[str, Array]
    cuts: dict[str, dict[str, Array]]
    records: dict[tuple[str, str], Array]


def take_states(program: Program, segment: Stepped, state: Mapping[str, Array]) -> Carry:
    """A segment's part of the model's state as the carry of its first step."""
    carry: Carry = {f"{name}.{field}": state[f"{name}.{field}"]
                    for name in segment.nodes if name in program.neurons
                    for field in program.neurons[name].state}
    for edge in segment.internal:
        if edge.delay:
            carry[edge.key] = tuple(state[edge.key][lag] for lag in range(edge.delay))
    return carry


def reaching(
    segment: Stepped, name: str, given: Mapping[str, Array], carry: Mapping[str, Any], outputs: Mapping[str, Array]
) -> Array:
    """What reaches a node in one step, (B, *shape): from outside first, then edge by edge."""
    x = given.get(name)
    for edge in segment.internal:
        if edge.target == name:
            sent = partial(_sent, edge, carry, outputs)
            term = sent(edge.delay) if edge.lags is None else edge.lags.chosen(sent)
            x = term if x is None else x + term
    return x


def _sent(edge: Wire, carry: Mapping[str, Any], outputs: Mapping[str, Array], lag: int) -> Array:
    """What left the source of a wire ``lag`` steps ago, (B, *shape)."""
    if lag:
        return carry[edge.key][edge.delay - lag]
    if edge.source in outputs:
        return outputs[edge.source]
    # not run yet in this step, but it sends out what it decided in the one before
    return carry[f"{edge.source}.{LAST_OUTPUT}"]


def reached(
    segment: Stepped, name: str, given: Mapping[str, Array], lines: Mapping[str, Array], outputs: Mapping[str, Array]
) -> Array:
    """The same of a whole run, (T, B, *shape), put together again; lines: (delay, B, *shape) at its start."""
    x = given.get(name)
    for edge in segment.internal:
        if edge.target == name:
            term = outputs[edge.source]
            term = delayed(term, lines[edge.key], edge)[0] if edge.delay else term
            x = term if x is None else x + term
    return x


def step(
    program: Program, segment: Stepped, apply: Apply, arrays: Arrays, carry: Carry,
    given: Mapping[str, Array], keep: Mapping[str, Sequence[str]], record: Sequence[tuple[str, str]] = (),
) -> tuple[Carry, Emitted]:
    """One step forward.

    apply: (node, parameters, x (B, *shape)) -> y, for the stateless nodes of the segment.
    given: what reaches each node from outside, (B, *shape). keep: fields of the cut by node.
    record: pairs (node, "spikes" | "v_pre" | state).
    """
    outputs: dict[str, Array] = {}
    cuts: dict[str, dict[str, Array]] = {}
    records: dict[tuple[str, str], Array] = {}
    after: Carry = {}
    for name in segment.nodes:
        x = reaching(segment, name, given, carry, outputs)
        if name not in program.neurons:
            outputs[name] = apply(name, arrays.parameters[name], x)
            continue
        bound = program.neurons[name]
        c = SimpleNamespace(**arrays.coefficients[name])
        cut = bound.before(c, {field: carry[f"{name}.{field}"] for field in bound.state}, x)
        state, outputs[name] = bound.after(c, cut)
        after.update({f"{name}.{field}": value for field, value in state.items()})
        cuts[name] = {field: cut[field] for field in keep.get(name, ())}
        seen = {**state, "spikes": outputs[name], "v_pre": cut["v"]}
        records.update({(node, what): seen[what] for node, what in record if node == name})
    for edge in segment.internal:
        if edge.delay:
            after[edge.key] = (*carry[edge.key][1:], outputs[edge.source])
    return after, Emitted(outputs, cuts, records)


def step_back(
    program: Program, segment: Stepped, transpose: Apply, reverses: Mapping[str, Callable[..., Any]],
    arrays: Arrays, carry: Carry, cotangents: Mapping[str, Array], saved: Mapping[str, Mapping[str, Array]],
) -> tuple[Carry, dict[str, Array], dict[str, Array]]:
    """One step in reverse.

    transpose: (node, parameters, dy) -> dx, for the stateless nodes. reverses: for each neuron node
    its reverse graph as a function. cotangents: of each node's output in this step, as far as
    something outside reads it. saved: for each neuron node what its reverse reads, "cut.NAME",
    "s.NAME" and "x". Returns the carry of the step before, the cotangent of what was given to each
    node, and that of each stateless node's output.
    """
    of_output: dict[str, Array] = dict(cotangents)
    of_given: dict[str, Array] = {}
    before: Carry = {}
    held = segment.held

    def add(name: str, term: Array) -> None:
        of_output[name] = of_output[name] + term if name in of_output else term

    for edge in segment.internal:
        if edge.delay:  # what entered the line in this step; the head is read below
            add(edge.source, _returned(edge, carry[edge.key]))
    for name in reversed(segment.nodes):
        dy = of_output[name]
        if name not in program.neurons:
            dx = transpose(name, arrays.parameters[name], dy)
        else:
            bound = program.neurons[name]
            inputs = {f"c.{key}": value for key, value in arrays.coefficients[name].items()}
            inputs.update(saved[name])
            inputs.update({f"g.s.{field}": carry[f"{name}.{field}"] for field in bound.state})
            found = reverses[name]({**inputs, "g.out": dy})
            dx = found["x"]
            before.update({f"{name}.{field}": found[f"s.{field}"] for field in bound.state})
            for key in bound.traced.trained:
                line = f"{name}:c.{key}"
                before[line] = carry[line] + found[f"c.{key}"]
        of_given[name] = dx
        for edge in segment.internal:
            if edge.target != name or edge.soonest:
                continue
            term = dx if edge.lags is None else edge.lags.chosen(partial(_of_now, dx))
            if edge in held:  # its source has been passed; what it sent out stands in its state
                last = f"{edge.source}.{LAST_OUTPUT}"
                before[last] = before[last] + term
            else:
                add(edge.source, term)
    for edge in segment.internal:
        if edge.delay == 1:
            before[edge.key] = (of_given[edge.target],)
        elif edge.delay:
            before[edge.key] = (of_given[edge.target], *carry[edge.key][:-1])
    of_stateless = {name: of_output[name] for name in segment.nodes if name not in program.neurons}
    return before, of_given, of_stateless


def with_lines(
    segment: Stepped, of_outputs: Mapping[str, Array], of_after: Mapping[str, Array]
) -> dict[str, Array]:
    """Cotangents of outputs (T, B, *shape), and in them those of the lines after the run, (delay, B, *shape)."""
    found = dict(of_outputs)
    for edge in segment.internal:
        if edge.key in of_after:
            own = found[edge.source]
            last = undelayed_ends(own, of_after[edge.key], edge)[1]
            found[edge.source] = ops.concatenate((own[: len(own) - len(last)], own[len(own) - len(last) :] + last))
    return found


def of_lines(
    segment: Stepped, of_given: Mapping[str, Array], of_after: Mapping[str, Array]
) -> dict[str, Array]:
    """Cotangents of the lines before a run, (delay, B, *shape), from those of what reached nodes, (T, B, *shape)."""
    return {edge.key: undelayed_ends(of_given[edge.target], of_after[edge.key], edge)[0]
            for edge in segment.internal if edge.key in of_after}


def _returned(edge: Wire, coming: Sequence[Array]) -> Array:
    """The cotangent of what enters a line in this step; coming: those of what arrives in the steps after it."""
    if edge.lags is None:
        return coming[-1]
    # a lag of 0 arrives in the step itself, where its target is passed
    return edge.lags.chosen(lambda lag: coming[lag - 1] if lag else coming[0] * 0.0)


def _of_now(dx: Array, lag: int) -> Array:
    """The part of a target's cotangent that belongs to what left in the same step."""
    return dx * 0.0 if lag else dx
