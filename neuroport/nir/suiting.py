"""A graph in the form that one platform's importer takes: the same network, said so that nothing is lost there.

An importer may know one time step, gains of one, or a recurrence in a nested graph alone, and add the bias of a
recurrence from the second step on. What can be said in another place is moved there: a gain into the weights that
feed the neuron, the bias of a recurrence to the connection from before, a recurrence into a graph of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from neuroport.errors import InvalidData, Problem
from neuroport.nir.contents import NirGraph, NirNode
from neuroport.nir.presets import Preset

Array = np.ndarray
# the gains of a neuron, and the time constant under which each acts on one step as dt / tau; "" where it acts fully
GAINS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "IF": (("r", ""),), "I": (("r", ""),), "LI": (("r", "tau"),), "LIF": (("r", "tau"),),
    "CubaLI": (("w_in", "tau_syn"), ("r", "tau_mem")), "CubaLIF": (("w_in", "tau_syn"), ("r", "tau_mem")),
}
LAYERS = ("Linear", "Affine", "Conv1d", "Conv2d")


def suited(graph: NirGraph, preset: Preset, dt: float, early: Collection[str] = ()) -> NirGraph:
    """The graph for a platform, but for nesting (see ``nested``).

    dt: seconds, of the steps its times are written for. early: connections whose bias acts from the first step on.
    Raises InvalidData where a gain has no weights to go into.
    """
    loops = recurrences(graph)
    nodes = _biases_forward(graph, {way: loops[way] for way in loops if way in early}, loops)
    if preset.gains:
        nodes = _gains_in_weights(replace(graph, nodes=nodes), preset, dt)
    # an importer that walks the graph depth first must come to the recurrence before it comes to the output
    ordered = sorted(graph.edges, key=lambda edge: edge not in {(loops[way], way) for way in loops})
    return replace(graph, nodes=nodes, edges=tuple(ordered))


def recurrences(graph: NirGraph) -> dict[str, str]:
    """Connections that lead from a neuron to itself and nowhere else: their names, and the neuron's."""
    found = {}
    for name, node in graph.nodes.items():
        into, out = _into(graph, name), _out_of(graph, name)
        if node.type in ("Linear", "Affine") and len(into) == 1 and into == out and graph.nodes[into[0]].type in GAINS:
            found[name] = into[0]
    return found


def nested(graph: NirGraph) -> NirGraph:
    """Each neuron with a recurrence of its own, and that one, in a graph that has the neuron's name."""
    for way, neuron in recurrences(graph).items():
        shape = np.asarray(np.shape(graph.nodes[neuron].fields["r"]), np.int64)
        ends = {_free(end.lower(), (way, neuron)): NirNode(end, {"shape": shape}) for end in ("Input", "Output")}
        enter, leave = ends
        inner = NirGraph(
            nodes={enter: ends[enter], neuron: graph.nodes[neuron], way: graph.nodes[way], leave: ends[leave]},
            edges=((enter, neuron), (neuron, way), (way, neuron), (neuron, leave)))
        nodes = {name: inner if name == neuron else node for name, node in graph.nodes.items() if name != way}
        graph = replace(graph, nodes=nodes, edges=tuple(edge for edge in graph.edges if way not in edge))
    return graph


def _into(graph: NirGraph, name: str) -> list[str]:
    return [source for source, target in graph.edges if target == name]


def _out_of(graph: NirGraph, name: str) -> list[str]:
    return [target for source, target in graph.edges if source == name]


def _free(name: str, taken: tuple[str, ...]) -> str:
    while name in taken:
        name += "_"
    return name


def _biases_forward(graph: NirGraph, early: Mapping[str, str], loops: Collection[str]) -> dict[str, NirNode]:
    """Each early recurrence without its bias, where a connection from before can take it: that acts from the start."""
    nodes = dict(graph.nodes)
    for way, neuron in early.items():
        takes = next((name for name in _into(graph, neuron) if nodes[name].type in ("Linear", "Affine")
                      and name not in loops and _out_of(graph, name) == [neuron]), None)
        if takes is None or "bias" not in nodes[way].fields:
            continue
        bias = nodes[way].fields["bias"] + nodes[takes].fields.get("bias", 0)
        nodes[takes] = NirNode("Affine", {**nodes[takes].fields, "bias": bias})
        nodes[way] = NirNode("Linear", {"weight": nodes[way].fields["weight"]})
    return nodes


def _gains_in_weights(graph: NirGraph, preset: Preset, dt: float) -> dict[str, NirNode]:
    """Each neuron with the r and w_in that the platform takes, what they were in the weights before it."""
    nodes, problems = dict(graph.nodes), []
    for name, node in graph.nodes.items():
        if node.type not in preset.gains:
            continue
        if preset.unit_gains and np.any(node.fields.get("v_leak", 0)):
            mend = "give it v_leak of zero, and a bias before it"
            problems.append(Problem(f"{name}.v_leak", f"{preset.name} reads no v_leak", mend))
        fields, gain = dict(node.fields), np.ones(np.shape(node.fields["r"]))
        for field, tau in GAINS[node.type]:
            full = preset.gains[node.type] == "full" and tau
            taken = np.asarray(fields[tau], np.float64) / dt if full else np.ones(gain.shape)
            gain = gain * fields[field] / taken
            fields[field] = np.asarray(taken, np.float32)
        nodes[name] = replace(node, fields=fields)
        if np.allclose(gain, 1, rtol=1e-6, atol=0):  # no more than the rounding of a file's float32
            continue
        channels = np.atleast_1d(gain)
        rows = channels.reshape(len(channels), -1)
        for source in _into(graph, name):
            if nodes[source].type not in LAYERS or _out_of(graph, source) != [name] or (rows != rows[:, :1]).any():
                wrong = f"{preset.name} reads no r or w_in, and these have no weights of their own to go into"
                mend = "put a Linear or a convolution in front that leads nowhere else, or give r and w_in of one"
                problems.append(Problem(name, wrong, mend))
                break
            nodes[source] = replace(nodes[source], fields=_scaled(nodes[source].fields, rows[:, 0]))
    if problems:
        raise InvalidData(problems, "model for a NIR file")
    return nodes


def _scaled(fields: Mapping[str, Any], gain: Array) -> dict[str, Any]:
    """A layer whose outputs are multiplied by ``gain``, (C_out,)."""
    found = dict(fields)
    for field in ("weight", "bias"):
        if field in found:
            value = np.asarray(found[field])
            found[field] = (value * gain.reshape(-1, *[1] * (value.ndim - 1))).astype(value.dtype)
    return found
