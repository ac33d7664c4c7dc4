"""Kernels over ranges of independent work, on as many threads as torch uses.

Kernels release the GIL, and a range's result does not depend on how it is cut, so plain threads do:
they sleep between kernels, where the threads of OpenMP spin, and need no threading layer of numba's,
one of which ends the process when two threads meet in it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch


@cache
def _pool(process: int, workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="neuroport")


def threads() -> int:
    """How many threads to use: torch's own setting."""
    return torch.get_num_threads()


def over(count: int, grain: int, run: Callable[[int, int], Any]) -> None:
    """``run(lo, hi)`` for ranges that cover 0 .. count, cut at multiples of ``grain``."""
    grains = -(-count // grain)
    parts = min(threads(), grains)
    if parts <= 1:
        if count:
            run(0, count)
        return
    cuts = [min(count, part * grains // parts * grain) for part in range(parts + 1)]
    pool = _pool(os.getpid(), parts - 1)  # a forked child has no threads of its parent's
    others = [pool.submit(run, lo, hi) for lo, hi in zip(cuts[1:-1], cuts[2:], strict=True)]
    run(cuts[0], cuts[1])
    for other in others:
        other.result()
