"""What the contestants in PyTorch share: staged batches, the step of each kind of workload, what it saves.

A network is a callable from the input (T, B, *sample) to what the workload asks of it: the readout's potential
(T, B, classes), or the spikes (T, B, neurons).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import version

import numpy as np
import torch
from contestant import Contestant
from workload import Workload, batch_order, cotangents, inputs, targets, weights

Network = Callable[[torch.Tensor], torch.Tensor]
LONGEST = 20  # steps that torch.compile unrolls: twice as many take more than twice as long to compile


def contestant(
    workload: Workload,
    network: Network,
    parameters: Iterable[torch.nn.Parameter],
    packages: Iterable[str] = (),
    fused: bool = False,
) -> Contestant:
    """The contestant that trains or differentiates `network`; `fused` takes Adam's one pass over all parameters."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    x = torch.from_numpy(inputs(workload))
    step = (training_step if workload.trains else reverse_step)(workload, network, trained, fused)
    done = 0

    def run(count: int) -> list[float]:
        nonlocal done
        found = [step(x[i], i) for i in batch_order(done, count, workload)]
        done += count
        return [float(value) for value in found]

    def forward() -> np.ndarray:
        return network(x[0]).detach().numpy()  # not under no_grad, for which a compiled network would compile again

    def saved_mib() -> float:
        return saved_bytes(lambda: step(x[0], 0), [*trained, x]) / 2**20

    versions = {name: version(name) for name in (*packages, "torch", "numpy")}
    return Contestant(versions, run, forward, saved_mib)


def training_step(
    workload: Workload, network: Network, parameters: list[torch.nn.Parameter], fused: bool
) -> Callable[[torch.Tensor, int], torch.Tensor]:
    """(x, batch's number) -> loss: forward, backward, Adam."""
    y = torch.from_numpy(targets(workload)).long()
    optimizer = torch.optim.Adam(parameters, lr=workload.learning_rate, fused=fused or None)

    def step(x: torch.Tensor, batch: int) -> torch.Tensor:
        loss = torch.nn.functional.cross_entropy(network(x).mean(0), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def reverse_step(
    workload: Workload, network: Network, parameters: list[torch.nn.Parameter], fused: bool
) -> Callable[[torch.Tensor, int], torch.Tensor]:
    """(x, batch's number) -> spikes of the last step: forward, and the gradient of the weights or of the input."""
    g = torch.from_numpy(cotangents(workload))

    def step(x: torch.Tensor, batch: int) -> torch.Tensor:
        wanted = parameters or [x.requires_grad_()]
        spikes = network(x)
        torch.autograd.grad(spikes, wanted, g.to(spikes.device))
        return spikes[-1].detach().sum()

    return step


def saved_bytes(step: Callable[[], object], known: list[torch.Tensor]) -> int:
    """Bytes of the distinct storages that autograd keeps during `step`, those of `known` left out."""
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor  # held, so that no other takes its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        step()
    for tensor in known:
        kept.pop(tensor.untyped_storage().data_ptr(), None)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def over_time(cell: torch.nn.Module, x: torch.Tensor, *state: torch.Tensor) -> torch.Tensor:
    """Outputs (T, B, ...) of cell(x[t], *state) -> (output, *state), step by step, compiled a stretch at a time.

    One compiled call fuses the operations of its steps. All stretches are of one length, as each length is compiled
    anew. `unbind` and `split` in place of x[t], whose gradient costs a whole sequence a step.
    """
    outputs = []
    for stretch in x.split(max(length for length in range(1, LONGEST + 1) if len(x) % length == 0)):
        output, *state = _compiled()(cell, stretch, *state)
        outputs.append(output)
    return torch.cat(outputs)


@cache
def _compiled() -> Callable[..., tuple[torch.Tensor, ...]]:
    torch._dynamo.config.recompile_limit = 64  # past it a cell would run uncompiled, without a word
    return torch.compile(_unrolled, dynamic=False)


def _unrolled(cell: torch.nn.Module, x: torch.Tensor, *state: torch.Tensor) -> tuple[torch.Tensor, ...]:
    outputs = []
    for current in x.unbind():
        output, *state = cell(current, *state)
        outputs.append(output)
    return (torch.stack(outputs), *state)


def linear(matrix: np.ndarray, scale: float = 1.0) -> torch.nn.Linear:
    """A Linear layer without bias, of the given matrix (out, in)."""
    n, m = matrix.shape
    layer = torch.nn.Linear(m, n, bias=False)
    layer.weight.data = torch.from_numpy(matrix * np.float32(scale))
    return layer


def convolution(kernels: np.ndarray, scale: float = 1.0) -> torch.nn.Conv2d:
    """A convolution without bias, of the given kernels (out, in, y, x)."""
    n, m, height, width = kernels.shape
    layer = torch.nn.Conv2d(m, n, (height, width), bias=False)
    layer.weight.data = torch.from_numpy(kernels * np.float32(scale))
    return layer


def sum_pool(workload: Workload) -> torch.nn.AvgPool2d:
    """The sum of each window."""
    return torch.nn.AvgPool2d(workload.pool, divisor_override=1)


def projections(workload: Workload, scale: float = 1.0) -> list[torch.nn.Module]:
    """The Linear and Conv2d layers of the workload, in order, all of their weights times `scale`."""
    return [(linear if array.ndim == 2 else convolution)(array, scale) for array in weights(workload)]
