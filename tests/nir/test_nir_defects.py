"""What nir 1.0.8 does wrong, each shown first, so that a test fails when it is mended; and that we do it right."""

from __future__ import annotations

import h5py
import nir
import nir_graphs as graphs
import numpy as np
import pytest
from nir_graphs import array

from neuroport.errors import InvalidData
from neuroport.nir import info, read, traces
from neuroport.nir.codec.hdf5 import load, save
from neuroport.nir.contents import NirFile, NirGraph, NirNode, difference
from neuroport.nir.releases import subtracts
from neuroport.nir.shapes import infer

INPUT, OUTPUT = nir.Input(array(2)), nir.Output(array(2))


def theirs(weight=(2, 1, 3, 3), input_shape=(8, 8), stride=1, padding=0, groups=1, bias=True):
    return nir.Conv2d(input_shape, np.ones(weight), stride, padding, 1, groups, np.ones(weight[0]) if bias else None)


def shapes_of(node: NirNode) -> tuple:
    found = infer(NirGraph(nodes={"node": node}))
    return found.into["node"], found.out["node"]


def unsaved(path, graph: nir.NIRGraph, error, words: str) -> None:
    """That nir cannot write it."""
    with pytest.raises(error, match=words):
        nir.write(path, graph)


def kept(path, node: NirNode) -> NirNode:
    """The node after a round trip of ours, which changed nothing."""
    file = NirFile(NirGraph(nodes={"node": node}))
    save(path, file)
    found = load(path, repair=False)
    assert difference(found, file) == ""
    return found.graph.nodes["node"]


def scaled(*names: str) -> NirGraph:
    """An Input, a Scale and an Output of two numbers, under these names."""
    nodes = (graphs.end("Input", (2,)), graphs.ones("Scale", (2,)), graphs.end("Output", (2,)))
    return graphs.chain(dict(zip(names, nodes, strict=True)))


# --- shapes ------------------------------------------------------------------------------------------


def test_a_kernel_that_is_not_square():
    assert theirs((2, 1, 3, 5)).output_type["output"].tolist() == [2, 6, 6]
    assert shapes_of(graphs.conv2d((2, 1, 3, 5), (8, 8))) == ((1, 8, 8), (2, 6, 4))


def test_groups():
    assert theirs((4, 1, 3, 3), groups=2).input_type["input"].tolist() == [1, 8, 8]
    assert shapes_of(graphs.conv2d((4, 1, 3, 3), (8, 8), groups=np.array(2))) == ((2, 8, 8), (4, 6, 6))


def test_same_with_a_stride():
    assert theirs(stride=2, padding="same").output_type["output"].tolist() == [2, 8, 8]
    assert shapes_of(graphs.conv2d((2, 1, 3, 3), (8, 8), stride=array(2, 2), padding="same"))[1] == (2, 4, 4)


def test_a_pool_behind_a_nested_graph(tmp_path):
    shape = (1, 4, 4)
    inner = {"a": graphs.end("Input", shape), "lif": graphs.ones("LIF", shape), "b": graphs.end("Output", shape)}
    graph = graphs.chain({"input": graphs.end("Input", shape), "sub": graphs.chain(inner),
                          "pool": graphs.pool("SumPool2d"), "output": graphs.end("Output", (1, 2, 2))})
    save(tmp_path / "pool.nir", NirFile(graph))
    with pytest.raises(KeyError, match="output"):
        nir.read(tmp_path / "pool.nir")
    assert infer(load(tmp_path / "pool.nir").graph).out["pool"] == (1, 2, 2)


# --- what nir can hold and not write -----------------------------------------------------------------


def test_a_convolution_without_a_bias(tmp_path):
    graph = nir.NIRGraph({"conv": theirs(bias=False)}, [], type_check=False)
    unsaved(tmp_path / "x.nir", graph, TypeError, "One of data, shape or dtype")
    assert kept(tmp_path / "x.nir", graphs.conv2d((2, 1, 3, 3), (8, 8), bias=None)).fields["bias"] is None


def test_a_convolution_whose_input_shape_is_open(tmp_path):
    graph = nir.NIRGraph({"conv": theirs(input_shape=None)}, [], type_check=False)
    unsaved(tmp_path / "x.nir", graph, TypeError, "One of data, shape or dtype")
    assert kept(tmp_path / "x.nir", graphs.conv2d((2, 1, 3, 3), None)).fields["input_shape"] is None


def test_none_in_metadata(tmp_path):
    node = nir.Linear(np.ones((2, 2)), metadata={"author": None})
    unsaved(tmp_path / "x.nir", nir.NIRGraph.from_list(node), TypeError, "One of data, shape or dtype")
    ours = NirNode("Linear", {"weight": np.ones((2, 2))}, {"author": None})
    assert kept(tmp_path / "x.nir", ours).metadata == {"author": None}


def test_metadata_that_is_none(tmp_path):
    node = nir.Linear(np.ones((2, 2)))
    node.metadata = None
    unsaved(tmp_path / "x.nir", nir.NIRGraph.from_list(node), AttributeError, "items")
    assert kept(tmp_path / "x.nir", NirNode("Linear", {"weight": np.ones((2, 2)), "metadata": None})).metadata == {}


def test_an_array_of_no_axes(tmp_path):
    graph = nir.NIRGraph({"scale": nir.Scale(np.array(2.0))}, [], type_check=False)
    unsaved(tmp_path / "x.nir", graph, TypeError, "Scalar datasets don't support chunk/filter options")
    assert kept(tmp_path / "x.nir", NirNode("Scale", {"scale": np.array(2.0)})).fields["scale"].shape == ()


def test_a_name_with_a_slash(tmp_path):
    nir.write(tmp_path / "x.nir", nir.NIRGraph({"in": INPUT, "a/b": nir.Scale(np.ones(2)), "out": OUTPUT},
                                               [("in", "a/b"), ("a/b", "out")]))
    with pytest.raises(KeyError, match="type"):
        nir.read(tmp_path / "x.nir")
    save(tmp_path / "x.nir", NirFile(scaled("in", "a/b", "out")))
    assert list(load(tmp_path / "x.nir").graph.nodes) == ["in", "a/b", "out"]
    assert len(nir.read(tmp_path / "x.nir").nodes) == 3


def test_the_order_of_nodes(tmp_path):
    graph = nir.NIRGraph({"z": INPUT, "b": nir.Scale(np.ones(2)), "a": OUTPUT}, [("z", "b"), ("b", "a")])
    nir.write(tmp_path / "x.nir", graph)
    assert list(nir.read(tmp_path / "x.nir").nodes) == ["a", "b", "z"]
    save(tmp_path / "x.nir", NirFile(scaled("z", "b", "a")))
    assert list(load(tmp_path / "x.nir").graph.nodes) == ["z", "b", "a"]


# --- what nir does not read --------------------------------------------------------------------------


def test_reading_without_a_check_of_types_still_checks_nested_graphs(tmp_path):
    inner = graphs.chain({"input": graphs.end("Input", (2,)), "scale": graphs.ones("Scale", (3,)),
                          "output": graphs.end("Output", (3,))})
    graph = graphs.chain({"input": graphs.end("Input", (2,)), "sub": inner, "output": graphs.end("Output", (3,))})
    save(tmp_path / "x.nir", NirFile(graph))
    with pytest.raises(ValueError, match="type mismatch"):
        nir.read(tmp_path / "x.nir", type_check=False)
    found = load(tmp_path / "x.nir")
    assert difference(found.graph, graph) == ""
    assert [str(one) for one in found.findings] == ["sub/scale: takes in (3,), but input puts out (2,)"]


def test_a_type_that_nir_does_not_have(tmp_path):
    node = NirNode("ALIF", {"tau": np.ones(3)})
    assert kept(tmp_path / "x.nir", node).type == "ALIF"
    with pytest.raises(AssertionError) as caught:
        nir.read(tmp_path / "x.nir", type_check=False)
    assert str(caught.value) == ""
    assert [str(one) for one in load(tmp_path / "x.nir").findings] == [
        "node: has the type ALIF, which NIR does not have"]


def test_a_field_that_nir_does_not_have(tmp_path):
    node = NirNode("Scale", {"scale": np.ones(3), "unit": "mV"})
    assert kept(tmp_path / "x.nir", node).fields["unit"] == "mV"
    with pytest.raises(TypeError, match="unexpected keyword argument 'unit'"):
        nir.read(tmp_path / "x.nir", type_check=False)


def test_an_edge_that_stands_twice(tmp_path):
    graph = scaled("in", "s", "out")
    twice = NirGraph(nodes=graph.nodes, edges=(*graph.edges, ("in", "s")))
    save(tmp_path / "x.nir", NirFile(twice))
    with pytest.raises(ValueError, match="Duplicate edge"):
        nir.read(tmp_path / "x.nir")
    assert difference(load(tmp_path / "x.nir").graph, graph) == ""


def test_values_that_mean_nothing(tmp_path):
    values = array(-1.0, np.nan)
    assert nir.LIF(values, values, values, values).tau[0] == -1
    lif = NirNode("LIF", {**graphs.ones("LIF", (2,)).fields, "tau": values, "v_reset": np.zeros(2)})
    nodes = {"in": graphs.end("Input", (2,)), "lif": lif, "out": graphs.end("Output", (2,))}
    save(tmp_path / "x.nir", NirFile(graphs.chain(nodes)))
    assert nir.read(tmp_path / "x.nir").nodes["lif"].tau[0] == -1
    assert [str(one) for one in info(tmp_path / "x.nir").findings] == [
        "lif: tau holds 1 of 2 values that are NaN or infinite",
        "lif: tau holds 1 of 2 time constants that are not above zero"]
    with pytest.raises(InvalidData, match="tau"):
        read(tmp_path / "x.nir", numerics="norse", dt=1e-4, reset="hard")


def test_the_version_says_what_a_spike_does_and_nir_does_not_look(tmp_path):
    nodes = {"in": graphs.end("Input", (1,)), "if": NirNode("IF", {"r": np.ones(1), "v_threshold": np.ones(1)}),
             "out": graphs.end("Output", (1,))}
    meant = {}
    for version in ("1.0.5", "1.0.6"):
        save(tmp_path / "x.nir", NirFile(graphs.chain(nodes), version))
        assert nir.read(tmp_path / "x.nir").nodes["if"].v_reset.tolist() == [0]
        meant[version] = subtracts(load(tmp_path / "x.nir").version)
    assert meant == {"1.0.5": True, "1.0.6": False}


def test_a_graph_of_the_paper_that_names_a_node_otherwise(tmp_path):
    """As braille_noDelay_bias_zero_subgraph.nir does: the node is called lif1, its edges say lif."""
    inner = graphs.recurrent(3)
    nodes = {"lif1" if name == "lif" else name: node for name, node in inner.nodes.items()}
    graph = graphs.chain({"input": graphs.end("Input", (3,)), "sub": NirGraph(nodes=nodes, edges=inner.edges),
                          "output": graphs.end("Output", (3,))})
    save(tmp_path / "x.nir", NirFile(graph, "0.2.0"))
    with pytest.raises(ValueError, match="'lif' which does not exist"):
        nir.read(tmp_path / "x.nir", type_check=False)
    found = load(tmp_path / "x.nir")
    assert found.graph.nodes["sub"].edges[0] == ("input", "lif1")
    assert [one.repaired for one in found.findings] == [True]
    save(tmp_path / "again.nir", found)
    assert list(nir.read(tmp_path / "again.nir").nodes["sub"].nodes) == list(nodes)


# --- recorded activity -------------------------------------------------------------------------------


def test_activity_of_a_nested_graph(tmp_path):
    inner = nir.NIRGraphData({"lif": nir.NIRNodeData({"v": nir.TimeGriddedData(np.zeros((1, 2, 3)), 1e-3)})})
    with pytest.raises(RecursionError):
        nir.write_data(tmp_path / "x.nir", nir.NIRGraphData({"sub": inner}))
    values = np.arange(6.0).reshape(2, 1, 3)
    traces.save(tmp_path / "x.nir", traces.of_arrays({"sub/lif": {"v": values}}, 1e-3))
    assert (traces.arrays(traces.load(tmp_path / "x.nir"))["sub/lif"]["v"] == values).all()
    read = nir.read_data(tmp_path / "x.nir")
    assert (read.nodes["sub"].nodes["lif"].observables["v"].data[0] == values[:, 0]).all()


def test_events_at_the_time_of_their_step():
    """49 * 1e-4 / 1e-4 is 48.999...: nir puts 137 of 2000 spikes into the step before."""
    spikes = np.ones((2000, 1, 1), bool)
    grid = nir.TimeGriddedData(np.moveaxis(spikes, 0, 1), 1e-4)
    assert grid.to_event(2000).to_time_gridded(1e-4).data.sum() == 2000 - 137
    assert (traces.Dense(spikes, 1e-4).events().dense(1e-4).values == spikes).all()


def test_several_spikes_in_one_step(tmp_path):
    index, times = np.zeros((1, 3), int), np.array([[0.0, 0.0, 1e-3]])
    assert nir.EventData(index, times, 1, 2e-3).to_time_gridded(1e-3).data.tolist() == [[[True], [True]]]
    assert traces.Events(index, times, None, (1,), 2e-3).dense(1e-3).values.tolist() == [[[2]], [[1]]]


def test_a_file_without_metadata_of_ours_keeps_the_order_of_hdf5(tmp_path):
    """Files of others do not say in which order their nodes were made."""
    with h5py.File(tmp_path / "x.nir", "w") as file:
        for name in ("b", "a"):
            file[f"node/nodes/{name}/type"] = "Scale"
        file["node/edges"], file["node/type"] = np.zeros(0), "NIRGraph"
    assert list(load(tmp_path / "x.nir", repair=False).graph.nodes) == ["a", "b"]
