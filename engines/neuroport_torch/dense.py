"""Large products of dense matrices on the CPU: the ways there are, and which one is taken.

    torch     what torch links, MKL on most builds
    onednn    oneDNN's inner product, float32: on some processors half the time of MKL's, on others no gain

The faster one for a class of shapes is measured once on a machine and kept on disk
(``kernels/measured.py``); where nothing can be kept, sums of at least LONG terms go to oneDNN. No way
of torch's on a CPU multiplies bfloat16 and keeps its sums in float32, so rounded operands are
multiplied in float32, which is the same numbers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import cache

import torch

from neuroport_torch.arena import Arena
from neuroport_torch.kernels.measured import fastest, processor
from neuroport_torch.kernels.threads import over, threads

Tensor = torch.Tensor
Multiply = Callable[[Tensor, Tensor, Tensor], None]
LONG = 64  # terms of each sum below which oneDNN gains nothing, as a rule
ROWS = 64  # grain of work for a thread
PIECE = 1024  # rows that oneDNN makes at once: what it returns is copied while it lies in a cache
TRIED = 2**28  # multiplications of a measurement, some milliseconds
TIMES = 6

HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _torch(x: Tensor, weight: Tensor, into: Tensor) -> None:
    torch.mm(x, weight.t(), out=into)


def _onednn(x: Tensor, weight: Tensor, into: Tensor) -> None:
    for first in range(0, len(x), PIECE):
        piece = slice(first, first + PIECE)
        into[piece] = torch.ops.mkldnn._linear_pointwise(x[piece], weight, None, "none", [], "")


WAYS: dict[str, Multiply] = {"torch": _torch, "onednn": _onednn}


def dense(x: Tensor, weight: Tensor, arena: Arena) -> Tensor:
    """x (M, K) times weight (N, K) transposed, (M, N)."""
    # other threads record for autograd, whatever this one does
    x, weight = x.detach(), weight.detach()
    into = arena.empty((len(x), len(weight)), x.dtype, x.device)
    taken = way(x, weight)
    weight = weight.contiguous() if taken == "onednn" else weight
    over(len(x), ROWS, lambda lo, hi: WAYS[taken](x[lo:hi], weight, into[lo:hi]))
    return into


def way(x: Tensor, weight: Tensor) -> str:
    """The way that a product of such matrices takes."""
    if not HAS_ONEDNN or x.dtype != torch.float32:
        return "torch"
    sizes = (len(x), *weight.shape)
    like = [str(size.bit_length()) for size in sizes]  # a class of shapes: each size up to a power of two
    lying = f"{x.is_contiguous()} {weight.is_contiguous()}"
    what = ("dense", processor(), str(threads()), torch.__version__, *like, lying)
    times = cache(lambda: _race(x.detach(), weight.detach()))
    found = fastest(what, tuple(WAYS), lambda name: times()[name])
    return found or ("onednn" if x.shape[1] >= LONG else "torch")


def _race(x: Tensor, weight: Tensor) -> dict[str, float]:
    """CPU time of each way on some rows, in this thread, in turn: what else the machine does falls on all of them."""
    rows = max(ROWS, min(-(-len(x) // threads()), TRIED // max(1, weight.numel())))
    x, weight = x[:rows], weight.contiguous()
    into, best = torch.empty(len(x), len(weight)), dict.fromkeys(WAYS, math.inf)
    for _ in range(TIMES):
        for name, multiply in WAYS.items():
            began = time.thread_time()
            multiply(x, weight, into)
            best[name] = min(best[name], time.thread_time() - began)
    return best
