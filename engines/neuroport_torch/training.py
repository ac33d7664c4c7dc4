"""Training on torch: torch.optim underneath, batches unpacked on the device, no wait within a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

from neuroport.model.optimizers import SGD, Adam, AdamW, Lion, RMSprop
from neuroport.model.training import Training
from neuroport.program.augment import Words, augmented
from neuroport.program.bounds import free_slope, to_free, to_valid
from neuroport.program.execute import windows
from neuroport.program.lower import Program
from neuroport.program.objective import (
    measured,
    objective,
    parameters_of_objective,
    per_sample,
    read_by_objective,
    scores,
    step_of,
)
from neuroport_torch import lion, products
from neuroport_torch.arena import Arena
from neuroport_torch.checkpoint import chunk_steps, run_in_chunks
from neuroport_torch.runner import Compiled, Noise
from neuroport_torch.staging import Staged, unpack

if products.HAS_NUMBA:
    from neuroport_torch.kernels import augment as kernels

Tensor = torch.Tensor
Tensors = dict[str, Tensor]
Groups = list[dict[str, Any]]

# fused: one loop over each parameter in place of a dozen
OPTIMIZERS: dict[type, Callable[[Any, Groups], torch.optim.Optimizer]] = {
    SGD: lambda o, groups: torch.optim.SGD(
        groups, lr=o.learning_rate, momentum=o.momentum, weight_decay=o.weight_decay, fused=True),
    Adam: lambda o, groups: torch.optim.Adam(
        groups, lr=o.learning_rate, betas=(o.beta1, o.beta2), eps=o.eps, fused=True),
    AdamW: lambda o, groups: torch.optim.AdamW(
        groups, lr=o.learning_rate, betas=(o.beta1, o.beta2), eps=o.eps, weight_decay=o.weight_decay, fused=True),
    Lion: lambda o, groups: lion.Lion(
        groups, lr=o.learning_rate, betas=(o.beta1, o.beta2), weight_decay=o.weight_decay),
    RMSprop: lambda o, groups: torch.optim.RMSprop(
        groups, lr=o.learning_rate, alpha=o.decay, eps=o.eps, momentum=o.momentum),
}


@dataclass
class State:
    """A training under way, moved in place.

    free: what the optimizer moves, the free values of parameters. still: valid values of all others; those
    that are trainable at the rate 0 are among them, and have a gradient where clipping counts it.
    """

    free: Tensors
    still: Tensors
    optimizer: torch.optim.Optimizer | None
    arena: Arena = field(default_factory=Arena)

    @staticmethod
    def begin(program: Program, training: Training, handle: Tensors) -> State:
        """The first state, from parameters on the device."""
        arrays = {name: value.detach().cpu().numpy().astype(np.float64) for name, value in handle.items()}
        free = {name: torch.tensor(value).to(handle[name]) for name, value in to_free(program, arrays).items()
                if training.rate_factor(name) > 0}
        return State.of(program, training, free, {
            name: value.detach().clone() for name, value in handle.items() if name not in free})

    @staticmethod
    def of(program: Program, training: Training, free: Tensors, still: Tensors) -> State:
        """A state before the optimizer's first step. The tensors become its own."""
        groups: dict[float, list[Tensor]] = {}
        for name, value in free.items():
            groups.setdefault(training.rate_factor(name), []).append(value.requires_grad_())
        for name, value in still.items():
            counted = bool(groups) and training.clip_norm is not None and name in program.trainable
            value.requires_grad_(counted)
        described = training.optimizer
        optimizer = OPTIMIZERS[type(described)](
            described, [{"params": values, "rate_factor": factor} for factor, values in groups.items()]
        ) if groups else None
        return State(free, still, optimizer)

    def parameters(self, program: Program) -> Tensors:
        """Every parameter, valid; differentiable in the free values."""
        return {name: to_valid(program, name, self.free[name]) if name in self.free else self.still[name]
                for name in program.parameters}

    @property
    def leaves(self) -> Tensors:
        """Everything that has a gradient."""
        return {**self.free, **{name: value for name, value in self.still.items() if value.requires_grad}}

    def gather(self) -> None:
        """Gradients of several batches will add up. In tensors of their own: a gradient may lie in the arena."""
        for value in self.leaves.values():
            value.grad = torch.zeros_like(value)

    def move(self, program: Program, training: Training, factor: float) -> None:
        """One step of the optimizer along the gradients that lie at the leaves."""
        if self.optimizer is None:
            return
        leaves = self.leaves
        for value in leaves.values():
            if value.grad is None:  # nothing of the loss depends on it
                value.grad = torch.zeros_like(value)
        if training.clip_norm is not None:
            clip([value.grad for value in self.free.values() if value.grad is not None], training.clip_norm, [
                value.grad * free_slope(program, name, value.detach())
                for name, value in leaves.items() if name in self.still and value.grad is not None
            ])
        for group in self.optimizer.param_groups:
            group["lr"] = training.optimizer.learning_rate * factor * group["rate_factor"]
        self.optimizer.step()
        for value in leaves.values():
            value.grad = None

    # --- to arrays and back ------------------------------------------------------------------------

    def _numbered(self) -> list[str]:
        """Names of the free values in the order in which the optimizer numbers them."""
        names = {id(value): name for name, value in self.free.items()}
        groups = self.optimizer.param_groups if self.optimizer else []
        return [names[id(value)] for group in groups for value in group["params"]]

    def snapshot(self) -> dict[str, np.ndarray]:
        """All of it by name: "free/NAME", "still/NAME", and the optimizer's "optimizer/KEY/NAME"."""
        found = {f"free/{name}": value for name, value in self.free.items()}
        found |= {f"still/{name}": value for name, value in self.still.items()}
        if self.optimizer is not None:
            moments = self.optimizer.state_dict()["state"]
            for index, name in enumerate(self._numbered()):
                found |= {f"optimizer/{key}/{name}": value for key, value in moments.get(index, {}).items()
                          if value is not None}
        return {name: value.detach().cpu().numpy().copy() for name, value in found.items()}

    @staticmethod
    def restored(
        program: Program, training: Training, arrays: Mapping[str, np.ndarray], device: torch.device
    ) -> State:
        """The state of a snapshot, bit by bit."""
        of: dict[str, Tensors] = {"free": {}, "still": {}, "optimizer": {}}
        for full, value in arrays.items():
            kind, _, name = full.partition("/")
            of[kind][name] = torch.tensor(value, device="cpu" if kind == "optimizer" else device)
        moved = [name for name in program.trainable if training.rate_factor(name) > 0]
        state = State.of(program, training, {name: of["free"][name] for name in moved}, {
            name: of["still"][name] for name in program.parameters if name not in moved})
        if state.optimizer is not None:
            moments: dict[int, Tensors] = {}
            numbers = {name: index for index, name in enumerate(state._numbered())}
            for full, tensor in of["optimizer"].items():
                key, _, name = full.partition("/")
                moments.setdefault(numbers[name], {})[key] = tensor
            # puts moments on the device, and a count of steps where that optimizer keeps it
            state.optimizer.load_state_dict({**state.optimizer.state_dict(), "state": moments})
        return state


def clip(gradients: Iterable[Tensor], norm: float, others: Iterable[Tensor] = ()) -> None:
    """Scale gradients down together, in place, where the global norm of them and of ``others`` exceeds ``norm``."""
    gradients = list(gradients)
    total = torch.stack([g.square().sum() for g in (*gradients, *others)]).sum().sqrt()
    scale = torch.where(total > norm, norm / total, torch.ones_like(total))
    for g in gradients:
        g.mul_(scale)


def activity(
    compiled: Compiled, training: Training, parameters: Mapping[str, Tensor], state: Mapping[str, Tensor],
    inputs: Mapping[str, Tensor], noise: Noise | None, arena: Arena,
) -> Tensors:
    """What the objective reads, neuron axes as one: (T, B, N). No gradient passes between windows of truncation."""
    names, masks = read_by_objective(compiled.program, training), compiled.masks(noise)
    parts: list[Tensors] = []
    for window in windows(len(next(iter(inputs.values()))), training.truncate):
        now = {name: x[window] for name, x in inputs.items()}
        if training.checkpoint_steps is None:
            ran = compiled.run(parameters, state, now, arena, masks=masks, wanted=names)
            values, after = ran.values, ran.state
        else:
            steps = chunk_steps(len(next(iter(now.values()))), training.checkpoint_steps)
            values, after = run_in_chunks(compiled, steps, parameters, state, now, arena, masks, names)
        parts.append({name: values[name].flatten(2) for name in names})
        state = {name: value.detach() for name, value in after.items()}
    return parts[0] if len(parts) == 1 else {name: torch.cat([part[name] for part in parts]) for name in names}


def judge(
    compiled: Compiled, training: Training, parameters: Mapping[str, Tensor], state: Mapping[str, Tensor],
    inputs: Mapping[str, Tensor], targets: Tensor, weights: Tensor, noise: Noise | None, arena: Arena,
) -> tuple[Tensor, Tensors]:
    """The objective of one batch, and the activity that it read."""
    read = activity(compiled, training, parameters, state, inputs, noise, arena)
    held = {name: parameters[name].flatten() for name in parameters_of_objective(compiled.program, training)}
    return objective(compiled.program, training, read, held, targets, weights), read


@torch.no_grad()
def decide(program: Program, training: Training, read: Tensors) -> Tensor | None:
    """The class that each sample is taken for, (B,); None where the loss knows no classes."""
    found = scores(program, training, read)
    return None if found is None else found.argmax(1)


def hits(decided: Tensor | None, targets: Tensor, valid: Tensor) -> Tensor:
    """How many of a batch's valid samples were decided rightly."""
    return valid.new_zeros(()) if decided is None else ((decided == targets) * valid).sum()


def shares(mask: Tensor) -> Tensor:
    """Weights of the samples of each batch from its mask (batches, B): sum 1, or 0 where all is padding."""
    return mask / mask.sum(1, keepdim=True).clamp(min=1)


@torch.enable_grad()
def train_batches(
    compiled: Compiled, training: Training, state: State, staged: Staged, order: Tensor, mask: Tensor,
    factors: Sequence[float], noise: tuple[int, int], identities: Tensor, partners: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """A run of batches: order, mask (batches, B), factors (steps,). Losses and numbers of right decisions, (batches,).

    identities: (batches, B), keys of the noise. partners: (batches, B), rows to mix with, where asked for.

    Each step of the optimizer takes the batches of one group, along the mean gradient over the group's valid samples.
    """
    program, size = compiled.program, len(order) // len(factors)
    (source,) = program.inputs
    start = compiled.zero_state(order.shape[1])
    parts = shares(mask.sum(1).view(len(factors), size)).flatten().unbind(0)  # of each batch in its group
    others = order if partners is None else partners
    batches = list(zip(order.unbind(0), mask.unbind(0), shares(mask).unbind(0), parts, identities.unbind(0),
                       others.unbind(0), strict=True))
    losses, right = [], []
    for step, factor in enumerate(factors):
        if size > 1:
            state.gather()
        for samples, valid, weights, part, keys, other in batches[step * size : (step + 1) * size]:
            state.arena.reset()
            targets, drawn = staged.targets(samples), Noise(*noise, keys)
            x = entering(compiled, training, staged, samples, None if partners is None else other, drawn, state.arena)
            loss, read = judge(
                compiled, training, state.parameters(program), start, {source: x}, targets, weights, drawn, state.arena,
            )
            if loss.requires_grad:
                (loss if size == 1 else loss * part).backward()
            losses.append(loss.detach())
            right.append(hits(decide(program, training, read), targets, valid))
        state.move(program, training, factor)
    return torch.stack(losses), torch.stack(right)


def entering(
    compiled: Compiled, training: Training, staged: Staged, samples: Tensor, others: Tensor | None, noise: Noise,
    arena: Arena,
) -> Tensor:
    """Activity of some samples as training sees it, (T, B, *shape). others: rows to mix with, where asked for."""
    x = unpack(staged, samples, compiled.dtype, arena)
    if not training.augmentation:
        return x
    partner = None if others is None else unpack(staged, others, compiled.dtype, arena)
    return augment(compiled.program, training, x, partner, staged.binary, noise, arena)


@torch.no_grad()
def augment(
    program: Program, training: Training, x: Tensor, partner: Tensor | None, binary: bool, noise: Noise, arena: Arena,
) -> Tensor:
    """A batch (T, B, *shape) with the training's augmentations."""
    step, eager = step_of(program), not (products.HAS_NUMBA and x.device.type == "cpu")
    if not eager:
        return kernels.augmented(training, step, x, partner, binary, *noise, arena).contiguous()
    words = Words(int, lambda count: torch.arange(count, device=x.device))
    now = torch.tensor([noise.epoch], device=x.device)
    return augmented(training, step, words, x, partner, binary, noise.seed, now, noise.samples).contiguous()


class Evaluated(NamedTuple):
    """Of a run of batches: losses and right decisions (batches,), decisions (batches, B) if any, metrics
    (batches,) by label, and the sum over samples of each population's mean rates."""

    losses: Tensor
    right: Tensor
    decisions: Tensor | None
    extra: Tensors
    rates: Tensors


@torch.no_grad()
def evaluate_batches(
    compiled: Compiled, training: Training, parameters: Tensors, staged: Staged, order: Tensor, mask: Tensor,
    arena: Arena,
) -> Evaluated:
    """The loss without penalties and all that is measured beside it, over order, mask (batches, B)."""
    program = compiled.program
    (source,) = program.inputs
    start, judged = compiled.zero_state(order.shape[1]), read_by_objective(compiled.program, training)
    rates = {name: torch.zeros(program.leaving[name], dtype=compiled.dtype, device=compiled.device)
             for name, bound in program.neurons.items() if bound.neuron.spiking}
    losses, right, decisions = [], [], []
    extra: dict[str, list[Tensor]] = {metric.label: [] for metric in training.metrics}
    for samples, valid, weights in zip(order.unbind(0), mask.unbind(0), shares(mask).unbind(0), strict=True):
        arena.reset()
        targets = staged.targets(samples)
        x = unpack(staged, samples, compiled.dtype, arena)
        values = compiled.run(parameters, start, {source: x}, arena, wanted={*judged, *rates}).values
        read = {name: values[name].flatten(2) for name in judged}
        losses.append((per_sample(program, training, read, targets) * weights).sum())
        decided = decide(program, training, read)
        right.append(hits(decided, targets, valid))
        decisions += [] if decided is None else [decided]
        for label, of_samples in measured(program, training, read, targets).items():
            extra[label].append((of_samples * weights).sum())
        for name in rates:
            rates[name] += torch.tensordot(valid, values[name].mean(0), 1)
    return Evaluated(
        torch.stack(losses), torch.stack(right), torch.stack(decisions) if decisions else None,
        {label: torch.stack(found) for label, found in extra.items()}, rates,
    )
