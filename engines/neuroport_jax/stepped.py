"""Stepped segments as lax.scan, forward and in reverse.

The reverse keeps one value a step where the equations allow it (the cut's ``saved`` fields), and
recomputes the rest from the tape; jax's own would keep every intermediate. Weight gradients of
layers inside a loop are one product over all T, after the loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from neuroport.dynamics.printer import python_function
from neuroport.program.lower import Program
from neuroport.program.schedule import Stepped
from neuroport.program.stepping import Arrays, Carry, of_lines, reached, step, step_back, with_lines
from neuroport_jax.layers import LAYERS, Layers
from neuroport_jax.ops import TABLE

Array = jax.Array
Given = Mapping[str, Array]


def scan_forward(
    program: Program, segment: Stepped, arrays: Arrays, carry: Carry, given: Given,
    keep: Mapping[str, tuple[str, ...]], record: tuple[tuple[str, str], ...] = (), unroll: int = 1,
    layers: Layers = LAYERS,
) -> tuple[Carry, dict[str, Array], dict[str, dict[str, Array]], dict[tuple[str, str], Array]]:
    """All steps forward: last carry, outputs (T, B, *shape), cuts, records."""

    def apply(name: str, own: Mapping[str, Array], x: Array) -> Array:
        node = program.node(name)
        return layers[type(node).__name__](node, own, x)

    def body(carry: Carry, now: Given) -> Any:
        carry, emitted = step(program, segment, apply, arrays, carry, now, keep, record)
        return carry, (emitted.outputs, emitted.cuts, emitted.records)

    carry, (outputs, cuts, records) = lax.scan(body, carry, given, unroll=unroll)
    return carry, outputs, cuts, records


def scan_backward(
    program: Program, segment: Stepped, arrays: Arrays, coefficients: Any, parameters: Any, first: Carry,
    given: Given, outputs: Given, cuts: Mapping[str, Given], of_last: Carry, of_outputs: Given, unroll: int = 1,
    layers: Layers = LAYERS,
) -> tuple[Any, Any, Carry, Given]:
    """All steps in reverse: cotangents of coefficients, parameters, first carry and given."""
    neurons = [name for name in segment.nodes if name in program.neurons]
    reverses = {name: python_function(program.neurons[name].traced.reverse, TABLE, "reverse") for name in neurons}
    lines = {edge.key: jnp.stack(first[edge.key]) for edge in segment.internal if edge.delay}
    inputs = {name: reached(segment, name, given, lines, outputs) for name in segment.nodes
              if name not in program.neurons or program.neurons[name].traced.reads_input}
    saved = {name: _reads(program, name, arrays, first, cuts[name], inputs.get(name)) for name in neurons}

    def transpose(name: str, own: Mapping[str, Array], dy: Array) -> Array:
        node = program.node(name)
        like = jnp.zeros((dy.shape[0], *program.entering[name]), dy.dtype)
        return jax.vjp(partial(layers[type(node).__name__], node, own), like)[1](dy)[0]

    # a line of one delay carries its cotangents itself; where delays differ, a place in it is not a time of arrival
    differing = [edge for edge in segment.internal if edge.lags is not None]
    of_lines_after = {edge.key: jnp.stack(of_last[edge.key]) for edge in differing}
    nothing = {key: tuple(map(jnp.zeros_like, of_last[key])) for key in of_lines_after}
    reached_by_lines = {edge.target for edge in differing}

    def body(carry: Carry, now: Any) -> Any:
        dy, reads = now
        carry, of_given, of_stateless = step_back(program, segment, transpose, reverses, arrays, carry, dy, reads)
        return carry, ({name: of_given[name] for name in (*given, *reached_by_lines)}, of_stateless)

    sums = {f"{name}:c.{key}": jnp.zeros_like(outputs[name][0] if len(outputs[name]) else first[f"{name}.v"])
            for name in neurons for key in program.neurons[name].traced.trained}
    carry, (of_given, of_stateless) = lax.scan(
        body, {**of_last, **nothing, **sums}, (with_lines(segment, of_outputs, of_lines_after), saved), reverse=True,
        unroll=unroll)
    of_coefficients = {
        name: {key: unbroadcast(carry[f"{name}:c.{key}"], value.shape)
               if key in program.neurons[name].traced.trained else jnp.zeros_like(value)
               for key, value in coefficients[name].items()}
        for name in neurons
    }
    of_parameters = {name: of_weights(program, name, parameters[name], inputs[name], of_stateless[name], layers)
                     for name in parameters}
    held = {key: tuple(value) for key, value in of_lines(segment, of_given, of_lines_after).items()}
    of_first = {key: held[key] if key in held else carry[key] for key in first}
    return of_coefficients, of_parameters, of_first, {name: of_given[name] for name in given}


def _reads(
    program: Program, name: str, arrays: Arrays, first: Carry, cut: Given, x: Array | None
) -> dict[str, Array]:
    """What the reverse of one neuron reads at every step; states before a step are restored."""
    bound = program.neurons[name]
    traced = bound.traced
    found = {f"cut.{field}": value for field, value in cut.items()}
    if traced.reads_input:
        found["x"] = x
    if traced.reads_state:
        restore = python_function(traced.restore, TABLE, "restore")
        c = {f"c.{key}": value for key, value in arrays.coefficients[name].items()}
        states = restore({**c, **found})
        for field in traced.reads_state:
            before = first[f"{name}.{field}"][None]
            after = jnp.broadcast_to(states[field], (len(next(iter(cut.values()))), *before.shape[1:]))
            found[f"s.{field}"] = jnp.concatenate([before, after[:-1]])
    return {key: value for key, value in found.items() if key in traced.reverse.inputs}


def of_weights(program: Program, name: str, own: Any, x: Array, dy: Array, layers: Layers = LAYERS) -> Any:
    """Cotangents of a layer's arrays from all T x B at once."""
    node = program.node(name)
    flat = x.reshape(-1, *x.shape[2:])
    batch = x.shape[1]

    def run(arrays: Any) -> Array:
        # a dropout mask is one per sample and the same at all steps
        full = {key: jnp.tile(value, (len(flat) // batch,) + (1,) * (value.ndim - 1)) if key == "mask" else value
                for key, value in arrays.items()}
        return layers[type(node).__name__](node, full, flat)

    return jax.vjp(run, own)[1](dy.reshape(-1, *dy.shape[2:]))[0]


def unbroadcast(d: Array, shape: tuple[int, ...]) -> Array:
    """Sum (B, *full) over the batch and the axes along which ``shape`` was broadcast."""
    d = d.sum(0)
    d = d.sum(tuple(range(d.ndim - len(shape))))
    return d.sum(tuple(axis for axis, size in enumerate(shape) if size == 1), keepdims=True).reshape(shape)
