"""A population's time loop as two generated functions, on the CPU numba's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from math import prod

import numpy as np
import torch
from neuroport_loops.load import load
from neuroport_loops.population_source import BLOCK, is_bit, population_forward, population_reverse

from neuroport.dynamics.trace import recorded
from neuroport.program.bound import BoundNeuron
from neuroport.program.stepping import Arrays
from neuroport_torch.arena import Arena
from neuroport_torch.kernels.threads import over
from neuroport_torch.stepped import Past, Ran, Record, Reversed, Tensors

Tensor = torch.Tensor


def over_time(tensor: Tensor) -> Tensor:
    """(T, B, *shape) as (T, M)."""
    return tensor.detach().contiguous().view(len(tensor), prod(tensor.shape[1:]))


def flat(tensor: Tensor) -> Tensor:
    """(B, *shape) as (M,)."""
    return tensor.detach().contiguous().view(-1)


def written_over(tensor: Tensor) -> Tensor:
    """A copy for a kernel to write into: one block, so that ``flat`` is a view of it."""
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def full(key: str) -> str:
    """The name in a kernel of what is kept: a field of the cut, or decisions."""
    return key if is_bit(key) else f"cut.{key}"


def place_for(name: str, shape: tuple[int, ...], like: Tensor, arena: Arena) -> Tensor:
    """Room for what is written over time, (T, B, *shape); of decisions 32 steps share a word."""
    if is_bit(name):
        return arena.empty((-(-shape[0] // 32), *shape[1:]), torch.int32, like.device)
    return arena.empty(shape, like.dtype, like.device)


def as_array(tensor: Tensor) -> np.ndarray:
    """For numba, to which a word of decisions has no sign."""
    array = tensor.numpy()
    return array.view(np.uint32) if array.dtype == np.int32 else array


class PopulationLoop:
    """The segment of one neuron node. What is kept and how it is laid out holds for every kind of kernel."""

    restores = True

    def __init__(self, bound: BoundNeuron, dtype: torch.dtype):
        self.bound, self.traced, self.name = bound, bound.kept, bound.name
        self.steps = {bound.name: bound.kept}
        self.dtype = str(dtype).removeprefix("torch.")
        self.width = prod(bound.shape)
        self._forward_kernel = cache(
            lambda written, strided: load(
                population_forward(self.traced, written, self.dtype, True, strided), "forward"))
        self._reverse_kernel = cache(
            lambda strided: load(population_reverse(self.traced, self.dtype, True, strided), "reverse"))

    def forward(
        self, arrays: Arrays, state: Tensors, given: Tensors, keep: Mapping[str, tuple[str, ...]],
        record: tuple[Record, ...], masks: Tensors, arena: Arena,
    ) -> Ran:
        x = given[self.name]
        kept = keep[self.name]
        sources = {what: recorded(what) for _, what in record if what != "spikes"}
        written = tuple(dict.fromkeys([full(key) for key in kept] + list(sources.values())))

        made = {name: place_for(name, tuple(x.shape), x, arena) for name in written}
        out = arena.empty(tuple(x.shape), x.dtype, x.device)
        after = self._run(
            written, x, out, [state[f"{self.name}.{key}"] for key in self.traced.state],
            self._coefficients(arrays, "before", "after"), list(made.values()),
        )
        return Ran(
            {self.name: out}, {self.name: {key: made[full(key)] for key in kept}},
            {(self.name, what): out if what == "spikes" else made[sources[what]] for _, what in record},
            {f"{self.name}.{key}": value for key, value in zip(self.traced.state, after, strict=True)},
        )

    def reverse(self, arrays: Arrays, past: Past, cotangents: Tensors, masks: Tensors, arena: Arena) -> Reversed:
        traced, g = self.traced, cotangents[self.name]
        gx = arena.empty(tuple(g.shape), g.dtype, g.device)
        sums = {key: g.new_zeros(g.shape[1:]) for key in traced.trained}
        of_start = self._run_back(
            g, gx, past.read[self.name]["x"] if traced.reads_input else None,
            [past.cuts[self.name][key] for key in (*traced.saved, *traced.bits)],
            [past.start[f"{self.name}.{key}"] for key in traced.reads_state],
            self._coefficients(arrays, "reverse", "restore"), list(sums.values()),
            [past.of_after[f"{self.name}.{key}"] for key in traced.state],
        )
        return Reversed({self.name: gx}, {}, {self.name: sums}, {
            f"{self.name}.{key}": value for key, value in zip(traced.state, of_start, strict=True)})

    def _coefficients(self, arrays: Arrays, *graphs: str) -> list[Tensor]:
        """The arrays that some of the traced graphs read, one value a neuron, (width,)."""
        read = {name for graph in graphs for name in getattr(self.traced, graph).inputs}
        return [arrays.coefficients[self.name][key].detach().expand(self.bound.shape).reshape(-1)
                for key in self.traced.coefficients if f"c.{key}" in read]

    # the kernels: x, out, g, gx and what is made or kept (T, B, *shape); states and sums (B, *shape)

    def _run(
        self, written: tuple[str, ...], x: Tensor, out: Tensor, states: list[Tensor], coefficients: list[Tensor],
        made: list[Tensor],
    ) -> list[Tensor]:
        """Fills ``out`` and ``made``; returns the states after the run."""
        (lying,), strided = self._as_read(x)
        kernel = self._forward_kernel(written, strided)
        after = [written_over(value) for value in states]
        tensors = [lying, over_time(out), *map(flat, coefficients), *map(flat, after), *map(over_time, made)]
        arrays = [as_array(tensor) for tensor in tensors]
        over(x[0].numel() if len(x) else 0, BLOCK, lambda lo, hi: kernel(len(x), self.width, lo, hi, *arrays))
        return after

    def _as_read(self, *tensors: Tensor) -> tuple[list[Tensor], bool]:
        """Tensors (T, B, *shape) as kernels take them, read where they lie: (T, M), or strided (T, B, width)."""
        strided = not all(tensor.is_contiguous() for tensor in tensors)
        return [tensor.detach().reshape(*tensor.shape[:2], self.width) if strided else over_time(tensor)
                for tensor in tensors], strided

    def _run_back(
        self, g: Tensor, gx: Tensor, x: Tensor | None, cuts: list[Tensor], first: list[Tensor],
        coefficients: list[Tensor], sums: list[Tensor], of_after: list[Tensor],
    ) -> list[Tensor]:
        """Fills ``gx`` and ``sums``, which are zero at first; returns the cotangents of the states before the run."""
        (lying, *inputs), strided = self._as_read(g, *([] if x is None else [x]))
        kernel = self._reverse_kernel(strided)
        tensors = [lying, over_time(gx), *inputs, *map(over_time, cuts)]
        of_start = [written_over(value) for value in of_after]
        tensors += [*map(flat, first), *map(flat, coefficients), *map(flat, sums), *map(flat, of_start)]
        arrays = [as_array(tensor) for tensor in tensors]
        over(g[0].numel() if len(g) else 0, BLOCK, lambda lo, hi: kernel(len(g), self.width, lo, hi, *arrays))
        return of_start
