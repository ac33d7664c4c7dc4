"""snnTorch 1.0, in two ways: `python worker.py peers.snntorch_step tutorial` (or best).

tutorial  As its tutorials write a network (5, "Training Spiking Neural Networks with snnTorch"; 7 for the convolution):
          a Python loop over the time steps, which calls each layer in turn and passes its potential on.
best      What we found to be fastest on a CPU: each Linear or convolution once for all steps, the loop over a layer's
          neurons compiled in stretches of up to 20 steps (torch.compile, which its neurons support), `unbind` in place
          of x[t] (whose gradient costs a whole sequence a step), Adam in one pass over all parameters.

What differs from the workload: a reset acts in the next step, on the decayed potential (v <- beta v + x - s threshold,
the spike s of the potential before), and passes no gradient; `reset_delay=False` resets at once, for two more
operations a step. The readout is a Leaky without reset. The surrogate is its default, ATan(2).
"""

from __future__ import annotations

import snntorch as snn
import torch
from contestant import Contestant
from peers import torch_steps
from workload import Workload

PACKAGES = ("snntorch",)


def prepare(workload: Workload, way: str) -> Contestant:
    """The contestant; way: tutorial or best."""
    network = {"tutorial": Tutorial, "best": Best}[way](workload)
    return torch_steps.contestant(workload, network, network.parameters(), PACKAGES, fused=way == "best")


class Layers(torch.nn.Module):
    """The layers of any workload; those that follow a spiking one may have its spikes summed over windows first."""

    def __init__(self, workload: Workload) -> None:
        super().__init__()
        self.projections = torch.nn.ModuleList(torch_steps.projections(workload))
        settings = {"beta": workload.beta, "threshold": workload.threshold}
        self.recurrent = workload.kind == "recurrent"
        if self.recurrent:
            into, back, out = self.projections
            neurons = snn.RLeaky(linear_features=workload.sizes[1], **settings)
            neurons.recurrent = back  # without its bias
            self.projections, self.neurons = torch.nn.ModuleList([into, out]), torch.nn.ModuleList([neurons])
        else:
            count = max(1, len(self.projections) - workload.trains)
            self.neurons = torch.nn.ModuleList(snn.Leaky(**settings) for _ in range(count))
        self.readout = snn.Leaky(workload.beta, reset_mechanism="none") if workload.trains else None
        self.pool = torch_steps.sum_pool(workload) if workload.kind == "conv" else None

    def project(self, index: int, x: torch.Tensor) -> torch.Tensor:
        """What the neurons of that index are given, from the input or the spikes before; (B, ...) both."""
        if not self.projections:
            return x
        if self.pool is not None and index > 0:
            x = self.pool(x)
        if self.pool is not None and index == len(self.neurons):
            x = x.flatten(1)
        return self.projections[index](x)


class Tutorial(Layers):
    """The loop over time outside, over layers inside."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states = [self.zero(neurons) for neurons in self.neurons]
        potential = self.readout.reset_mem() if self.readout else None
        record = []
        for step in range(x.size(0)):
            current = x[step]
            for index, neurons in enumerate(self.neurons):
                states[index] = neurons(self.project(index, current), *states[index])
                current = states[index][0]
                if not self.recurrent:
                    states[index] = states[index][1:]
            if self.readout:
                _, potential = self.readout(self.project(len(self.neurons), current), potential)
                current = potential
            record.append(current)
        return torch.stack(record)

    def zero(self, neurons: snn.Leaky | snn.RLeaky) -> tuple[torch.Tensor, ...]:
        found = neurons.reset_mem()
        return found if self.recurrent else (found,)


class Step(torch.nn.Module):
    """Leaky or RLeaky as (current, *state) -> (spike, *state): the state of the one is (potential,), of the other
    (spike, potential)."""

    def __init__(self, neurons: snn.Leaky | snn.RLeaky) -> None:
        super().__init__()
        self.neurons = neurons

    def forward(self, current: torch.Tensor, *state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        spike, potential = self.neurons(current, *state)
        return (spike, *(spike, potential)[-len(state) :])


class Best(Layers):
    """Layer after layer, each over all time steps."""

    def __init__(self, workload: Workload) -> None:
        super().__init__(workload)
        self.steps = [Step(neurons) for neurons in self.neurons]  # a list: their parameters are registered already

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for index, step in enumerate(self.steps):
            x = self.hoisted(index, x)
            x = torch_steps.over_time(step, x, *(torch.zeros_like(x[0]) for _ in range(1 + self.recurrent)))
        return integrated(self.readout, self.hoisted(len(self.neurons), x)) if self.readout else x

    def hoisted(self, index: int, x: torch.Tensor) -> torch.Tensor:
        """`project` of all steps at once."""
        return self.project(index, x.flatten(0, 1)).unflatten(0, x.shape[:2])


def integrated(readout: snn.Leaky, x: torch.Tensor) -> torch.Tensor:
    """Potentials (T, B, classes) of a Leaky without reset."""
    potential, record = readout.reset_mem(), []
    for current in x.unbind():
        _, potential = readout(current, potential)
        record.append(potential)
    return torch.stack(record)
