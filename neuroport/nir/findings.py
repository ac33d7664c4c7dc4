"""What a reader of a NIR file should know before running it: units, values that are no numbers, silent nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from neuroport.dynamics.discretize import Step
from neuroport.nir.contents import Finding, NirGraph, NirNode
from neuroport.nir.flat import Flat
from neuroport.nir.uses import broadcast, numbers

TIMES = ("tau", "tau_mem", "tau_syn")
LONGEST = 1.0  # seconds: a membrane that remembers longer is none that we have met


def findings(graph: NirGraph, flat: Flat, dt: float | None) -> list[Finding]:
    """Everything found in a graph. flat: the same, see ``flatten``. dt: seconds; None: not known."""
    nodes = [(path, node) for path, node in graph.walk() if not isinstance(node, NirGraph)]
    with np.errstate(all="ignore"):
        found = [*_values(nodes), *_times(nodes, dt), *_thresholds(nodes), *_ways(flat), *_unexcited(flat)]
    return list(dict.fromkeys(found))


def _values(nodes: Sequence[tuple[str, NirNode]]) -> Iterator[Finding]:
    for path, node in nodes:
        for name in node.fields:
            value = numbers(node, name)
            bad = 0 if value is None else int((~np.isfinite(value)).sum())
            if value is not None and bad:
                yield Finding(path, f"{name} holds {bad} of {value.size} values that are NaN or infinite")


def _times(nodes: Sequence[tuple[str, NirNode]], dt: float | None) -> Iterator[Finding]:
    """Time constants below zero; beyond dt; and all so large that they can be no seconds."""
    known = {(path, name): tau for path, node in nodes for name in TIMES if (tau := numbers(node, name)) is not None}
    for (path, name), tau in known.items():
        if (tau <= 0).any():
            words = f"{name} holds {int((tau <= 0).sum())} of {tau.size} time constants that are not above zero"
            yield Finding(path, words)
        elif dt is not None and np.isfinite(tau).all():
            share = np.asarray(Step(dt, "euler").low_pass(tau).rise)
            if (share > 1 + 1e-6).any():
                words = f"dt/{name} reaches {share.max():.3g}, outside (0, 1]: forward Euler decays below zero"
                yield Finding(path, words)
    finite = [tau for tau in known.values() if np.isfinite(tau).all() and (tau > 0).all()]
    shortest = min((float(tau.min()) for tau in finite), default=0.0)
    if shortest > LONGEST:
        longest = max(float(tau.max()) for tau in finite)
        yield Finding("", f"time constants from {shortest:.3g} to {longest:.3g} look like milliseconds or steps, not "
                          "seconds: read it with time_unit=1e-3, or time_unit=dt")


def _thresholds(nodes: Sequence[tuple[str, NirNode]]) -> Iterator[Finding]:
    for path, node in nodes:
        theta, reset, leak = (numbers(node, name) for name in ("v_threshold", "v_reset", "v_leak"))
        if theta is None:
            continue
        if reset is not None and broadcast(reset, theta) and (over := int(np.sum(reset > theta))):
            yield Finding(path, f"{over} neurons reset to above their threshold: they spike in every step from then on")
        if leak is not None and broadcast(leak, theta) and (over := int(np.sum(leak > theta))):
            yield Finding(path, f"{over} neurons leak to above their threshold: they spike without input")


def _ways(flat: Flat) -> Iterator[Finding]:
    """Nodes that no input reaches, and those whose output goes nowhere."""
    reached = _reach(flat.out_of, [name for name, node in flat.nodes.items() if node.type == "Input"])
    useful = _reach(flat.into, [name for name, node in flat.nodes.items() if node.type == "Output"])
    for name, node in flat.nodes.items():
        if name not in reached:
            yield Finding(name, f"no input reaches this {node.type}")
        elif name not in useful:
            yield Finding(name, f"what this {node.type} gives reaches no output")


def _reach(following: Callable[[str], Sequence[str]], starts: Sequence[str]) -> set[str]:
    found, waiting = set(starts), list(starts)
    while waiting:
        new = set(following(waiting.pop())) - found
        found |= new
        waiting += new
    return found


SPIKES = ("IF", "LIF", "CubaLIF", "Threshold", "Input")  # what they give is taken to be no less than zero


def _unexcited(flat: Flat) -> Iterator[Finding]:
    """Neurons into which no weight and no bias is above zero: spikes alone never excite them."""
    for name, node in flat.nodes.items():
        before = [flat.nodes[source] for source in flat.into(name)]
        if node.type not in SPIKES[:3] or not before or not all(one.type in ("Affine", "Linear") for one in before):
            continue
        fed = [flat.nodes[far].type for source in flat.into(name) for far in flat.into(source)]
        if not all(kind in SPIKES for kind in fed):
            continue
        weights = [numbers(one, "weight") for one in before]
        if any(weight is None or weight.ndim != 2 for weight in weights):
            continue
        above = [np.any(weight > 0, axis=1) for weight in weights if weight is not None]
        above += [bias > 0 for one in before if (bias := numbers(one, "bias")) is not None]
        leak, theta = numbers(node, "v_leak"), numbers(node, "v_threshold")
        if leak is not None and theta is not None and broadcast(leak, theta):
            above.append(leak > theta)
        if not broadcast(*above):
            continue
        excited = np.any(np.broadcast_arrays(*above), axis=0)
        silent = int(np.sum(~excited))
        if silent:
            words = f"{silent} of {excited.size} neurons are silent: no weight or bias into them is above zero"
            yield Finding(name, words)
