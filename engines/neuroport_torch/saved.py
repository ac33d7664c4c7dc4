"""How much memory a training step holds between its forward and its backward pass.

What counts is what autograd's graph of a loss keeps: tensors that an operation saved, and arrays that
our own operations hold beside them (events, bits). Each piece of memory counts once, and in full if a
view of it is held. Parameters and inputs do not count, since they exist anyway, nor does memory of the
arena that is free again. ``benchmarks/saved_memory.py`` shows it beside other libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import torch

from neuroport.program.lower import Program
from neuroport_torch.arena import Arena
from neuroport_torch.kernels.threads import alone
from neuroport_torch.runner import Compiled
from neuroport_torch.training import judge

Tensor = torch.Tensor
# what an operation refers to without keeping it alive: the executable does
OWNED = (Program, Compiled, Arena, ModuleType, Callable, type)


def saved_bytes(
    executable: Any, handle: Mapping[str, Tensor], inputs: Mapping[str, Any], targets: Any
) -> dict[str, int]:
    """Bytes held after the forward pass of one training step, by the operation that keeps them; sum them for all.

    executable: a ``TorchExecutable`` compiled for a training, with its handle. inputs: (T, B, *shape) by Input node.
    """
    def measured() -> dict[str, int]:
        arena, batch = Arena(), len(np.asarray(targets))
        leaves = {name: value.detach().clone().requires_grad_(name in executable.program.trainable)
                  for name, value in handle.items()}
        given = executable._puts(inputs)
        kind = torch.int64 if executable.training.loss.targets == "classes" else None
        with torch.enable_grad():
            loss, read = judge(
                executable.compiled, executable.training, leaves, executable.init_state(batch), given,
                executable._put(targets, kind), executable._put(np.full(batch, 1 / batch)), None, arena)
            del read
        return graph_bytes(loss, [*leaves.values(), *given.values()])

    return alone(executable._alone, measured)


def graph_bytes(result: Tensor, beside: Iterable[Tensor] = ()) -> dict[str, int]:
    """Bytes that autograd's graph behind a tensor holds, by operation. beside: tensors that exist anyway."""
    counted = {tensor.untyped_storage().data_ptr() for tensor in beside}
    found: dict[str, int] = {}
    for node in _nodes(result.grad_fn):
        for address, size in _memory(_kept(node), set()):
            if address not in counted:
                counted.add(address)
                name = node.name().removesuffix("Backward").lstrip("_")
                found[name] = found.get(name, 0) + size
    return found


def _nodes(first: Any) -> Iterator[Any]:
    waiting, seen = [first], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        waiting += [after for after, _ in node.next_functions]


def _kept(node: Any) -> Iterator[Any]:
    """What a node of the graph holds: tensors of torch's own operations, and everything put on the context of ours."""
    if hasattr(node, "saved_tensors"):
        yield from node.saved_tensors
        yield vars(node)
    else:
        yield from (getattr(node, name) for name in dir(node) if name.startswith("_saved_"))
        if hasattr(node, "variable"):
            yield node.variable


def _memory(values: Any, seen: set[int]) -> Iterator[tuple[int, int]]:
    """Address and size of every piece of memory that some values refer to."""
    for value in values:
        if isinstance(value, (str, int, float, bool, type(None), *OWNED)) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            storage = value.untyped_storage()
            yield storage.data_ptr(), storage.nbytes()
        elif isinstance(value, np.ndarray):
            while isinstance(value.base, np.ndarray):
                value = value.base
            yield (value.ctypes.data, value.nbytes) if value.base is None else (id(value.base), value.nbytes)
        elif isinstance(value, Mapping):
            yield from _memory(value.values(), seen)
        elif isinstance(value, (list, tuple, set, frozenset)):
            yield from _memory(value, seen)
        elif hasattr(value, "__dict__"):
            yield from _memory(vars(value).values(), seen)
