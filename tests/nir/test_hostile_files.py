"""Files that are damaged, or made to do harm, end in a clear error, soon and in little memory."""

from __future__ import annotations

import os
import tracemalloc
import zlib

import h5py
import nir_graphs as graphs
import numpy as np
import pytest
from h5py import h5d, h5s, h5t
from hypothesis import HealthCheck, given, settings

from neuroport.errors import InvalidData
from neuroport.nir import traces
from neuroport.nir.codec.hdf5 import load, save
from neuroport.nir.codec.limits import Limits
from neuroport.nir.codec.repair import repaired
from neuroport.nir.codec.stand_ins import stand_ins
from neuroport.nir.contents import NirFile, NirGraph, NirNode
from neuroport.nir.shapes import infer

TEXT = h5py.string_dtype()
LIF = "node/nodes/lif"
SIGNATURE = b"\x89HDF\r\n\x1a\n"


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "graph.nir"
    save(file, NirFile(graphs.recurrent(3), "1.0.8"))
    return file


def refused(path, words, **arguments):
    """The error of reading it, which names the file, and takes little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(InvalidData) as caught:
            load(path, **arguments)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()
    assert words in " ".join(str(caught.value).split())
    assert path.name in str(caught.value)


def put(path, name, *arguments, **options):
    """Replace a data set of the file."""
    with h5py.File(path, "r+") as file:
        if name in file:
            del file[name]
        file.create_dataset(name, *arguments, **options)


# --- no such file ------------------------------------------------------------------------------------


def test_a_file_that_is_not_there(tmp_path):
    refused(tmp_path / "none.nir", "is not there")


def test_a_folder(tmp_path):
    refused(tmp_path, "folder")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.nir")
    refused(tmp_path / "pipe.nir", "is no file but a device or a pipe")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip", SIGNATURE, SIGNATURE + bytes(4000)])
def test_what_is_not_hdf5(tmp_path, content):
    (tmp_path / "no.nir").write_bytes(content)
    refused(tmp_path / "no.nir", "is no HDF5 file, or a damaged one")


def test_a_file_cut_off_anywhere(path):
    whole = path.read_bytes()
    for length in range(0, len(whole), len(whole) // 60):
        path.write_bytes(whole[:length])
        with pytest.raises(InvalidData):
            load(path)


def test_a_file_with_bytes_overwritten_gives_an_error_or_a_graph(path):
    """No other exception, whatever was hit: HDF5's own structures, names, numbers."""
    whole, random = path.read_bytes(), np.random.default_rng(5)
    failed = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 4):
            damaged[place] = random.integers(0, 256)
        path.write_bytes(bytes(damaged))
        try:
            load(path)
        except InvalidData:
            failed += 1
    assert failed > 5


def test_a_file_without_a_graph(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["spikes/times"] = np.zeros(3)
    refused(tmp_path / "other.h5", "/node: is missing")


# --- more than it should be --------------------------------------------------------------------------


def test_a_huge_shape_is_refused_before_it_is_read(path):
    put(path, f"{LIF}/tau", shape=(1 << 40,), dtype="f4", chunks=(1 << 20,), compression="gzip")
    assert path.stat().st_size < 100_000
    refused(path, f"/{LIF}/tau: declares 4,398,046,511,104 bytes")


def test_many_arrays_that_are_too_much_together(path):
    for index in range(20):
        put(path, f"{LIF}/field{index}", shape=(1 << 20,), dtype="f8", chunks=(1 << 20,), compression="gzip")
    refused(path, "declares 8,388,608 bytes", limits=Limits(bytes=100 << 20))
    assert len(load(path).graph.nodes["lif"].fields) == 25


def test_a_chunk_larger_than_its_array(path):
    put(path, f"{LIF}/tau", shape=(3,), maxshape=(None,), dtype="f4", chunks=(1 << 29,), compression="gzip")
    refused(path, "(a chunk of it): declares 2,147,483,648 bytes")


def test_an_array_in_countless_chunks(path):
    put(path, f"{LIF}/tau", shape=(1 << 27,), dtype="i1", chunks=(1,))
    refused(path, "comes in 134,217,728 chunks")


@pytest.mark.parametrize("checked", [False, True])
def test_a_chunk_that_unpacks_to_more_than_declared(path, checked):
    """gzip makes a thousand times as much of it; HDF5 would unpack all of that."""
    with h5py.File(path, "r+") as file:
        del file[f"{LIF}/tau"]
        options = {"chunks": (1024,), "compression": "gzip", "fletcher32": checked}
        held = file.create_dataset(f"{LIF}/tau", (1024,), "u1", **options)
        held.id.write_direct_chunk((0,), zlib.compress(bytes(150 << 20), 9) + bytes(4 * checked))
    refused(path, f"/{LIF}/tau: has a chunk that unpacks to more than the 1,024 bytes declared",
            limits=Limits(bytes=100 << 20))


def test_a_chain_of_filters_is_refused(path):
    with h5py.File(path, "r+") as file:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((16,))
        plan.set_deflate(9)
        plan.set_deflate(9)
        h5d.create(file[LIF].id, b"twice", h5t.NATIVE_FLOAT, h5s.create_simple((16,)), plan)
    refused(path, f"/{LIF}/twice: is packed with HDF5's filters [1, 1]")


def test_many_pointers_to_one_long_text(path):
    """16 bytes of the file for each, a megabyte of memory."""
    with h5py.File(path, "r+") as file:
        file.create_dataset(f"{LIF}/text", data=np.array(["x" * (1 << 20)] * 40, object), dtype=TEXT)
    refused(path, "declares", limits=Limits(bytes=20 << 20))


def test_more_nodes_than_a_file_may_have(path):
    with h5py.File(path, "r+") as file:
        nodes = file["node/nodes"].id
        links = nodes.links
        for index in range(60_000):
            links.create_hard(b"n%d" % index, nodes, b"lif")
    refused(path, "/node/nodes: holds 60,004 items")


def test_too_many_edges(path):
    put(path, "node/edges", shape=(2_000_000, 2), dtype=TEXT, chunks=(100_000, 2), compression="gzip")
    refused(path, "/node/edges: has 2,000,000 edges, more than 1,000,000")


@pytest.mark.parametrize("levels", [200, 10_000])
def test_groups_nested_too_deep(path, levels):
    with h5py.File(path, "r+") as file:
        group = file[LIF].create_group("metadata").id
        for _ in range(levels):
            group = h5py.h5g.create(group, b"m")
    refused(path, "lies more than 64 groups deep")


def test_graphs_nested_too_deep_are_not_written(tmp_path):
    graph = NirGraph()
    for _ in range(10_000):
        graph = NirGraph(nodes={"g": graph})
    with pytest.raises(InvalidData, match="nests graphs more than 32 deep"):
        save(tmp_path / "deep.nir", NirFile(graph))


def test_limits_are_raised_by_argument(path):
    put(path, f"{LIF}/weights", data=np.ones(1 << 10))
    refused(path, "declares 8,192 bytes", limits=Limits(bytes=4096))
    assert load(path, limits=Limits(bytes=16384)).graph.nodes["lif"].fields["weights"].sum() == 1 << 10


def test_a_heap_of_texts_on_which_hdf5_runs_forever(path):
    """An object that takes no room: the next one is where it is."""
    content = bytearray(path.read_bytes())
    place = content.find(b"GCOL\x01")
    content[place + 16 : place + 32] = bytes(16)
    path.write_bytes(bytes(content))
    refused(path, "a heap of texts there is damaged")


@pytest.mark.parametrize("packing", [{}, {"chunks": (4,)}, {"chunks": (4,), "compression": "gzip"}])
def test_a_text_that_claims_to_be_longer_than_its_file(path, packing):
    """HDF5 makes the room before it looks whether there is such a text."""
    put(path, f"{LIF}/texts", data=np.array(["abc"] * 8, object), dtype=TEXT, **packing)
    assert load(path).graph.nodes["lif"].fields["texts"].tolist() == ["abc"] * 8
    with h5py.File(path, "r") as file:
        texts = file[f"{LIF}/texts"].id
        chunks = []
        if packing:
            texts.chunk_iter(chunks.append)
        at = chunks[0].byte_offset if packing else texts.get_offset()
        raw = texts.read_direct_chunk((0,))[1] if packing else b""
    content = bytearray(path.read_bytes())
    forged = (2_000_000_000).to_bytes(4, "little")
    if "compression" in packing:
        longer = forged + zlib.decompress(raw)[4:]
        with h5py.File(path, "r+") as file:
            file[f"{LIF}/texts"].id.write_direct_chunk((0,), zlib.compress(longer))
    else:
        content[at : at + 4] = forged
        path.write_bytes(bytes(content))
    refused(path, "declares a text of 2,000,000,000 bytes")


def test_one_number_that_stands_for_a_gigabyte_of_neurons(tmp_path):
    """It is left as it is; written out it would fill the memory."""
    nodes = {"input": graphs.end("Input", (1 << 30,)), "lif": graphs.ones("LIF", ()), "output": NirNode("Output")}
    save(tmp_path / "wide.nir", NirFile(graphs.chain(nodes)))
    assert load(tmp_path / "wide.nir").graph.nodes["lif"].fields["tau"].shape == ()


def test_sizes_that_overflow(tmp_path):
    nodes = {"input": graphs.end("Input", (1 << 40, 1 << 40)), "output": NirNode("Output"),
             "flat": NirNode("Flatten", {"start_dim": np.array(0), "end_dim": np.array(-1)})}
    graph = NirGraph(nodes=nodes, edges=(("input", "flat"), ("flat", "output")))
    save(tmp_path / "wide.nir", NirFile(graph))
    found = [str(one) for one in load(tmp_path / "wide.nir").findings]
    assert found == ["flat: has more values along an axis than can be counted"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(graph=graphs.senseless_graphs())
def test_whatever_the_fields_of_known_nodes_hold_there_is_a_graph_or_a_clear_error(graph):
    try:
        found = repaired(NirFile(graph))
    except InvalidData:
        return
    assert infer(found.graph).out.keys() == dict(found.graph.walk()).keys()
    stand_ins(found.graph)


# --- links -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("link", "words"), [
    (h5py.SoftLink("/node/nodes/w_rec"), "is a link within the file"),
    (h5py.SoftLink("/nowhere"), "is a link within the file"),
    (h5py.ExternalLink("other.h5", "/x"), "is a link to another file"),
])
@pytest.mark.parametrize("name", [f"{LIF}/field", "node/nodes/other", "elsewhere"])
def test_links_are_not_followed(path, link, words, name):
    with h5py.File(path, "r+") as file:
        file[name] = link
    refused(path, f"/{name}: {words}")


def test_a_cycle_of_links(path):
    with h5py.File(path, "r+") as file:
        file[f"{LIF}/metadata"] = file["node"]
    refused(path, "is a group that is reached by another path as well")


def test_links_that_double_at_every_level(path):
    with h5py.File(path, "r+") as file:
        group = file[LIF].create_group("metadata")
        for _ in range(40):
            inner = group.create_group("a")
            group["b"] = inner
            group = inner
    refused(path, "is a group that is reached by another path as well")


def test_values_that_lie_in_other_files(path, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret" * 4)
    put(path, f"{LIF}/tau", shape=(24,), dtype="u1", external=[(str(secret), 0, 24)])
    refused(path, f"/{LIF}/tau: keeps its values in another file")


def test_virtual_data_sets(path):
    with h5py.File(path, "r+") as file:
        layout = h5py.VirtualLayout((3,), "f4")
        layout[:] = h5py.VirtualSource(str(path), f"{LIF}/r", (3,))
        file.create_virtual_dataset(f"{LIF}/virtual", layout)
    refused(path, f"/{LIF}/virtual: is put together from other files")


# --- what NIR does not hold --------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "words"), [
    (np.dtype([("a", "f4"), ("b", "i4")]), "holds records"),
    (h5py.ref_dtype, "holds references"),
    (h5py.vlen_dtype("f4"), "holds lists of various lengths"),
    (h5py.opaque_dtype(np.dtype("V8")), "holds opaque bytes"),
    (h5py.enum_dtype({"on": 1, "off": 0}, "i4"), "holds an enumeration"),
    (np.dtype(("f4", (1 << 10,))), "holds arrays within an array"),
])
def test_types_that_are_neither_numbers_nor_texts(path, dtype, words):
    put(path, f"{LIF}/tau", shape=(2,), dtype=dtype)
    refused(path, f"/{LIF}/tau: {words}")


def test_a_named_type_in_place_of_a_value(path):
    with h5py.File(path, "r+") as file:
        file[f"{LIF}/named"] = np.dtype("f4")
    refused(path, f"/{LIF}/named: is neither an array nor a group")


def test_text_that_is_no_unicode(path):
    put(path, f"{LIF}/text", data=b"\xff\xfe", dtype=TEXT)
    refused(path, f"/{LIF}/text: is no UTF-8 text")


@pytest.mark.parametrize(("edges", "words"), [
    (np.zeros((3, 3), "i4"), "has shape (3, 3)"),
    (np.zeros((2, 2), "f4"), "holds float32, no names"),
    (np.zeros(6), "has shape (6,)"),
    (np.float32(1), "has shape ()"),
    ([["lif", "nowhere"], ["gone", "lif"]], "name 'gone', 'nowhere', which are not there"),
    ([[7, 8], [8, 9]], "which are not there"),
])
def test_edges_that_are_none(path, edges, words):
    put(path, "node/edges", data=edges)
    refused(path, words)


@pytest.mark.parametrize(("name", "data", "words"), [
    ("node/type", 3, "/node/type: is no text"),
    (f"{LIF}/type", [1, 2], f"/{LIF}/type: is no text"),
    ("version", np.zeros(3), "/version: is no text"),
    ("node/nodes", np.zeros(3), "/node/nodes: is no group"),
    (LIF, np.zeros(3), f"/{LIF}: is no group, as a node is"),
])
def test_arrays_where_something_else_belongs(path, name, data, words):
    put(path, name, data=data)
    refused(path, words)


@pytest.mark.parametrize(("name", "words"), [
    ("node/edges", "/node/edges: is missing"), ("node/nodes", "/node/nodes: is missing"),
    (f"{LIF}/type", f"/{LIF}/type: is missing"), (f"{LIF}/tau", "lif.tau: is missing from LIF"),
])
def test_what_is_missing_is_named(path, name, words):
    with h5py.File(path, "r+") as file:
        del file[name]
    refused(path, words)


def test_marks_of_ours_that_others_forged(path):
    with h5py.File(path, "r+") as file:
        file["node/nodes/input"].attrs["neuroport_name"] = np.array(b"lif")
    refused(path, "is named 'lif', as")
    for value in (np.zeros(1000), "of variable length"):
        with h5py.File(path, "r+") as file:
            file["node/nodes/input"].attrs["neuroport_name"] = value
        refused(path, "/node/nodes/input@neuroport_name: is no text of fixed length")


def test_a_forged_width_of_texts(path):
    put(path, f"{LIF}/text", data=["a"], dtype=TEXT)
    for width, words in (("<U400000000", "declares 1,600,000,000 bytes"), ("<U99999999999999", "cannot be read")):
        with h5py.File(path, "r+") as file:
            file[f"{LIF}/text"].attrs["neuroport_kind"] = np.array(width.encode())
        refused(path, words)


# --- recorded activity -------------------------------------------------------------------------------


@pytest.mark.parametrize(("change", "words"), [
    (lambda file: file.__delitem__("nodes"), "/nodes: is missing"),
    (lambda file: file["nodes/lif"].__delitem__("observables"), "/nodes/lif: has neither observables nor nodes"),
    (lambda file: file["nodes/lif/observables/spikes"].__delitem__("time"), "/time: is missing"),
    (lambda file: file["nodes/lif/observables/v"].attrs.__setitem__("dt", -1.0), "@dt: is -1"),
    (lambda file: file["nodes/lif/observables/v"].attrs.__setitem__("dt", "fast"), "@dt: is no number"),
    (lambda file: file["nodes/lif/observables/v"].attrs.__setitem__("neuroport_shape", [7, 7]), "is (7, 7), for 6"),
    (lambda file: file["nodes/lif/observables/v"].attrs.__setitem__("neuroport_shape", [np.nan]), "no whole numbers"),
    (lambda file: file["nodes/lif/observables/v"].__delitem__("data"), "/idx: is missing"),
    (lambda file: file["nodes/lif/observables/spikes/idx"].__setitem__((0, 0), 6), "names neurons outside 0 to 5"),
    (lambda file: file["nodes/lif/observables/spikes/time"].__setitem__((0, 0), np.nan), "at no finite time"),
    (lambda file: file["nodes/lif/observables/spikes"].attrs.__setitem__("n_neurons", 7), "for 7 neurons"),
    (lambda file: file["nodes/lif"].__setitem__("link", h5py.SoftLink("/")), "is a link within the file"),
])
def test_damaged_recordings_are_refused(tmp_path, change, words):
    path = tmp_path / "activity.nir"
    held = {"lif": {"v": np.zeros((4, 2, 2, 3)), "spikes": np.ones((4, 2, 2, 3), bool)}}
    traces.save(path, traces.of_arrays(held, 1e-3))
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(InvalidData) as caught:
        traces.load(path)
    assert words in " ".join(str(caught.value).split())


def test_events_that_would_fill_the_memory_as_steps():
    held = traces.Events(np.zeros((1, 1), int), np.zeros((1, 1)), None, (1 << 40,), 1.0)
    with pytest.raises(InvalidData, match="would take"):
        held.dense(1e-3)


