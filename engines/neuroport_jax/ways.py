"""How a segment runs, by where it runs: the one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from neuroport.model.layers import Convolution
from neuroport.program.lower import Program
from neuroport.program.schedule import Loop, Parallel, Population, Stepped
from neuroport_jax import native
from neuroport_jax.convolution import covered


class Way(NamedTuple):
    """kernel: a Pallas kernel of all steps (``pallas.py``). native: a generated loop on the CPU (``native_loops.py``).
    Else ``lax.scan`` (``stepped.py``).

    unroll: steps in one turn of the scan. interpret: the kernel as plain jax, for tests without a GPU. products:
    whether large products and convolutions are loops on the CPU, too (``products.py``, ``convolution.py``). bfloat16:
    whether products are of operands rounded to it.
    """

    kernel: bool = False
    native: bool = False
    unroll: int = 1
    interpret: bool = False
    products: bool = False
    bfloat16: bool = False

    def __str__(self) -> str:
        if self.kernel:
            return "Pallas kernel, interpreted" if self.interpret else "Pallas kernel"
        if self.native:
            return "generated loop"
        return f"scan, {self.unroll} steps a turn" if self.unroll > 1 else "scan"


Ways = Mapping[type[Stepped], Way]

# XLA drives a loop on a GPU from the host, so several steps a turn are one launch; on a CPU they only compile longer
SCAN: Ways = {Population: Way(), Loop: Way()}
NATIVE: Ways = {Population: Way(native=True, products=True), Loop: Way(native=True, products=True)}
UNROLLED: Ways = {Population: Way(unroll=8), Loop: Way(unroll=8)}
WAYS: dict[str, Ways] = {
    "gpu": {**UNROLLED, Population: Way(kernel=True)},
    "gpu without Pallas": UNROLLED,
    "cpu": NATIVE,
    "cpu without numba": SCAN,
    "tpu": SCAN,
}


def ways_on(devices: Sequence[Any]) -> Ways:
    """The table's line for jax devices of one kind; as on a CPU where they are not in the table."""
    platform = devices[0].platform
    if platform == "gpu" and not (pallas_is_there() and all(map(new_enough, devices))):
        platform = "gpu without Pallas"
    if platform == "cpu" and not native.available():
        platform = "cpu without numba"
    return WAYS.get(platform, SCAN)


def way_of(program: Program, segment: Stepped, ways: Ways) -> Way:
    """How one segment runs: step by step where it has no generated loop."""
    way = ways[type(segment)]
    if way.native:
        from neuroport_jax.native_loops import can  # needs numba

        return way if can(program, segment) else way._replace(native=False)
    return way


def in_bfloat16(ways: Ways) -> Ways:
    """The same ways with products in bfloat16."""
    return {kind: way._replace(bfloat16=True) for kind, way in ways.items()}


def pallas_is_there() -> bool:
    """Whether this jax has Pallas' Triton backend, and under the names that jax 0.10 and 0.11 give its parts."""
    try:
        from jax.experimental.pallas import triton
    except ImportError:
        return False
    return all(hasattr(triton, name) for name in ("CompilerParams", "load", "store"))


def new_enough(device: Any) -> bool:
    """Whether the kernels are meant for a GPU: NVIDIA's from compute capability 8.0; nobody has tried them on AMD's."""
    capability = str(getattr(device, "compute_capability", ""))
    return capability.replace(".", "").isdigit() and float(capability) >= 8


def described(program: Program, ways: Ways) -> dict[str, str]:
    """How each segment that steps through time runs, by the names of its nodes, for people."""
    return {", ".join(segment.nodes): str(way_of(program, segment, ways))
            for segment in program.segments if not isinstance(segment, Parallel)}


def of_convolutions(program: Program, ways: Ways) -> dict[str, str]:
    """How each convolution is computed, by its name, for people."""
    return {name: "windows" if ways[Population].products and covered(node, program.entering[name]) else "XLA"
            for name, node in program.model.nodes.items() if isinstance(node, Convolution)}
