"""Stepped segments on the CPU as generated loops; their plain version is ``stepped.py``, with the same signatures.

The loops are numba's (``native.py`` has XLA call them): all steps of a block of neurons, or of a group of samples
where the segment is a cycle, with the state in registers and caches. The equations are the recorded step's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import prod
from operator import attrgetter
from typing import Any

import jax
import jax.numpy as jnp
from neuroport_loops.load import load
from neuroport_loops.loop_source import (
    GROUP,
    TILE_COLUMNS,
    Key,
    Source,
    forward_source,
    parts_of,
    reverse_source,
)
from neuroport_loops.population_source import (
    BLOCK,
    kept_names,
    needed,
    population_forward,
    population_reverse,
    supports,
)

from neuroport.dynamics.trace import recorded
from neuroport.model.layers import Linear, Scale
from neuroport.program.lower import Program
from neuroport.program.schedule import Loop, Stepped
from neuroport.program.stepping import Arrays, Carry, of_lines, reached, with_lines
from neuroport.program.wires import delayed
from neuroport_jax.layers import layers
from neuroport_jax.native import Call, available
from neuroport_jax.native_call import Outline, call
from neuroport_jax.precision import bfloat16 as to_bfloat16
from neuroport_jax.products import in_lanes, of_weight, worthwhile
from neuroport_jax.stepped import Given, of_weights, unbroadcast

Array = jax.Array
Named = dict[str, Array]
STEP = attrgetter("traced")  # what is kept of a step is what the plain version keeps
RANGE = ("lo", "hi")
WIDE = 64  # neurons below which a scan is as fast; it compiles in a tenth of the time


def can(program: Program, segment: Stepped) -> bool:
    """Whether a segment has such a loop here, and is wide enough to gain by it.

    The rule knows neither T nor B: a run in pieces computes the same bits as a whole one.
    """
    width = sum(prod(program.leaving[name]) for name in segment.nodes if name in program.neurons)
    if not available() or width < WIDE:
        return False
    if isinstance(segment, Loop):
        return parts_of(program, segment, STEP) is not None
    return supports(program.neurons[segment.nodes[0]].traced)


def native_forward(
    program: Program, segment: Stepped, arrays: Arrays, carry: Carry, given: Given,
    keep: Mapping[str, tuple[str, ...]], record: tuple[tuple[str, str], ...] = (), bfloat16: bool = False,
) -> tuple[Carry, Named, dict[str, Named], dict[tuple[str, str], Array]]:
    """All steps forward: last carry, outputs (T, B, *shape), cuts, records."""
    run = partial(_cycle_forward, bfloat16) if isinstance(segment, Loop) else _population_forward
    sources = {(name, what): (name, recorded(what))
               for name, what in record if what != "spikes"}
    kept = [(name, f"cut.{key}") for name, keys in keep.items() for key in keys]
    after, outputs, made = run(program, segment, arrays, carry, given, list(dict.fromkeys([*kept, *sources.values()])))
    cuts = {name: {key: made[name, f"cut.{key}"] for key in keys} for name, keys in keep.items()}
    records = {place: outputs[place[0]] if place[1] == "spikes" else made[sources[place]] for place in record}
    return after, outputs, cuts, records


def native_backward(
    program: Program, segment: Stepped, arrays: Arrays, coefficients: Any, parameters: Any, first: Carry,
    given: Given, outputs: Given, cuts: Mapping[str, Given], of_last: Carry, of_outputs: Given,
    bfloat16: bool = False,
) -> tuple[Any, Any, Carry, Given]:
    """All steps in reverse: cotangents of coefficients, parameters, first carry and given."""
    lines = {edge.key: jnp.stack(first[edge.key]) for edge in segment.internal if edge.delay}
    inputs = {name: reached(segment, name, given, lines, outputs) for name in segment.nodes
              if name not in program.neurons or program.neurons[name].traced.reads_input}
    of_lines_after = {key: jnp.stack(of_last[key]) for key in lines}
    run = partial(_cycle_reverse, bfloat16) if isinstance(segment, Loop) else _population_reverse
    of_given, of_stateless, sums, of_first = run(
        program, segment, arrays, first, inputs, cuts, of_last, with_lines(segment, of_outputs, of_lines_after))
    of_coefficients = {
        name: {key: unbroadcast(sums[name, key], value.shape) if (name, key) in sums else jnp.zeros_like(value)
               for key, value in own.items()}
        for name, own in coefficients.items()
    }
    of_parameters = {name: _of_parameters(program, name, own, inputs[name], of_stateless[name], bfloat16)
                     for name, own in parameters.items()}
    held = {key: tuple(value) for key, value in of_lines(segment, of_given, of_lines_after).items()}
    return of_coefficients, of_parameters, {**of_first, **held}, {name: of_given[name] for name in given}


def _of_parameters(program: Program, name: str, own: Any, x: Array, dy: Array, bfloat16: bool) -> Any:
    """Cotangents of a node's arrays, from all T x B at once."""
    rows, cotangents = (value.reshape(-1, *value.shape[2:]) for value in (x, dy))
    if not isinstance(program.node(name), Linear) or not worthwhile(rows, own["weight"]):
        return of_weights(program, name, own, x, dy, layers(bfloat16, False))
    return {key: of_weight(rows, cotangents, bfloat16) if key == "weight" else cotangents.sum(0) for key in own}


def _generated(text: str, name: str, leading: tuple[str | int, ...], arrays: tuple[str, ...], grain: int) -> Call:
    """The call of the function that a source defines."""
    return Call(load(text, name).__module__, name, leading, arrays, grain)


# --- one population -------------------------------------------------------------------------------


def _over_time(value: Array) -> Array:
    """(T, B, *shape) as (T, M)."""
    return value.reshape(len(value), prod(value.shape[1:]))


def _population_forward(
    program: Program, segment: Stepped, arrays: Arrays, carry: Carry, given: Given, written: Sequence[tuple[str, str]],
) -> tuple[Carry, Named, dict[tuple[str, str], Array]]:
    (name,) = segment.nodes
    bound, x = program.neurons[name], given[name]
    traced, flat = bound.traced, _over_time(x)
    coefficients = needed(traced.coefficients, "c", traced.before, traced.after)
    whats = tuple(what for _, what in written)
    read = {"x": flat, **_per_neuron(arrays, name, coefficients, bound.shape)}
    made = {key: Outline(flat.shape, flat.dtype) for key in ("out", *whats)}
    updated = {f"state.{key}": carry[f"{name}.{key}"].reshape(-1) for key in traced.state}
    order = ("x", "out", *(f"c.{key}" for key in coefficients), *updated, *whats)
    text = population_forward(traced, whats, x.dtype.name, True)
    how = _generated(text, "forward", (len(x), prod(bound.shape), *RANGE), order, BLOCK)
    found = call(how, flat.shape[1], read, made, updated)
    after = {f"{name}.{key}": found[f"state.{key}"].reshape(x.shape[1:]) for key in traced.state}
    return after, {name: found["out"].reshape(x.shape)}, {(name, what): found[what].reshape(x.shape) for what in whats}


def _population_reverse(
    program: Program, segment: Stepped, arrays: Arrays, first: Carry, inputs: Given, cuts: Mapping[str, Given],
    of_last: Carry, of_outputs: Given,
) -> tuple[Named, Named, dict[tuple[str, str], Array], Carry]:
    (name,) = segment.nodes
    bound, dy = program.neurons[name], of_outputs[name]
    traced, flat = bound.traced, _over_time(dy)
    coefficients = needed(traced.coefficients, "c", traced.reverse, traced.restore)
    read = {"gout": flat, **({"x": _over_time(inputs[name])} if traced.reads_input else {}),
            **{f"cut.{key}": _over_time(cuts[name][key]) for key in traced.saved},
            **{f"first.{key}": first[f"{name}.{key}"].reshape(-1) for key in traced.reads_state},
            **_per_neuron(arrays, name, coefficients, bound.shape)}
    updated = {f"sum.{key}": jnp.zeros(flat.shape[1], flat.dtype) for key in traced.trained}
    updated |= {f"of.{key}": of_last[f"{name}.{key}"].reshape(-1) for key in traced.state}
    order = ("gout", "gx", *(["x"] if traced.reads_input else []), *kept_names(traced),
             *(f"first.{key}" for key in traced.reads_state), *(f"c.{key}" for key in coefficients), *updated)
    text = population_reverse(traced, dy.dtype.name, True)
    how = _generated(text, "reverse", (len(dy), prod(bound.shape), *RANGE), order, BLOCK)
    found = call(how, flat.shape[1], read, {"gx": Outline(flat.shape, flat.dtype)}, updated)
    whole = {key: value.reshape(dy.shape[-value.ndim - len(bound.shape) :]) for key, value in found.items()}
    return ({name: found["gx"].reshape(dy.shape)}, {},
            {(name, key): whole[f"sum.{key}"] for key in traced.trained},
            {f"{name}.{key}": whole[f"of.{key}"] for key in traced.state})


def _per_neuron(arrays: Arrays, name: str, keys: Sequence[str], shape: tuple[int, ...]) -> Named:
    return {f"c.{key}": jnp.broadcast_to(arrays.coefficients[name][key], shape).reshape(-1) for key in keys}


# --- a cycle ---------------------------------------------------------------------------------------


def _cycle_forward(
    bfloat16: bool, program: Program, segment: Stepped, arrays: Arrays, carry: Carry, given: Given,
    written: Sequence[tuple[str, str]],
) -> tuple[Carry, Named, dict[tuple[str, str], Array]]:
    parts = parts_of(program, segment, STEP)
    assert parts is not None
    example = next(iter(given.values()))
    steps, batch = example.shape[:2]
    source = forward_source(parts, segment.internal, tuple(given), written, example.dtype.name, bfloat16)
    lines = {edge.key: jnp.stack(carry[edge.key]) for edge in segment.internal if edge.delay}
    values = _constants(program, segment, arrays, batch, example.dtype, bfloat16)
    values |= {("given", name): _over_time(value) for name, value in given.items()}
    values |= {("line", key): _over_time(value) for key, value in lines.items()}
    values |= {("s", *key.rsplit(".", 1)): value.reshape(-1) for key, value in carry.items() if key not in lines}
    found = _launch(program, segment, source, "forward", steps, batch, values, example.dtype)

    def whole(key: Key, name: str) -> Array:
        return found[key].reshape(steps, batch, *program.leaving[name])

    outputs = {name: whole(("y", name), name) for name in segment.nodes}
    after: Carry = {key: found["s", *key.rsplit(".", 1)].reshape(value.shape)
                    for key, value in carry.items() if key not in lines}
    after |= {edge.key: tuple(delayed(outputs[edge.source], lines[edge.key], edge)[1])
              for edge in segment.internal if edge.delay}
    return after, outputs, {(name, what): whole(("w", name, what.replace(".", "_")), name) for name, what in written}


def _cycle_reverse(
    bfloat16: bool, program: Program, segment: Stepped, arrays: Arrays, first: Carry, inputs: Given,
    cuts: Mapping[str, Given], of_last: Carry, of_outputs: Given,
) -> tuple[Named, Named, dict[tuple[str, str], Array], Carry]:
    parts = parts_of(program, segment, STEP)
    assert parts is not None
    example = next(iter(of_outputs.values()))
    steps, batch = example.shape[:2]
    source = reverse_source(parts, segment.internal, tuple(of_outputs), example.dtype.name, bfloat16)
    values = _constants(program, segment, arrays, batch, example.dtype, bfloat16)
    values |= {("gy", name): _over_time(value) for name, value in of_outputs.items()}
    traced = {part.name: part.traced for part in parts if part.traced is not None}
    for name, own in traced.items():
        values |= {("w", name, f"cut_{key}"): _over_time(cuts[name][key]) for key in own.saved}
        values |= {("first", name, key): first[f"{name}.{key}"].reshape(-1) for key in own.reads_state}
        values |= {("gs", name, key): of_last[f"{name}.{key}"].reshape(-1) for key in own.state}
        values |= {("acc", name, key): jnp.zeros(batch * prod(program.leaving[name]), example.dtype)
                   for key in own.trained}
        if own.reads_input:
            values["x", name] = _over_time(inputs[name])
    found = _launch(program, segment, source, "reverse", steps, batch, values, example.dtype)
    of_given = {part.name: found["gx", part.name].reshape(steps, batch, *program.entering[part.name]) for part in parts}
    of_stateless = {part.name: found["dy", part.name].reshape(steps, batch, *program.leaving[part.name])
                    for part in parts if part.traced is None}
    sums = {(name, key): found["acc", name, key].reshape(batch, *program.leaving[name])
            for name, own in traced.items() for key in own.trained}
    of_first = {f"{name}.{key}": found["gs", name, key].reshape(batch, *program.leaving[name])
                for name, own in traced.items() for key in own.state}
    return of_given, of_stateless, sums, of_first


MADE = {"forward": ("y", "w"), "reverse": ("gx", "dy")}
UPDATED = ("s", "acc", "gs")


def _launch(
    program: Program, segment: Stepped, source: Source, name: str, steps: int, batch: int, values: Mapping[Key, Array],
    dtype: Any,
) -> dict[Key, Array]:
    """Run a loop's function; gives what it fills and overwrites, by key."""
    labels = {key: ":".join(key) for key in source.keys}
    widths = [prod(program.leaving[node]) for node in segment.nodes]
    enters = [prod(program.entering[node]) for node in segment.nodes]
    leaving, entering = (dict(zip(segment.nodes, of, strict=True)) for of in (widths, enters))
    made = {labels[key]: Outline((steps, batch * (entering if key[0] == "gx" else leaving)[key[1]]), dtype)
            for key in source.keys if key[0] in MADE[name]}
    updated = {labels[key]: values[key] for key in source.keys if key[0] in UPDATED}
    read = {labels[key]: values[key] for key in source.keys if key[0] not in (*MADE[name], *UPDATED)}
    how = _generated(source.text, name, (steps, *RANGE, *widths, *enters), tuple(labels.values()), GROUP)
    found = call(how, batch, read, made, updated)
    return {key: found[label] for key, label in labels.items() if label in found}


def _constants(
    program: Program, segment: Stepped, arrays: Arrays, batch: int, dtype: Any, bfloat16: bool
) -> dict[Key, Array]:
    """Coefficients, parameters and lags in the layouts that the loops read."""
    found: dict[Key, Array] = {
        ("lags", edge.key): jnp.broadcast_to(jnp.asarray(edge.lags.steps, jnp.int32), program.leaving[edge.source]
                                             ).reshape(-1)
        for edge in segment.internal if edge.lags is not None}
    for name in segment.nodes:
        shape = program.leaving[name]
        if name in program.neurons:
            own = _per_neuron(arrays, name, program.neurons[name].traced.coefficients, shape)
            found |= {("c", name, key.removeprefix("c.")): value for key, value in own.items()}
            continue
        node, given = program.node(name), arrays.parameters.get(name, {})
        if "weight" in given:
            weight = to_bfloat16(given["weight"]) if bfloat16 else given["weight"]
            padded = jnp.pad(weight, ((0, 0), (0, -weight.shape[1] % TILE_COLUMNS)))
            chunks = padded.reshape(len(weight), -1, TILE_COLUMNS).swapaxes(0, 1)
            found["chunks", name], found["rows", name] = chunks, in_lanes(weight)
            found["bias", name] = given["bias"].reshape(-1) if "bias" in given else jnp.zeros(len(weight), dtype)
        else:
            factor = given.get("scale", node.scale) if isinstance(node, Scale) else given.get("mask", 1.0)
            found["factor", name] = jnp.broadcast_to(jnp.asarray(factor, dtype), (batch, *shape)).reshape(-1)
    return found
