"""y = x W^T + b over all T x B on a CPU: where x is mostly zeros, as spikes are, a product that reads only the rest.

How much is zero is known when the program runs; both products are in it, and one of them runs. Where a weight is not
finite they differ: zero times infinity is not a number, and the product with events leaves it out.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from neuroport_jax.layers import EXACT
from neuroport_jax.native import Call, available
from neuroport_jax.native_call import MOST, Outline, call
from neuroport_jax.precision import bfloat16

Array = jax.Array
LARGE = 2**22  # multiplications below which a plain product is as good
DENSE = 0.15  # share of events above which the dense product is cheaper
ROWS = 64  # grain of work for a thread
EVENTS = "neuroport_jax.native_events"


class Events(NamedTuple):
    """What is not zero in a matrix (M, K), where that is little: start (M + 1,) of each row's, index (most,) their
    columns, value (most,), which counts unless all are 1, as ``binary`` (1,) says. few: whether all fit."""

    start: Array
    index: Array
    value: Array
    binary: Array
    few: Array


def worthwhile(x: Any, weight: Any) -> bool:
    """Whether x (M, K) W^T (K, N) is large enough, and its events can be counted."""
    size = int(np.prod(x.shape))
    return (available() and x.dtype == jnp.float32 and size * len(weight) >= LARGE and size < MOST)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def linear(x: Array, weight: Array, bias: Array, rounded: bool = False) -> Array:
    """x (M, K), weight (N, K), bias (N,) -> (M, N). rounded: operands are rounded to bfloat16, also in the reverse."""
    return _forward(x, weight, bias, rounded)[0]


def _forward(x: Array, weight: Array, bias: Array, rounded: bool) -> tuple[Array, Any]:
    weight = bfloat16(weight) if rounded else weight
    events, bits = _located(x)

    def few(x: Array, bits: Array) -> tuple[Array, Array, Array]:
        listed = _listed(x, bits, events, rounded)
        return _times(listed, weight, bias, len(x)), listed.index, listed.value

    def many(x: Array, bits: Array) -> tuple[Array, Array, Array]:
        dense = bfloat16(x) if rounded else x
        return (jnp.matmul(dense, weight.T, precision=EXACT) + bias, jnp.zeros_like(events.index),
                jnp.zeros_like(events.value))

    y, index, value = lax.cond(events.few, few, many, x, bits)
    return y, (x, weight, events._replace(index=index, value=value))


def _reverse(rounded: bool, saved: Any, dy: Array) -> tuple[Array, Array, Array]:
    x, weight, events = saved
    of_bias, dy = dy.sum(0), bfloat16(dy) if rounded else dy  # a bias is added: its gradient is no product
    dw = lax.cond(events.few, lambda: _outer(events, dy, x.shape[1]), lambda: _dense_outer(x, dy, rounded))
    return jnp.matmul(dy, weight, precision=EXACT), dw, of_bias


linear.defvjp(_forward, _reverse)


def of_weight(x: Array, dy: Array, rounded: bool = False) -> Array:
    """dW (N, K) = dy^T x, from x (M, K) and dy (M, N)."""
    dy = bfloat16(dy) if rounded else dy
    events, bits = _located(x)
    return lax.cond(events.few, lambda: _outer(_listed(x, bits, events, rounded), dy, x.shape[1]),
                    lambda: _dense_outer(x, dy, rounded))


def _dense_outer(x: Array, dy: Array, rounded: bool) -> Array:
    return jnp.matmul(dy.T, bfloat16(x) if rounded else x, precision=EXACT)


def _located(x: Array) -> tuple[Events, Array]:
    """Marks and counts; the lists have room and nothing in it yet."""
    rows, columns = x.shape
    found = call(Call(EVENTS, "locate", ("lo", "hi"), ("x", "bits", "count", "others"), ROWS), rows, {"x": x}, {
        "bits": Outline((rows, -(-columns // 64) * 2), jnp.uint32), "count": Outline((rows,), jnp.int32),
        "others": Outline((rows,), jnp.int32)}, {})
    start = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(found["count"], dtype=jnp.int32)])
    most = int(DENSE * x.size)
    few = start[-1] <= most
    start = jnp.where(few, start, 0)  # under vmap both products run: then nothing is listed
    kind = jnp.int16 if columns < 2**15 else jnp.int32
    binary = (found["others"].sum() == 0).astype(jnp.int32)[None]
    return Events(start, jax.ShapeDtypeStruct((most,), kind), jax.ShapeDtypeStruct((most,), x.dtype), binary,
                  few), found["bits"]


def _listed(x: Array, bits: Array, events: Events, rounded: bool) -> Events:
    order = ("x", "bits", "start", "binary", "index", "value")
    found = call(Call(EVENTS, "enumerate_events", ("lo", "hi"), order, ROWS), len(x), {
        "x": x, "bits": bits, "start": events.start, "binary": events.binary},
        {"index": events.index, "value": events.value}, {})
    return events._replace(index=found["index"], value=bfloat16(found["value"]) if rounded else found["value"])


def _times(events: Events, weight: Array, bias: Array, rows: int) -> Array:
    columns, chunks = len(weight), in_lanes(weight)
    chunks = chunks.reshape(-1, chunks.shape[2])
    order = ("chunks", "bias", "start", "index", "value", "binary", "y")
    return call(Call(EVENTS, "times", ("lo", "hi"), order, ROWS), rows, {
        "chunks": chunks, "bias": bias, "start": events.start, "index": events.index, "value": events.value,
        "binary": events.binary}, {"y": Outline((rows, columns), weight.dtype)}, {})["y"]


def in_lanes(weight: Array) -> Array:
    """W (N, K) as (N / LANES, K, LANES), with zeros at its end."""
    from neuroport_loops.lanes import LANES  # needs numba

    padded = jnp.pad(weight, ((0, -len(weight) % LANES), (0, 0)))
    return padded.reshape(-1, LANES, weight.shape[1]).swapaxes(1, 2)


def _outer(events: Events, dy: Array, terms: int) -> Array:
    from neuroport_loops.events import SHEAF
    from neuroport_loops.lanes import LANES

    rows, columns = dy.shape
    sheaves = -(-rows // SHEAF)
    listed = {"start": events.start, "index": events.index, "value": events.value, "binary": events.binary}
    order = ("start", "index", "value", "binary", "place", "order", "moved")
    found = call(Call(EVENTS, "sort", ("lo", "hi"), order, 1), sheaves, listed, {
        "place": Outline((sheaves, terms + 1), jnp.int32), "order": Outline(events.index.shape, jnp.int16),
        "moved": Outline(events.value.shape, events.value.dtype)}, {})
    order = ("place", "order", "moved", "binary", "dy", "dw")
    return call(Call(EVENTS, "outer", ("lo", "hi"), order, LANES), columns, {
        **found, "binary": events.binary, "dy": dy}, {"dw": Outline((columns, terms), dy.dtype)}, {})["dw"]
