"""Staged bits read by the first product as they are: the dense (T, B, K) input is never made.

Where the only reader of the input is a Linear, on the CPU its events are found in the packed bits. The
same sums are taken in the same order as from the unpacked input, so results are equal bit by bit. On
CUDA tiles of bits are unpacked in registers and multiplied there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from neuroport.model.layers import Linear
from neuroport.model.training import Training
from neuroport.program.schedule import Parallel
from neuroport_torch import products
from neuroport_torch.arena import Arena
from neuroport_torch.kernels.threads import over
from neuroport_torch.marks import Bits, Marked
from neuroport_torch.staging import Staged

if TYPE_CHECKING:
    from neuroport_torch.runner import Compiled
if products.HAS_NUMBA:
    from neuroport_torch.kernels.unpack import mark_bits

Tensor = torch.Tensor
BITS = "bits"


def input_way(compiled: Compiled, training: Training | None) -> str:
    """How staged bits reach the network: ``BITS``, or "unpacked: " and the reason."""
    why = _obstacle(compiled, training)
    return BITS if why is None else f"unpacked: {why}"


def _obstacle(compiled: Compiled, training: Training | None) -> str | None:
    program = compiled.program
    if compiled.written_in is None:
        return f"there are no kernels for {compiled.device.type} here"
    if compiled.written_in == "triton" and compiled.dtype != torch.float32:
        return f"there is no kernel in {compiled.dtype}"
    if training is None:
        return "no training"
    if training.augmentation:
        return "augmentation changes the input"
    if training.truncate is not None or training.checkpoint_steps is not None:
        return "time is cut into windows"
    (source, *others) = program.inputs
    readers = [edge for edge in program.wires if edge.source == source]
    if others or len(readers) != 1 or readers[0].delay:
        return "the input is read by more than one layer, or later"
    reader = readers[0].target
    alone = any(isinstance(segment, Parallel) and segment.node == reader for segment in program.segments)
    if not alone or not isinstance(program.node(reader), Linear) or len(program.incoming[reader]) > 1:
        return f"{reader} is no Linear that reads the input alone"
    return None


def marked(compiled: Compiled, staged: Staged, samples: Tensor, arena: Arena) -> Marked | None:
    """The activity of some samples, where ``input_way`` is ``BITS``; None where it is better unpacked."""
    program = compiled.program
    (source,) = program.inputs
    shape = (staged.steps, len(samples), *program.inputs[source])
    if staged.binary and compiled.written_in == "triton":
        from neuroport_torch.bits_product import StagedBits

        return Marked.of(StagedBits(staged.values.flatten(2), samples, staged.steps), shape, compiled.dtype,
                         compiled.device)
    (edge,) = (edge for edge in program.wires if edge.source == source)
    steps, batch, width = staged.steps, len(samples), staged.values[0, 0].numel()
    rows, words = steps * batch, -(-width // 64)
    if not staged.binary or rows * width * program.leaving[edge.target][0] < products.LARGE:
        return None
    bits = arena.empty((rows, words), torch.int64, torch.device("cpu")).numpy().view(np.uint64)
    packed, which = staged.values.flatten(2).numpy(), samples.numpy()
    over(-(-steps // 8), 1, lambda lo, hi: mark_bits(packed, which, lo, hi, bits))
    events = Bits(bits, width, compiled.dtype).events()
    return None if events is None else Marked.of(events, shape, compiled.dtype, compiled.device)
