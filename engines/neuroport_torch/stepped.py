"""A stepped segment as one node of autograd's graph, whose reverse is the tape's.

Autograd sees neither the time loop nor single steps. What a forward pass keeps is what the tape
says that its reverse reads: the cut's ``saved`` fields, one membrane a neuron for most neurons. How
the loop runs is a ``TimeLoop``: step by step in torch (``eager.py``), or a generated kernel.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from neuroport.dynamics.ops import Table
from neuroport.dynamics.printer import python_function
from neuroport.dynamics.trace import Traced
from neuroport.model.layers import Linear
from neuroport.program.lower import Program
from neuroport.program.schedule import Stepped
from neuroport.program.stepping import Arrays, of_lines, reached, with_lines
from neuroport_torch.arena import Arena
from neuroport_torch.layers import ROUNDED, Layer, sum_to
from neuroport_torch.marks import Bits, Events, Marked, Product
from neuroport_torch.products import of_weights

Tensor = torch.Tensor
Tensors = dict[str, Tensor]
Cuts = dict[str, Tensors]
Record = tuple[str, str]


@dataclass(frozen=True)
class Ran:
    """A loop's results over time (T, B, *shape): outputs, cuts by node, records; and the state after.

    marks: of those outputs that are blank.
    """

    outputs: Tensors
    cuts: Cuts
    records: dict[Record, Tensor]
    state: Tensors
    marks: Mapping[str, Events | Bits] = field(default_factory=dict)


@dataclass(frozen=True)
class Reversed:
    """Cotangents: of what was given and of stateless nodes' outputs (T, B, *shape), of coefficients
    (B, *shape) by node, and of the neurons' states before the run."""

    given: Tensors
    stateless: Tensors
    coefficients: dict[str, Tensors]
    state: Tensors


@dataclass(frozen=True)
class Past:
    """What a loop's reverse reads, over time (T, B, *shape): by neuron, "cut.NAME", "s.NAME" and "x".

    start: the state before the run. of_after: cotangents of the neurons' states after it. Those of lines come with
    the outputs'. product: what the forward pass took along, if it did.
    """

    read: Mapping[str, Tensors]
    cuts: Cuts
    start: Tensors
    of_after: Tensors
    product: Product | None = None


class TimeLoop(Protocol):
    """How a segment runs through time, forward and in reverse. No autograd inside."""

    def forward(
        self, arrays: Arrays, state: Tensors, given: Tensors, keep: Mapping[str, tuple[str, ...]],
        record: tuple[Record, ...], masks: Tensors, arena: Arena,
    ) -> Ran: ...

    def reverse(self, arrays: Arrays, past: Past, cotangents: Tensors, masks: Tensors, arena: Arena) -> Reversed: ...

    restores: bool  # whether the reverse restores states from cuts by itself
    # one that ``takes_along`` has a forward with ``product`` and ``marked`` besides: ``kernels/population_along.py``
    steps: Mapping[str, Traced]  # the step of each neuron: what its reverse reads, and so what is kept


@dataclass
class Call:
    """One call of a segment: everything that is no tensor of autograd's."""

    program: Program
    segment: Stepped
    loop: TimeLoop
    along: Mapping[str, Any]
    table: Table
    layers: Mapping[str, Layer]
    numbers: Mapping[str, Mapping[str, float]]
    record: tuple[Record, ...]
    masks: Tensors
    arena: Arena
    keeping: bool
    names: tuple[tuple[str, ...], ...]
    results: list[tuple[Any, ...]] = field(default_factory=list)
    marks: dict[str, Events | Bits] = field(default_factory=dict)

    @property
    def neurons(self) -> list[str]:
        return [name for name in self.segment.nodes if name in self.program.neurons]


def run_segment(
    program: Program, segment: Stepped, loop: TimeLoop, table: Table, layers: Mapping[str, Layer], arrays: Arrays,
    state: Mapping[str, Tensor], given: Mapping[str, Tensor], record: tuple[Record, ...], masks: Tensors, arena: Arena,
    along: Mapping[str, Any] | None = None,
) -> tuple[Tensors, Tensors, dict[Record, Tensor]]:
    """Outputs by node, the state after, records; differentiable in given, coefficients and parameters.

    along: what the loop's kernel takes along, see ``kernels/population_along.py``.
    """
    numbers: dict[str, dict[str, float]] = {}
    named: dict[tuple[str, ...], Tensor] = {("given", name): value for name, value in given.items()}
    for name, coefficients in arrays.coefficients.items():
        numbers[name] = {key: value for key, value in coefficients.items() if not isinstance(value, Tensor)}
        named.update({("c", name, key): value for key, value in coefficients.items() if isinstance(value, Tensor)})
    for name, own in arrays.parameters.items():
        named.update({("p", name, key): value for key, value in own.items()})
    named.update({("s", key): state[key] for key in _state_names(program, segment)})
    keeping = torch.is_grad_enabled() and any(value.requires_grad for value in named.values())
    call = Call(program, segment, loop, along or {}, table, layers, numbers, record, masks, arena, keeping,
                tuple(named))
    found = dict(zip(call.results, _Segment.apply(call, *named.values()), strict=True)) if keeping else _forward(
        call, named)[0]
    outputs = {key[1]: Marked.standing_for(call.marks[key[1]], value) if key[1] in call.marks else value
               for key, value in found.items() if key[0] == "y"}
    call.marks.clear()  # whoever reads them keeps them
    after = {key[1]: value for key, value in found.items() if key[0] == "s"}
    return outputs, after, {key[1]: value for key, value in found.items() if key[0] == "r"}


def _state_names(program: Program, segment: Stepped) -> list[str]:
    own = [f"{name}.{field}" for name in segment.nodes if name in program.neurons
           for field in program.neurons[name].state]
    return own + [edge.key for edge in segment.internal if edge.delay]


def _arrays(call: Call, named: Mapping[tuple[str, ...], Tensor]) -> Arrays:
    coefficients: dict[str, dict[str, Any]] = {name: dict(call.numbers[name]) for name in call.neurons}
    parameters: dict[str, Tensors] = {name: {} for name in call.segment.nodes if name not in coefficients}
    for (kind, *place), value in named.items():
        if kind == "c":
            coefficients[place[0]][place[1]] = value
        elif kind == "p":
            parameters[place[0]][place[1]] = value
    return Arrays(coefficients, parameters)


def _pick(named: Mapping[tuple[str, ...], Tensor], kind: str) -> Tensors:
    return {key[1]: value for key, value in named.items() if key[0] == kind}


def _forward(call: Call, named: Mapping[tuple[str, ...], Tensor]) -> tuple[dict[tuple[Any, ...], Tensor], Cuts]:
    steps = call.loop.steps
    keep = {name: (*steps[name].saved, *steps[name].bits) if call.keeping else () for name in call.neurons}
    ran = call.loop.forward(
        _arrays(call, named), _pick(named, "s"), _pick(named, "given"), keep, call.record, call.masks, call.arena,
        **call.along)
    call.marks.update(ran.marks)
    found: dict[tuple[Any, ...], Tensor] = {("y", name): value for name, value in ran.outputs.items()}
    found.update({("s", key): value for key, value in ran.state.items()})
    found.update({("r", key): value for key, value in ran.records.items()})
    return found, ran.cuts


class _Segment(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(call.names, tensors, strict=True))
        found, cuts = _forward(call, named)
        call.results[:] = list(found)
        ctx.call = call
        ctx.cut_names = [(name, key) for name, own in cuts.items() for key in own]
        given, outputs = _read_again(call)
        ctx.kept = [key for key in call.names if key[0] != "given" or key[1] in given]
        bits = {name: Bits.of(found["y", name].flatten(0, 1).flatten(1)) for name in outputs
                if call.program.neurons.get(name) and found["y", name].device.type == "cpu"}
        ctx.bits = {name: spikes for name, spikes in bits.items() if spikes is not None}
        ctx.kept_outputs = [("y", name) for name in outputs if name not in ctx.bits]
        ctx.save_for_backward(
            *(named[key] for key in ctx.kept), *(found[key] for key in ctx.kept_outputs),
            *(cuts[name][key] for name, key in ctx.cut_names),
        )
        ctx.mark_non_differentiable(*(value for key, value in found.items() if key[0] == "r"))
        ctx.set_materialize_grads(False)
        ctx.shapes = {key[1]: value.shape for key, value in found.items() if key[0] == "y"}
        return tuple(found.values())

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        call, saved = ctx.call, list(ctx.saved_tensors)
        named = {key: saved.pop(0) for key in ctx.kept}
        outputs = _Outputs(ctx.bits, ctx.shapes, call.arena)
        outputs |= {key[1]: saved.pop(0) for key in ctx.kept_outputs}
        cuts: Cuts = {name: {} for name in call.neurons}
        for name, key in ctx.cut_names:
            cuts[name][key] = saved.pop(0)
        cotangents = {key: g for key, g in zip(call.results, grads, strict=True) if g is not None}
        of_outputs, of_after = _pick(cotangents, "y"), _pick(cotangents, "s")
        for name, shape in ctx.shapes.items() if of_after else ():  # where only a state is read after the run
            of_outputs.setdefault(name, next(iter(of_after.values())).new_zeros(shape))
        wanted = {key for key, needed in zip(call.names, ctx.needs_input_grad[1:], strict=True) if needed}
        found = _reverse(call, named, outputs, cuts, of_outputs, of_after, wanted)
        return None, *(found.get(key) for key in call.names)


class _Outputs(dict[str, Tensor]):
    """Outputs of nodes over time, (T, B, *shape); of those kept as bits, numbers are made when asked for."""

    def __init__(self, bits: Mapping[str, Bits], shapes: Mapping[str, torch.Size], arena: Arena):
        super().__init__()
        self.bits, self.shapes, self.arena = bits, shapes, arena

    def __missing__(self, name: str) -> Tensor:
        found = self[name] = self.bits[name].dense(self.arena).view(self.shapes[name])
        return found


def _rows_reaching(call: Call, name: str, given: Tensors, start: Tensors, outputs: _Outputs) -> Tensor | Bits:
    """What reached a Linear of the segment, (T * B, K): as bits where one wire alone brings it, and brings spikes."""
    edges = [edge for edge in call.segment.internal if edge.target == name]
    if len(edges) == 1 and name not in given and edges[0].lags is None and edges[0].source in outputs.bits:
        (edge,) = edges
        bits = outputs.bits[edge.source]
        before = Bits.of(start[edge.key].flatten(0, 1).flatten(1)) if edge.delay else None
        if before is not None or not edge.delay:
            return bits if before is None else bits.after(before)
    return reached(call.segment, name, given, start, outputs).flatten(0, 1)


def _read_again(call: Call) -> tuple[set[str], list[str]]:
    """Nodes whose inputs over time the reverse reads, and nodes within the segment that feed them.

    Weights inside a loop need what reached them, and so do neurons whose step does not forget x.
    """
    given = {name for name in call.segment.nodes
             if (call.loop.steps[name].reads_input if name in call.program.neurons else ("p", name) in {
                 key[:2] for key in call.names})}
    feeding = dict.fromkeys(edge.source for edge in call.segment.internal if edge.target in given)
    return given, list(feeding)


def _reverse(
    call: Call, named: Mapping[tuple[str, ...], Tensor], outputs: _Outputs, cuts: Cuts, cotangents: Tensors,
    of_after: Tensors, wanted: Collection[tuple[str, ...]],
) -> dict[tuple[str, ...], Tensor]:
    """Cotangents of what went in, by its name."""
    arrays, start, given = _arrays(call, named), _pick(named, "s"), _pick(named, "given")

    read: dict[str, Tensors] = {}
    for name in call.neurons:
        traced = call.loop.steps[name]
        read[name] = {f"cut.{key}": value for key, value in cuts[name].items() if f"cut.{key}" in traced.reverse.inputs}
        if traced.reads_input:
            read[name]["x"] = reached(call.segment, name, given, start, outputs)
        if traced.reads_state and not call.loop.restores:
            read[name].update(_states_before(call, name, arrays, cuts[name], start))
    cotangents = with_lines(call.segment, cotangents, of_after)
    past = Past(read, cuts, start, {
        f"{name}.{key}": of_after.get(f"{name}.{key}", torch.zeros_like(start[f"{name}.{key}"]))
        for name in call.neurons for key in call.program.neurons[name].state}, call.along.get("product"))
    found = call.loop.reverse(arrays, past, cotangents, call.masks, call.arena)
    named_found: dict[tuple[str, ...], Tensor] = {("given", name): value for name, value in found.given.items()}
    named_found.update({("s", key): value for key, value in found.state.items()})
    lines = {edge.key: of_after.get(edge.key, torch.zeros_like(start[edge.key]))
             for edge in call.segment.internal if ("s", edge.key) in wanted}
    named_found.update({("s", key): value for key, value in of_lines(call.segment, found.given, lines).items()})
    for name, of in found.coefficients.items():
        for key, value in of.items():
            named_found["c", name, key] = sum_to(value, tuple(arrays.coefficients[name][key].shape))
    for name, dy in found.stateless.items():
        own = arrays.parameters[name]
        if own:
            node = call.program.node(name)
            of_rows = dy.flatten(0, 1)
            if isinstance(node, Linear):
                rows = _rows_reaching(call, name, given, start, outputs)
                got = of_weights(own, rows, of_rows, call.arena, call.layers is ROUNDED)
            else:
                x = reached(call.segment, name, given, start, outputs).flatten(0, 1)
                got = call.layers[type(node).__name__].weights(node, own, x, of_rows)
            named_found.update({("p", name, key): value for key, value in got.items()})
    return named_found


def _states_before(call: Call, name: str, arrays: Arrays, cut: Tensors, start: Tensors) -> Tensors:
    """The state before each step, (T, B, *shape): from the cut of the step before, all steps at once."""
    traced = call.program.neurons[name].traced
    restore = python_function(traced.restore, call.table, "restore")
    inputs = {f"c.{key}": value for key, value in arrays.coefficients[name].items()}
    after = restore({**inputs, **{f"cut.{key}": value[:-1] for key, value in cut.items()}})
    return {f"s.{key}": torch.cat((start[f"{name}.{key}"][None], after[key])) for key in traced.reads_state}
