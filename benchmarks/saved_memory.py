"""What one training step in engine torch keeps between its forward and its backward pass, on this CPU.

    PYTHONPATH=.:engines python benchmarks/saved_memory.py [--write]

The network 128-512-512-20, T = 128, B = 64 of workload.py, and a recurrent one of 256; counted as
``neuroport_torch.saved`` says: every piece of memory that autograd's graph of the loss holds, also what our own
operations hold beside their tensors; neither parameters nor inputs. A JSON line for each contestant, with "saved_mib".
--write: to results/saved_memory.md, beside what is known of other libraries.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from neuroport_step import build, parameters
from neuroport_torch.engine import TorchEngine
from neuroport_torch.saved import saved_bytes
from workload import Workload, inputs, targets

from neuroport.engine.base import Options
from neuroport.model.graph import Model, Recurrent
from neuroport.model.layers import Linear
from neuroport.model.losses import CrossEntropy
from neuroport.model.neurons import LI, LIF
from neuroport.model.surrogates import Boxcar
from neuroport.model.training import Training
from neuroport.program.initialize import init
from neuroport.program.lower import lower

HERE = Path(__file__).resolve().parent
PEERS = {"SpikingJelly": 69, "snnTorch": 102, "three Linear layers without neurons": 37}  # MiB, the same network


def windowed(model: Model) -> Model:
    """The same network, whose surrogate is a Boxcar: one bit a step."""
    nodes = {name: node.model_copy(update={"surrogate": Boxcar()}) if isinstance(node, LIF) else node
             for name, node in model.nodes.items()}
    return Model(nodes=nodes, edges=model.edges, dt=model.dt, numerics=model.numerics)


def recurrent(workload: Workload) -> Model:
    neuron = LIF.from_decay(beta=workload.beta, v_threshold=workload.threshold)
    return Model.sequential(input=workload.sizes[:1], dt=1e-3, layers=[
        Linear(256, bias=False), Recurrent(Linear(256, bias=False), neuron), Linear(20, bias=False),
        LI.from_decay(beta=workload.beta)])


def counted(model: Model, workload: Workload, **options: Any) -> dict[str, int]:
    """Bytes by operation."""
    training = Training(loss=CrossEntropy(over="mean"), checkpoint_steps=options.get("checkpoint_steps"))
    made = Options(device="cpu", precision=options.get("precision", "float32"), training=training)
    executable = TorchEngine().compile(lower(model), made)
    arrays = options.get("arrays") or init(model)
    (source,) = executable.program.inputs
    return saved_bytes(executable, executable.load(arrays), {source: inputs(workload)[0]}, targets(workload)[0])


def contestants() -> dict[str, dict[str, int]]:
    work = Workload()
    network, arrays = build(work), parameters(work)
    long = replace(work, steps=1024)
    return {
        "float32": counted(network, work, arrays=arrays),
        "bfloat16": counted(network, work, arrays=arrays, precision="bfloat16"),
        "float32, Boxcar": counted(windowed(network), work, arrays=arrays),
        'float32, checkpoint_steps="sqrt"': counted(network, work, arrays=arrays, checkpoint_steps="sqrt"),
        "float32, T = 1024": counted(network, long, arrays=arrays),
        'float32, T = 1024, checkpoint_steps="sqrt"': counted(network, long, arrays=arrays, checkpoint_steps="sqrt"),
        "recurrent 256, float32": counted(recurrent(work), work),
    }


def mib(count: int) -> float:
    return count / 2**20


def markdown(found: dict[str, dict[str, int]]) -> str:
    best = min(PEERS["SpikingJelly"], PEERS["snnTorch"])
    lines = ["MiB kept between forward and backward, 128-512-512-20, T = 128, B = 64, engine torch on a CPU:", "",
             "| neuroport | MiB | of it |", "|---|---|---|"]
    for name, of in found.items():
        parts = ", ".join(f"{kind} {mib(size):.1f}" for kind, size in of.items() if mib(size) >= 0.05)
        lines.append(f"| {name} | {mib(sum(of.values())):.1f} | {parts} |")
    lines += ["", "Other libraries, the same network (saved tensors, without what an operation holds beside them): "
              + ", ".join(f"{name} {size}" for name, size in PEERS.items())
              + f". The best library's, halved: {best / 2:.1f}.", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    found = contestants()
    for name, of in found.items():
        print(json.dumps({"contestant": f"neuroport-torch, {name}", "saved_mib": round(mib(sum(of.values())), 2),
                          "by_operation": {kind: round(mib(size), 2) for kind, size in of.items()}}))
    if options.write:
        (HERE / "results/saved_memory.md").write_text(markdown(found), encoding="utf-8")


if __name__ == "__main__":
    main()
