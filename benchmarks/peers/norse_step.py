"""Norse 1.1, in three ways: `python worker.py peers.norse_step lift` (or compiled, or best).

lift      As its documentation writes a network: cells and Linear layers in a SequentialState, lifted over time by Lift.
compiled  The same, with torch.compile over one step, which its release notes for 1.1 recommend for speed.
best      What we found to be fastest on a CPU: each Linear or convolution once for all steps, the functional step of
          the neurons compiled in stretches of up to 20, `unbind` in place of x[t] (whose gradient costs a whole
          sequence a step), a subtraction without detours, Adam in one pass over all parameters.

Forward Euler with (1 - beta) of the input is the workload's v <- beta v + x where the weights are 1 / (1 - beta) times
as large, and so they are here. Neurons are LIFBox, without a synaptic current, and reset by subtraction, in the same
step: the workload's own. The one recurrent neuron that Norse has is LIFRecurrent: its current lasts one step here, its
reset is to zero and passes no gradient, its surrogate is the same SuperSpike. Only `best` keeps the workload's reset
there, from LIFBox and a Linear of its own.
"""

from __future__ import annotations

import norse.torch as norse
import torch
from contestant import Contestant
from norse.torch.functional.leaky_integrator_box import LIBoxParameters, LIBoxState, li_box_feed_forward_step
from norse.torch.functional.lif_box import LIFBoxFeedForwardState, lif_box_feed_forward_step
from norse.torch.functional.reset import reset_subtract
from peers import torch_steps
from workload import Workload

PACKAGES = ("norse",)
DT = 1e-3


def prepare(workload: Workload, way: str) -> Contestant:
    """The contestant; way: lift, compiled or best."""
    network = Best(workload) if way == "best" else Lifted(workload, compiled=way == "compiled")
    return torch_steps.contestant(workload, network, network.parameters(), PACKAGES, fused=way == "best")


def gain(workload: Workload) -> float:
    """What takes back the (1 - beta) that Norse puts on every input."""
    return 1.0 / (1.0 - workload.beta)


def spiking(workload: Workload) -> norse.LIFBoxParameters:
    """Where the current is given and not from weights, it is the threshold that holds the gain."""
    scale = gain(workload) if workload.kind == "layer" else 1.0
    return norse.LIFBoxParameters(
        tau_mem_inv=torch.tensor((1 - workload.beta) / DT),
        v_th=torch.tensor(workload.threshold / scale),
        reset_method=reset_subtract,
    )


def leaky(workload: Workload) -> LIBoxParameters:
    return LIBoxParameters(tau_mem_inv=torch.tensor((1 - workload.beta) / DT))


class Lifted(torch.nn.Module):
    """All layers of one step, over all steps."""

    def __init__(self, workload: Workload, compiled: bool) -> None:
        super().__init__()
        step = norse.SequentialState(*cells(workload))
        self.network = norse.Lift(step)
        if compiled:
            step.compile()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs, _ = self.network(x)
        return outputs


def cells(workload: Workload) -> list[torch.nn.Module]:
    """The layers of one step."""
    projections = torch_steps.projections(workload, gain(workload))
    if workload.kind == "recurrent":
        into, back, out = projections
        neurons = norse.LIFRecurrentCell(
            *workload.sizes[:2],
            norse.LIFParameters(
                tau_syn_inv=torch.tensor(1 / DT),  # the current of a step is gone in the next
                tau_mem_inv=torch.tensor((1 - workload.beta) / DT),
                v_th=torch.tensor(workload.threshold),
            ),
            input_weights=into.weight,
            recurrent_weights=back.weight,
            autapses=True,
            dt=DT,
        )
        return [neurons, out, norse.LIBoxCell(leaky(workload), dt=DT)]
    found: list[torch.nn.Module] = [] if projections else [norse.LIFBoxCell(spiking(workload), dt=DT)]
    for projection in projections[: -1 if workload.trains else None]:
        found += [projection, norse.LIFBoxCell(spiking(workload), dt=DT)]
        if workload.kind == "conv":
            found.append(torch_steps.sum_pool(workload))
    if workload.kind == "conv":
        found.append(torch.nn.Flatten())
    return [*found, projections[-1], norse.LIBoxCell(leaky(workload), dt=DT)] if workload.trains else found


class Cell(torch.nn.Module):
    """One step of LIFBox; with a Linear for the spikes of the step before, recurrent."""

    def __init__(self, workload: Workload, back: torch.nn.Module | None) -> None:
        super().__init__()
        self.parameters_of_norse, self.back = spiking(workload)._replace(reset_method=subtracted), back

    def forward(self, current: torch.Tensor, v: torch.Tensor, *spike: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if self.back is not None:
            current = current + self.back(*spike)
        found, state = lif_box_feed_forward_step(current, LIFBoxFeedForwardState(v), self.parameters_of_norse, DT)
        return (found, state.v) if self.back is None else (found, state.v, found)


def subtracted(z: torch.Tensor, v: torch.Tensor, reset: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
    """`reset_subtract` with two operations for five; the parameters take any function of these arguments."""
    return v - z * threshold


class Best(torch.nn.Module):
    """Layer after layer, each over all time steps."""

    def __init__(self, workload: Workload) -> None:
        super().__init__()
        self.workload, self.leaky = workload, leaky(workload)
        projections = torch_steps.projections(workload, gain(workload))
        self.cell = Cell(workload, projections.pop(1) if workload.kind == "recurrent" else None)
        self.projections = torch.nn.ModuleList(projections)
        self.pool = torch_steps.sum_pool(workload) if workload.kind == "conv" else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.projections:
            return self.spikes(x)
        lead = x.shape[:2]
        for index, projection in enumerate(self.projections):
            x = x.flatten(0, 1)
            if self.pool is not None and index > 0:
                x = self.pool(x)
            last = self.workload.trains and index == len(self.projections) - 1
            x = projection(x.flatten(1) if last else x).unflatten(0, lead)
            x = self.integrated(x) if last else self.spikes(x)
        return x

    def spikes(self, x: torch.Tensor) -> torch.Tensor:
        """Spikes (T, B, ...) from the currents."""
        zeros = [torch.zeros_like(x[0]) for _ in range(2 if self.cell.back else 1)]
        return torch_steps.over_time(self.cell, x, *zeros)

    def integrated(self, x: torch.Tensor) -> torch.Tensor:
        """Potentials (T, B, classes) from the currents."""
        state, record = LIBoxState(v=torch.zeros_like(x[0])), []
        for current in x.unbind():
            potential, state = li_box_feed_forward_step(current, state, self.leaky, DT)
            record.append(potential)
        return torch.stack(record)
