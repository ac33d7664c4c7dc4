"""The table of what platforms do: whole, worded, and true to what the NIR paper's files showed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recordings import nir_recording

from neuroport.nir.codec.hdf5 import load
from neuroport.nir.contents import NirGraph, NirNode
from neuroport.nir.platforms import LEVELS, PLATFORMS
from neuroport.nir.presets import PRESETS
from neuroport.nir.report import described
from neuroport.nir.shapes import KNOWN
from neuroport.nir.uses import GRAPH_USES, USES, uses_of, uses_of_graph

TAU = np.full(3, 2e-3)
LIF = {"tau": TAU, "r": np.ones(3), "v_leak": np.zeros(3), "v_threshold": np.ones(3), "v_reset": np.zeros(3)}
CUBA = {"tau_syn": TAU, "tau_mem": TAU, "r": TAU / 1e-4, "w_in": np.ones(3), "v_leak": np.zeros(3),
        "v_threshold": np.ones(3)}
CONV = {"weight": np.ones((4, 2, 3, 3)), "bias": np.zeros(4), "stride": np.array([1, 1]), "groups": np.int64(1),
        "padding": np.array([0, 0]), "dilation": np.array([1, 1])}


def level(platform, kind, fields, dt=None):
    return PLATFORMS[platform].node(NirNode(kind, fields), dt).level


def test_the_platforms_of_the_paper_and_the_ones_that_people_ask_for_are_there():
    assert set(PLATFORMS) == {"norse", "snntorch", "sinabs", "spyx", "spikingjelly", "spinnaker2", "nengo", "rockpool",
                              "lava", "xylo", "speck"}


@pytest.mark.parametrize("platform", PLATFORMS.values(), ids=PLATFORMS)
def test_every_claim_is_about_something_that_there_is_and_gives_its_reason(platform):
    assert platform.version and platform.evidence and platform.missing
    assert set(platform.nodes) <= set(KNOWN) | {"Input", "Output"} and set(platform.graph) <= set(GRAPH_USES)
    for key in platform.uses:
        kind, _, use = key.partition(" ")
        if key not in USES:
            assert kind in USES[use].types, key
    for claim in (*platform.nodes.values(), *platform.uses.values(), *platform.graph.values()):
        assert claim.level in LEVELS and (claim.reason or claim.level == "exact")


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("kind", sorted(KNOWN))
def test_every_type_of_node_has_an_answer_on_every_platform(platform, kind):
    found = PLATFORMS[platform].node(NirNode(kind, {}))
    assert found.level == "exact" or found.reason


@pytest.mark.parametrize(("kind", "change", "use"), [
    ("LIF", {"r": np.full(3, 2.0)}, "r"), ("LIF", {"v_leak": np.array([0, 0, 0.1])}, "v_leak"),
    ("LIF", {"v_reset": np.full(3, -1.0)}, "v_reset"), ("CubaLIF", {"w_in": np.full(3, 2.0)}, "w_in"),
    ("LIF", {"v_threshold": np.array([1, 1, 2.0])}, "uneven v_threshold"),
    ("LIF", {"tau": TAU * [1, 1, 2]}, "uneven tau"),
    ("Conv2d", {"groups": np.int64(2)}, "groups"), ("Conv2d", {"dilation": np.array([1, 2])}, "dilation"),
    ("Conv2d", {"padding": "same"}, "same"), ("Conv2d", {"bias": None}, "no bias"),
    ("SumPool2d", {"padding": np.array([0, 1])}, "pool padding"),
    ("Flatten", {"start_dim": np.int64(0)}, "start_dim 0"),
])
def test_a_use_is_seen_where_it_is_made_and_not_where_it_is_not(kind, change, use):
    plain = {"LIF": LIF, "CubaLIF": CUBA, "Conv2d": CONV, "SumPool2d": {"padding": np.array([0, 0])},
             "Flatten": {"start_dim": np.int64(1)}}[kind]
    assert use in uses_of(NirNode(kind, {**plain, **change}), None)
    assert use not in uses_of(NirNode(kind, plain), None)


def test_what_depends_on_dt_is_seen_only_where_dt_is_known():
    node = NirNode("CubaLIF", CUBA)  # r = tau_mem / dt for 0.1 ms
    assert "r is not tau/dt" not in uses_of(node, 1e-4) + uses_of(node, None)
    assert "r is not tau/dt" in uses_of(node, 1e-3)
    assert level("spikingjelly", "CubaLIF", {**CUBA, "w_in": TAU / 1e-4}, 1e-4) == "exact"
    assert level("spikingjelly", "CubaLIF", CUBA, 1e-4) == "unsupported"


def test_a_parameter_that_a_platform_ignores_makes_it_approximate_and_one_it_refuses_unsupported():
    assert level("norse", "LIF", LIF) == "exact"
    assert level("norse", "LIF", {**LIF, "r": np.full(3, 2.0)}) == "approximate"
    assert level("norse", "CubaLIF", CUBA) == "exact"  # it reads r there
    assert level("snntorch", "LIF", {**LIF, "v_leak": np.ones(3)}) == "unsupported"
    assert level("sinabs", "LIF", LIF) == "approximate"
    reason = PLATFORMS["norse"].node(NirNode("LIF", {**LIF, "v_reset": np.ones(3)})).reason
    assert reason == "v_reset other than 0: ignored, the reset goes to 0"


def test_the_form_of_a_graph_is_seen():
    nodes = {name: NirNode(kind) for name, kind in (("in", "Input"), ("a", "LIF"), ("b", "LIF"), ("out", "Output"))}
    chain = (("in", "a"), ("a", "b"), ("b", "out"))
    assert uses_of_graph(NirGraph(nodes=nodes, edges=chain), False) == []
    assert uses_of_graph(NirGraph(nodes=nodes, edges=(*chain, ("a", "out"))), False) == ["branches"]
    assert uses_of_graph(NirGraph(nodes={**nodes, "in2": NirNode("Input")}, edges=chain), False) == ["several Inputs"]
    assert uses_of_graph(NirGraph(nodes={**nodes, "sub": NirGraph()}, edges=chain), True) == ["cycle", "nested"]


def test_the_page_for_users_names_every_preset_and_counts_the_platforms():
    text = (Path(__file__).parents[2] / "docs" / "how-to" / "nir.md").read_text(encoding="utf-8")
    for name in PRESETS:
        assert f"| `{name}` |" in text
    assert "eleven platforms" in text and len(PLATFORMS) == 11


# what the releases named in the table do with the paper's files, as it was measured
MEASURED = {
    "lif_norse.nir": {"norse": "exact", "snntorch": "exact", "sinabs": "approximate", "rockpool": "unsupported"},
    "braille_noDelay_bias_zero.nir": {
        "norse": "exact", "snntorch": "unsupported", "sinabs": "unsupported", "spikingjelly": "exact",
        "spinnaker2": "approximate", "nengo": "approximate", "lava": "unsupported"},
    "cnn_sinabs.nir": {"norse": "unsupported", "snntorch": "unsupported", "sinabs": "approximate",
                       "rockpool": "unsupported", "speck": "approximate"},
}


@pytest.mark.parametrize("name", MEASURED)
def test_the_table_says_of_the_papers_files_what_was_measured(name):
    found = {one.name: one.level for one in described(load(nir_recording(name)), dt=1e-4).platforms}
    assert {platform: found[platform] for platform in MEASURED[name]} == MEASURED[name]


def test_the_cnn_runs_exactly_on_spikingjelly_with_the_step_that_its_r_asks_for():
    found = described(load(nir_recording("cnn_sinabs.nir")), dt=1.0)
    assert next(one for one in found.platforms if one.name == "spikingjelly").level == "exact"
