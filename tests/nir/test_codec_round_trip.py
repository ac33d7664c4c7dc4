"""What is saved is what is loaded, bit by bit; and nir 1.0.8 reads it too."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import h5py
import nir
import nir_graphs as graphs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from recordings import nir_recording

from neuroport.errors import InvalidData, NotWritten
from neuroport.nir.codec.hdf5 import load, save
from neuroport.nir.contents import NirFile, NirGraph, NirNode, difference, same

PAPER = ("braille_noDelay_bias_zero.nir", "braille_noDelay_noBias_subtract.nir", "cnn_sinabs.nir", "lif_norse.nir")
drawn = settings(max_examples=60, deadline=None, suppress_health_check=[
    HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large])


@drawn
@given(file=graphs.any_files)
def test_whatever_is_saved_is_loaded_bit_by_bit(tmp_path, file):
    save(tmp_path / "any.nir", file)
    assert difference(load(tmp_path / "any.nir", repair=False), file) == ""


@drawn
@given(graph=graphs.whole_graphs())
def test_a_graph_that_needs_no_repair_is_loaded_as_it_was_saved(tmp_path, graph):
    file = NirFile(graph, "1.0.8")
    save(tmp_path / "whole.nir", file)
    found = load(tmp_path / "whole.nir")
    assert difference(found, file) == ""
    assert found.findings == ()


@drawn
@given(graph=graphs.whole_graphs(strict=True))
def test_nir_reads_strictly_what_is_saved(tmp_path, graph):
    save(tmp_path / "strict.nir", NirFile(graph, "1.0.8"))
    read = nir.read(tmp_path / "strict.nir", type_check=True)
    assert sorted(map(_described, read.nodes.values())) == sorted(map(_expected, graph.nodes.values()))
    assert len(read.edges) == len(graph.edges)


def _described(node):
    """A node of nir as text: its type and every bit of its arrays. nir brings w_in to the machine's byte order."""
    return _text(type(node).__name__, vars(node))


def _expected(node):
    graph = isinstance(node, NirGraph)
    return _text(node.type, {} if graph else {**node.fields, "shape": None, "input_type": None})


def _text(kind, fields):
    held = {name: value.astype(value.dtype.newbyteorder("<")) for name, value in fields.items()
            if isinstance(value, np.ndarray) and value.ndim}
    return " ".join([kind, *(f"{name}={held[name].dtype}:{held[name].tobytes().hex()}" for name in sorted(held))])


def test_nodes_keep_their_order_in_nir_too(tmp_path):
    nodes = {"z": graphs.end("Input", (3,)), "b": graphs.ones("LIF", (3,)), "a": graphs.end("Output", (3,))}
    save(tmp_path / "order.nir", NirFile(graphs.chain(nodes)))
    assert list(load(tmp_path / "order.nir").graph.nodes) == ["z", "b", "a"]
    assert list(nir.read(tmp_path / "order.nir").nodes) == ["z", "b", "a"]


def test_a_name_with_a_slash_is_read_by_nir_under_another_and_by_us_as_it_is(tmp_path):
    names = ("in/put", "a%2Fb", "a/b", ".", "")
    nodes = dict(zip(names, [graphs.end("Input", (3,)), *(graphs.ones("LIF", (3,)) for _ in range(3)),
                             graphs.end("Output", (3,))], strict=True))
    save(tmp_path / "names.nir", NirFile(graphs.chain(nodes)))
    found = load(tmp_path / "names.nir").graph
    assert tuple(found.nodes) == names
    assert found.edges == tuple(zip(names[:-1], names[1:], strict=True))
    read = nir.read(tmp_path / "names.nir")
    assert list(read.nodes) == ["in%2Fput", "a%2Fb", "a%2Fb%2", "%2E", "%"]
    assert read.edges[1:3] == [("a%2Fb", "a%2Fb%2"), ("a%2Fb%2", "%2E")]


def test_equal_contents_give_equal_bytes(tmp_path):
    file = NirFile(graphs.recurrent(40), "1.0.8")
    for name in ("one.nir", "two.nir"):
        save(tmp_path / name, file)
    assert (tmp_path / "one.nir").read_bytes() == (tmp_path / "two.nir").read_bytes()


@pytest.mark.parametrize("name", PAPER)
def test_a_file_of_the_paper_is_loaded_saved_and_loaded_to_identical_contents(tmp_path, name):
    found = load(nir_recording(name))
    save(tmp_path / "again.nir", found)
    assert difference(load(tmp_path / "again.nir"), found) == ""
    assert found.findings == ()


@pytest.mark.parametrize("name", PAPER)
def test_nir_reads_a_file_of_the_paper_alike_from_us(tmp_path, name):
    save(tmp_path / "again.nir", load(nir_recording(name)))
    theirs, ours = nir.read(nir_recording(name)), nir.read(tmp_path / "again.nir")
    assert {key: _described(node) for key, node in ours.nodes.items()} == {
        key: _described(node) for key, node in theirs.nodes.items()}
    assert ours.edges == theirs.edges


def test_what_nir_writes_is_loaded_with_every_field(tmp_path):
    lif = nir.LIF(*(np.full((3,), value, "f4") for value in (1, 2, 3, 4, 5)), metadata={"a": "b", "n": 3})
    nir.write(tmp_path / "theirs.nir", nir.NIRGraph.from_list(lif))
    found = load(tmp_path / "theirs.nir")
    node = found.graph.nodes["lif"]
    assert found.version == "1.0.8"
    assert {name: value[0] for name, value in node.fields.items()} == {
        "tau": 1, "r": 2, "v_leak": 3, "v_threshold": 4, "v_reset": 5}
    assert node.metadata == {"a": "b", "n": np.array(3)}


def test_none_stands_for_something_that_nir_can_read(tmp_path):
    nodes = {
        "input": graphs.end("Input", (2, 8, 8)), "conv": graphs.conv2d((4, 2, 3, 3), None, bias=None),
        "pool": graphs.pool("SumPool2d"), "flat": NirNode("Flatten", {**graphs.flatten(()).fields, "input_type": None}),
        "if": NirNode("IF", {"r": np.ones(36), "v_threshold": np.ones(36), "v_reset": None}),
        "output": graphs.end("Output", (36,)),
    }
    file = NirFile(graphs.chain(nodes))
    save(tmp_path / "none.nir", file)
    assert difference(load(tmp_path / "none.nir"), file) == ""
    read = nir.read(tmp_path / "none.nir").nodes
    assert read["conv"].bias.tolist() == [0, 0, 0, 0]
    assert read["conv"].input_shape.tolist() == [8, 8]
    assert read["if"].v_reset.tolist() == [0] * 36


@pytest.mark.parametrize("compression", [None, 0, 9])
def test_compression_changes_no_bit(tmp_path, compression):
    weight = np.random.default_rng(0).normal(size=(64, 64))
    file = NirFile(graphs.chain({"input": graphs.end("Input", (64,)), "w": NirNode("Linear", {"weight": weight}),
                                 "output": graphs.end("Output", (64,))}))
    save(tmp_path / "packed.nir", file, compression=compression)
    assert same(load(tmp_path / "packed.nir"), file)


def test_others_attributes_are_reported_as_not_kept(tmp_path):
    save(tmp_path / "one.nir", NirFile(graphs.recurrent()))
    with h5py.File(tmp_path / "one.nir", "r+") as file:
        file["node/nodes/lif"].attrs["unit"] = "mV"
    assert [str(one) for one in load(tmp_path / "one.nir").findings] == [
        "/node/nodes/lif: has HDF5 attributes, which mean nothing in NIR: they are not kept"]


# --- where two contents differ -----------------------------------------------------------------------


def _changed(**fields):
    return NirFile(NirGraph(nodes={"sub": NirGraph(nodes={"a": NirNode("X", fields, {"m": {"k": "v"}})})}), "1.0.8")


@pytest.mark.parametrize(("one", "other", "words"), [
    (_changed(x=np.zeros(3)), _changed(x=np.zeros(3)), ""),
    (_changed(x=np.array([1, 0.0])), _changed(x=np.array([1, -0.0])), "sub/a.x: 1 values, the first at (1,): "
     "np.float64(0.0), np.float64(-0.0)"),
    (_changed(x=np.array([np.nan])), _changed(x=np.array([np.nan])), ""),
    (_changed(x=np.zeros(3)), _changed(x=np.zeros(3, "f4")),
     "sub/a.x: float64 of shape (3,), float32 of shape (3,)"),
    (_changed(x=np.zeros(())), _changed(x=np.zeros(1)), "sub/a.x: float64 of shape (), float64 of shape (1,)"),
    (_changed(x=np.zeros(1, ">f4")), _changed(x=np.zeros(1, "<f4")),
     "sub/a.x: >f4 of shape (1,), float32 of shape (1,)"),
    (_changed(x=None), _changed(x="None"), "sub/a.x: NoneType, str"),
    (_changed(x=1, y=2), _changed(y=2, x=1), "sub/a: field 'x', 'y'"),
    (_changed(x=1), _changed(x=np.array(1)), ""),
    (_changed(x={"p": "q"}), _changed(x={"p": "r"}), "sub/a.x.p: 'q', 'r'"),
    (NirFile(NirGraph(nodes={"a": NirNode("X")})), NirFile(NirGraph(nodes={"a": NirNode("Y")})),
     "a: type X (NirNode), Y (NirNode)"),
    (NirFile(NirGraph(edges=(("a", "b"),))), NirFile(NirGraph(edges=())), "edge 0: ('a', 'b'), None"),
    (NirFile(NirGraph(), "1.0.5"), NirFile(NirGraph(), "1.0.6"), "version: '1.0.5', '1.0.6'"),
])
def test_the_first_difference_is_named(one, other, words):
    assert difference(one, other) == words
    assert same(one, other) == (words == "")


# --- what cannot be written --------------------------------------------------------------------------


@pytest.mark.parametrize(("node", "words"), [
    (NirNode("X", {"x": [1, 2]}), "/node/nodes/n/x: is a list"),
    (NirNode("X", {"x": np.array([object()])}), "where a text belongs"),
    (NirNode("X", {"x": np.zeros(2, "datetime64[s]")}), "holds datetime64"),
    (NirNode("X", {"x": np.zeros(2, [("a", "f4")])}), "holds [('a'"),
    (NirNode("X", {"x": "a\0b"}), "HDF5 ends a text at NUL"),
    (NirNode("X", {"x": "\ud800"}), "which is no Unicode"),
    (NirNode("X", {"type": "Y"}), "a name that NIR keeps for itself"),
    (NirNode("X", {"metadata": {}}), "put it into the node's metadata"),
    (NirNode("NIRGraph"), "give a NirGraph"),
    (NirNode(7), "/node/nodes/n/type: holds 7 where a text belongs"),
])
def test_what_hdf5_cannot_hold_is_refused_by_path(tmp_path, node, words):
    with pytest.raises(InvalidData) as caught:
        save(tmp_path / "bad.nir", NirFile(NirGraph(nodes={"n": node})))
    assert words in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_refused_or_failing_save_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "kept.nir"
    save(path, NirFile(graphs.recurrent()))
    before = path.read_bytes()
    with pytest.raises(InvalidData):
        save(path, NirFile(NirGraph(nodes={"n": NirNode("X", {"x": object()})})))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NotWritten, match="No space left"):
        save(path, NirFile(graphs.recurrent(5)))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(NotWritten, match="cannot be written"):
        save(tmp_path / "none" / "x.nir", NirFile(graphs.recurrent()))


def test_a_file_that_may_only_be_read_is_loaded(tmp_path):
    path = tmp_path / "fixed.nir"
    save(path, NirFile(graphs.recurrent()))
    path.chmod(stat.S_IRUSR)
    assert same(load(path).graph, graphs.recurrent())


def test_import_neuroport_imports_neither_h5py_nor_nir():
    code = "import neuroport, sys; print([name for name in ('h5py', 'nir') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
