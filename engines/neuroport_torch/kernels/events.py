"""Products that read only what is not zero: sums over the spikes of a row.

Real networks spike at 2-8 %, and then most multiplications of a dense product are by zero. Sums run
in the order of the inputs, whatever the number of threads.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from neuroport_torch.kernels.load import folder

KEPT = folder() is not None  # numba refuses to cache where it cannot write


@njit(nogil=True, error_model="numpy", cache=KEPT)
def find(x, lo, hi, index, start, count):
    """Positions of the nonzero entries of rows lo to hi of x (M, K).

    index: (M * K,), of which each range of rows fills its own part from the front, so that memory is
    touched for events alone. start, count: (M,) where a row's positions lie.
    """
    k = x.shape[1]
    at = lo * k
    for m in range(lo, hi):
        row = x[m]
        start[m] = at
        n = at
        for j in range(k):
            index[n] = j  # overwritten by the next one, unless it counts
            n += row[j] != 0
        count[m] = n - at
        at = n


@njit(nogil=True, error_model="numpy", cache=KEPT)
def gather(x, weight_t, bias, index, start, count, y, lo, hi):
    """Rows lo to hi of y = x W^T + b; weight_t (K, N), bias (N,), y (M, N)."""
    width = y.shape[1]
    for m in range(lo, hi):
        row = y[m]
        for o in range(width):
            row[o] = bias[o]
        at, end = start[m], start[m] + count[m]
        while at + 4 <= end:  # four rows of weights at a time: y is read and written once for them
            a, b, c, d = index[at], index[at + 1], index[at + 2], index[at + 3]
            xa, xb, xc, xd = x[m, a], x[m, b], x[m, c], x[m, d]
            wa, wb, wc, wd = weight_t[a], weight_t[b], weight_t[c], weight_t[d]
            for o in range(width):
                row[o] = (((row[o] + xa * wa[o]) + xb * wb[o]) + xc * wc[o]) + xd * wd[o]
            at += 4
        while at < end:
            a = index[at]
            xa, wa = x[m, a], weight_t[a]
            for o in range(width):
                row[o] += xa * wa[o]
            at += 1


@njit(nogil=True, error_model="numpy", cache=KEPT)
def scatter(x, dy, index, start, count, dw_t, lo, hi):
    """Columns lo to hi of dW^T = x^T dy; dy (M, N), dw_t (K, N)."""
    dw_t[:, lo:hi] = 0
    for m in range(x.shape[0]):
        d = dy[m, lo:hi]
        for at in range(start[m], start[m] + count[m]):
            j = index[at]
            xj, row = x[m, j], dw_t[j, lo:hi]
            for o in range(hi - lo):
                row[o] += xj * d[o]


def empty_index(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Room for ``find``: pages of it that no event needs are never touched."""
    kind = np.int16 if columns < 2**15 else np.int32
    return np.empty(rows * columns + 1, kind), np.empty(rows, np.int64), np.empty(rows, np.int64)
