"""Training on torch: torch.optim underneath, batches unpacked on the device, no wait within a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from neuroport.model.training import Training
from neuroport.program.augment import Words, augmented
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
from neuroport_torch import products
from neuroport_torch.arena import Arena
from neuroport_torch.checkpoint import chunk_steps, run_in_chunks
from neuroport_torch.marked import BITS, input_way, marked
from neuroport_torch.runner import Compiled, Noise
from neuroport_torch.staging import Staged, unpack
from neuroport_torch.state import State

if products.HAS_NUMBA:
    from neuroport_torch.kernels import augment as kernels

Tensor = torch.Tensor
Tensors = dict[str, Tensor]


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


class Group(NamedTuple):
    """The batches of one step of the optimizer, (batches, B), and what it takes with them.

    mask: of valid samples. shares: their weights in their batch. keys: of the noise. others: rows to mix with. parts:
    of each batch in the group, (batches,). epoch: (1,). rates: one of each of the optimizer's groups.
    """

    order: Tensor
    mask: Tensor
    shares: Tensor
    keys: Tensor
    others: Tensor
    parts: Tensor
    epoch: Tensor
    rates: Any


@dataclass(frozen=True)
class Step:
    """One step of the optimizer, along the mean gradient over the valid samples of a group of batches.

    All that changes from step to step comes with the group, or lies in the state, so that a graph can hold it.
    """

    compiled: Compiled
    training: Training
    state: State
    staged: Staged
    seed: int
    mixing: bool

    @torch.enable_grad()
    def __call__(self, group: Group) -> tuple[Tensor, Tensor]:
        """Losses and numbers of right decisions, (batches,)."""
        compiled, training, state = self.compiled, self.training, self.state
        program, (size, batch) = compiled.program, group.order.shape
        (source,) = program.inputs
        start = state.start(compiled, batch)
        losses, right = [], []
        if size > 1:
            state.gather()
        for samples, valid, weights, keys, others, part in zip(*(one.unbind(0) for one in group[:6]), strict=True):
            state.arena.reset()
            targets, drawn = self.staged.targets(samples), Noise(self.seed, group.epoch, keys)
            x = entering(compiled, training, self.staged, samples, others if self.mixing else None, drawn, state.arena)
            loss, read = judge(
                compiled, training, state.parameters(program), start, {source: x}, targets, weights, drawn, state.arena,
            )
            if loss.requires_grad:
                (loss if size == 1 else loss * part).backward()
            losses.append(loss.detach())
            right.append(hits(decide(program, training, read), targets, valid))
        state.move(program, training, group.rates)
        return torch.stack(losses), torch.stack(right)

    def replayed(self, group: Group) -> tuple[Tensor, Tensor]:
        """The same from the state's graph. Rates are a tensor here."""
        assert self.state.replayed is not None
        reads = self.compiled, self.staged.values, self.staged.labels
        losses, right = self.state.replayed(
            lambda inputs: self(Group(*inputs)), tuple(group), reads, (self.seed, self.mixing))
        return losses, right


def train_batches(
    compiled: Compiled, training: Training, state: State, staged: Staged, order: Tensor, mask: Tensor,
    factors: Sequence[float], noise: tuple[int, int], identities: Tensor, partners: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """A run of batches: order, mask (batches, B), factors (steps,). Losses and numbers of right decisions, (batches,).

    identities: (batches, B), keys of the noise. partners: (batches, B), rows to mix with, where asked for.

    Each step of the optimizer takes the batches of one group. Nothing here waits for the device.
    """
    count = len(factors)
    seed, now = noise
    step = Step(compiled, training, state, staged, seed, partners is not None)
    every = [order, mask, shares(mask), identities, order if partners is None else partners]
    parts = shares(mask.sum(1).view(count, -1))  # of each batch in its group
    grouped = [one.unflatten(0, (count, -1)).unbind(0) for one in every] + [parts.unbind(0)]
    epoch = torch.full((1,), now, device=order.device)
    rates: Any = state.rates(training, factors)
    if state.replayed is not None:
        # of a float32 tensor, torch's fused kernels on CUDA read nothing else
        kind = torch.float32 if order.device.type == "cuda" else torch.float64
        rates = torch.tensor(rates, dtype=kind, device=order.device).unbind(0)
    take = step if state.replayed is None else step.replayed
    found = [take(Group(*of_step, epoch, rate)) for *of_step, rate in zip(*grouped, rates, strict=True)]
    return torch.cat([losses for losses, _ in found]), torch.cat([right for _, right in found])


def entering(
    compiled: Compiled, training: Training, staged: Staged, samples: Tensor, others: Tensor | None, noise: Noise,
    arena: Arena,
) -> Tensor:
    """Activity of some samples as training sees it, (T, B, *shape). others: rows to mix with, where asked for."""
    x = plainly_entering(compiled, training, staged, samples, arena)
    if not training.augmentation:
        return x
    partner = None if others is None else unpack(staged, others, compiled.dtype, arena)
    return augment(compiled.program, training, x, partner, staged.binary, noise, arena)


def plainly_entering(
    compiled: Compiled, training: Training, staged: Staged, samples: Tensor, arena: Arena
) -> Tensor:
    """Activity of some samples as it is, (T, B, *shape), as events where the network reads those."""
    found = None
    if input_way(compiled, training) == BITS:
        found = marked(compiled, staged, samples, arena)
    return unpack(staged, samples, compiled.dtype, arena) if found is None else found


@torch.no_grad()
def augment(
    program: Program, training: Training, x: Tensor, partner: Tensor | None, binary: bool, noise: Noise, arena: Arena,
) -> Tensor:
    """A batch (T, B, *shape) with the training's augmentations."""
    step, eager = step_of(program), not (products.HAS_NUMBA and x.device.type == "cpu")
    if not eager:
        epoch = int(noise.epoch)  # lies on the CPU
        return kernels.augmented(
            training, step, x, partner, binary, noise.seed, epoch, noise.samples, arena).contiguous()
    words = Words(int, lambda count: torch.arange(count, device=x.device))
    return augmented(training, step, words, x, partner, binary, *noise).contiguous()


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
        x = plainly_entering(compiled, training, staged, samples, arena)
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
