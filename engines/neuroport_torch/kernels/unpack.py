"""Packed samples as activity over time, in one pass."""

from __future__ import annotations

from numba import njit

from neuroport_torch.kernels.load import folder

KEPT = folder() is not None  # numba refuses to cache where it cannot write


@njit(nogil=True, error_model="numpy", cache=KEPT)
def unpack_bits(values, samples, x, lo, hi):
    """Steps lo to hi of x (T, B, M), from bits along time: values (N, T / 8, M) uint8, samples (B,)."""
    for t in range(lo, hi):
        place = t & 7
        for b in range(x.shape[1]):
            source, into = values[samples[b], t >> 3], x[t, b]
            for m in range(x.shape[2]):
                into[m] = (source[m] >> place) & 1
