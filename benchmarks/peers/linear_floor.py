"""The floor: the three Linear layers without neurons, in plain PyTorch.

Nothing that keeps the dense products can be much faster than this. It is no network anyone would train: the
activity stays real-valued and the time steps do not know of each other.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from workload import Workload, batch_order, inputs, targets, weights


def prepare(workload: Workload, *arguments: str) -> tuple[dict[str, str], Callable[[int], list[float]]]:
    """Versions, and the run of k training steps that returns their losses."""
    model = build(workload)
    step = make_step(model, workload)
    x, y = torch.from_numpy(inputs(workload)), torch.from_numpy(targets(workload)).long()
    done = 0

    def run(count: int) -> list[float]:
        nonlocal done
        losses = [step(x[i], y[i]) for i in batch_order(done, count, workload)]
        done += count
        return [float(loss) for loss in losses]

    return {"torch": torch.__version__, "numpy": np.__version__}, run


def build(workload: Workload) -> torch.nn.Sequential:
    """Linear layers with the workload's weights; input (T, B, channels), output (T, B, classes)."""
    layers = []
    for matrix in weights(workload):
        n, m = matrix.shape
        layer = torch.nn.Linear(m, n, bias=False)
        layer.weight.data = torch.from_numpy(matrix)
        layers.append(layer)
    return torch.nn.Sequential(*layers)


def make_step(model: torch.nn.Sequential, workload: Workload) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """One training step: (x, y) -> loss of the mean over time."""
    optimizer = torch.optim.Adam(model.parameters(), lr=workload.learning_rate)

    def step(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        loss = torch.nn.functional.cross_entropy(model(x).mean(0), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step
