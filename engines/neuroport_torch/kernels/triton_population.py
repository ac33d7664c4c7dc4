"""A population's time loop on CUDA as two generated Triton kernels."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property
from typing import Any

import torch
from neuroport_loops.load import load

from neuroport.program.bound import BoundNeuron
from neuroport_torch.kernels.population import PopulationLoop
from neuroport_torch.kernels.triton import population_forward, population_reverse
from neuroport_torch.kernels.triton_tiles import Tile, on, tile_for

Tensor = torch.Tensor


class TritonPopulation(PopulationLoop):
    """The segment of one neuron node. Inputs and cotangents are read where they lie, whatever their strides."""

    def __init__(self, bound: BoundNeuron, dtype: torch.dtype):
        super().__init__(bound, dtype)
        self._forward_source = cache(lambda written: population_forward(self.traced, written, self.dtype))

    def _run(
        self, written: tuple[str, ...], x: Tensor, out: Tensor, states: list[Tensor], coefficients: list[Tensor],
        made: list[Tensor],
    ) -> list[Tensor]:
        source = self._forward_source(written)
        starts = [value.detach().contiguous() for value in states]
        after = [torch.empty_like(value) for value in starts]
        lying, dense = self._lying(x)
        self._launch(load(source, "forward"), source, x, [*lying, out, *coefficients, *starts, *after, *made], [dense])
        return after

    def _run_back(
        self, g: Tensor, gx: Tensor, x: Tensor | None, cuts: list[Tensor], first: list[Tensor],
        coefficients: list[Tensor], sums: list[Tensor], of_after: list[Tensor],
    ) -> list[Tensor]:
        lying = [self._lying(value) for value in (g, x) if value is not None]
        arguments = [*lying[0][0], gx, *(lying[1][0] if x is not None else ()), *cuts]
        arguments += [value.detach().contiguous() for value in first] + [*coefficients, *sums]
        carried = [value.detach().contiguous() for value in of_after]
        of_start = [torch.empty_like(value) for value in carried]
        arguments += [*carried, *of_start]
        self._launch(load(self._reverse_source, "reverse"), self._reverse_source, g, arguments, [
            dense for _, dense in lying])
        return of_start

    @cached_property
    def _reverse_source(self) -> str:
        return population_reverse(self.traced, self.dtype)

    def _lying(self, tensor: Tensor) -> tuple[list[Any], bool]:
        """A tensor (T, B, *shape) as kernels take it, (T, B, width) and its strides; whether a step is one block."""
        seen = tensor.detach().reshape(*tensor.shape[:2], self.width)  # a view where it can be one
        return [seen, *seen.stride()], seen[:1].is_contiguous()

    def _launch(
        self, kernel: Callable[..., Any], source: str, example: Tensor, arguments: list[Any], flags: list[bool]
    ) -> None:
        steps, lanes = len(example), example.shape[1] * self.width

        def launch(tile: Tile) -> None:
            kernel[(-(-lanes // tile.block),)](  # type: ignore[index]
                steps, self.width, lanes, *arguments, *flags, tile.block, tile.ahead,
                num_warps=tile.warps, enable_fp_fusion=False,
            )

        if lanes:
            with on(example.device):
                launch(tile_for(source, example.device, lanes, launch))
