"""Who takes part in the suite: where each one runs, what it is, and which equations it says it computes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import machine

from neuroport.model.numerics import Numerics

OWN = Path(sys.executable)
ALL = ("layer", "linear_lif", "feedforward", "recurrent", "conv")


@dataclass(frozen=True)
class Entry:
    """One contestant: an interpreter, a module with its arguments, and one line on what it is.

    kind: "ours", "peer", or "floor" for what no network can be much faster than. workloads: kinds that it has.
    numerics: how its neurons step, in neuroport's words; None: in no words of ours. late: steps by which spikes
    leave a population later. differs: by kind of workload, why
    it computes something else there, so that its outputs are shown beside the reference's and not held to them.
    precision: of its products, by name. threads: of PyTorch, where not its own choice. loss: of the outputs over time
    that training takes, the mean or the sum.
    """

    python: Path
    command: tuple[str, ...]
    about: str
    kind: str = "peer"
    workloads: tuple[str, ...] = ALL
    numerics: Numerics | None = field(default_factory=Numerics)
    late: int = 0
    differs: Mapping[str, str] = field(default_factory=dict)
    precision: str = "float32"
    threads: int | None = None
    loss: str = "mean"


def _ours(engine: str, precision: str) -> Entry:
    products = "" if precision == "float32" else f", products in {precision}"
    workloads = ALL if precision == "float32" else ALL[1:]  # a layer has no products
    return Entry(OWN, ("neuroport_step", engine, precision), f"neuroport, engine {engine}{products}", "ours", workloads,
                 precision=precision)


def _peer(
    name: str, way: str, about: str, numerics: Numerics, differs: Mapping[str, str] | None = None, late: int = 0,
    loss: str = "mean",
) -> Entry:
    """A way of a peer. Its environment is made by make_peers.sh."""
    python = machine.ROOT / f".peers/{name}/bin/python"
    return Entry(python, (f"peers.{name}_step", way), about, "peer", ALL, numerics, late, differs or {}, loss=loss)


SNNTORCH = Numerics(reset_delay=1, reset_gradient=False)
SPIKINGJELLY = Numerics(comparison="ge", reset_gradient=False)
NORSE = Numerics(discretization="euler")  # with decays given, this is the workload's own
SPYX = Numerics(reset_delay=1)
HARD = {"recurrent": "the only recurrent neuron that Norse has resets to zero"}

CONTESTANTS = {
    "neuroport torch": _ours("torch", "float32"),
    "neuroport torch bf16": _ours("torch", "bfloat16"),
    "neuroport jax": _ours("jax", "float32"),
    "neuroport jax bf16": _ours("jax", "bfloat16"),
    "spyx": _peer("spyx", "sequential", "Spyx 1.0 as its documentation writes it, compiled as one pass", SPYX, late=1,
                  loss="sum"),
    "spyx best": _peer("spyx", "best", "Spyx 1.0, our best attempt: layers hoisted", SPYX, late=1, loss="sum"),
    "snntorch": _peer("snntorch", "tutorial", "snnTorch 1.0 as its tutorials write it", SNNTORCH),
    "snntorch best": _peer("snntorch", "best", "snnTorch 1.0, our best attempt: layers hoisted, unbind", SNNTORCH),
    "spikingjelly": _peer("spikingjelly", "multi", "SpikingJelly 2.0 in step mode m, as recommended", SPIKINGJELLY),
    "spikingjelly best": _peer("spikingjelly", "best", "SpikingJelly 2.0, our best attempt", SPIKINGJELLY),
    "norse": _peer("norse", "lift", "Norse 1.1 as its documentation writes it: Lift", NORSE, HARD),
    "norse compiled": _peer("norse", "compiled", "Norse 1.1 with torch.compile over one step", NORSE, HARD),
    "norse best": _peer("norse", "best", "Norse 1.1, our best attempt: layers hoisted, unbind", NORSE),
    "linear": Entry(OWN, ("peers.linear_floor",), "the products without neurons, PyTorch", "floor", ALL[1:], None),
    "linear jax": Entry(OWN, ("peers.linear_floor_jax",), "the products without neurons, jax", "floor",
                        ("linear_lif", "feedforward", "recurrent"), None),
}
# between two parallel operations PyTorch's threads spin, and a loop over steps has many small ones: less CPU time alone
CONTESTANTS |= {
    f"{name}, 1 thread": replace(CONTESTANTS[name], about=f"{CONTESTANTS[name].about}; one thread", threads=1)
    for name in ("snntorch", "snntorch best", "spikingjelly best", "norse best", "linear")
}
QUICK = ("neuroport torch", "neuroport torch bf16", "neuroport jax", "spyx best", "snntorch best", "spikingjelly best")
