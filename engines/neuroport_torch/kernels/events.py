"""Products that read only what is not zero: sums over the spikes of a row.

Real networks spike at 2-8 %, and then most multiplications of a dense product are by zero. Sums run
in the order of the inputs, whatever the number of threads.
"""

from __future__ import annotations

from numba import njit

from neuroport_torch.kernels.load import folder

KEPT = folder() is not None  # numba refuses to cache where it cannot write


@njit(nogil=True, error_model="numpy", cache=KEPT)
def find(x, lo, hi, index, count):
    """Positions of the nonzero entries of rows lo to hi of x (M, K), and how many there are, count (M,).

    index: (M * K + 1,), of which each range of rows fills its own part, from lo * K on, without gaps: memory is
    touched for events alone.
    """
    n = lo * x.shape[1]
    for m in range(lo, hi):
        row, first = x[m], n
        for j in range(len(row)):
            index[n] = j  # overwritten by the next one, unless it counts
            n += row[j] != 0
        count[m] = n - first


@njit(nogil=True, error_model="numpy", cache=KEPT)
def collect(x, found, lo, hi, start, index, value):
    """What ``find`` left of rows lo to hi, and its values, to where they are kept: index and value (events,).

    start: (M + 1,), where each row's events lie there.
    """
    n = lo * x.shape[1]
    for m in range(lo, hi):
        row = x[m]
        for at in range(start[m], start[m + 1]):
            index[at] = found[n]
            value[at] = row[found[n]]
            n += 1


@njit(nogil=True, error_model="numpy", cache=KEPT)
def gather(start, index, value, weight_t, bias, y, lo, hi):
    """Rows lo to hi of y = x W^T + b, x as events; weight_t (K, N), bias (N,), y (M, N). Without values all are 1."""
    width, ones = y.shape[1], len(value) == 0
    for m in range(lo, hi):
        row = y[m]
        for o in range(width):
            row[o] = bias[o]
        at, end = start[m], start[m + 1]
        while at + 4 <= end:  # four rows of weights at a time: y is read and written once for them
            wa, wb, wc, wd = weight_t[index[at]], weight_t[index[at + 1]], weight_t[index[at + 2]], weight_t[index[at + 3]]
            if ones:
                for o in range(width):
                    row[o] = (((row[o] + wa[o]) + wb[o]) + wc[o]) + wd[o]
            else:
                xa, xb, xc, xd = value[at], value[at + 1], value[at + 2], value[at + 3]
                for o in range(width):
                    row[o] = (((row[o] + xa * wa[o]) + xb * wb[o]) + xc * wc[o]) + xd * wd[o]
            at += 4
        while at < end:
            wa = weight_t[index[at]]
            if ones:
                for o in range(width):
                    row[o] += wa[o]
            else:
                xa = value[at]
                for o in range(width):
                    row[o] += xa * wa[o]
            at += 1


@njit(nogil=True, error_model="numpy", cache=KEPT)
def scatter(start, index, value, dy, dw_t, lo, hi):
    """Columns lo to hi of dW^T = x^T dy, x as events; dy (M, N), dw_t (K, N). Without values all are 1."""
    dw_t[:, lo:hi] = 0
    ones = len(value) == 0
    for m in range(dy.shape[0]):
        d = dy[m, lo:hi]
        for at in range(start[m], start[m + 1]):
            row = dw_t[index[at], lo:hi]
            if ones:
                for o in range(hi - lo):
                    row[o] += d[o]
            else:
                xj = value[at]
                for o in range(hi - lo):
                    row[o] += xj * d[o]
