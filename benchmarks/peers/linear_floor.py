"""The floor: the workload's products without neurons, in plain PyTorch.

Nothing that keeps the dense products can be much faster than this. It is no network anyone would train: the
activity stays real-valued and, but for the recurrent one, the time steps do not know of each other. The recurrent
one is torch.nn.RNN, whose neurons are tanh.
"""

from __future__ import annotations

import torch
from contestant import Contestant
from peers import torch_steps
from workload import Workload, weights


def prepare(workload: Workload, *arguments: str) -> Contestant:
    """The contestant, for every kind but a layer, which has no products."""
    if workload.kind == "layer":
        raise SystemExit("a layer has no products: its floor is the bandwidth of a copy")
    network = Recurrent(workload) if workload.kind == "recurrent" else Products(workload)
    return torch_steps.contestant(workload, network, network.parameters())


class Products(torch.nn.Module):
    """Linear layers and convolutions over all time steps."""

    def __init__(self, workload: Workload) -> None:
        super().__init__()
        layers: list[torch.nn.Module] = []
        for projection in torch_steps.projections(workload):
            if workload.kind == "conv" and layers:
                layers.append(torch_steps.sum_pool(workload))
            layers.append(projection)
        if workload.kind == "conv":
            layers.insert(-1, torch.nn.Flatten())
        self.layers = torch.nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class Recurrent(torch.nn.Module):
    """torch.nn.RNN and a Linear readout."""

    def __init__(self, workload: Workload) -> None:
        super().__init__()
        into, back, out = weights(workload)
        self.hidden = torch.nn.RNN(*workload.sizes[:2], bias=False)
        self.hidden.weight_ih_l0.data, self.hidden.weight_hh_l0.data = torch.from_numpy(into), torch.from_numpy(back)
        self.readout = torch_steps.linear(out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.readout(self.hidden(x)[0])
