"""Files that nir 1.0.8 refuses are mended where the intent is clear, each mend is reported, and nir then reads them."""

from __future__ import annotations

import h5py
import nir
import nir_graphs as graphs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from neuroport.errors import InvalidData
from neuroport.nir.codec.hdf5 import load, save
from neuroport.nir.codec.repair import repaired
from neuroport.nir.contents import NirFile, NirGraph, NirNode, difference
from neuroport.nir.releases import release, subtracts

TEXT = h5py.string_dtype()


def without(node: NirNode, *names: str) -> NirNode:
    return NirNode(node.type, {name: value for name, value in node.fields.items() if name not in names}, node.metadata)


def renamed(node: NirNode, **names: str) -> NirNode:
    return NirNode(node.type, {names.get(name, name): value for name, value in node.fields.items()}, node.metadata)


def within(*nodes: NirNode, start: tuple[int, ...], stop: tuple[int, ...]) -> NirGraph:
    """Nodes n0, n1, ... in a row between an Input and an Output."""
    named = {f"n{index}": node for index, node in enumerate(nodes)}
    return graphs.chain({"input": graphs.end("Input", start), **named, "output": graphs.end("Output", stop)})


def mended(tmp_path, graph: NirGraph, *words: str, version: str = "0.2.0") -> NirGraph:
    """The graph as loaded. nir refuses the file, each mend is reported in these words, and nir reads the mended one."""
    save(tmp_path / "legacy.nir", NirFile(graph, version))
    with pytest.raises((ValueError, TypeError, KeyError, AssertionError)):
        nir.read(tmp_path / "legacy.nir")
    found = load(tmp_path / "legacy.nir")
    assert [str(one) for one in found.findings] == list(words)
    assert all(one.repaired for one in found.findings)
    save(tmp_path / "mended.nir", found)
    nir.read(tmp_path / "mended.nir")
    again = load(tmp_path / "mended.nir")
    assert difference(again, found) == ""
    assert again.findings == ()
    assert again.version == version  # it says what a spike does, so it stays
    return found.graph


# --- nodes of older releases -------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "release_of"), [("theta", "0.0.1"), ("v_th", "0.0.3")])
def test_old_names_of_the_threshold(tmp_path, old, release_of):
    lif = renamed(graphs.ones("LIF", (3,)), v_threshold=old)
    graph = mended(tmp_path, within(lif, start=(3,), stop=(3,)), f"n0: {old} is called v_threshold now",
                   version=release_of)
    assert list(graph.nodes["n0"].fields) == ["tau", "r", "v_leak", "v_threshold", "v_reset"]


def test_weights_became_weight(tmp_path):
    conv = renamed(graphs.conv2d((2, 1, 3, 3), (8, 8)), weight="weights")
    mended(tmp_path, within(conv, start=(1, 8, 8), stop=(2, 6, 6)), "n0: weights is called weight now")


def test_a_linear_with_a_bias_is_an_affine(tmp_path):
    linear = NirNode("Linear", {"weights": np.ones((2, 3)), "bias": np.ones(2)})
    graph = mended(tmp_path, within(linear, start=(3,), stop=(2,)), "n0: weights is called weight now",
                   "n0: a Linear with a bias is an Affine")
    assert graph.nodes["n0"].type == "Affine"


@pytest.mark.parametrize("node", [
    NirNode("Affine", {"weight": np.ones((2, 3), "f4")}), without(graphs.conv1d((2, 3, 1), 1), "bias")])
def test_a_bias_that_is_missing_is_zero(tmp_path, node):
    start, stop = ((3,), (2,)) if node.type == "Affine" else ((3, 1), (2, 1))
    graph = mended(tmp_path, within(node, start=start, stop=stop), "n0: has no bias: zeros")
    assert graph.nodes["n0"].fields["bias"].tolist() == [0, 0]
    assert graph.nodes["n0"].fields["bias"].dtype == np.float32


def test_a_convolution_that_says_neither_dilation_nor_groups(tmp_path):
    conv = without(graphs.conv2d((2, 1, 3, 3), (8, 8)), "dilation", "groups")
    mended(tmp_path, within(conv, start=(1, 8, 8), stop=(2, 6, 6)), "n0: has no dilation: 1", "n0: has no groups: 1")


def test_a_neuron_without_w_in_has_one(tmp_path):
    """nir takes it as 1 in silence."""
    graph = within(without(graphs.ones("CubaLIF", (3,)), "w_in", "v_reset"), start=(3,), stop=(3,))
    save(tmp_path / "old.nir", NirFile(graph, "0.2.0"))
    found = load(tmp_path / "old.nir")
    assert [str(one) for one in found.findings] == ["n0: has no w_in: 1"]
    assert found.graph.nodes["n0"].fields["w_in"].tolist() == [1, 1, 1]
    assert "v_reset" not in found.graph.nodes["n0"].fields  # what a spike does then, the version says


def test_a_shape_that_is_one_number(tmp_path):
    nodes = {"input": NirNode("Input", {"shape": np.array(3)}), "lif": graphs.ones("LIF", (3,)),
             "output": NirNode("Output", {"shape": np.array(3)})}
    mended(tmp_path, graphs.chain(nodes),
           "input: its shape 3 is the shape (3,)", "output: its shape 3 is the shape (3,)")


def test_a_file_of_the_first_release(tmp_path):
    """No version, no /node; nodes and edges numbered; a Linear has a bias."""
    with h5py.File(tmp_path / "first.nir", "w") as file:
        for index, (kind, fields) in enumerate([
            ("Input", {"shape": [3]}), ("Linear", {"weights": np.ones((2, 3)), "bias": np.ones(2)}),
            ("LIF", {"tau": np.ones(2), "r": np.ones(2), "v_leak": np.ones(2), "v_th": np.ones(2)}), ("Output", {}),
        ]):
            node = file.create_group(f"nodes/{index}")
            node.create_dataset("type", data=kind, dtype=TEXT)
            for name, value in fields.items():
                node[name] = value
        file["edges"] = [(0, 1), (1, 2), (2, 3)]
    with pytest.raises(KeyError):
        nir.read(tmp_path / "first.nir")
    found = load(tmp_path / "first.nir")
    assert (found.version, found.graph.edges) == ("", (("0", "1"), ("1", "2"), ("2", "3")))
    assert found.graph.nodes["3"].fields["shape"].tolist() == [2]
    assert [str(one) for one in found.findings] == [
        "written by nir 0.0.5 or earlier: the nodes at the root of the file are read as a graph",
        "edges are numbers of nodes, as nir 0.0 wrote them: read as the nodes' names",
        "1: weights is called weight now", "1: a Linear with a bias is an Affine", "2: v_th is called v_threshold now",
        "3: says no shape: it is [2], as the nodes beside it show"]
    save(tmp_path / "mended.nir", found)
    nir.read(tmp_path / "mended.nir")


def test_texts_of_fixed_length_are_texts(tmp_path):
    """As writers in other languages store them."""
    with h5py.File(tmp_path / "fixed.nir", "w") as file:
        file["version"], file["node/type"] = np.array(b"1.0.8", "S5"), np.array(b"NIRGraph", "S16")
        for name, kind in (("a", b"Input"), ("b", b"Output")):
            file[f"node/nodes/{name}/type"], file[f"node/nodes/{name}/shape"] = np.array(kind, "S16"), [3]
        file["node/edges"] = np.array([[b"a", b"b"]], "S4")
    found = load(tmp_path / "fixed.nir")
    assert (found.version, found.graph.edges, found.findings) == ("1.0.8", (("a", "b"),), ())
    assert [node.type for node in found.graph.nodes.values()] == ["Input", "Output"]


# --- shapes ------------------------------------------------------------------------------------------


def test_a_convolution_whose_input_shape_is_missing(tmp_path):
    conv = without(graphs.conv2d((2, 1, 3, 3), (8, 8)), "input_shape")
    graph = mended(tmp_path, within(conv, graphs.pool("SumPool2d"), start=(1, 8, 8), stop=(2, 3, 3)),
                   "n0: says no input_shape: it is [8, 8], as the nodes beside it show")
    assert graph.nodes["n0"].fields["input_shape"].tolist() == [8, 8]


@pytest.mark.parametrize("end", ["Input", "Output"])
def test_an_end_that_says_no_shape(tmp_path, end):
    graph = within(graphs.ones("LIF", (3,)), start=(3,), stop=(3,))
    nodes = {name: without(node, "shape") if node.type == end else node for name, node in graph.nodes.items()}
    mended(tmp_path, NirGraph(nodes=nodes, edges=graph.edges),
           f"{end.lower()}: says no shape: it is [3], as the nodes beside it show")


def test_axes_of_one_that_stand_for_batch_and_time(tmp_path):
    """As Rockpool's file of the NIR paper has them."""
    mended(tmp_path, within(graphs.linear(2, 3), start=(1, 3), stop=(1, 1, 2)),
           "input: says shape [1, 3]: it is [3], as the nodes beside it show",
           "output: says shape [1, 1, 2]: it is [2], as the nodes beside it show")


def test_a_flatten_that_counts_the_batch(tmp_path):
    """As snnTorch writes it."""
    graph = mended(tmp_path, within(graphs.flatten((2, 3, 3), 1), graphs.linear(4, 18), start=(2, 3, 3), stop=(4,)),
                   "n0: counts its dimensions with the batch: start_dim 1 is 0")
    assert graph.nodes["n0"].fields["start_dim"] == 0


@pytest.mark.parametrize("shape", [(), (1,)])
def test_one_parameter_for_a_population(tmp_path, shape):
    graph = mended(tmp_path, within(graphs.ones("LIF", shape), start=(3,), stop=(3,)),
                   "n0: tau, r, v_leak, v_threshold, v_reset stand for all of shape (3,): given to each")
    assert graph.nodes["n0"].fields["v_leak"].tolist() == [1.25] * 3


def test_one_parameter_among_many(tmp_path):
    lif = NirNode("LIF", {**graphs.ones("LIF", (3,)).fields, "r": np.array(2.0, "f4")})
    mended(tmp_path, within(lif, start=(3,), stop=(3,)), "n0: r stand for all of shape (3,): given to each")


# --- structure ---------------------------------------------------------------------------------------


def test_edges_that_stand_more_than_once(tmp_path):
    graph = within(graphs.ones("LIF", (3,)), start=(3,), stop=(3,))
    twice = NirGraph(nodes=graph.nodes, edges=graph.edges * 2)
    found = mended(tmp_path, twice, "2 edges stand more than once (input -> n0, n0 -> output): each counts once")
    assert found.edges == graph.edges


def test_a_node_that_edges_call_otherwise(tmp_path):
    graph = within(graphs.ones("LIF", (3,)), graphs.linear(2, 3), start=(3,), stop=(2,))
    edges = tuple(tuple("lif" if end == "n0" else end for end in edge) for edge in graph.edges)
    found = mended(tmp_path, NirGraph(nodes=graph.nodes, edges=edges),
                   "edges name 'lif', which is not there, and none names 'n0': it is meant")
    assert found.edges == graph.edges


def test_a_recurrent_population_nested_without_ends(tmp_path):
    """Its one neuron takes in and puts out."""
    inner = NirGraph(nodes={"lif": graphs.ones("LIF", (3,)), "w": graphs.linear(3, 3)},
                     edges=(("lif", "w"), ("w", "lif")))
    found = mended(tmp_path, within(inner, start=(3,), stop=(3,)),
                   "n0: begins with 'lif', without an Input: 'input_lif' of shape (3,) is added",
                   "n0: ends with 'lif', without an Output: 'output_lif' of shape (3,) is added")
    assert found.nodes["n0"].edges[-2:] == (("input_lif", "lif"), ("lif", "output_lif"))


def test_a_graph_without_ends_has_those_that_nir_would_add(tmp_path):
    graph = graphs.chain({"fc": graphs.linear(2, 3), "lif": graphs.ones("LIF", (2,))})
    save(tmp_path / "bare.nir", NirFile(graph))
    found = load(tmp_path / "bare.nir").graph
    assert list(found.nodes) == list(nir.read(tmp_path / "bare.nir").nodes)
    assert found.nodes["input_fc"].fields["shape"].tolist() == [3]
    assert found.nodes["output_lif"].fields["shape"].tolist() == [2]


def test_a_file_of_a_single_node(tmp_path):
    nir.write(tmp_path / "node.nir", nir.Linear(np.ones((2, 3))))
    found = load(tmp_path / "node.nir")
    assert list(found.graph.nodes) == ["linear", "input_linear", "output_linear"]
    assert str(found.findings[0]) == "the file is one Linear without a graph: a graph is put around it"


def test_nested_graphs_are_mended_one_through_the_other(tmp_path):
    """The inner shapes are known only when the outer ones are."""
    conv = without(graphs.conv2d((2, 1, 3, 3), (8, 8)), "input_shape")
    inner = graphs.chain({"in": NirNode("Input"), "conv": conv, "lif": graphs.ones("IF", ())})
    graph = within(inner, graphs.flatten((2, 6, 6), 1), graphs.linear(4, 72), start=(1, 8, 8), stop=(4,))
    found = mended(
        tmp_path, graph,
        "n0: ends with 'lif', without an Output: 'output_lif' of shape (2, 6, 6) is added",
        "n1: counts its dimensions with the batch: start_dim 1 is 0",
        "n0/in: says no shape: it is [1, 8, 8], as the nodes beside it show",
        "n0/conv: says no input_shape: it is [8, 8], as the nodes beside it show",
        "n0/lif: r, v_threshold, v_reset stand for all of shape (2, 6, 6): given to each")
    assert found.nodes["n0"].nodes["lif"].fields["r"].shape == (2, 6, 6)


# --- what is not clear -------------------------------------------------------------------------------


@pytest.mark.parametrize(("graph", "words"), [
    (NirGraph(nodes={"a": NirNode("LIF", {"tau": np.ones(3)})}),
     ["a.r: is missing from LIF", "a.v_leak", "a.v_threshold"]),
    (NirGraph(nodes={"a": NirNode("X"), "b": NirNode("X")}, edges=(("a", "c"), ("d", "a"))),
     ["edges: name 'c', 'd', which are not there", "name nodes of this graph: a, b"]),
    (NirGraph(nodes={"sub": NirGraph(nodes={"a": NirNode("SumPool2d")}, edges=(("a", "b"), ("b", "c")))}),
     ["sub/a.kernel_size: is missing", "sub.edges: name 'b', 'c'"]),
])
def test_what_is_not_clear_is_an_error_that_names_every_place(tmp_path, graph, words):
    save(tmp_path / "bad.nir", NirFile(graph))
    with pytest.raises(InvalidData) as caught:
        load(tmp_path / "bad.nir")
    for one in (*words, "bad.nir", "mend"):
        assert one in " ".join(str(caught.value).split())
    assert difference(load(tmp_path / "bad.nir", repair=False).graph, graph) == ""


@pytest.mark.parametrize(("graph", "words"), [
    (within(graphs.linear(2, 3), start=(4,), stop=(2,)), "n0: takes in (3,), but input puts out (4,)"),
    (within(graphs.flatten((2, 3), 1), graphs.linear(2, 5), start=(2, 3), stop=(2,)),
     "n1: takes in (5,), but n0 puts out (2, 3)"),
    (within(NirNode("ALIF"), start=(3,), stop=(3,)), "n0: has the type ALIF, which NIR does not have"),
    (within(NirGraph(nodes={name: graphs.end("Input", (3,)) for name in "ab"}), start=(3,), stop=(3,)),
     "n0: is a graph with 2 nodes of type Input: nothing says which of them an edge means"),
])
def test_what_does_not_fit_is_left_and_reported(tmp_path, graph, words):
    save(tmp_path / "odd.nir", NirFile(graph))
    found = load(tmp_path / "odd.nir")
    assert difference(found.graph, graph) == ""
    assert words in [str(one) for one in found.findings]
    assert not any(one.repaired for one in found.findings)


def test_two_nodes_of_one_path_are_not_mixed_up(tmp_path):
    """A node a/b beside the node b of the graph a."""
    inner = graphs.chain({"i": graphs.end("Input", (3,)), "b": graphs.ones("LIF", ()), "o": graphs.end("Output", (3,))})
    graph = graphs.chain({"input": graphs.end("Input", (3,)), "a": inner, "a/b": graphs.linear(3, 3),
                          "output": graphs.end("Output", (3,))})
    found = repaired(NirFile(graph))
    assert difference(found.graph, graph) == ""
    assert "is the path of two nodes" in found.findings[0].words


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(graph=graphs.any_graphs())
def test_repairing_twice_is_repairing_once(graph):
    try:
        once = repaired(NirFile(graph))
    except InvalidData:
        return
    again = repaired(NirFile(once.graph))
    assert difference(again.graph, once.graph) == ""
    assert not any(one.repaired for one in again.findings)


# --- releases ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "numbers", "meaning"), [
    ("0.1.1", (0, 1, 1), True), ("0.2.0", (0, 2, 0), True), ("1.0", (1, 0, 0), True), ("1.0.5", (1, 0, 5), True),
    ("1.0.6.dev1+g6189cac", (1, 0, 6), False), ("1.0.6", (1, 0, 6), False), ("1.0.10", (1, 0, 10), False),
    ("v1.0.8", (1, 0, 8), False), (" 2.0rc1 ", (2, 0, 0), False), ("", None, None), ("unknown", None, None),
    ("9" * 5000, None, None),
])
def test_a_version_says_what_a_spike_does(version, numbers, meaning):
    assert release(version) == numbers
    assert subtracts(version) is meaning
