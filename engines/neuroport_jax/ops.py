"""The neutral operations on jax arrays."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from neuroport.dynamics import ops


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def spike(u: jax.Array, surrogate: Any, inclusive: bool) -> jax.Array:
    return (u >= 0 if inclusive else u > 0).astype(u.dtype)


@spike.defjvp
def _spike_jvp(surrogate: Any, inclusive: bool, primals: Any, tangents: Any) -> Any:
    (u,), (du,) = primals, tangents
    return spike(u, surrogate, inclusive), surrogate.derivative(u) * du


@jax.custom_jvp
def select(z: jax.Array, a: Any, b: Any) -> jax.Array:
    return jnp.where(z > 0, a, b)


@select.defjvp
def _select_jvp(primals: Any, tangents: Any) -> Any:
    (z, a, b), (dz, da, db) = primals, tangents
    return select(z, a, b), (a - b) * dz + z * da + (1.0 - z) * db


def _one_hot(classes: jax.Array, like: jax.Array) -> jax.Array:
    return jax.nn.one_hot(classes, like.shape[1], dtype=like.dtype)


def _abs(x: jax.Array) -> jax.Array:
    return x * lax.stop_gradient(jnp.sign(x))  # its derivative at 0 is 0; that of jnp.abs is 1


def _recurrence(decay: jax.Array, x: jax.Array, reverse: bool) -> jax.Array:
    def step(before: jax.Array, now: Any) -> Any:
        after = now[0] * before + now[1]
        return after, after

    return lax.scan(step, jnp.zeros_like(x[0]), (decay, x), reverse=reverse)[1]


def _shift(x: jax.Array, steps: int) -> jax.Array:
    edges = [(max(steps, 0), max(-steps, 0)), *[(0, 0)] * (x.ndim - 1)]
    return jnp.pad(x, edges)[max(-steps, 0) : len(x) + max(-steps, 0)]


TABLE: ops.Table = {
    "exp": jnp.exp, "expm1": jnp.expm1, "log": jnp.log, "sqrt": jnp.sqrt, "tanh": jnp.tanh,
    "abs": _abs, "floor": jnp.floor, "detach": lax.stop_gradient, "where": jnp.where,
    "select": select, "spike": spike,
    "sum": lambda x, axis: x.sum(axis),
    "max": lambda x, axis: x.max(axis),  # jax shares the gradient of ties equally
    "expand": lambda x, axis, like: jnp.broadcast_to(jnp.expand_dims(x, axis), like.shape),
    "length": lambda x, axis: float(x.shape[axis]),
    "recurrence": _recurrence, "shift": _shift,
    "take": lambda x, axis, index: lax.index_in_dim(x, index, axis, keepdims=False),
    "one_hot": _one_hot,
    "concatenate": jnp.concatenate,
    "gather": lambda x, places: jnp.take_along_axis(x, jnp.asarray(places.values), 0),
}

ops.register(jax.Array, TABLE)
