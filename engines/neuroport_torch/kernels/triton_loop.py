"""A Loop on CUDA as two generated Triton kernels: of neurons, Linear, Scale, Dropout and Delay.

The gradient of a weight is one product over all steps after the loop, as for every loop (``stepped.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch
from neuroport_loops.load import load
from neuroport_loops.loop_source import Key, Part, Source

from neuroport.program.lower import Program
from neuroport.program.schedule import Stepped
from neuroport_torch.kernels.loop import FusedLoop
from neuroport_torch.kernels.triton_loop_source import forward_source, padded, reverse_source
from neuroport_torch.kernels.triton_tiles import on

Tensor = torch.Tensor
WIDEST = 512  # neurons of a node: a LIF's reverse for ROWS samples just fits a program's registers
ROWS = 8  # samples of a program. Fixed, not measured: sums of a product may depend on it
TERMS = {"float32": 32, "float64": 16}  # rows of weights that a product takes at once, into 64 KiB at most


def fits(program: Program, segment: Stepped) -> bool:
    """Whether every node of a loop is narrow enough; what is wider runs step by step."""
    widths = [*map(program.leaving.get, segment.nodes), *map(program.entering.get, segment.nodes)]
    return all(shape is not None and torch.Size(shape).numel() <= WIDEST for shape in widths)


class TritonLoop(FusedLoop):
    """The segment of a cycle."""

    def __init__(
        self, program: Program, segment: Stepped, parts: list[Part], dtype: torch.dtype, rounded: bool = False,
    ):
        super().__init__(program, segment, parts, dtype, rounded)
        widths = {part.name: (leaving, entering) for part, leaving, entering in zip(
            parts, self.sizes[: len(parts)], self.sizes[len(parts) :], strict=True)}
        self._warps = 8 if max(map(padded, self.sizes)) > 128 else 4
        edges = segment.internal
        self._forward = cache(
            lambda given, written: forward_source(parts, edges, widths, given, written, self.dtype, rounded))
        self._reverse = cache(
            lambda cotangents: reverse_source(parts, edges, widths, cotangents, self.dtype, rounded))

    def _matrices(self, weight: Tensor) -> dict[str, Tensor]:
        """In bfloat16 as the 16 bits that it has: half of what each step reads."""
        operand = weight.to(torch.bfloat16).view(torch.int16) if self.rounded else weight
        return {"weight": operand.contiguous(), "weight_t": operand.t().contiguous()}

    def _run(self, name: str, source: Source, steps: int, batch: int, values: Mapping[Key, Tensor]) -> None:
        kernel = load(source.text, name)
        if batch:
            device = next(iter(values.values())).device
            native = [device.type == "cuda"] if self.rounded else []  # the interpreter knows no bfloat16
            with on(device):
                kernel[(-(-batch // ROWS),)](  # type: ignore[index]
                    steps, batch, *(values[key] for key in source.keys), ROWS, TERMS[self.dtype], *native,
                    num_warps=self._warps, num_stages=1, enable_fp_fusion=False,
                )
