"""y = x W^T + b over all T x B, in the cheapest of several ways.

    events      CPU, with numba: x is mostly zeros, as spikes are
    onednn      CPU, large and dense: see ``dense.py``
    bits        CUDA: staged bits, unpacked within the product
    bf16        CUDA, precision "bfloat16": see ``bf16_products.py``
    split_bf16  CUDA, float32, x is spikes: there, too
    torch       everything else

Which one is taken depends on the share of zeros and on shapes, and for a class of shapes on what was once
measured on this machine: equal inputs give equal bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neuroport_torch.arena import Arena
from neuroport_torch.bf16_products import on_cuda
from neuroport_torch.dense import ROWS, dense, way
from neuroport_torch.kernels.threads import over
from neuroport_torch.layers import LAYERS, ROUNDED
from neuroport_torch.precision import bfloat16

if TYPE_CHECKING:
    from neuroport_torch.bits_product import StagedBits

Tensor = torch.Tensor
LARGE = 2**22  # multiplications below which a plain product is as good
VALUES = 2**14  # grain of rounding for a thread
DENSE = 0.15  # share of events above which the dense product is cheaper

HAS_NUMBA = find_spec("numba") is not None


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, arena: Arena, rounded: bool = False, exact: bool = False,
    marks: Events | StagedBits | None = None,
) -> tuple[Tensor, str]:
    """x (M, K), weight (N, K), bias (N,) -> (M, N), differentiable in all three; and the way it was taken.

    rounded: operands are rounded to bfloat16, also those of the reverse. exact: x is known to be exact in bfloat16.
    marks: those of x, where they are known; then x gives the shape alone.
    """
    if isinstance(marks, Events):
        return _Linear.apply(x, weight, bias, marks, arena, rounded), "events"
    if marks is not None:
        return marks.linear(weight, bias, rounded), "bits"
    on_tensor_cores = on_cuda(x, weight, bias, rounded, exact)
    if on_tensor_cores is not None:
        return on_tensor_cores
    if x.device.type != "cpu" or len(x) * weight.numel() < LARGE:
        own = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
        return (ROUNDED if rounded else LAYERS)["Linear"].apply(None, own, x), "torch"
    events = Events.of(x, arena, rounded)
    taken = "events" if events is not None else way(x, weight)
    return _Linear.apply(x, weight, bias, events, arena, rounded), taken


def of_weights(
    own: Mapping[str, Tensor], x: Tensor, dy: Tensor, arena: Arena, rounded: bool = False
) -> dict[str, Tensor]:
    """Cotangents of a Linear's arrays, by name, from those of y (M, N) and from x (M, K)."""
    if x.device.type != "cpu" or x.numel() * dy.shape[1] < LARGE:
        return (ROUNDED if rounded else LAYERS)["Linear"].weights(None, own, x, dy)
    found = {"bias": dy.sum(0)} if "bias" in own else {}
    events = Events.of(x, arena, rounded)
    if rounded:
        x, dy = x if events is not None else operand(x, arena), operand(dy, arena)
    found["weight"] = _outer(dy, events, x, arena)
    return found


def _outer(dy: Tensor, kept: Events | Bits | None, x: Tensor | None, arena: Arena) -> Tensor:
    """dW (N, K) = dy^T x, from dy (M, N), with x as what was kept of it; itself where nothing was."""
    if isinstance(kept, Events):
        return kept.outer(dy)
    rows = x if kept is None else kept.dense(arena)
    assert rows is not None
    return dense(dy.t(), rows.t(), arena)


class Events:
    """A matrix (M, K) that is mostly zeros, as the list of those entries that are not.

    start: (M + 1,) where each row's entries lie. index: their columns. value: theirs, None where all are 1.
    """

    def __init__(self, shape: tuple[int, int], start: np.ndarray, index: np.ndarray, value: np.ndarray | None = None):
        self.shape, self.start, self.index, self.value = shape, start, index, value

    @staticmethod
    def of(x: Tensor, arena: Arena, rounded: bool = False) -> Events | None:
        """None where x is not mostly zeros. The list holds no reference to x. rounded: its values are bfloat16."""
        if not HAS_NUMBA or not x.is_contiguous():
            return None
        sample = x[:: max(1, len(x) // 64)]  # rows spread over the run tell soon whether it is worth a look
        if torch.count_nonzero(sample) > 2 * DENSE * sample.numel():
            return None
        values, (rows, columns) = x.detach().numpy(), x.shape
        bits = arena.empty((rows, -(-columns // 64)), torch.int64, x.device).numpy().view(np.uint64)
        start, others = np.zeros(rows + 1, np.int64), []
        over(rows, ROWS, lambda lo, hi: others.append(mark(values, lo, hi, bits, start[1:])))
        np.cumsum(start, out=start)
        if start[-1] > DENSE * x.numel():
            return None
        found = Events.marked(bits, start, columns)
        if any(others):
            value = np.empty(start[-1], values.dtype)
            over(rows, ROWS, lambda lo, hi: fetch(values, start, found.index, lo, hi, value))
            found.value = bfloat16(torch.from_numpy(value)).numpy() if rounded else value
        return found

    @staticmethod
    def marked(bits: np.ndarray, start: np.ndarray, columns: int) -> Events:
        """Of ones, by their marks: bits (M, words of 64), start (M + 1,)."""
        index = np.empty(start[-1], np.int16 if columns < 2**15 else np.int32)
        over(len(bits), ROWS, lambda lo, hi: enumerate_bits(bits, start, lo, hi, index))
        return Events((len(bits), columns), start, index)

    @property
    def nbytes(self) -> int:
        return self.start.nbytes + self.index.nbytes + (0 if self.value is None else self.value.nbytes)

    def times(self, weight: Tensor, bias: Tensor | None, y: Tensor) -> None:
        """y (M, N) = x W^T + b."""
        columns, terms = weight.shape
        padded = weight.new_zeros(-(-columns // LANES) * LANES, terms)
        padded[:columns] = weight.detach()
        chunks = padded.view(-1, LANES, terms).transpose(1, 2).contiguous().numpy()
        b = np.zeros(columns, chunks.dtype) if bias is None else bias.detach().contiguous().numpy()
        into = y.numpy()
        over(len(into), ROWS, lambda lo, hi: gather(self.start, self.index, self.value, chunks, b, into, lo, hi))

    def outer(self, dy: Tensor) -> Tensor:
        """dW (N, K) = dy^T x, from dy (M, N)."""
        d, sheaves = dy.detach().contiguous().numpy(), -(-self.shape[0] // SHEAF)
        place, order = np.empty((sheaves, self.shape[1] + 1), np.int64), np.empty(len(self.index), np.int16)
        over(sheaves, 1, lambda lo, hi: sort(self.start, self.index, lo, hi, place, order))
        value = self.value
        if value is not None:
            value, of = np.empty_like(value), value
            over(sheaves, 1, lambda lo, hi: sorted_values(self.start, self.index, of, lo, hi, place, value))
        dw = np.empty((d.shape[1], self.shape[1]), d.dtype)
        over(len(dw), LANES, lambda lo, hi: scatter(place, order, value, d, dw, lo, hi))
        return torch.from_numpy(dw)


class Bits:
    """A matrix (M, K) of zeros and ones, eight to a byte: what a dense product keeps of spikes for its reverse."""

    def __init__(self, bits: np.ndarray, columns: int, dtype: torch.dtype):
        self.bits, self.columns, self.dtype = bits, columns, dtype

    @staticmethod
    def of(x: Tensor) -> Bits | None:
        """None where x holds anything but zeros and ones."""
        values = x.detach().numpy()
        if not _binary(values[:: max(1, len(values) // 64)]):
            return None
        bits, binary = np.empty((len(x), -(-x.shape[1] // 8)), np.uint8), []

        def rows(lo: int, hi: int) -> None:
            binary.append(_binary(values[lo:hi]))
            bits[lo:hi] = np.packbits(values[lo:hi] != 0, axis=1)

        over(len(x), ROWS, rows)
        return Bits(bits, x.shape[1], x.dtype) if all(binary) else None

    @property
    def nbytes(self) -> int:
        return self.bits.nbytes

    def dense(self, arena: Arena) -> Tensor:
        x = arena.empty((len(self.bits), self.columns), self.dtype, torch.device("cpu"))
        into = x.numpy()

        def rows(lo: int, hi: int) -> None:
            into[lo:hi] = np.unpackbits(self.bits[lo:hi], axis=1, count=self.columns)

        over(len(x), ROWS, rows)
        return x


def operand(x: Tensor, arena: Arena) -> Tensor:
    """x, large, rounded to bfloat16."""
    if not HAS_NUMBA or x.dtype != torch.float32 or not x.is_contiguous():
        return bfloat16(x)
    into = arena.empty(tuple(x.shape), x.dtype, x.device)
    given, rounded = x.detach().view(-1).numpy(), into.view(-1).numpy()
    over(len(given), VALUES, lambda lo, hi: round_values(given, rounded, lo, hi))
    return into


def _binary(values: np.ndarray) -> bool:
    return bool(((values == 0) | (values == 1)).all())


class _Linear(torch.autograd.Function):
    """Keeps x as events or, where it is spikes, as bits: whoever made x may write over it."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, events: Events | None, arena: Arena, rounded: bool
    ) -> Tensor:
        ctx.biased, ctx.arena, ctx.rounded = bias is not None, arena, rounded
        if rounded:
            x, weight = x if events is not None else operand(x, arena), bfloat16(weight)
        ctx.kept = events if events is not None else Bits.of(x)
        ctx.save_for_backward(weight, *([x] if ctx.kept is None else []))
        if events is None:
            y = dense(x, weight, arena)
            return y if bias is None else y.add_(bias)
        y = arena.empty((len(x), len(weight)), x.dtype, x.device)
        events.times(weight, bias, y)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None, None]:
        weight, *x = ctx.saved_tensors
        dx = dw = db = None
        if ctx.biased and ctx.needs_input_grad[2]:
            db = dy.sum(0)  # a bias is added: its gradient is no product
        dy = operand(dy, ctx.arena) if ctx.rounded else dy
        if ctx.needs_input_grad[0]:
            dx = dense(dy, weight.t(), ctx.arena)
        if ctx.needs_input_grad[1]:
            dw = _outer(dy, ctx.kept, x[0] if x else None, ctx.arena)
        return dx, dw, db, None, None, None


if HAS_NUMBA:
    from neuroport_loops.events import SHEAF, enumerate_bits, fetch, gather, mark, scatter, sort, sorted_values
    from neuroport_loops.lanes import LANES

    from neuroport_torch.kernels.rounding import round_values
