"""What this machine can do at most, measured, and what a workload has to do at least: the distance from the limit."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
from workload import Workload

NUMBER = 4  # bytes of a float32
COPIED = 2**25  # numbers of the copy: 128 MiB, more than any cache
SIDE = 1024  # of the matrices of the product
COPIED_BY_GPU, SIDE_OF_GPU = 2**28, 8192
REPEATS, ENOUGH = 20, 1.0  # times, or seconds: some processors take bfloat16 a thousand times slower than float32


@dataclass(frozen=True)
class Limits:
    """Rates of this machine. copy: bytes a second, read and written together. products: by precision, operations a
    second, an addition and a multiplication being two."""

    copy: float
    products: dict[str, float]

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class Least:
    """What a step has to do if products are dense. bytes: moved; operations: of products."""

    bytes: float
    operations: float

    def seconds(self, limits: Limits, precision: str) -> float:
        """At the machine's rates, both at once."""
        return max(self.bytes / limits.copy, self.operations / limits.products[precision])


def measured(device: str = "cpu") -> Limits:
    """The best of several, on all cores of the CPU, or on the GPU."""
    return Limits(copy_rate(), product_rates()) if device == "cpu" else _of_gpu(device)


def _of_gpu(device: str) -> Limits:
    """Never run so far: no GPU was at hand."""
    import torch

    def timed(call: Callable[[], object]) -> float:
        def finished() -> None:
            call()
            torch.cuda.synchronize(device)

        return _best(finished)

    source = torch.ones(COPIED_BY_GPU, device=device)
    into = torch.empty_like(source)
    copied = 2 * NUMBER * COPIED_BY_GPU / timed(lambda: into.copy_(source))
    rates = {}
    for precision in ("float32", "bfloat16"):
        a = torch.ones(SIDE_OF_GPU, SIDE_OF_GPU, device=device, dtype=getattr(torch, precision))
        rates[precision] = 2 * SIDE_OF_GPU**3 / timed(lambda a=a: a @ a)
    return Limits(copied, rates)


def copy_rate() -> float:
    source = np.ones(COPIED, np.float32)
    into = np.zeros_like(source)
    cores = os.cpu_count() or 1
    parts = [(source[part], into[part]) for part in _shares(COPIED, cores)]
    with ThreadPoolExecutor(cores) as pool:
        seconds = _best(lambda: list(pool.map(lambda part: np.copyto(part[1], part[0]), parts)))
    return 2 * source.nbytes / seconds


def product_rates() -> dict[str, float]:
    """Of square matrices: numpy's product, and torch's where it is installed, the better one."""
    a = np.random.default_rng(0).standard_normal((SIDE, SIDE), np.float32)
    operations = 2 * SIDE**3
    rates = {"float32": operations / _best(lambda: a @ a)}
    try:
        import torch
    except ImportError:
        return rates
    for precision in ("float32", "bfloat16"):
        b = torch.from_numpy(a).to(getattr(torch, precision))
        rates[precision] = max(rates["float32"], operations / _best(lambda b=b: b @ b))  # at worst, rounded first
    return rates


def _shares(count: int, parts: int) -> list[slice]:
    cuts = [count * index // parts for index in range(parts + 1)]
    return [slice(first, last) for first, last in zip(cuts, cuts[1:], strict=False)]


def _best(call: Callable[[], object]) -> float:
    times: list[float] = []
    while len(times) < REPEATS and sum(times) < ENOUGH:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)


def least(workload: Workload) -> Least:
    """Every population reads its input and a cotangent, and writes spikes and a cotangent: four numbers a neuron and
    step. Every product is taken forward, for the weights' gradient and, unless it is the first, for its input's.
    Adam reads weights, gradient and two moments and writes all but the gradient: seven numbers a weight."""
    rows = workload.steps * workload.batch
    neurons, products, held = _of(workload)
    of_products = sum(2.0 * size * (3 if index else 2) for index, size in enumerate(products))
    moved = 4 * neurons * rows + (7 if workload.trains else 2) * held
    return Least(NUMBER * moved, rows * of_products)


def _of(workload: Workload) -> tuple[int, list[int], int]:
    """Neurons; multiplications a row of each product, in order; weights."""
    sizes = workload.sizes
    if workload.kind == "layer":
        return sizes[0], [], 0
    if workload.kind == "recurrent":
        first, hidden, classes = sizes
        products = [first * hidden, hidden * hidden, hidden * classes]
        return hidden, products, sum(products)
    if workload.kind == "conv":
        weights = [workload.kernel**2 * m * n for m, n in zip(sizes[:-2], sizes[1:-1], strict=True)]
        places = [height * width for height, width in workload.grids]
        last = workload.features * sizes[-1]
        neurons = sum(count * n for count, n in zip(places, sizes[1:-1], strict=True))
        return neurons, [w * p for w, p in zip(weights, places, strict=True)] + [last], sum(weights) + last
    products = [m * n for m, n in zip(sizes[:-1], sizes[1:], strict=True)]
    return sum(sizes[1:] if workload.kind == "linear_lif" else sizes[1:-1]), products, sum(products)
