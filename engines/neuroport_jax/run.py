"""A program as a pure jax function of (parameters, state, inputs)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from neuroport.model.layers import Dropout, Linear
from neuroport.program.execute import Activity, Records, execute
from neuroport.program.lower import Program
from neuroport.program.noise import keep, stream_of
from neuroport.program.schedule import Population, Stepped
from neuroport.program.stepping import Arrays, take_states
from neuroport_jax.differentiable import differentiable, split_constants
from neuroport_jax.layers import layers
from neuroport_jax.products import linear, worthwhile
from neuroport_jax.ways import SCAN, Ways, way_of

Array = jax.Array


class JaxRunner:
    """How nodes and segments run on jax. ``noise``: None, or (seed, epoch (1,), samples (B,))."""

    def __init__(self, program: Program, noise: Any = None, ways: Ways = SCAN):
        self.program, self.noise, self.ways = program, noise, ways

    def parallel(self, name: str, parameters: Mapping[str, Array], x: Array) -> Array:
        node = self.program.node(name)
        own = {**parameters, **self._mask(name)}
        if "mask" in own:
            return x * own["mask"]
        way, flat = self.ways[Population], x.reshape(-1, *x.shape[2:])  # one product for all T x B
        if isinstance(node, Linear) and way.products and worthwhile(flat, own["weight"]):
            bias = own.get("bias", jnp.zeros(len(own["weight"]), flat.dtype))
            y = linear(flat, own["weight"], bias, way.bfloat16)
        else:
            y = layers(way.bfloat16, way.products)[type(node).__name__](node, own, flat)
        return y.reshape(*x.shape[:2], *y.shape[1:])

    def stepped(
        self, segment: Stepped, arrays: Arrays, state: Mapping[str, Array], given: Mapping[str, Array], record: Records,
    ) -> tuple[dict[str, Array], dict[str, Array], dict[tuple[str, str], Array]]:
        parameters = {name: {**own, **self._mask(name)} for name, own in arrays.parameters.items()}
        carry = take_states(self.program, segment, state)
        numbers, coefficients = split_constants(arrays.coefficients)
        run = differentiable(self.program, segment, numbers, way_of(self.program, segment, self.ways), tuple(record))
        last, outputs, records = run(coefficients, parameters, carry, given)
        after = {key: jnp.stack(value) if isinstance(value, tuple) else value for key, value in last.items()}
        return outputs, after, records

    def _mask(self, name: str) -> dict[str, Array]:
        node = self.program.node(name)
        if self.noise is None or not isinstance(node, Dropout) or node.p == 0:
            return {}
        seed, epoch, samples = self.noise
        shape = self.program.leaving[name]
        units = jnp.arange(int(np.prod(shape)), dtype=jnp.uint32)
        kept = keep(stream_of(name), seed, epoch.astype(jnp.uint32), samples.astype(jnp.uint32), units, node.p)
        return {"mask": (kept / (1 - node.p)).astype(jnp.float32).reshape(len(samples), *shape)}


def forward(
    program: Program, parameters: Mapping[str, Array], state: Mapping[str, Array], inputs: Mapping[str, Array],
    record: Records = (), noise: Any = None, ways: Ways = SCAN,
) -> Activity:
    """A run: traceable, differentiable with respect to parameters, state and inputs."""
    return execute(program, JaxRunner(program, noise, ways), parameters, state, inputs, record)


def truncated(
    program: Program, parameters: Mapping[str, Array], state: Mapping[str, Array], inputs: Mapping[str, Array],
    read: Sequence[str], length: int | None, noise: Any = None, ways: Ways = SCAN,
) -> dict[str, Array]:
    """What the nodes ``read`` send out in a run, (T, B, *shape), by name.

    No gradient passes from one stretch of ``length`` steps to the next; None: all steps are one. The
    full stretches are one loop, so that compiling takes no longer for more of them.
    """

    def stretch(held: dict[str, Array], now: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
        activity = forward(program, parameters, held, now, noise=noise, ways=ways)
        return lax.stop_gradient(activity.state), {name: activity.values[name] for name in read}

    steps = len(next(iter(inputs.values())))
    held = {name: state[name] for name in program.state}
    if length is None or length >= steps:
        return stretch(held, inputs)[1]
    full = steps - steps % length
    stretches = {name: x[:full].reshape(-1, length, *x.shape[1:]) for name, x in inputs.items()}
    held, looped = lax.scan(stretch, held, stretches)
    values = {name: y.reshape(full, *y.shape[2:]) for name, y in looped.items()}
    if full == steps:
        return values
    rest = stretch(held, {name: x[full:] for name, x in inputs.items()})[1]
    return {name: jnp.concatenate([values[name], rest[name]]) for name in read}


def zero_state(program: Program, batch: int, dtype: Any = jnp.float32) -> dict[str, Array]:
    return {name: jnp.zeros(shape, dtype) for name, shape in program.state_shapes(batch).items()}
