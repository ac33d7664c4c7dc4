"""A neuron's step, recorded once and reversed by ordinary adjoints.

``trace`` runs ``before`` and ``after`` on tape nodes. Graph inputs and outputs are named

    c.NAME    a coefficient that is an array      s.NAME    state before the step
    x         the input                           cut.NAME  values at the comparison
    g.s.NAME  cotangent of the state after        g.out     cotangent of the output
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from neuroport.dynamics import spike
from neuroport.dynamics.tape import Graph, Node, Tape


@dataclass(frozen=True)
class Traced:
    """The step of one neuron as graphs, and what its reverse has to remember.

    before:  c, s, x -> cut                  after:  c, cut -> s, out
    reverse: c, cut, [s, x], g.s, g.out -> s, x, c   (their cotangents, under the same names)
    restore: c, cut -> the fields of ``reads_state`` after the step

    saved: fields of the cut that a forward pass keeps for the reverse, one array a step each. bits: further outputs of
    ``after``, decisions that it keeps as one bit each, which the reverse reads under the same names: see ``kept.py``.
    reads_state: fields of the state *before* the step that the reverse reads; they are restored from
    the cut of the step before. reads_input: whether it reads ``x``.
    """

    state: tuple[str, ...]
    cut: tuple[str, ...]
    coefficients: tuple[str, ...]
    trained: tuple[str, ...]
    before: Graph
    after: Graph
    reverse: Graph
    restore: Graph
    saved: tuple[str, ...]
    reads_state: tuple[str, ...]
    reads_input: bool
    bits: tuple[str, ...] = ()


def trace(
    neuron: Any, numerics: Any, coefficients: Mapping[str, float | None], trained: Collection[str] = ()
) -> Traced:
    """Record the step of ``neuron`` under ``numerics``, forward and reverse.

    coefficients: a number where it is a constant of the model, None where it is an array.
    trained: names of the array coefficients whose cotangents the reverse must give.
    """
    tape = Tape()
    arrays = tuple(name for name, value in coefficients.items() if value is None)
    trained = tuple(name for name in arrays if name in trained)
    c_nodes = {name: tape.input(f"c.{name}") for name in arrays}
    c = SimpleNamespace(**{**coefficients, **c_nodes})
    state = spike.state_fields(neuron, numerics)

    s = {field: tape.input(f"s.{field}") for field in state}
    x = tape.input("x")
    cut_made = _nodes(tape, spike.before(neuron, numerics, c, s, x))

    cut = {field: tape.input(f"cut.{field}") for field in cut_made}
    s_after, out = spike.after(neuron, numerics, c, cut)
    s_after, out = _nodes(tape, s_after), _nodes(tape, {"out": out})["out"]

    g_out = tape.input("g.out")
    g_s = {field: tape.input(f"g.s.{field}") for field in state}
    c_wanted = [c_nodes[name] for name in trained]
    g_cut_and_c = tape.backward(
        [(s_after[field], g_s[field]) for field in state] + [(out, g_out)], [*cut.values(), *c_wanted]
    )
    g_cut, g_c_after = g_cut_and_c[: len(cut)], g_cut_and_c[len(cut) :]
    g_before = tape.backward(
        zip(cut_made.values(), g_cut, strict=True), [*s.values(), x, *c_wanted]
    )
    g_c_before = g_before[len(s) + 1 :]
    cotangents = {
        **{f"s.{field}": g for field, g in zip(state, g_before, strict=False)},
        "x": g_before[len(s)],
        **{f"c.{name}": a + b for name, a, b in zip(trained, g_c_after, g_c_before, strict=True)},
    }
    # a cotangent that is a constant gets the shape of the others: engines carry arrays through time
    reverse = Graph.of(
        {key: g if g.op != "constant" else g_out * 0.0 + g for key, g in cotangents.items()}
    )
    reads_state = tuple(field for field in state if f"s.{field}" in reverse.inputs)
    restore = Graph.of({field: s_after[field] for field in reads_state})
    needed = {*reverse.inputs, *restore.inputs}
    return Traced(
        state=state,
        cut=tuple(cut),
        coefficients=arrays,
        trained=trained,
        before=Graph.of({f"cut.{field}": node for field, node in cut_made.items()}),
        after=Graph.of({**{f"s.{field}": node for field, node in s_after.items()}, "out": out}),
        reverse=reverse,
        restore=restore,
        saved=tuple(field for field in cut if f"cut.{field}" in needed),
        reads_state=reads_state,
        reads_input="x" in reverse.inputs,
    )


def _nodes(tape: Tape, values: Mapping[str, Any]) -> dict[str, Node]:
    return {key: value if isinstance(value, Node) else tape.constant(value) for key, value in values.items()}


def recorded(what: str) -> str:
    """A recorded variable's name in the graphs: "v_pre" stands in the cut, a state in the state after the step."""
    return "cut.v" if what == "v_pre" else f"s.{what}"
