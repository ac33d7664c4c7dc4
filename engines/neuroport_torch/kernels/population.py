"""A population's time loop on the CPU as two generated numba functions."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import torch

from neuroport.program.bound import BoundNeuron
from neuroport.program.stepping import Arrays
from neuroport_torch.arena import Arena
from neuroport_torch.kernels.load import load
from neuroport_torch.kernels.numba import BLOCK, population_forward, population_reverse
from neuroport_torch.kernels.threads import over
from neuroport_torch.stepped import Past, Ran, Record, Reversed, Tensors

Tensor = torch.Tensor


def over_time(tensor: Tensor) -> np.ndarray:
    """(T, B, *shape) as (T, M)."""
    return tensor.detach().contiguous().view(len(tensor), prod(tensor.shape[1:])).numpy()


def flat(tensor: Tensor) -> np.ndarray:
    """(B, *shape) as (M,)."""
    return tensor.detach().contiguous().view(-1).numpy()


def written_over(tensor: Tensor) -> Tensor:
    """A copy for a kernel to write into: one block, so that ``flat`` is a view of it."""
    return tensor.detach().clone(memory_format=torch.contiguous_format)


class PopulationLoop:
    """The segment of one neuron node."""

    restores = True

    def __init__(self, bound: BoundNeuron, dtype: torch.dtype):
        self.bound, self.traced, self.name = bound, bound.traced, bound.name
        self.dtype = str(dtype).removeprefix("torch.")
        self.width = prod(bound.shape)
        self.reverse_kernel = load(population_reverse(self.traced, self.dtype, True), "reverse")

    def forward(
        self, arrays: Arrays, state: Tensors, given: Tensors, keep: Mapping[str, tuple[str, ...]],
        record: tuple[Record, ...], masks: Tensors, arena: Arena,
    ) -> Ran:
        x = given[self.name]
        kept = keep[self.name]
        sources = {what: self._source(what) for _, what in record if what != "spikes"}
        written = list(dict.fromkeys([f"cut.{key}" for key in kept] + list(sources.values())))
        kernel = load(population_forward(self.traced, written, self.dtype, True), "forward")

        out = arena.empty(tuple(x.shape), x.dtype, x.device)
        made = {name: arena.empty(tuple(x.shape), x.dtype, x.device) for name in written}
        after = {key: written_over(state[f"{self.name}.{key}"]) for key in self.traced.state}
        into = [over_time(x), over_time(out)]
        tail = [*self._coefficients(arrays, "before", "after"), *(flat(after[key]) for key in self.traced.state),
                *(over_time(made[name]) for name in written)]
        over(x[0].numel() if len(x) else 0, BLOCK, lambda lo, hi: kernel(len(x), self.width, lo, hi, *into, *tail))
        return Ran(
            {self.name: out}, {self.name: {key: made[f"cut.{key}"] for key in kept}},
            {(self.name, what): out if what == "spikes" else made[sources[what]] for _, what in record},
            {f"{self.name}.{key}": value for key, value in after.items()},
        )

    @staticmethod
    def _source(what: str) -> str:
        """Where a recorded variable stands: "v_pre" in the cut, states in the state after the step."""
        return "cut.v" if what == "v_pre" else f"s.{what}"

    def reverse(self, arrays: Arrays, past: Past, cotangents: Tensors, masks: Tensors, arena: Arena) -> Reversed:
        traced, g = self.traced, cotangents[self.name]
        gx = arena.empty(tuple(g.shape), g.dtype, g.device)
        sums = {key: g.new_zeros(g.shape[1:]) for key in traced.trained}
        tensors = [over_time(g), over_time(gx)]
        tensors += [over_time(past.read[self.name]["x"])] if traced.reads_input else []
        tensors += [over_time(past.cuts[self.name][key]) for key in traced.saved]
        tensors += [flat(past.start[f"{self.name}.{key}"]) for key in traced.reads_state]
        tensors += self._coefficients(arrays, "reverse", "restore")
        tensors += [flat(value) for value in sums.values()]
        over(g[0].numel() if len(g) else 0, BLOCK,
             lambda lo, hi: self.reverse_kernel(len(g), self.width, lo, hi, *tensors))
        return Reversed({self.name: gx}, {}, {self.name: sums})

    def _coefficients(self, arrays: Arrays, *graphs: str) -> list[Any]:
        """The arrays that some of the traced graphs read, one value a neuron, (width,)."""
        read = {name for graph in graphs for name in getattr(self.traced, graph).inputs}
        return [flat(arrays.coefficients[self.name][key].detach().expand(self.bound.shape))
                for key in self.traced.coefficients if f"c.{key}" in read]
