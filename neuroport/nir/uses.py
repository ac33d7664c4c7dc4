"""Ways of using a NIR node that not every platform follows: each a name, a sentence and a test on the node's fields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuroport.dynamics.discretize import Step
from neuroport.nir.contents import NirGraph, NirNode

Test = Callable[[NirNode, float | None], bool]


@dataclass(frozen=True)
class Use:
    """words: what is done. holds: (node, dt or None) -> whether it is. types: of nodes that can do it."""

    words: str
    holds: Test
    types: tuple[str, ...]


def numbers(node: NirNode, name: str) -> np.ndarray | None:
    """A numeric field as float64; None where the node has none."""
    value = node.fields.get(name)
    if value is None or isinstance(value, (str, bytes, dict)):
        return None
    found = np.asarray(value)
    return found.astype(np.float64) if found.size and found.dtype.kind in "buif" else None


def broadcast(*arrays: np.ndarray) -> bool:
    """Whether the shapes of arrays fit each other."""
    try:
        np.broadcast_shapes(*(array.shape for array in arrays))
    except ValueError:
        return False
    return True


def _is(name: str, test: Callable[[np.ndarray], Any]) -> Test:
    def holds(node: NirNode, dt: float | None) -> bool:
        found = numbers(node, name)
        return found is not None and bool(np.any(test(found)))
    return holds


def _uneven(*names: str) -> Test:
    def holds(node: NirNode, dt: float | None) -> bool:
        return any(found is not None and np.ptp(found) > 0 for found in (numbers(node, name) for name in names))
    return holds


def _off(name: str, wanted: Callable[[NirNode, Step], np.ndarray | float | None]) -> Test:
    """Whether a field is other than the platform's time step asks for; where dt is not known, it is not said."""
    def holds(node: NirNode, dt: float | None) -> bool:
        found = numbers(node, name)
        target = None if dt is None else wanted(node, Step(dt, "euler"))
        if found is None or target is None or not broadcast(found, np.asarray(target)):
            return False
        return not np.allclose(found, target, rtol=1e-5)
    return holds


def _per_step(tau: str) -> Callable[[NirNode, Step], np.ndarray | None]:
    """The r or w_in by which an input counts fully under Euler: tau / dt."""
    def wanted(node: NirNode, step: Step) -> np.ndarray | None:
        found = numbers(node, tau)
        return None if found is None else np.asarray(1.0 / step.low_pass(found).rise)
    return wanted


def _gain(node: NirNode, dt: float | None) -> bool:
    """Whether inputs are scaled on their way to the membrane, under Euler."""
    pairs = (("r", "tau"), ("r", "tau_mem"), ("w_in", "tau_syn"))
    return any(_off(field, _per_step(tau))(node, dt) for field, tau in pairs)


def _uneven_gain(node: NirNode, dt: float | None) -> bool:
    """Whether a snnTorch neuron would need several thresholds: they are scaled in place of the inputs."""
    gain, tau = (numbers(node, name) for name in (("r", "tau") if node.type == "LIF" else ("w_in", "tau_syn")))
    if tau is None or (gain is not None and not broadcast(gain, tau)):
        return False
    scale = (1.0 if gain is None else gain) / tau
    return not np.allclose(scale, scale.flat[0], rtol=1e-5, atol=0)


def _text_padding(node: NirNode, dt: float | None) -> bool:
    value = node.fields.get("padding")
    return (value.decode() if isinstance(value, bytes) else str(value)) == "same"


def _no_bias(node: NirNode, dt: float | None) -> bool:
    return numbers(node, "bias") is None


def _merges_batch(node: NirNode, dt: float | None) -> bool:
    start = numbers(node, "start_dim")
    return start is None or bool((start == 0).all())


LEAKY = ("LI", "LIF", "CubaLI", "CubaLIF")
RESETTING = ("IF", "LIF", "CubaLIF")
CONVOLUTION = ("Conv1d", "Conv2d")
POOLING = ("SumPool2d", "AvgPool2d")

USES: Mapping[str, Use] = {
    "r": Use("r other than 1", _is("r", lambda r: r != 1), (*LEAKY, "IF", "I")),
    "v_leak": Use("v_leak other than 0", _is("v_leak", lambda v: v != 0), LEAKY),
    "v_reset": Use("v_reset other than 0", _is("v_reset", lambda v: v != 0), RESETTING),
    "w_in": Use("w_in other than 1", _is("w_in", lambda w: w != 1), ("CubaLI", "CubaLIF")),
    "gain": Use("inputs scaled by r dt/tau or w_in dt/tau_syn", _gain, ("LIF", "LI", "CubaLIF", "CubaLI")),
    "uneven v_threshold": Use("thresholds that differ", _uneven("v_threshold"), RESETTING),
    "uneven": Use("parameters that differ between neurons",
                  _uneven("v_threshold", "v_reset", "r", "tau", "tau_mem", "tau_syn", "v_leak", "w_in"),
                  (*LEAKY, "IF")),
    "uneven tau": Use("time constants that differ", _uneven("tau", "tau_mem", "tau_syn"), LEAKY),
    "uneven gain": Use("input gains that differ", _uneven_gain, ("LIF", "CubaLIF")),
    "tau below 1": Use("time constants below 1, such as seconds", _is("tau", lambda tau: tau < 1), ("LI", "LIF")),
    "r is not 1/dt": Use("r other than 1/dt", _off("r", lambda node, step: 1.0 / step.dt), ("IF",)),
    "r is not tau/dt": Use("r other than tau_mem/dt", _off("r", _per_step("tau_mem")), ("CubaLIF",)),
    "r is neither 1 nor tau/dt": Use(
        "r other than 1 and tau/dt", lambda node, dt: _off("r", lambda node, step: 1.0)(node, dt)
        and _off("r", _per_step("tau"))(node, dt), ("LIF",)),
    "w_in is not tau/dt": Use("w_in other than tau_syn/dt", _off("w_in", _per_step("tau_syn")), ("CubaLIF",)),
    "dt is not 1e-4": Use("a step other than 0.1 ms",
                          lambda node, dt: dt is not None and not np.isclose(dt, 1e-4), ("LIF", "CubaLIF")),
    "groups": Use("groups", _is("groups", lambda groups: groups != 1), CONVOLUTION),
    "dilation": Use("dilation", _is("dilation", lambda dilation: dilation != 1), CONVOLUTION),
    "same": Use("padding 'same'", _text_padding, CONVOLUTION),
    "no bias": Use("no bias", _no_bias, CONVOLUTION),
    "pool padding": Use("padding of a pool", _is("padding", lambda padding: padding != 0), POOLING),
    "start_dim 0": Use("flattening from the first axis", _merges_batch, ("Flatten",)),
}


def uses_of(node: NirNode, dt: float | None) -> list[str]:
    """Which of them a node makes. dt: seconds; without one, what depends on it is not found."""
    with np.errstate(all="ignore"):  # what is not finite, or zero where a time must not be, is a finding elsewhere
        return [name for name, use in USES.items() if node.type in use.types and use.holds(node, dt)]


def _closes(edges: Iterable[tuple[str, str]]) -> bool:
    """Whether edges make a cycle: whether some are left when those that start where none ends are taken away."""
    follows: dict[str, list[str]] = {}
    for source, target in edges:
        follows.setdefault(source, []).append(target)
    left = Counter(target for targets in follows.values() for target in targets)
    free = [name for name in follows if not left[name]]
    while free:
        for target in follows.get(free.pop(), ()):
            left[target] -= 1
            if not left[target]:
                free.append(target)
    return any(left.values())


def uses_of_graph(graph: NirGraph, cyclic: bool) -> list[str]:
    """Of the graph as a whole. cyclic: whether it has a cycle."""
    found = ["cycle"] if cyclic else []
    found += ["plain cycle"] if _closes(graph.edges) else []
    if any(isinstance(node, NirGraph) for node in graph.nodes.values()):
        found.append("nested")
    for kind in ("Input", "Output"):
        if sum(node.type == kind for node in graph.nodes.values()) > 1:
            found.append(f"several {kind}s")
    ends = [[edge[side] for edge in set(graph.edges)] for side in (0, 1)]
    if not cyclic and any(len(side) != len(set(side)) for side in ends):
        found.append("branches")
    return found


GRAPH_USES: Mapping[str, str] = {
    "cycle": "a recurrence", "plain cycle": "a recurrence in no nested graph", "nested": "a nested graph",
    "several Inputs": "several inputs", "several Outputs": "several outputs", "branches": "edges that split or join",
}
