"""Files become models under numerics that are stated: what is asked, what is refused, what does not matter."""

import re
from dataclasses import replace

import numpy as np
import pytest

import neuroport as npt
from neuroport.nir import NirFile, NirGraph, NirNode
from neuroport.nir.importing import imported

RNG = np.random.default_rng(1)


def full(value, size=3):
    return np.full(size, value, np.float32)


def lif(size=3, **fields):
    return NirNode("LIF", {"tau": full(0.01, size), "r": full(1, size), "v_leak": full(0, size),
                           "v_threshold": full(1, size), "v_reset": full(0, size), **fields})


def linear(out, into, bias=False):
    weight = RNG.normal(0.5, 1.5, (out, into)).astype(np.float32)
    return NirNode("Affine" if bias else "Linear", {"weight": weight, **({"bias": full(0.2, out)} if bias else {})})


def end(kind, *shape):
    return NirNode(kind, {"shape": np.array(shape)})


def file(nodes, edges, version="1.0.8"):
    return NirFile(NirGraph(nodes=nodes, edges=tuple(edges)), version)


def recurrent(neuron=None):
    nodes = {"input": end("Input", 4), "fc": linear(3, 4, True), "cell": neuron or lif(), "back": linear(3, 3, True),
             "output": end("Output", 3)}
    return file(nodes, [("input", "fc"), ("fc", "cell"), ("cell", "back"), ("back", "cell"), ("cell", "output")])


def simple(node, shape=(3,), out=(3,), version="1.0.8"):
    return file({"input": end("Input", *shape), "x": node, "output": end("Output", *out)},
                [("input", "x"), ("x", "output")], version)


def problems(*given, **settings):
    with pytest.raises(npt.NeuroportError) as caught:
        imported(*given, **settings)
    return str(caught.value)


def spikes(found, x):
    return npt.run(found.model, found.parameters, x, engine="reference").outputs


X = (RNG.random((60, 2, 4)) < 0.5).astype(np.float32)


def test_a_file_that_leaves_everything_open_is_asked_about_with_the_choices():
    said = problems(simple(lif(), version="0.2.0"), numerics=None)
    assert re.search(r"numerics: .*'norse', 'snntorch', 'sinabs', 'spyx', 'spikingjelly', 'spinnaker2', 'nengo'", said,
                     re.S)
    assert "dt: a file does not say how long a step is" in problems(simple(lif()), numerics=None)  # both at once
    said = problems(simple(lif(), version="0.2.0"), numerics="norse")
    assert "reset='soft'" in said and "reset='hard'" in said and "0.2.0 of nir meant the soft one" in said
    assert "dt=" in said


def test_all_that_a_file_leaves_open_is_asked_for_at_once():
    said = problems(simple(lif(), version="1.0.4"))
    assert all(f"- {what}: " in said for what in ("numerics", "reset", "dt"))
    assert "these numerics have one of their own: 'sinabs', 'spyx', 'nengo'" in said
    assert "- reset: " not in problems(simple(lif(), version="1.0.4"), reset="hard")


def test_the_version_of_a_file_says_what_its_reset_means_from_1_0_6_on():
    for version, meant in (("1.0.6", "hard"), ("1.0.8", "hard"), ("1.1", "hard")):
        assert imported(simple(lif(), version=version), "norse", 1e-3).model.numerics.reset == meant
    for version in ("1.0.5", "0.2.0", ""):
        assert "reset" in problems(simple(lif(), version=version), "norse", 1e-3)


def test_a_platform_that_has_one_reset_is_not_asked_about_it():
    assert imported(simple(lif(), version=""), "sinabs", 1e-3).model.numerics.reset == "soft"
    assert imported(simple(lif(), version=""), "nengo", 1e-3).model.numerics.reset == "hard"


def test_numerics_of_ones_own_are_taken():
    own = npt.Numerics(discretization="euler", comparison="ge", reset="soft")
    assert imported(simple(lif()), own, 1e-3).model.numerics == own


def test_dt_beyond_a_time_constant_is_refused_with_the_units():
    said = problems(simple(lif()), "norse", 0.02)
    assert "x.tau" in said and "dt / tau is not in (0, 1]" in said and "time_unit" in said


def test_times_in_milliseconds_or_steps_are_read_by_their_unit():
    seconds = imported(simple(lif()), "norse", 1e-3)
    milliseconds = imported(simple(lif(tau=full(10.0))), "norse", 1e-3, time_unit=1e-3)
    assert np.allclose(milliseconds.model.nodes["x"].tau, seconds.model.nodes["x"].tau)


@pytest.mark.parametrize("field, value, words", [
    ("tau", full(-1.0), "above zero"), ("tau", full(np.nan), "NaN"), ("v_threshold", np.array(["a"]), "no numbers"),
    ("r", None, "missing")])
def test_a_neuron_that_cannot_be_is_refused_by_field(field, value, words):
    said = problems(simple(lif(**{field: value})), "norse", 1e-3)
    assert f"x.{field}" in said and words in said


def test_every_faulty_node_is_named_at_once():
    nodes = {"input": end("Input", 3), "a": lif(tau=full(-1.0)), "b": NirNode("Quantum"), "output": end("Output", 3)}
    said = problems(file(nodes, [("input", "a"), ("a", "b"), ("b", "output")]), "norse", 1e-3)
    assert "a.tau" in said and "'Quantum'" in said


def test_the_order_of_a_files_nodes_and_edges_changes_nothing():
    first = recurrent()
    expected = imported(first, "norse", 1e-3)
    for _ in range(5):
        names = RNG.permutation(list(first.graph.nodes))
        edges = [first.graph.edges[index] for index in RNG.permutation(len(first.graph.edges))]
        other = imported(file({name: first.graph.nodes[name] for name in names}, edges), "norse", 1e-3)
        assert other.model == expected.model
        assert np.array_equal(spikes(other, X), spikes(expected, X))


def test_a_recurrent_bias_acts_from_the_first_step_but_in_norse():
    silent = np.zeros((1, 1, 4), np.float32)
    strong = recurrent()
    strong.graph.nodes["fc"].fields["bias"][:] = 0
    strong.graph.nodes["back"].fields["bias"][:] = 20
    assert spikes(imported(strong, "nengo", 1e-3), silent).sum() == 3
    assert spikes(imported(strong, "norse", 1e-3), silent).sum() == 0


def test_a_nested_graph_is_the_flat_one_with_names_joined():
    flat = recurrent()
    its = flat.graph.nodes
    nested = NirGraph(
        nodes={"in": end("Input", 3), "lif": its["cell"], "w": its["back"], "out": end("Output", 3)},
        edges=(("in", "lif"), ("lif", "w"), ("w", "lif"), ("lif", "out")))
    nodes = {"input": its["input"], "fc": its["fc"], "cell": nested, "output": its["output"]}
    found = imported(file(nodes, [("input", "fc"), ("fc", "cell"), ("cell", "output")]), "snntorch", 1e-3)
    assert {"cell/lif", "cell/w"} < set(found.model.nodes)
    assert np.array_equal(spikes(found, X), spikes(imported(flat, "snntorch", 1e-3), X))


def through_empty_graphs(*edges):
    """Graphs a to d that hold nothing, between the input and a neuron."""
    empty = NirGraph(nodes={"in": end("Input", 3), "out": end("Output", 3)}, edges=(("in", "out"),))
    nodes = {"input": end("Input", 3), **{name: empty for edge in edges for name in edge if name in "abcd"},
             "x": lif(), "output": end("Output", 3)}
    return file(nodes, [*edges, ("x", "output")])


def test_a_signal_that_comes_by_two_ways_through_empty_graphs_is_not_halved():
    split = [("input", "a"), ("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("d", "x")]
    assert "input -> x stands twice" in problems(through_empty_graphs(*split), "norse", 1e-3, "hard")
    way = imported(through_empty_graphs(*[edge for edge in split if "c" not in edge]), "norse", 1e-3, "hard")
    assert [(edge.source, edge.target) for edge in way.model.edges] == [("input", "x"), ("x", "output")]


def test_a_ring_of_empty_graphs_is_refused_since_nothing_in_it_can_be_delayed():
    ring = through_empty_graphs(("input", "a"), ("a", "b"), ("b", "a"), ("b", "x"))
    said = problems(ring, "norse", 1e-3, "hard")
    assert "a ring" in said and "a/in" in said


def test_numerics_and_resets_may_differ_by_node_and_by_nested_graph():
    nodes = {"input": end("Input", 3), "a": lif(), "b": NirGraph(
        nodes={"in": end("Input", 3), "c": lif(), "out": end("Output", 3)}, edges=(("in", "c"), ("c", "out"))),
        "output": end("Output", 3)}
    found = imported(file(nodes, [("input", "a"), ("a", "b"), ("b", "output")]), {"": "norse", "b": "spikingjelly"},
                     1e-3, {"": "hard", "b": "soft"}).model
    assert found.nodes["a"].numerics_under(found.numerics).comparison == "gt"
    assert found.nodes["b/c"].numerics_under(found.numerics).comparison == "ge"
    assert found.nodes["b/c"].numerics_under(found.numerics).reset == "soft"
    said = problems(simple(lif()), {"": "norse", "nowhere": "norse"}, 1e-3)
    assert "'nowhere'" in said and "input, x, output" in said


@pytest.mark.parametrize("start, expected", [(0, (8,)), (1, (8,))])
def test_a_flatten_that_counts_the_batch_is_understood_by_what_follows(start, expected):
    flat = NirNode("Flatten", {"start_dim": np.array(start), "end_dim": np.array(-1)})
    nodes = {"input": end("Input", 2, 2, 2), "flat": flat, "fc": linear(3, 8), "output": end("Output", 3)}
    found = imported(file(nodes, [("input", "flat"), ("flat", "fc"), ("fc", "output")]))
    assert found.model.shapes["flat"] == expected
    assert [finding.path for finding in found.findings] == (["flat"] if start else [])


def test_arrays_that_do_not_fit_their_node_are_refused():
    mixed = lif(4, tau=np.array([0.01, 0.02, 0.03, 0.04], np.float32))
    assert "x.tau" in problems(simple(mixed, (3,), (3,)), "norse", 1e-3)


@pytest.mark.parametrize("node", [lif(2), lif(r=full(1, 2)), NirNode("Scale", {"scale": full(1, 4)}),
                                  NirNode("Delay", {"delay": full(0, 4)})], ids=lambda node: node.type)
def test_a_population_of_another_size_than_what_reaches_it_is_refused_though_its_values_are_equal(node):
    assert "what reaches this node asks for (3,)" in problems(simple(node), "norse", 1e-3, "hard")


def test_a_shape_that_a_file_declares_and_nothing_has_is_warned_of(tmp_path):
    npt.nir.save(tmp_path / "odd.nir", simple(lif(), out=(5,)))
    with pytest.warns(npt.nir.NirWarning, match="output: takes in"):
        npt.nir.read(tmp_path / "odd.nir", "norse", 1e-3, "hard")


@pytest.mark.parametrize("preset", ["norse", "snntorch", "nengo"])
def test_a_platform_that_resets_to_zero_whatever_the_file_says_is_read_so(preset):
    found = imported(simple(lif(v_reset=full(-0.5))), preset, 1e-3, "hard")
    assert found.model.nodes["x"].v_reset == 0


def test_a_version_that_is_no_number_is_not_said_to_have_meant_a_reset():
    said = problems(simple(lif(), version="junk"), "norse", 1e-3)
    assert "'junk'" in said and "meant" not in said


def test_a_delay_on_a_cycle_is_its_delay():
    given = recurrent()
    nodes = {**given.graph.nodes, "wait": NirNode("Delay", {"delay": full(3e-3)})}
    edges = [("input", "fc"), ("fc", "cell"), ("cell", "wait"), ("wait", "back"), ("back", "cell"), ("cell", "output")]
    found = imported(file(nodes, edges), "nengo", 1e-3)
    assert all(edge.delay == 0 for edge in found.model.edges)
    plain = imported(given, "nengo", 1e-3)
    longer = [edge.model_copy(update={"delay": 3}) if edge.delay else edge for edge in plain.model.edges]
    expected = replace(plain, model=npt.Model(nodes=plain.model.nodes, edges=longer, dt=1e-3,
                                              numerics=plain.model.numerics))
    assert np.array_equal(spikes(found, X), spikes(expected, X))


def test_spinnaker2_weights_are_whole_numbers_of_one_scale_for_a_population():
    found = imported(recurrent(NirNode("CubaLIF", {
        "tau_syn": full(0.005), "tau_mem": full(0.01), "r": full(10), "v_leak": full(0), "v_threshold": full(1),
        "v_reset": full(0), "w_in": full(5)})), "spinnaker2", 1e-3)
    weights = [found.parameters["fc.weight"], found.parameters["back.weight"]]
    assert max(np.abs(weight).max() for weight in weights) == 127
    assert all((weight == np.trunc(weight)).all() for weight in weights)
    assert found.model.nodes["cell"].v_threshold > 10


def test_one_connection_into_two_populations_has_no_single_scale():
    nodes = {"input": end("Input", 4), "fc": linear(3, 4), "a": lif(), "b": lif(), "output": end("Output", 3)}
    edges = [("input", "fc"), ("fc", "a"), ("fc", "b"), ("a", "output"), ("b", "output")]
    assert "scales of weights differ" in problems(file(nodes, edges), "spinnaker2", 1e-3)
