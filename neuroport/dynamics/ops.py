"""The few operations that equations are written in.

Each operation looks at its first argument that is no Python number and hands over to the table of
that argument's kind: NumPy arrays (below), the arrays of a framework (its engine registers them) or
nodes of the expression tape. Python numbers alone are computed in float64. Ordinary operators
(``+ - * /``, comparisons, ``& | ~``) belong to the arrays themselves.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any
Table = Mapping[str, Callable[..., Any]]

_tables: list[tuple[type, Table]] = []


def register(kind: type, table: Table) -> None:
    """Teach the operations a kind of array. ``table`` maps operation names to functions.

    ``isinstance(value, kind)`` decides; the kind registered last is asked first.
    """
    _tables[:] = [(known, its) for known, its in _tables if known is not kind]
    _tables.insert(0, (kind, table))


def table_of(*values: Array) -> Table:
    """The table for these arguments; NumPy's where all of them are Python numbers."""
    for value in values:
        if not isinstance(value, (bool, int, float)):
            for kind, table in _tables:
                if isinstance(value, kind):
                    return table
            raise TypeError(
                f"neuroport.dynamics.ops knows no arrays of type {type(value).__name__}; "
                "an engine teaches it with ops.register(kind, table)"
            )
    return NUMPY


# --- elementwise ------------------------------------------------------------------------------


def exp(x: Array) -> Array:
    return table_of(x)["exp"](x)


def expm1(x: Array) -> Array:
    """exp(x) - 1 without cancellation: what makes 1 - exp(-dt/tau) accurate in float32."""
    return table_of(x)["expm1"](x)


def log(x: Array) -> Array:
    return table_of(x)["log"](x)


def sqrt(x: Array) -> Array:
    return table_of(x)["sqrt"](x)


def tanh(x: Array) -> Array:
    return table_of(x)["tanh"](x)


def abs(x: Array) -> Array:
    return table_of(x)["abs"](x)


def floor(x: Array) -> Array:
    return table_of(x)["floor"](x)


def detach(x: Array) -> Array:
    """The value of ``x`` with no derivative."""
    return table_of(x)["detach"](x)


def where(condition: Array, a: Array, b: Array) -> Array:
    """``a`` where the condition holds, else ``b``. The condition has no derivative."""
    return table_of(condition, a, b)["where"](condition, a, b)


def select(z: Array, a: Array, b: Array) -> Array:
    """The value of ``where(z > 0, a, b)``, and (a - b) dz in its derivative.

    ``where`` would cut the gradient through a spike ``z`` in {0, 1} silently.
    """
    return table_of(z, a, b)["select"](z, a, b)


def spike(u: Array, surrogate: Any, inclusive: bool = False) -> Array:
    """1 where ``u > 0`` (``u >= 0`` if inclusive), else 0; its derivative is ``surrogate(u)``.

    Give ``v - threshold`` unscaled: scaled and exactly on the threshold, a fused multiply-add
    decides otherwise than the comparison.
    """
    return table_of(u)["spike"](u, surrogate, inclusive)


def maximum(a: Array, b: Array) -> Array:
    return where(a > b, a, b)


def minimum(a: Array, b: Array) -> Array:
    return where(a < b, a, b)


def relu(x: Array) -> Array:
    return where(x > 0.0, x, x * 0.0)


# --- over axes: for losses and regularizers -----------------------------------------------------


def sum(x: Array, axis: int) -> Array:
    return table_of(x)["sum"](x, axis)


def max(x: Array, axis: int) -> Array:
    """Largest value along an axis; ties share the derivative equally."""
    return table_of(x)["max"](x, axis)


def expand(x: Array, axis: int, like: Array) -> Array:
    """Repeat ``x`` along a new axis until it has the shape of ``like``."""
    return table_of(x)["expand"](x, axis, like)


def mean(x: Array, axis: int) -> Array:
    """Mean along an axis."""
    return sum(x, axis) / _length(x, axis)


def _length(x: Array, axis: int) -> Array:
    """How many entries an axis has, as a number or an array of them; it has no derivative."""
    known = table_of(x).get("length")  # a recorded array has no shape: there it is counted
    return known(x, axis) if known else sum(detach(x * 0.0 + 1.0), axis)


def recurrence(decay: Array, x: Array, reverse: bool = False) -> Array:
    """y_t = decay_t y_{t-1} + x_t along the first axis, from zero; in reverse y_t = decay_t y_{t+1} + x_t.

    x: (T, ...); decay: of the same shape, or a number. A decay of 1 gives the running sum.
    """
    if isinstance(decay, (bool, int, float)):
        decay = detach(x * 0.0 + decay)
    return table_of(x)["recurrence"](decay, x, reverse)


def shift(x: Array, steps: int) -> Array:
    """``x`` moved along its first axis by ``steps``, later where positive; zeros come in."""
    return table_of(x)["shift"](x, steps)


def take(x: Array, axis: int, index: int) -> Array:
    """The slice ``index`` along an axis."""
    return table_of(x)["take"](x, axis, index)


def one_hot(classes: Array, like: Array) -> Array:
    """Class indices (B,) as rows of zeros and a one, in the shape (B, C) and type of ``like``."""
    return table_of(like)["one_hot"](classes, like)


def concatenate(arrays: Any) -> Array:
    """Arrays one after the other along their first axis."""
    return table_of(*arrays)["concatenate"](arrays)


# --- whole numbers that belong to a model: see program/wires.py -----------------------------------


@dataclass(frozen=True, eq=False)
class Fixed:
    """Whole numbers that a model fixes. An object stands for itself, so that an engine can keep its own copy."""

    values: np.ndarray


def gather(x: Array, places: Fixed) -> Array:
    """x[places[t, ...], ...] for every t: along the first axis. x: (T, ...); places broadcast to its other axes."""
    return table_of(x)["gather"](x, places)


# --- NumPy --------------------------------------------------------------------------------------


def _numpy_spike(u: Any, surrogate: Any, inclusive: bool) -> Any:
    return np.asarray(u >= 0 if inclusive else u > 0).astype(np.asarray(u).dtype)


def _numpy_unary(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Python numbers stay Python numbers: constants are folded in float64 and stay weakly typed."""
    return lambda x: float(function(x)) if isinstance(x, (bool, int, float)) else function(x)


def _numpy_place(g: Any, axis: int, index: int, like: Any) -> Any:
    out = np.zeros_like(like)
    out[(slice(None),) * (axis % like.ndim) + (index,)] = g
    return out


def _numpy_recurrence(decay: Any, x: Any, reverse: bool) -> Any:
    y = np.array(np.broadcast_to(x, decay.shape))
    for t in range(len(y) - 2, -1, -1) if reverse else range(1, len(y)):
        y[t] += decay[t] * y[t + 1 if reverse else t - 1]
    return y


def _numpy_shift(x: Any, steps: int) -> Any:
    out, count = np.zeros_like(x), builtins.min(builtins.abs(steps), len(x))
    if steps >= 0:
        out[count:] = x[: len(x) - count]
    else:
        out[: len(x) - count] = x[count:]
    return out


NUMPY: Table = {
    **{name: _numpy_unary(getattr(np, name))
       for name in ("exp", "expm1", "log", "sqrt", "tanh", "abs", "floor")},
    "detach": lambda x: x,
    "where": lambda c, a, b: (a if c else b) if isinstance(c, bool) else np.where(c, a, b),
    "select": lambda z, a, b: np.where(z > 0, a, b),
    "spike": _numpy_spike,
    "sum": lambda x, axis: x.sum(axis),
    "max": lambda x, axis: x.max(axis),
    "expand": lambda x, axis, like: np.broadcast_to(np.expand_dims(x, axis), like.shape),
    "recurrence": _numpy_recurrence,
    "shift": _numpy_shift,
    "take": lambda x, axis, index: np.take(x, index, axis),
    "length": lambda x, axis: float(x.shape[axis]),
    "one_hot": lambda classes, like: (classes[:, None] == np.arange(like.shape[1])).astype(like.dtype),
    "concatenate": np.concatenate,
    "gather": lambda x, places: np.take_along_axis(x, places.values, 0),
    "place": _numpy_place,  # the adjoint of take, which only reverse passes use
}

register(np.ndarray, NUMPY)
register(np.generic, NUMPY)
