"""`npt.nir.info`: nodes, ranges, findings, delays, and engines by their own capabilities."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import neuroport as npt
from neuroport import nir
from neuroport.errors import InvalidData
from neuroport.nir.contents import Finding, NirFile, NirGraph, NirNode
from neuroport.nir.report import described, info, reset_words

LIF = {"tau": np.full(2, 2e-3), "r": np.ones(2), "v_leak": np.zeros(2), "v_threshold": np.ones(2)}
WEIGHT = np.array([[0.5, -1.0, 0.25], [1.0, 0.0, -0.5]], np.float32)


def file(changes=None, edges=(), version="1.0.8", **fields):
    """in -> fc -> lif -> out, with other nodes, further edges, other fields of the LIF."""
    nodes = {"out": NirNode("Output", {"shape": np.array([2])}), "lif": NirNode("LIF", {**LIF, **fields}),
             "fc": NirNode("Affine", {"weight": WEIGHT, "bias": np.zeros(2, np.float32)}),
             "in": NirNode("Input", {"shape": np.array([3])}), **(changes or {})}
    chain = (("lif", "out"), ("fc", "lif"), ("in", "fc"))
    return NirFile(NirGraph(nodes=nodes, edges=(*chain, *edges)), version)


def said(found):
    return [str(one) for one in found.findings]


def test_nodes_stand_in_the_order_of_signals_with_shapes_and_ranges():
    found = described(file())
    assert [one.path for one in found.nodes] == ["in", "fc", "lif", "out"]
    fc, lif = found.nodes[1:3]
    assert (fc.into, fc.out, lif.out) == ((3,), (2,), (2,))
    weight = fc.parameters["weight"]
    assert (weight.shape, weight.dtype, weight.low, weight.high) == ((2, 3), "float32", -1.0, 1.0)
    assert (found.edges, found.delays, found.findings) == (3, (), ())


def test_the_version_says_what_a_reset_means():
    assert reset_words("1.0.5").startswith("v - v_threshold") and reset_words("1.0.6").startswith("to v_reset")
    assert reset_words("0.2.0").startswith("v - v_threshold") and "ask" in reset_words("")
    assert described(file(version="0.2.0")).reset == reset_words("0.2.0")


def test_the_delay_of_a_cycle_is_named_and_does_not_depend_on_the_order_of_the_file():
    back = {"back": NirNode("Linear", {"weight": np.eye(2)})}
    one = described(file(back, (("lif", "back"), ("back", "lif"))))
    graph = file(back, (("lif", "back"), ("back", "lif"))).graph
    turned = replace(graph, nodes=dict(reversed(graph.nodes.items())), edges=graph.edges[::-1])
    assert one.delays == described(NirFile(turned, "1.0.8")).delays == (("lif", "back"),)
    assert "the edge lif -> back carries the delay" in one.report()


@pytest.mark.parametrize(("fields", "dt", "words"), [
    ({"tau": np.array([2e-3, 1e-3])}, 2e-3, "lif: dt/tau reaches 2, outside (0, 1]"),
    ({"tau": np.full(2, 20.0)}, None, "look like milliseconds or steps"),
    ({"tau": np.array([2e-3, -1.0])}, 1e-4, "1 of 2 time constants that are not above zero"),
    ({"r": np.array([1.0, np.nan])}, None, "lif: r holds 1 of 2 values that are NaN or infinite"),
    ({"v_reset": np.array([0.0, 2.0])}, None, "1 neurons reset to above their threshold"),
    ({"v_leak": np.array([0.0, 2.0])}, None, "1 neurons leak to above their threshold"),
])
def test_odd_parameters_are_found(fields, dt, words):
    assert any(words in one for one in said(described(file(**fields), dt=dt)))


def test_seconds_within_the_step_are_not_odd():
    assert described(file(), dt=1e-4).findings == described(file(), dt=2e-3).findings == ()


def test_neurons_that_nothing_excites_are_found_unless_their_leak_does():
    weight = np.array([[0.5, 1, 1], [-1, 0, -0.5]])
    silent = {"fc": NirNode("Affine", {"weight": weight, "bias": np.array([0.0, -0.1])})}
    words = "lif: 1 of 2 neurons are silent: no weight or bias into them is above zero"
    assert said(described(file(silent))) == [words]
    assert not any("silent" in one for one in said(described(file(silent, v_leak=np.array([0, 2.0])))))


def test_nodes_off_the_way_are_found():
    lost = {"idle": NirNode("Linear", {"weight": np.eye(2)}), "blind": NirNode("Linear", {"weight": np.eye(2)})}
    found = said(described(file(lost, (("idle", "lif"), ("lif", "blind")))))
    assert "idle: no input reaches this Linear" in found and "blind: what this Linear gives reaches no output" in found


def test_a_graph_whose_edges_lead_nowhere_is_described_all_the_same():
    found = described(file(edges=(("lif", "nobody"),)))
    assert len(found.nodes) == 4 and any("nobody" in one for one in said(found))
    ports = NirGraph(nodes={name: NirNode("Input") for name in "ab"})
    nested = described(file({"sub": ports}, (("lif", "sub"),)))
    assert any(one.startswith("sub: ") for one in said(nested)) and nested.engines[0].level == "unsupported"


WORTHLESS = [np.zeros(2), np.full(2, np.nan), np.full(2, np.inf), np.ones(5), np.zeros(0), np.array("text"), "text",
             None, {"in": np.ones(2)}, np.array(1.0), np.ones((2, 2), complex), np.array([True, False])]


@pytest.mark.parametrize("value", WORTHLESS, ids=str)
@pytest.mark.parametrize("name", ["tau", "r", "v_leak", "v_threshold", "v_reset"])
def test_whatever_a_field_holds_the_file_is_described(name, value):
    found = described(file(**{name: value}), dt=1e-4)
    assert len(found.nodes) == 4 and found.report() and json.dumps(found.to_data())


@pytest.mark.parametrize("value", WORTHLESS, ids=str)
@pytest.mark.parametrize("name", ["weight", "bias"])
def test_whatever_a_weight_holds_the_file_is_described(name, value):
    layer = {"weight": WEIGHT, "bias": np.zeros(2), name: value}
    found = described(file({"fc": NirNode("Affine", layer)}), dt=1e-4)
    assert len(found.nodes) == 4 and found.report()


def test_what_was_mended_on_reading_is_said():
    mended = replace(file(), findings=(Finding("fc", "was a Linear with a bias", repaired=True),))
    assert "mended: fc: was a Linear with a bias" in described(mended).report()


def test_engines_answer_by_their_own_capabilities():
    found = {one.name: one for one in described(file()).engines}
    assert found["reference"].level == "exact" and found["reference"].points[0].reason == "float64"
    ready = {one.name for one in npt.engines() if one.state == "ready"}
    assert ready <= set(found)
    foreign = described(file({"odd": NirNode("Whatever", {})}, (("lif", "odd"), ("odd", "out"))))
    for one in foreign.engines:
        assert one.level == "unsupported" and one.points[0].nodes == ("odd",)


def test_a_platform_is_as_good_as_its_worst_node_and_says_which():
    conv = {"pool": NirNode("Scale", {"scale": np.ones(2)})}
    found = described(file(conv, (("lif", "pool"), ("pool", "out"))))
    norse = next(one for one in found.platforms if one.name == "norse")
    assert norse.level == "unsupported" and norse.points[0].nodes == ("pool",)
    assert "pool: its importer has no module for it" in found.report()


def test_the_report_of_a_file_is_plain_data_too_and_fits_100_columns(tmp_path):
    model = npt.Model.sequential(input=(3,), dt=1e-3, layers=[("fc", npt.Linear(2)), ("lif", npt.LIF(tau=20e-3))])
    nir.write(tmp_path / "a.nir", model, npt.init(model))
    found = nir.info(tmp_path / "a.nir")
    data = json.loads(json.dumps(found.to_data()))
    assert [node["path"] for node in data["nodes"]] == ["input", "fc", "lif", "output"]
    assert max(map(len, found.report().splitlines()), default=0) <= max(100, len(str(tmp_path)) + 60)


def test_a_time_step_that_is_none_and_a_file_that_is_none_are_refused(tmp_path):
    (tmp_path / "no.nir").write_text("no")
    with pytest.raises(InvalidData):
        info(tmp_path / "no.nir")
    with pytest.raises(InvalidData, match="dt"):
        info(tmp_path / "no.nir", dt=-1)
