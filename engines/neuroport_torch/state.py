"""The state of a training: free values of parameters, and torch.optim's optimizer over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from neuroport.model.optimizers import SGD, Adam, AdamW, Lion, RMSprop
from neuroport.model.training import Training
from neuroport.program.bounds import free_slope, to_free, to_valid
from neuroport.program.lower import Program
from neuroport_torch import lion
from neuroport_torch.arena import Arena
from neuroport_torch.graphs import Graphs, Replayed
from neuroport_torch.runner import Compiled

Tensor = torch.Tensor
Tensors = dict[str, Tensor]
Groups = list[dict[str, Any]]

# fused: one loop over each parameter in place of a dozen. recorded: steps are replayed from a CUDA graph
OPTIMIZERS: dict[type, Callable[[Any, Groups, bool], torch.optim.Optimizer]] = {
    SGD: lambda o, groups, recorded: torch.optim.SGD(
        groups, lr=o.learning_rate, momentum=o.momentum, weight_decay=o.weight_decay, fused=True),
    Adam: lambda o, groups, recorded: torch.optim.Adam(
        groups, lr=o.learning_rate, betas=(o.beta1, o.beta2), eps=o.eps, fused=True, capturable=recorded),
    AdamW: lambda o, groups, recorded: torch.optim.AdamW(
        groups, lr=o.learning_rate, betas=(o.beta1, o.beta2), eps=o.eps, weight_decay=o.weight_decay, fused=True,
        capturable=recorded),
    Lion: lambda o, groups, recorded: lion.Lion(
        groups, lr=o.learning_rate, betas=(o.beta1, o.beta2), weight_decay=o.weight_decay),
    RMSprop: lambda o, groups, recorded: torch.optim.RMSprop(  # one by one it would ask the device for the rate
        groups, lr=o.learning_rate, alpha=o.decay, eps=o.eps, momentum=o.momentum, foreach=recorded or None,
        capturable=recorded),
}


@dataclass
class State:
    """A training under way, moved in place.

    free: what the optimizer moves, the free values of parameters. still: valid values of all others; those
    that are trainable at the rate 0 are among them, and have a gradient where clipping counts it. replayed: its steps
    as a graph, None where they run one by one.
    """

    free: Tensors
    still: Tensors
    optimizer: torch.optim.Optimizer | None
    replayed: Replayed | None = None
    arena: Arena = field(default_factory=Arena)
    _starts: dict[int, Tensors] = field(default_factory=dict)

    @staticmethod
    def begin(program: Program, training: Training, handle: Tensors, graphs: Graphs | None = None) -> State:
        """The first state, from parameters on the device. graphs: what records its steps, None for plain ones."""
        arrays = {name: value.detach().cpu().numpy().astype(np.float64) for name, value in handle.items()}
        free = {name: torch.tensor(value).to(handle[name]) for name, value in to_free(program, arrays).items()
                if training.rate_factor(name) > 0}
        return State.of(program, training, free, {
            name: value.detach().clone() for name, value in handle.items() if name not in free}, graphs)

    @staticmethod
    def of(
        program: Program, training: Training, free: Tensors, still: Tensors, graphs: Graphs | None = None
    ) -> State:
        """A state before the optimizer's first step. The tensors become its own."""
        groups: dict[float, list[Tensor]] = {}
        for name, value in free.items():
            groups.setdefault(training.rate_factor(name), []).append(value.requires_grad_())
        for name, value in still.items():
            counted = bool(groups) and training.clip_norm is not None and name in program.trainable
            value.requires_grad_(counted)
        described, recorded = training.optimizer, graphs is not None and graphs.capturable
        optimizer = OPTIMIZERS[type(described)](
            described, [{"params": values, "rate_factor": factor} for factor, values in groups.items()], recorded
        ) if groups else None
        if optimizer is not None and recorded:
            # torch warns where a capturable optimizer steps outside of a capture: warming up does
            optimizer._warned_capturable_if_run_uncaptured = True  # type: ignore[attr-defined]
        return State(free, still, optimizer, None if graphs is None else Replayed(graphs))

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

    def start(self, compiled: Compiled, batch: int) -> Tensors:
        """Zero states for a batch, which stay where they are."""
        if batch not in self._starts:
            self._starts[batch] = compiled.zero_state(batch)
        return self._starts[batch]

    def rates(self, training: Training, factors: Sequence[float]) -> list[list[float]]:
        """The learning rate of each of the optimizer's groups, at each of some steps."""
        groups = [] if self.optimizer is None else self.optimizer.param_groups
        return [[training.optimizer.learning_rate * factor * group["rate_factor"] for group in groups]
                for factor in factors]

    def move(self, program: Program, training: Training, rates: Iterable[float | Tensor]) -> None:
        """One step of the optimizer along the gradients that lie at the leaves. rates: one of each of its groups."""
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
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
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
        program: Program, training: Training, arrays: Mapping[str, np.ndarray], device: torch.device,
        graphs: Graphs | None = None,
    ) -> State:
        """The state of a snapshot, bit by bit."""
        of: dict[str, Tensors] = {"free": {}, "still": {}, "optimizer": {}}
        for full, value in arrays.items():
            kind, _, name = full.partition("/")
            of[kind][name] = torch.tensor(value, device="cpu" if kind == "optimizer" else device)
        moved = [name for name in program.trainable if training.rate_factor(name) > 0]
        state = State.of(program, training, {name: of["free"][name] for name in moved}, {
            name: of["still"][name] for name in program.parameters if name not in moved}, graphs)
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
