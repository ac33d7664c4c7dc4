"""Products with spikes, as XLA calls them: thin functions over ``neuroport_loops.events`` with one signature each."""

from __future__ import annotations

import numpy as np
from neuroport_loops import events
from neuroport_loops.kept import kept


@kept
def locate(lo, hi, x, bits, count, others):
    """Marks rows lo to hi of x (M, K): bits (M, K / 32) uint32, count (M,); others (M,): more than 0 where not all
    that is marked is 1."""
    for m in range(lo, hi):
        others[m] = 0
    others[lo] = events.mark(x, lo, hi, bits.view(np.uint64), count)


@kept
def enumerate_events(lo, hi, x, bits, start, binary, index, value):
    """Columns, and where not ``binary`` (1,) values, of what is marked in rows lo to hi."""
    if start[len(start) - 1] == 0:  # none, or more than there is room for
        return
    events.enumerate_bits(bits.view(np.uint64), start, lo, hi, index)
    if not binary[0]:
        events.fetch(x, start, index, lo, hi, value)


@kept
def times(lo, hi, chunks, bias, start, index, value, binary, y):
    """Rows lo to hi of y (M, N) = x W^T + b. chunks: (N / LANES * K, LANES)."""
    parts = chunks.reshape((-(-y.shape[1] // chunks.shape[1]), -1, chunks.shape[1]))
    if binary[0]:
        events.gather(start, index, None, parts, bias, y, lo, hi)
    else:
        events.gather(start, index, value, parts, bias, y, lo, hi)


@kept
def sort(lo, hi, start, index, value, binary, place, order, moved):
    """Events of sheaves lo to hi by column."""
    events.sort(start, index, lo, hi, place, order)
    if not binary[0]:
        events.sorted_values(start, index, value, lo, hi, place, moved)


@kept
def outer(lo, hi, place, order, moved, binary, dy, dw):
    """Rows lo to hi of dW (N, K) = dy^T x."""
    if binary[0]:
        events.scatter(place, order, None, dy, dw, lo, hi)
    else:
        events.scatter(place, order, moved, dy, dw, lo, hi)
