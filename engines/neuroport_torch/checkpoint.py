"""A run through time that keeps states at the borders of chunks alone, and runs each chunk again in its reverse.

What a forward pass keeps grows with the number of steps; here it is one state for each chunk, and what
one chunk keeps while it is reversed: with chunks of sqrt(T) steps both grow with sqrt(T). The price is a
second forward pass. Outputs that the objective reads are kept whole.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from neuroport.program.execute import windows
from neuroport_torch.arena import Arena
from neuroport_torch.runner import Compiled

Tensor = torch.Tensor
Tensors = dict[str, Tensor]


def chunk_steps(steps: int, asked: int | Literal["sqrt"]) -> int:
    """Steps of a chunk; the last one may be shorter."""
    return max(1, math.isqrt(steps - 1) + 1 if steps else 1) if asked == "sqrt" else asked


@dataclass(frozen=True)
class Chunk:
    """What a stretch of time is beside autograd's tensors. inputs: (steps, B, *shape), without a gradient."""

    compiled: Compiled
    inputs: Tensors
    masks: Tensors
    arena: Arena
    wanted: tuple[str, ...]
    parameters: tuple[str, ...]
    state: tuple[str, ...]

    def run(self, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Outputs of the nodes wanted, then the state after, from parameters and the state before."""
        count = len(self.parameters)
        parameters = dict(zip(self.parameters, tensors[:count], strict=True))
        state = dict(zip(self.state, tensors[count:], strict=True))
        ran = self.compiled.run(parameters, state, self.inputs, self.arena, masks=self.masks, wanted=self.wanted)
        return *(ran.values[name] for name in self.wanted), *(ran.state[name] for name in self.state)


class _Chunk(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, chunk: Chunk, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.chunk = chunk
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        with torch.no_grad():
            found = chunk.run(tensors)
        # a state may be a part of something longer, which it would keep alive
        return *found[: len(chunk.wanted)], *(value.clone() for value in found[len(chunk.wanted) :])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        leaves = [value.detach().requires_grad_(needed)
                  for value, needed in zip(ctx.saved_tensors, ctx.needs_input_grad[1:], strict=True)]
        with torch.enable_grad():
            found = ctx.chunk.run(tuple(leaves))
        read = [(value, g) for value, g in zip(found, cotangents, strict=True) if g is not None and value.requires_grad]
        asked = [leaf for leaf in leaves if leaf.requires_grad]
        got = iter(torch.autograd.grad([value for value, _ in read], asked, [g for _, g in read], allow_unused=True)
                   if read else [None] * len(asked))
        return None, *(next(got) if leaf.requires_grad else None for leaf in leaves)


def run_in_chunks(
    compiled: Compiled, steps: int, parameters: Mapping[str, Tensor], state: Mapping[str, Tensor],
    inputs: Mapping[str, Tensor], arena: Arena, masks: Tensors, wanted: Collection[str],
) -> tuple[Tensors, Tensors]:
    """Outputs (T, B, *shape) of the nodes wanted and the state after the run, in chunks of so many steps.

    Differentiable in parameters and state, as ``Compiled.run`` is.
    """
    parts: list[Tensors] = []
    carry = dict(state)
    for window in windows(len(next(iter(inputs.values()))), steps):
        now = {name: x[window] for name, x in inputs.items()}
        chunk = Chunk(compiled, now, masks, arena, tuple(wanted), tuple(parameters), tuple(carry))
        found = _Chunk.apply(chunk, *parameters.values(), *carry.values())
        parts.append(dict(zip(chunk.wanted, found, strict=False)))
        carry = dict(zip(chunk.state, found[len(chunk.wanted) :], strict=True))
    return {name: torch.cat([part[name] for part in parts]) for name in wanted}, carry
