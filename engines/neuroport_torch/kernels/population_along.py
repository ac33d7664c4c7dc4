"""A population on the CPU whose kernel takes along the product before it and the marks of its spikes after it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from neuroport_loops.fused_source import STRIDE, fused_forward, fused_reverse, items
from neuroport_loops.load import load

from neuroport.dynamics.trace import recorded
from neuroport.program.bound import BoundNeuron
from neuroport.program.stepping import Arrays
from neuroport_torch.along import runs_again
from neuroport_torch.arena import Arena
from neuroport_torch.kernels.population import PopulationLoop, as_array, flat, full, over_time, place_for, written_over
from neuroport_torch.kernels.threads import over
from neuroport_torch.marks import Bits, Product, blank
from neuroport_torch.stepped import Past, Ran, Record, Reversed, Tensors


class PopulationAlong(PopulationLoop):
    """The segment of one neuron node. Along with a product the states before some steps are kept, "at.NAME", and
    the reverse runs the steps between again."""

    takes_along = True

    def __init__(self, bound: BoundNeuron, dtype: torch.dtype):
        super().__init__(bound, dtype)
        self._along_kernel = cache(
            lambda *how: load(fused_forward(self.traced, how[0], self.dtype, *how[1:], cache=True), "forward"))
        self._again_kernel = cache(
            lambda rounded: load(fused_reverse(self.traced, self.dtype, rounded, cache=True), "reverse"))

    def forward(
        self, arrays: Arrays, state: Tensors, given: Tensors, keep: Mapping[str, tuple[str, ...]],
        record: tuple[Record, ...], masks: Tensors, arena: Arena, product: Product | None = None, marked: bool = False,
    ) -> Ran:
        """product: what is given, which is blank. marked: the output is made as marks, and is blank."""
        if product is None and not marked:
            return super().forward(arrays, state, given, keep, record, masks, arena)
        x, traced, name = given[self.name], self.traced, self.name
        (steps, batch), shape, kind = x.shape[:2], tuple(x.shape), (x.dtype, x.device)
        again = product is not None and runs_again(traced) and bool(keep[name])
        kept = () if again else keep[name]
        sources = {what: recorded(what) for _, what in record if what != "spikes"}
        written = tuple(dict.fromkeys([full(key) for key in kept] + list(sources.values())))

        made = {key: place_for(key, shape, x, arena) for key in written}
        at = {f"at.{key}": arena.empty((-(-steps // STRIDE), *shape[1:]), *kind) for key in traced.state if again}
        out = blank(shape, *kind) if marked else arena.empty(shape, *kind)
        words = arena.empty(
            (steps * batch if marked else 0, -(-self.width // 64)), torch.int64, x.device).numpy().view(np.uint64)
        after = [written_over(state[f"{name}.{key}"]) for key in traced.state]
        self._over_items(
            self._along_kernel(written, product is not None, marked, again), steps, batch,
            [*([over_time(x).numpy()] if product is None else product.arrays()),
             words if marked else over_time(out).numpy()],
            [*map(flat, self._coefficients(arrays, "before", "after")), *map(flat, after),
             *map(over_time, made.values()), *map(over_time, at.values())])
        spikes = Bits(words, self.width, x.dtype)
        return Ran(
            {name: out}, {name: at if again else {key: made[full(key)] for key in kept}},
            {(name, what): out if what == "spikes" else made[sources[what]] for _, what in record},
            {f"{name}.{key}": value for key, value in zip(traced.state, after, strict=True)},
            {name: spikes.events() or spikes} if marked else {},
        )

    def reverse(self, arrays: Arrays, past: Past, cotangents: Tensors, masks: Tensors, arena: Arena) -> Reversed:
        cuts, traced, name = past.cuts[self.name], self.traced, self.name
        at = [cuts[f"at.{key}"] for key in traced.state if f"at.{key}" in cuts]
        if not at:
            return super().reverse(arrays, past, cotangents, masks, arena)
        product, g = past.product, cotangents[name]
        assert product is not None
        gx = arena.empty(tuple(g.shape), g.dtype, g.device)
        sums = {key: g.new_zeros(g.shape[1:]) for key in traced.trained}
        of_start = [written_over(past.of_after[f"{name}.{key}"]) for key in traced.state]
        product.total = g.new_zeros(g.shape[1:])
        self._over_items(
            self._again_kernel(product.rounded), len(g), g.shape[1],
            [*product.arrays(), *map(as_array, map(over_time, (g, gx)))],
            [flat(product.total), *map(flat, self._coefficients(arrays, "before", "after", "reverse")),
             *map(over_time, at), *map(flat, sums.values()), *map(flat, of_start)])
        return Reversed({name: gx}, {}, {name: sums}, {
            f"{name}.{key}": value for key, value in zip(traced.state, of_start, strict=True)})

    def _over_items(
        self, kernel: Any, steps: int, batch: int, around: list[np.ndarray | None], tensors: list[torch.Tensor]
    ) -> None:
        arrays = [*around, *map(as_array, tensors)]
        over(items(batch, self.width) if steps else 0, 1, lambda lo, hi: kernel(
            steps, batch, self.width, lo, hi, *arrays))
