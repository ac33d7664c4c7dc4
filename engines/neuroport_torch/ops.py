"""The operations of equations on torch tensors, differentiable by autograd.

Importing this module teaches ``neuroport.dynamics.ops`` about torch. Printed step functions take a
table for their own precision: ``where`` between two Python numbers has no tensor to take it from.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch

from neuroport.dynamics import ops
from neuroport_torch import products

if products.HAS_NUMBA:
    from neuroport_torch.kernels.where import where as kernels_where

Tensor = torch.Tensor


class _SurrogateSpike(torch.autograd.Function):
    """1 where u > 0, with the surrogate's derivative."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, surrogate: Any, inclusive: bool) -> Tensor:
        ctx.save_for_backward(u)
        ctx.surrogate = surrogate
        return _crossed(u, inclusive)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        (u,) = ctx.saved_tensors
        return g * ctx.surrogate.derivative(u), None, None


def _crossed(u: Tensor, inclusive: bool) -> Tensor:
    return (u >= 0 if inclusive else u > 0).to(u.dtype)


def _recording(x: Any) -> bool:
    return isinstance(x, Tensor) and x.requires_grad and torch.is_grad_enabled()


def _spike(u: Tensor, surrogate: Any, inclusive: bool) -> Tensor:
    return _SurrogateSpike.apply(u, surrogate, inclusive) if _recording(u) else _crossed(u, inclusive)


def _where(condition: Tensor, a: Any, b: Any) -> Tensor:
    chosen = None
    if products.HAS_NUMBA and isinstance(a, Tensor) and isinstance(b, Tensor) and not (_recording(a) or _recording(b)):
        chosen = kernels_where(condition, a, b)
    return torch.where(condition, a, b) if chosen is None else chosen


def _expand(x: Tensor, axis: int, like: Tensor) -> Tensor:
    return x.unsqueeze(axis).expand(like.shape)


def _shift(x: Tensor, steps: int) -> Tensor:
    count = min(abs(steps), len(x))
    nothing = x.new_zeros(()).expand(count, *x.shape[1:])
    return torch.cat((nothing, x[: len(x) - count]) if steps >= 0 else (x[count:], nothing))


class _Recurrence(torch.autograd.Function):
    """y_t = decay_t y_{t-1} + x_t; autograd through a loop in Python would record every step."""

    @staticmethod
    def forward(ctx: Any, decay: Tensor, x: Tensor, reverse: bool) -> Tensor:
        y = _recur(decay, x, reverse)
        ctx.save_for_backward(decay, y)
        ctx.reverse = reverse
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor, None]:
        decay, y = ctx.saved_tensors
        back = -1 if ctx.reverse else 1  # where the step before lies
        of_x = _recur(_shift(decay, -back), g, not ctx.reverse)
        return of_x * _shift(y, back) if ctx.needs_input_grad[0] else None, of_x, None


def _recur(decay: Tensor, x: Tensor, reverse: bool) -> Tensor:
    y = x.clone()
    steps = list(zip(y.unbind(0), decay.unbind(0), strict=True))
    for (before, _), (now, alpha) in pairwise(steps[::-1] if reverse else steps):
        now.addcmul_(alpha, before)
    return y


def _recurrence(decay: Tensor, x: Tensor, reverse: bool) -> Tensor:
    return _Recurrence.apply(decay, x, reverse) if _recording(decay) or _recording(x) else _recur(decay, x, reverse)


def _one_hot(classes: Tensor, like: Tensor) -> Tensor:
    return (classes[:, None] == torch.arange(like.shape[1], device=like.device)).to(like.dtype)


@lru_cache(maxsize=256)
def _held(numbers: ops.Fixed, device: torch.device) -> Tensor:
    return torch.as_tensor(numbers.values, device=device)


def _gather(x: Tensor, places: ops.Fixed) -> Tensor:
    index = _held(places, x.device)
    return x.gather(0, index.expand(len(index), *x.shape[1:]))


def table(dtype: torch.dtype) -> dict[str, Any]:
    """The operations; numbers without a tensor beside them become ``dtype``."""

    def where(condition: Any, a: Any, b: Any) -> Any:
        if isinstance(condition, bool):
            return a if condition else b
        if not isinstance(a, Tensor) and not isinstance(b, Tensor):
            a = torch.full((), a, dtype=dtype, device=condition.device)
        return _where(condition, a, b)

    def select(z: Tensor, a: Any, b: Any) -> Tensor:
        value = where(z > 0, a, b)
        if not _recording(z):
            return value
        difference = a - b
        difference = difference.detach() if isinstance(difference, Tensor) else difference
        return value + (z - z.detach()) * difference

    return {
        **{name: getattr(torch, name) for name in ("exp", "expm1", "log", "sqrt", "tanh", "abs", "floor")},
        "detach": lambda x: x.detach() if isinstance(x, Tensor) else x,
        "where": where, "select": select, "spike": _spike,
        "sum": lambda x, axis: x.sum(axis),
        "max": lambda x, axis: x.amax(axis),  # ties share the derivative equally
        "expand": _expand,
        "length": lambda x, axis: float(x.shape[axis]),
        "recurrence": _recurrence, "shift": _shift,
        "take": lambda x, axis, index: x.select(axis, index),
        "one_hot": _one_hot,
        "concatenate": lambda arrays: torch.cat(tuple(arrays)),
        "gather": _gather,
    }


ops.register(Tensor, table(torch.float32))
