"""Threads of our own, in place of OpenMP's.

Between two of torch's parallel operations the threads of OpenMP spin, and where another process holds
a core, each operation waits for a thread that cannot run: on two shared cores, Adam on a thousand
numbers takes 40 ms. So the engine's work on a CPU happens in a thread in which torch's own operations
use one core (a setting of that thread alone), and what is worth several is cut up here. Kernels release
the GIL, and a range's result does not depend on how it is cut.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")
MOST = 64  # callers at once
_here = threading.local()


def threads() -> int:
    """How many threads to use: torch's own setting, as the caller of the engine sees it."""
    return getattr(_here, "count", None) or torch.get_num_threads()


@cache
def _openmp() -> Callable[[int], Any] | None:
    """OpenMP's ``omp_set_num_threads`` as torch uses it; None where its library is not the bundled one."""
    for library in sorted((Path(torch.__file__).parent / "lib").glob("libgomp*")):
        try:
            return ctypes.CDLL(str(library)).omp_set_num_threads  # type: ignore[no-any-return]
        except (OSError, AttributeError):
            continue
    return None


def _single() -> None:
    """This thread's operations of torch use one core. Torch's own setting holds for all threads."""
    torch.get_num_threads()  # sets this thread up once, and would undo what follows
    limit = _openmp()
    if limit is not None:
        limit(1)


@cache
def _pool(process: int, purpose: str, workers: int) -> ThreadPoolExecutor:
    # a forked child has no threads of its parent's, hence the process; threads start as they are needed
    return ThreadPoolExecutor(workers, thread_name_prefix=f"neuroport-{purpose}", initializer=_single)


def alone(wanted: bool, work: Callable[[], Result]) -> Result:
    """The result of ``work()``, where ``wanted`` done in a thread in which torch's own operations use one core."""
    if not wanted or _openmp() is None or getattr(_here, "count", None):
        return work()
    count = torch.get_num_threads()

    def there() -> Result:
        _here.count = count
        try:
            return work()
        finally:
            _here.count = None

    return _pool(os.getpid(), "engine", MOST).submit(there).result()


def over(count: int, grain: int, run: Callable[[int, int], Any]) -> None:
    """``run(lo, hi)`` for ranges that cover 0 .. count, cut at multiples of ``grain``."""
    grains = -(-count // grain)
    parts = min(threads(), grains)
    if parts <= 1:
        if count:
            run(0, count)
        return
    cuts = [min(count, part * grains // parts * grain) for part in range(parts + 1)]
    pool = _pool(os.getpid(), "kernel", max(1, threads() - 1))
    others = [pool.submit(run, lo, hi) for lo, hi in zip(cuts[1:-1], cuts[2:], strict=True)]
    run(cuts[0], cuts[1])
    for other in others:
        other.result()
