"""Recorded activity in NIR's format: in and out, dense and as events, with nir and without."""

from __future__ import annotations

import nir
import nir_graphs as graphs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from neuroport.errors import InvalidData, NotWritten
from neuroport.nir import traces
from neuroport.nir.contents import NirGraph

drawn = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
DT = 1e-4
shapes = st_np.array_shapes(min_dims=2, max_dims=5, min_side=1, max_side=5)
spikes = shapes.flatmap(lambda shape: st_np.arrays(bool, shape))
counts = shapes.flatmap(lambda shape: st_np.arrays(np.uint8, shape, elements=st.integers(0, 3)))
voltages = st.sampled_from(["f2", "f4", "f8", ">f4"]).flatmap(
    lambda dtype: shapes.flatmap(lambda shape: st_np.arrays(dtype, shape)))


def same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


@drawn
@given(values=st.one_of(spikes, counts, voltages), dt=st.sampled_from([1e-4, 3e-4, 1e-3, 0.1]))
def test_dense_traces_come_back_bit_by_bit(tmp_path, values, dt):
    traces.save(tmp_path / "x.nir", {"lif": {"v": traces.Dense(values, dt)}})
    found = traces.load(tmp_path / "x.nir")["lif"]["v"]
    assert isinstance(found, traces.Dense)
    assert found.dt == dt
    assert same(found.values, values)


@drawn
@given(values=st.one_of(spikes, counts), dt=st.sampled_from([1e-4, 3e-4, 7e-4, 1e-3, 0.1]))
def test_spikes_come_back_from_events_in_their_step_and_number(tmp_path, values, dt):
    traces.save(tmp_path / "x.nir", {"lif": {"spikes": traces.Dense(values, dt).events()}})
    found = traces.load(tmp_path / "x.nir")["lif"]["spikes"]
    assert isinstance(found, traces.Events)
    assert (found.dense(dt).values == values).all()
    assert found.dense(dt).values.shape == values.shape


@drawn
@given(values=voltages)
def test_values_come_back_from_their_events(values):
    values = np.where(np.isnan(values), 1, values)
    assert same(traces.Dense(values, DT).events().dense(DT).values, values + np.zeros((), values.dtype))


@drawn
@given(values=spikes)
def test_nir_reads_the_same_spikes(tmp_path, values):
    """At a dt whose multiples nir does not round down."""
    held = traces.of_arrays({"lif": {"spikes": values, "v": values}}, 0.5)
    traces.save(tmp_path / "x.nir", held)
    read = nir.read_data(tmp_path / "x.nir").nodes["lif"].observables
    steps, batch = values.shape[:2]
    expected = np.moveaxis(values, 0, 1).reshape(batch, steps, -1)
    assert (read["v"].data == expected).all()
    assert (read["spikes"].to_time_gridded(0.5).data == expected).all()


def test_nir_s_own_files_are_loaded(tmp_path):
    data = np.arange(24.0).reshape(2, 3, 4)
    event = nir.ValuedEventData(idx=np.array([[3, -1]]), time=np.array([[1e-3, np.inf]]), n_neurons=4, t_max=3e-3,
                                value=np.array([[0.5, 0.0]]))
    nodes = {"lif": nir.NIRNodeData({"v": nir.TimeGriddedData(data, 1e-3), "graded": event})}
    nir.write_data(tmp_path / "theirs.nir", nir.NIRGraphData(nodes))
    found = traces.arrays(traces.load(tmp_path / "theirs.nir"), 1e-3)["lif"]
    assert (found["v"] == np.moveaxis(data, 0, 1)).all()
    assert found["graded"].shape == (3, 1, 4)
    assert np.argwhere(found["graded"]).tolist() == [[1, 0, 3]]


def test_nodes_of_nested_graphs_and_odd_names_keep_their_paths(tmp_path):
    graph = NirGraph(nodes={"a/b": graphs.ones("LIF", (1,)), "a": NirGraph(nodes={"c.d": graphs.ones("LIF", (1,))})})
    held = traces.of_arrays({path: {"v/pre": np.zeros((2, 1, 1))} for path in ("a/b", "a/c.d")}, DT)
    traces.save(tmp_path / "x.nir", held, graph=graph)
    found = traces.load(tmp_path / "x.nir")
    assert {path: list(variables) for path, variables in found.items()} == {"a/b": ["v/pre"], "a/c.d": ["v/pre"]}
    assert list(nir.read_data(tmp_path / "x.nir").nodes) == ["a%2Fb", "a"]


def test_a_path_that_the_graph_does_not_have_is_refused(tmp_path):
    held = traces.of_arrays({"lif/x": {"v": np.zeros((2, 1, 1))}}, DT)
    with pytest.raises(InvalidData, match="is no node of the graph"):
        traces.save(tmp_path / "x.nir", held, graph=graphs.recurrent())


def test_a_node_and_a_graph_of_one_name_are_refused(tmp_path):
    held = traces.of_arrays({"a": {"v": np.zeros((2, 1, 1))}, "a/b": {"v": np.zeros((2, 1, 1))}}, DT)
    with pytest.raises(InvalidData, match="is given as a node and as a graph"):
        traces.save(tmp_path / "x.nir", held)


def test_events_are_in_order_of_time_and_padded():
    values = np.zeros((3, 2, 2), int)
    values[2, 0, 1], values[0, 0, 0], values[1, 1, 1] = 1, 2, 1
    found = traces.Dense(values, 0.5).events()
    assert found.index.tolist() == [[0, 0, 1], [1, -1, -1]]
    assert found.times.tolist() == [[0, 0, 1], [0.5, np.inf, np.inf]]
    assert (found.values, found.shape, found.duration) == (None, (2,), 1.5)


@pytest.mark.parametrize(("times", "dt"), [([[2.0]], 0.5), ([[-0.1]], 0.5)])
def test_an_event_outside_the_recording_is_refused(times, dt):
    with pytest.raises(InvalidData, match="outside the duration"):
        traces.Events(np.zeros((1, 1), int), np.array(times), None, (1,), 2.0).dense(dt)


def test_events_have_no_steps_of_their_own():
    held = traces.of_arrays({"lif": {"spikes": np.ones((2, 1, 1), bool)}}, DT)
    with pytest.raises(InvalidData, match="lif.spikes: holds events, which have no steps"):
        traces.arrays(held)
    with pytest.raises(InvalidData, match="dt: is 0"):
        traces.arrays(held, 0)


def test_another_step_than_that_of_a_dense_trace_is_refused():
    held = traces.of_arrays({"lif": {"v": np.ones((2, 1, 1))}}, DT)
    with pytest.raises(InvalidData, match="lif.v: has steps of 0.0001 s"):
        traces.arrays(held, 2 * DT)


def test_negative_counts_are_no_events():
    with pytest.raises(InvalidData, match="counts below zero"):
        traces.Dense(-np.ones((1, 1, 1), int), DT).events()


def test_texts_are_no_activity(tmp_path):
    with pytest.raises(InvalidData, match="lif.v: holds <U1"):
        traces.save(tmp_path / "x.nir", {"lif": {"v": traces.Dense(np.full((1, 1, 1), "a"), DT)}})
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(NotWritten):
        traces.save(tmp_path / "none" / "x.nir", {})
