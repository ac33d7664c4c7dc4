"""Training on torch: torch.optim underneath, batches unpacked on the device, no wait within a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

from neuroport.data.packing import Packed
from neuroport.model.training import SGD, Adam, AdamW, Training
from neuroport.program.bounds import to_free, to_valid
from neuroport.program.lower import Program
from neuroport.program.objective import judged_output, objective, read_by_objective
from neuroport_torch import products
from neuroport_torch.arena import Arena
from neuroport_torch.kernels.threads import over
from neuroport_torch.runner import Compiled, Noise

if products.HAS_NUMBA:
    from neuroport_torch.kernels.unpack import unpack_bits

Tensor = torch.Tensor
Tensors = dict[str, Tensor]

# fused: one loop over each parameter in place of a dozen
OPTIMIZERS: dict[type, Callable[[Any, list[Tensor]], torch.optim.Optimizer]] = {
    SGD: lambda o, free: torch.optim.SGD(
        free, lr=o.learning_rate, momentum=o.momentum, weight_decay=o.weight_decay, fused=True),
    Adam: lambda o, free: torch.optim.Adam(
        free, lr=o.learning_rate, betas=(o.beta1, o.beta2), eps=o.eps, fused=True),
    AdamW: lambda o, free: torch.optim.AdamW(
        free, lr=o.learning_rate, betas=(o.beta1, o.beta2), eps=o.eps, weight_decay=o.weight_decay, fused=True),
}


class Staged(NamedTuple):
    """A packed data set on the device: see ``data.packing.Packed``."""

    values: Tensor
    labels: Tensor
    steps: int
    binary: bool

    @staticmethod
    def of(packed: Packed, device: torch.device) -> Staged:
        return Staged(
            torch.tensor(packed.values, device=device), torch.tensor(packed.labels, dtype=torch.int64, device=device),
            packed.steps, packed.binary,
        )


def unpack(staged: Staged, samples: Tensor, dtype: torch.dtype, arena: Arena) -> Tensor:
    """Activity of some samples, time-major (T, B, *shape)."""
    if staged.binary and products.HAS_NUMBA and staged.values.device.type == "cpu":
        shape = staged.values.shape[2:]
        x = arena.empty((staged.steps, len(samples), *shape), dtype, staged.values.device)
        flat, bits = x.view(staged.steps, len(samples), -1).numpy(), staged.values.flatten(2).numpy()
        rows = samples.numpy()
        over(staged.steps, 8, lambda lo, hi: unpack_bits(bits, rows, flat, lo, hi))
        return x
    values = staged.values[samples].movedim(1, 0)  # (T or its bytes, B, *shape)
    if staged.binary:
        places = torch.arange(8, dtype=torch.uint8, device=values.device).view(8, *(1,) * (values.ndim - 1))
        bits = torch.bitwise_right_shift(values.unsqueeze(1), places).bitwise_and_(1)  # (bytes, 8, B, *shape)
        values = bits.flatten(0, 1)[: staged.steps]
    return values.to(dtype).contiguous()


@dataclass
class State:
    """A training under way, moved in place: free values of trainable parameters, arrays that stay."""

    free: Tensors
    frozen: Tensors
    optimizer: torch.optim.Optimizer | None
    schedule: torch.optim.lr_scheduler.LambdaLR | None = None
    arena: Arena = field(default_factory=Arena)

    @staticmethod
    def begin(program: Program, training: Training, factors: np.ndarray | None, handle: Tensors) -> State:
        """The first state, from parameters on the device."""
        arrays = {name: value.detach().cpu().numpy().astype(np.float64) for name, value in handle.items()}
        like = {name: handle[name] for name in program.trainable}
        free = {name: torch.tensor(value).to(like[name]).requires_grad_()
                for name, value in to_free(program, arrays).items()}
        frozen = {name: value.clone() for name, value in handle.items() if name not in free}
        optimizer = OPTIMIZERS[type(training.optimizer)](training.optimizer, list(free.values())) if free else None
        schedule = None
        if optimizer is not None and factors is not None and len(factors):
            table = np.asarray(factors, float).tolist()
            schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: table[min(step, len(table) - 1)])
        return State(free, frozen, optimizer, schedule)

    def parameters(self, program: Program) -> Tensors:
        """Every parameter, valid; differentiable in the free values."""
        valid = {name: to_valid(program, name, value) for name, value in self.free.items()}
        return {name: valid[name] if name in valid else self.frozen[name] for name in program.parameters}

    def move(self, clip_norm: float | None) -> None:
        """One step of the optimizer along the gradients that lie at the free values."""
        if self.optimizer is None:
            return
        for value in self.free.values():
            if value.grad is None:  # nothing of the loss depends on it
                value.grad = torch.zeros_like(value)
        if clip_norm is not None:
            clip([value.grad for value in self.free.values() if value.grad is not None], clip_norm)
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)


def clip(gradients: Iterable[Tensor], norm: float) -> None:
    """Scale gradients down together, in place, where their global norm exceeds ``norm``."""
    gradients = list(gradients)
    total = torch.stack([g.square().sum() for g in gradients]).sum().sqrt()
    scale = torch.where(total > norm, norm / total, torch.ones_like(total))
    for g in gradients:
        g.mul_(scale)


def flattened(program: Program, training: Training, values: Mapping[str, Tensor]) -> Tensors:
    """What the objective reads, neuron axes as one: (T, B, N)."""
    return {name: values[name].reshape(*values[name].shape[:2], -1) for name in read_by_objective(program, training)}


def judge(
    compiled: Compiled, training: Training, parameters: Mapping[str, Tensor], state: Mapping[str, Tensor],
    inputs: Mapping[str, Tensor], targets: Tensor, weights: Tensor, noise: Noise | None, arena: Arena,
) -> tuple[Tensor, Tensor]:
    """The objective of one batch, and what decisions are taken from."""
    activity = compiled.run(parameters, state, inputs, arena, noise=noise)
    read = flattened(compiled.program, training, activity.values)
    total = objective(compiled.program, training, read, targets, weights)
    return total, training.loss.scores(read[judged_output(compiled.program, training)].detach())


@torch.enable_grad()
def train_batches(
    compiled: Compiled, training: Training, state: State, staged: Staged, order: Tensor, mask: Tensor,
    noise: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """A run of batches: order, mask (batches, B). Losses and numbers of right decisions, (batches,)."""
    program = compiled.program
    (source,) = program.inputs
    start = compiled.zero_state(order.shape[1])
    losses, right = [], []
    for samples, valid in zip(order.unbind(0), mask.unbind(0), strict=True):
        state.arena.reset()
        targets = staged.labels[samples]
        loss, scores = judge(
            compiled, training, state.parameters(program), start,
            {source: unpack(staged, samples, compiled.dtype, state.arena)},
            targets, valid / valid.sum(), Noise(*noise, samples), state.arena,
        )
        if loss.requires_grad:
            loss.backward()
        state.move(training.clip_norm)
        losses.append(loss.detach())
        right.append(((scores.argmax(1) == targets) * valid).sum())
    return torch.stack(losses), torch.stack(right)


@torch.no_grad()
def evaluate_batches(
    compiled: Compiled, training: Training, parameters: Tensors, staged: Staged, order: Tensor, mask: Tensor,
    arena: Arena,
) -> tuple[Tensor, Tensor, Tensors]:
    """Losses and right decisions of each batch, and summed mean rates of each population's neurons."""
    program = compiled.program
    (source,) = program.inputs
    start = compiled.zero_state(order.shape[1])
    rates = {name: torch.zeros(program.leaving[name], dtype=compiled.dtype, device=compiled.device)
             for name, bound in program.neurons.items() if bound.neuron.spiking}
    losses, right = [], []
    for samples, valid in zip(order.unbind(0), mask.unbind(0), strict=True):
        arena.reset()
        targets = staged.labels[samples]
        values = compiled.run(
            parameters, start, {source: unpack(staged, samples, compiled.dtype, arena)}, arena).values
        outputs = values[judged_output(program, training)]
        per_sample = training.loss.per_sample(outputs, targets)
        losses.append((per_sample * valid).sum() / valid.sum())
        right.append(((training.loss.scores(outputs).argmax(1) == targets) * valid).sum())
        for name in rates:
            rates[name] += torch.tensordot(valid, values[name].mean(0), 1)
    return torch.stack(losses), torch.stack(right), rates
