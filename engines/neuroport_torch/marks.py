"""Activity that is not there as numbers: as a list of events, as bits, or as a product that nobody has taken yet."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from neuroport_torch.arena import Arena
from neuroport_torch.kernels.threads import over
from neuroport_torch.precision import bfloat16

if TYPE_CHECKING:
    from neuroport_torch.bits_product import StagedBits

Tensor = torch.Tensor
Shape = tuple[int, ...]
DENSE = 0.15  # share of events above which the dense product is cheaper
GRAIN, SHEAVES = 256, 8  # rows, and sheaves of them, that are done sooner than handed to a thread
SAMPLE = 64  # rows, spread over the run, that tell soon whether the others are worth a look

HAS_NUMBA = find_spec("numba") is not None


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
        sample = x[:: max(1, len(x) // SAMPLE)]
        if torch.count_nonzero(sample) > 2 * DENSE * sample.numel():
            return None
        values, (rows, columns) = x.detach().numpy(), x.shape
        bits = arena.empty((rows, -(-columns // 64)), torch.int64, x.device).numpy().view(np.uint64)
        start = np.zeros(rows + 1, np.int64)
        others = _mark(values, bits, start[1:])
        found = Events.marked(bits, start, columns)
        if found is None:
            return None
        if others:
            value = np.empty(start[-1], values.dtype)
            over(rows, GRAIN, lambda lo, hi: fetch(values, start, found.index, lo, hi, value))
            found.value = bfloat16(torch.from_numpy(value)).numpy() if rounded else value
        return found

    @staticmethod
    def marked(bits: np.ndarray, start: np.ndarray, columns: int) -> Events | None:
        """Of ones, by their marks: bits (M, words of 64). start: (M + 1,), how many each row has from place 1 on,
        added up here. None where that is not mostly zeros."""
        rows, sample = len(bits), start[1 :: max(1, len(bits) // SAMPLE)]
        if sample.sum() > 2 * DENSE * len(sample) * columns or start.sum() > DENSE * rows * columns:
            return None
        np.cumsum(start, out=start)
        index = np.empty(start[-1], np.int16 if columns < 2**15 else np.int32)
        over(len(bits), GRAIN, lambda lo, hi: enumerate_bits(bits, start, lo, hi, index))
        return Events((len(bits), columns), start, index)

    @property
    def nbytes(self) -> int:
        return self.start.nbytes + self.index.nbytes + (0 if self.value is None else self.value.nbytes)

    def times(self, weight: Tensor, bias: Tensor | None, y: Tensor) -> None:
        """y (M, N) = x W^T + b."""
        arrays, into = self.product(weight, bias), y.numpy()
        over(len(into), GRAIN, lambda lo, hi: gather(*arrays, into, lo, hi))

    def product(self, weight: Tensor, bias: Tensor | None) -> tuple[np.ndarray | None, ...]:
        """What x W^T + b is made of: start, index, value, W^T as (N / LANES, K, LANES), b with zeros at its end."""
        chunks = in_lanes(weight.detach()).numpy()
        b = np.zeros(len(chunks) * LANES, chunks.dtype)
        if bias is not None:
            b[: len(weight)] = bias.detach().numpy()
        return self.start, self.index, self.value, chunks, b

    def outer(self, dy: Tensor) -> Tensor:
        """dW (N, K) = dy^T x, from dy (M, N)."""
        d, sheaves = dy.detach().contiguous().numpy(), -(-self.shape[0] // SHEAF)
        place, order = np.empty((sheaves, self.shape[1] + 1), np.int64), np.empty(len(self.index), np.int16)
        over(sheaves, SHEAVES, lambda lo, hi: sort(self.start, self.index, lo, hi, place, order))
        value = self.value
        if value is not None:
            value, of = np.empty_like(value), value
            over(sheaves, SHEAVES, lambda lo, hi: sorted_values(self.start, self.index, of, lo, hi, place, value))
        dw = np.empty((d.shape[1], self.shape[1]), d.dtype)
        over(len(dw), LANES, lambda lo, hi: scatter(place, order, value, d, dw, lo, hi))
        return torch.from_numpy(dw)


class Bits:
    """A matrix (M, K) of zeros and ones by its bits: what a dense product keeps of spikes for its reverse.

    words: (M, words of 64), the first column in the lowest bit.
    """

    def __init__(self, words: np.ndarray, columns: int, dtype: torch.dtype):
        self.words, self.columns, self.dtype = words, columns, dtype

    @staticmethod
    def of(x: Tensor) -> Bits | None:
        """None where x holds anything but zeros and ones."""
        if not HAS_NUMBA or not _binary(x[:: max(1, len(x) // SAMPLE)]):
            return None
        words = np.empty((len(x), -(-x.shape[1] // 64)), np.uint64)
        others = _mark(x.detach().contiguous().numpy(), words, np.empty(len(x), np.int64))
        return None if others else Bits(words, x.shape[1], x.dtype)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.words), self.columns

    @property
    def nbytes(self) -> int:
        return self.words.nbytes

    def after(self, before: Bits) -> Bits:
        """As many rows, of which ``before`` are the first."""
        return Bits(np.concatenate((before.words, self.words))[: len(self.words)], self.columns, self.dtype)

    def events(self) -> Events | None:
        """None where it is not mostly zeros."""
        start = np.zeros(len(self.words) + 1, np.int64)
        over(len(self.words), GRAIN, lambda lo, hi: count(self.words, lo, hi, start[1:]))
        return Events.marked(self.words, start, self.columns)

    def dense(self, arena: Arena) -> Tensor:
        x = arena.empty((len(self.words), self.columns), self.dtype, torch.device("cpu"))
        into, packed = x.numpy(), self.words.view(np.uint8)

        def rows(lo: int, hi: int) -> None:
            into[lo:hi] = np.unpackbits(packed[lo:hi], axis=1, count=self.columns, bitorder="little")

        over(len(x), GRAIN, rows)
        return x


class Product:
    """x W^T + b that whoever reads it takes along: see ``along.py``. Due once its operands are known.

    rounded: whether its operands are bfloat16. total: of y's cotangent, (B, N) summed over time, from when the reader
    has run back until the product does; the cotangent is an operand then.
    """

    due = False
    total: Tensor | None = None

    def of(self, events: Events, weight: Tensor, bias: Tensor | None, rounded: bool) -> None:
        self.due, self.events, self.weight, self.rounded = True, events, weight.detach(), rounded
        self.bias = None if bias is None else bias.detach().clone()
        self.version = _version(self.weight)

    def arrays(self) -> tuple[np.ndarray | None, ...]:
        """``Events.product``, made anew each time: kept until the reverse they would be a copy of the weights."""
        if _version(self.weight) != self.version:
            raise RuntimeError(
                f"a weight {tuple(self.weight.shape)} was changed in place after the forward pass, and the backward "
                "pass needs what it was: change it after backward()")
        return self.events.product(self.weight, self.bias)

    def take_total(self) -> Tensor | None:
        total, self.total = self.total, None
        return total


class Marked(torch.Tensor):
    """Activity (T, B, *shape) that exists as its marks alone. Its values are NaN, and take no memory."""

    marks: Events | Bits | StagedBits

    @staticmethod
    def of(marks: Events | Bits | StagedBits, shape: Shape, dtype: torch.dtype, device: torch.device) -> Marked:
        return Marked.standing_for(marks, blank(shape, dtype, device))

    @staticmethod
    def standing_for(marks: Events | Bits | StagedBits, values: Tensor) -> Marked:
        """``values``, and their place in autograd's graph, by their marks."""
        found: Marked = values.as_subclass(Marked)
        found.marks = marks
        return found

    def __getitem__(self, window: Any) -> Marked:
        assert window == slice(0, len(self)), "marks are read as a whole"
        return self


class Owed(torch.Tensor):
    """Activity (T, B, N) that is to be a product. Its values are NaN, and take no memory."""

    product: Product

    @staticmethod
    def standing_for(product: Product, values: Tensor) -> Owed:
        """``values``, and their place in autograd's graph."""
        found: Owed = values.as_subclass(Owed)
        found.product = product
        return found


def blank(shape: Shape, dtype: torch.dtype, device: torch.device) -> Tensor:
    """NaN of a shape that takes no memory."""
    return torch.full((1,), torch.nan, dtype=dtype, device=device).expand(shape)


def in_lanes(weight: Tensor) -> Tensor:
    """W (N, K) as (N / LANES, K, LANES), with zeros at its end."""
    columns, terms = weight.shape
    padded = functional.pad(weight, (0, 0, 0, -columns % LANES))
    return padded.view(-1, LANES, terms).transpose(1, 2).contiguous()


def _version(tensor: Tensor) -> int:
    """How often it was changed in place; a tensor of inference mode, which has no reverse, does not know."""
    return 0 if tensor.is_inference() else tensor._version


def _binary(x: Tensor) -> bool:
    return bool(((x == 0) | (x == 1)).all())


def _mark(values: np.ndarray, words: np.ndarray, count: np.ndarray) -> bool:
    """Marks what is not zero in values (M, K); words (M, words of 64), count (M,). Whether any of it is not 1."""
    others: list[int] = []
    over(len(values), GRAIN, lambda lo, hi: others.append(mark(values, lo, hi, words, count)))
    return any(others)


if HAS_NUMBA:
    from neuroport_loops.events import SHEAF, count, enumerate_bits, fetch, gather, mark, scatter, sort, sorted_values
    from neuroport_loops.lanes import LANES
