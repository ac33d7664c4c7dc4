"""neuroport on torch as a module in one's own torch code: forward and reverse of a part, and what a reverse keeps."""

from __future__ import annotations

import numpy as np
import torch
from contestant import Run
from neuroport_torch import saved
from neuroport_torch.engine import TorchExecutable
from peers import torch_steps
from workload import Workload, batch_order, inputs, targets

Arrays = dict[str, np.ndarray]


def reverse_run(executable: TorchExecutable, workload: Workload, arrays: Arrays) -> Run:
    """k -> spikes in the last time step of k batches, by the step that all peers in PyTorch take."""
    network = executable.module(arrays)
    x = torch.from_numpy(inputs(workload)).to(executable.device)
    step = torch_steps.reverse_step(workload, network, list(network.parameters()), fused=False)
    done = 0

    def run(count: int) -> list[float]:
        nonlocal done
        found = [step(x[i], i) for i in batch_order(done, count, workload)]
        done += count
        return [float(value) for value in found]

    return run


def saved_bytes(executable: TorchExecutable, workload: Workload, arrays: Arrays) -> int:
    """Bytes that autograd's graph of a step holds, without parameters and inputs; of our own operations everything."""
    x = inputs(workload)[0]
    if workload.trains:
        (source,) = executable.program.inputs
        return sum(saved.saved_bytes(executable, executable.load(arrays), {source: x}, targets(workload)[0]).values())
    network, given = executable.module(arrays), torch.from_numpy(x).to(executable.device)
    wanted = list(network.parameters()) or [given.requires_grad_()]
    return sum(saved.graph_bytes(network(given), [*wanted, given]).values())
