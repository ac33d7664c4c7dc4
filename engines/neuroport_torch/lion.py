"""Lion, which torch.optim has none of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class Lion(torch.optim.Optimizer):
    """p <- p - lr (sign(beta1 m + (1 - beta1) g) + weight_decay p); m <- beta2 m + (1 - beta2) g (Chen et al. 2023).

    params: tensors, or groups of them, as of every optimizer of torch's. lr: a number, or a tensor of one beside the
    parameters, which is read there. m stands in the state as "exp_avg".
    """

    def __init__(
        self, params: Any, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step along the gradients; closure, if given, makes them first and returns the loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    _move(p, p.grad, self.state[p], group)
        return loss


def _move(p: torch.Tensor, g: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    beta1, beta2 = group["betas"]
    if "exp_avg" not in state:
        state["exp_avg"] = torch.zeros_like(p)
    m = state["exp_avg"]
    change = (m * beta1).add_(g, alpha=1 - beta1).sign_().add_(p, alpha=group["weight_decay"])
    rate = group["lr"]
    if isinstance(rate, torch.Tensor) and rate.device.type != "cpu":  # as a number it would be waited for
        p.addcmul_(change, rate.to(p.dtype), value=-1)
    else:
        p.add_(change, alpha=-float(rate))
    m.mul_(beta2).add_(g, alpha=1 - beta2)
