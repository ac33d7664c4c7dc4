"""SpikingJelly 2.0, in two ways: `python worker.py peers.spikingjelly_step multi` (or best).

multi  As its documentation recommends for speed: step mode "m", where every layer takes the whole sequence ("layer by
       layer"), `detach_reset=True`, `reset_net` after each batch. On a CPU its LIF is a loop of PyTorch operations with
       a reverse of its own; on a GPU the library chooses its CUDA or Triton kernels by itself.
best   What we found to be fastest on a CPU: the library's `lif_step` compiled in stretches of up to 20 steps, the
       recurrent matrix alone for the spikes that come back, `unbind` in place of x[t] in the readout, Adam in one pass
       over all parameters.

LIF: v <- v - v / tau + x with tau = 1 / (1 - beta), a spike where v >= threshold, a reset by subtraction in that step,
through which no gradient passes; the surrogate is ATan. The readout NonSpikingLIFNode takes 1 / tau of its input:
its weights are tau times as large. The recurrent layer of the documentation is LinearRecurrentContainer, whose one
Linear mixes the input with the spikes before: identity and recurrent matrix side by side, both trained.
"""

from __future__ import annotations

import numpy as np
import torch
from contestant import Contestant
from peers import torch_steps
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from workload import Workload, weights

PACKAGES = ("spikingjelly",)


def prepare(workload: Workload, way: str) -> Contestant:
    """The contestant; way: multi or best."""
    network = {"multi": Multi, "best": Best}[way](workload)
    return torch_steps.contestant(workload, network, network.parameters(), PACKAGES, fused=way == "best")


def tau(workload: Workload) -> float:
    return 1.0 / (1.0 - workload.beta)


def spiking(workload: Workload, step_mode: str = "m") -> neuron.LIFNode:
    return neuron.LIFNode(
        tau=tau(workload),
        decay_input=False,
        v_threshold=workload.threshold,
        v_reset=None,
        surrogate_function=surrogate.ATan(),
        detach_reset=True,
        step_mode=step_mode,
    )


def project(array: np.ndarray, scale: float = 1.0) -> torch.nn.Module:
    """A Linear or Conv2d of theirs, over whole sequences."""
    if array.ndim == 2:
        found = layer.Linear(*array.shape[::-1], bias=False, step_mode="m")
    else:
        found = layer.Conv2d(*array.shape[1::-1], array.shape[2:], bias=False, step_mode="m")
    found.weight.data = torch.from_numpy(array * np.float32(scale))
    return found


class Multi(torch.nn.Module):
    """Layers of the library, each over the whole sequence."""

    def __init__(self, workload: Workload) -> None:
        super().__init__()
        arrays = weights(workload)
        out = arrays.pop() if workload.trains else None
        if workload.kind == "recurrent":
            into, back = arrays
            layers = [project(into), recurrent(workload, back)]
        else:
            layers = [] if arrays else [spiking(workload)]
            for array in arrays:
                layers += [project(array), spiking(workload)]
                if workload.kind == "conv":
                    layers.append(layer.AvgPool2d(workload.pool, divisor_override=1, step_mode="m"))
        if workload.kind == "conv":
            layers.append(layer.Flatten(step_mode="m"))
        self.hidden = torch.nn.Sequential(*layers)
        self.readout = None
        if out is not None:
            self.readout = torch.nn.Sequential(project(out, tau(workload)), neuron.NonSpikingLIFNode(tau(workload)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.hidden(x)
        functional.reset_net(self.hidden)
        return x if self.readout is None else torch.stack(self.readout(x))


def recurrent(workload: Workload, back: np.ndarray) -> layer.LinearRecurrentContainer:
    """The neurons that get their own spikes back, a step later, beside their input."""
    count = len(back)
    found = layer.LinearRecurrentContainer(spiking(workload, "s"), count, count, bias=False, step_mode="m")
    found.rc.weight.data = torch.from_numpy(np.concatenate([np.eye(count, dtype=np.float32), back], axis=1))
    return found


class Cell(torch.nn.Module):
    """`lif_step`; with a Linear for the spikes of the step before, recurrent."""

    def __init__(self, workload: Workload, back: torch.nn.Module | None = None) -> None:
        super().__init__()
        self.tau, self.threshold = tau(workload), workload.threshold
        self.surrogate, self.back = surrogate.ATan(), back

    def forward(self, current: torch.Tensor, v: torch.Tensor, *spike: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if self.back is not None:
            current = current + self.back(*spike)
        found, v = functional.lif_step(current, v, self.tau, False, self.threshold, None, self.surrogate, True)
        return (found, v) if self.back is None else (found, v, found)


class Best(torch.nn.Module):
    """The library's layers and its readout, and its neurons compiled."""

    def __init__(self, workload: Workload) -> None:
        super().__init__()
        plain = Multi(workload)
        self.readout = plain.readout
        if workload.kind == "recurrent":
            back = torch_steps.linear(weights(workload)[1])
            self.hidden = torch.nn.ModuleList([plain.hidden[0], Cell(workload, back)])
        else:
            replaced = (Cell(workload) if isinstance(part, neuron.LIFNode) else part for part in plain.hidden)
            self.hidden = torch.nn.ModuleList(replaced)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in self.hidden:
            if isinstance(part, Cell):
                x = torch_steps.over_time(part, x, *(torch.zeros_like(x[0]) for _ in range(2 if part.back else 1)))
            else:
                x = part(x)
        return x if self.readout is None else self.integrated(self.readout[0](x))

    def integrated(self, x: torch.Tensor) -> torch.Tensor:
        """Potentials (T, B, classes), from unbound currents in place of x[t]."""
        neurons = self.readout[1]
        neurons.v, record = torch.zeros_like(x[0]), []
        for current in x.unbind():
            neurons.neuronal_charge(current)
            record.append(neurons.v)
        return torch.stack(record)
