"""Backward through a program in NumPy: segments in reverse order, steps in reverse time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from neuroport.dynamics import ops
from neuroport.dynamics.printer import python_function
from neuroport.dynamics.tape import Graph, Tape
from neuroport.program.lower import Program
from neuroport.program.schedule import Parallel, Stepped
from neuroport.program.stepping import step_back
from neuroport.program.wires import undelayed
from neuroport_reference.layers import Layer, reduce_to
from neuroport_reference.runner import Saved

Array = np.ndarray


def parameter_cotangents(
    program: Program, saved: Saved, parameters: Mapping[str, Array], values: Mapping[str, Array],
    cotangents: Mapping[str, Array], layers: Mapping[str, Layer],
) -> dict[str, Array]:
    """Cotangents of every trainable parameter, from those of some nodes' outputs (T, B, *shape)."""
    of_output = {name: np.zeros_like(value) for name, value in values.items()}
    of_output.update({name: value.copy() for name, value in cotangents.items()})
    found = {name: np.zeros_like(parameters[name]) for name in program.trainable}

    def weights(name: str, dy: Array) -> None:
        """Add what a stateless node's own parameters get."""
        node, x = program.node(name), saved.inputs[name]
        own = program.local(name, parameters)
        got = layers[type(node).__name__].weights(
            node, own, x.reshape(-1, *x.shape[2:]), _masked(saved, name, dy).reshape(-1, *dy.shape[2:])
        )
        for field, value in got.items():
            if f"{name}.{field}" in found:
                found[f"{name}.{field}"] += value

    def pass_on(segment: Parallel | Stepped, name: str, dx: Array) -> None:
        for edge in program.external(segment, name):
            of_output[edge.source] += undelayed(dx, edge)

    for segment in reversed(program.segments):
        if isinstance(segment, Parallel):
            name, dy = segment.node, of_output[segment.node]
            weights(name, dy)
            dx = _transpose(program, saved, layers, name, program.local(name, parameters),
                            dy.reshape(-1, *dy.shape[2:]), dy.shape[:2])
            pass_on(segment, name, dx.reshape(*dy.shape[:2], *dx.shape[1:]))
            continue
        given, stateless, coefficients = _through_time(program, saved, layers, segment, of_output)
        for name, dy in stateless.items():
            weights(name, dy)
        for name, of_coefficients in coefficients.items():
            for full, value in _to_parameters(program, name, parameters, of_coefficients).items():
                if full in found:
                    found[full] += value
        for name, dx in given.items():
            pass_on(segment, name, dx)
    return found


def _masked(saved: Saved, name: str, dy: Array) -> Array:
    return dy * saved.masks[name] if name in saved.masks else dy


def _transpose(
    program: Program, saved: Saved, layers: Mapping[str, Layer], name: str, own: Mapping[str, Array], dy: Array,
    lead: tuple[int, ...] = (),
) -> Array:
    node = program.node(name)
    if name in saved.masks:
        dy = (dy.reshape(*lead, *dy.shape[1:]) * saved.masks[name]).reshape(dy.shape)
    return layers[type(node).__name__].transpose(node, own, dy, program.entering[name])


def _through_time(
    program: Program, saved: Saved, layers: Mapping[str, Layer], segment: Stepped, of_output: Mapping[str, Array]
) -> tuple[dict[str, Array], dict[str, Array], dict[str, dict[str, Array]]]:
    """A stepped segment in reverse: cotangents of what was given, of stateless outputs (both over
    time), and of the coefficients (B, *shape)."""
    neurons = [name for name in segment.nodes if name in program.neurons]
    reverses = {name: python_function(program.neurons[name].traced.reverse, ops.NUMPY, "reverse") for name in neurons}
    arrays = saved.arrays[segment]
    steps = len(of_output[segment.nodes[0]])
    carry = {}
    for name in neurons:
        bound = program.neurons[name]
        zero = np.zeros_like(of_output[name][0])
        carry.update({f"{name}.{field}": zero for field in bound.state})
        carry.update({f"{name}:c.{key}": zero for key in bound.traced.trained})
    for edge in segment.internal:
        if edge.delay:
            carry[edge.key] = (np.zeros_like(of_output[edge.source][0]),) * edge.delay

    def transpose(name: str, own: Mapping[str, Array], dy: Array) -> Array:
        return _transpose(program, saved, layers, name, own, dy, dy.shape[:1])

    given: list[dict[str, Array]] = []
    stateless: list[dict[str, Array]] = []
    for t in reversed(range(steps)):
        now = {name: saved.steps[name][t] for name in neurons}
        dy = {name: of_output[name][t] for name in segment.nodes}
        carry, of_given, of_stateless = step_back(program, segment, transpose, reverses, arrays, carry, dy, now)
        given.append(of_given)
        stateless.append(of_stateless)
    through = {name: np.stack([of[name] for of in reversed(given)]) for name in segment.nodes}
    own = {name: np.stack([of[name] for of in reversed(stateless)])
           for name in segment.nodes if name not in program.neurons}
    coefficients = {name: {key: carry[f"{name}:c.{key}"] for key in program.neurons[name].traced.trained}
                    for name in neurons}
    return through, own, coefficients


def _to_parameters(
    program: Program, name: str, parameters: Mapping[str, Array], cotangents: Mapping[str, Array]
) -> dict[str, Array]:
    """From the cotangents of coefficients (B, *shape) to those of the parameters they come from."""
    bound = program.neurons[name]
    tape = Tape()
    inputs = {full: tape.input(full) for full in (*bound.arrays, *bound.biases)}
    outputs = bound.coefficients(inputs)
    # elementwise, so broadcasting can wait until the end: every parameter is lifted to full shape
    found = tape.backward([(outputs[key], tape.input(f"g of {key}")) for key in cotangents], list(inputs.values()))
    graph = Graph.of(dict(zip(inputs, found, strict=True)))
    given = {full: _lifted(parameters[full], bound.shape) for full in inputs}
    batch = len(next(iter(cotangents.values()), np.zeros((1,))))
    values = python_function(graph, ops.NUMPY, "coefficients")(
        {**given, **{f"g of {key}": value for key, value in cotangents.items()}}
    )
    return {full: reduce_to(np.broadcast_to(value, (batch, *bound.shape)), _lifted(parameters[full], bound.shape).shape)
            .reshape(parameters[full].shape) for full, value in values.items()}


def _lifted(parameter: Array, shape: tuple[int, ...]) -> Array:
    """A bias (C,) of a convolution as (C, 1, 1); everything else already broadcasts."""
    if parameter.ndim == 1 and len(shape) > 1 and parameter.shape != shape:
        return parameter.reshape(-1, *(1,) * (len(shape) - 1))
    return parameter
