"""`npt.nir.check`: where two networks go apart, each differing spike by its distance from the threshold."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import neuroport as npt
from neuroport import nir
from neuroport.errors import InvalidData
from neuroport.nir import traces
from neuroport.nir.checking import _matched, check

# weights of a quarter and a half: the reference's potentials are exact, and 1 > 1 is no spike
LAYERS = [
    ("first", npt.Linear(3, bias=False, weight_init=npt.Constant(0.25))), ("early", npt.IF()),
    ("second", npt.Linear(2, bias=False, weight_init=npt.Constant(0.5))), ("late", npt.IF()),
    ("readout", npt.LI(tau=10e-3)),
]
STEPS, SAMPLES = 20, 2
X = np.ones((STEPS, SAMPLES, 1))
X[::2, 1] = 0


def network(layers=LAYERS, **numerics):
    model = npt.Model.sequential(input=(1,), dt=1e-3, layers=layers, numerics=npt.Numerics(**numerics))
    return model, npt.init(model)


def spikes_of(node="early", pair=None):
    """What the reference's spikes are, to be spoiled."""
    model, parameters = pair or network()
    return npt.run(model, parameters, X, "reference", [(node, "spikes")]).records[node]["spikes"].copy()


def against(recording, **more):
    return check(network(), recording, X, "reference", **more)


def of(found, node):
    return next(one for one in found.nodes if one.node == node)


def test_the_same_network_is_equal_in_spikes_and_potentials():
    found = check(network(), network(), X, "reference")
    assert (found.verdict, found.exit_code, found.first, found.differing) == ("equal", 0, None, 0)
    assert [one.node for one in found.nodes] == ["early", "late", "readout"]
    assert of(found, "early").values == STEPS * SAMPLES * 3 and of(found, "readout").counts is None
    assert all(one.voltage_max == one.voltage_relative == 0.0 for one in found.nodes)


def test_another_reset_shows_in_potentials_before_it_shows_in_spikes():
    found = check(network(reset="soft"), network(reset="hard"), X, "reference")
    # both spike in step 4 at 5/4; what is left of that, 1/4, brings the next spike a step earlier
    assert found.verdict == "different" and "potentials of early differ" in found.reason
    assert (found.first.node, found.first.step, found.first.sample, found.first.margin) == ("early", 8, 0, 0.25)


def test_another_comparison_is_told_from_rounding_by_nothing_but_its_place():
    found = check(network(), network(comparison="ge"), X, "reference")
    assert found.verdict == "within tolerance"  # 4 inputs of a quarter make exactly 1
    assert (found.first.node, found.first.step, found.first.margin) == ("early", 3, 0.0)


def test_a_spike_that_is_tipped_at_its_threshold_is_within_tolerance_whatever_follows():
    recorded = spikes_of()
    recorded[3, 0, 1] = 1
    recorded[5:, 0] = 1 - recorded[5:, 0]
    found = against({"early": recorded})
    assert (found.verdict, found.exit_code) == ("within tolerance", 0)
    early = of(found, "early").differing
    assert len(early) == 1 + 15 * 3 and early.cause.sum() == 1 and found.farthest == 0.0
    (cause,) = np.flatnonzero(early.cause)
    assert (early.step[cause], early.sample[cause], early.neuron[cause].tolist()) == (3, 0, [1])
    assert early.extra[cause] == 1  # the recording has it, the network has not


def test_a_spike_far_from_its_threshold_is_a_difference_with_its_distance():
    recorded = spikes_of()
    recorded[1, 1, 2] = 1  # sample 1 has had a single input there: v = 1/4
    found = against({"early": recorded})
    assert (found.verdict, found.exit_code) == ("different", 1)
    assert (found.first.step, found.first.neuron, found.first.sample, found.first.margin) == (1, (2,), 1, 0.75)
    assert of(found, "early").differing.share.tolist() == [0.75]
    assert "0.75" in found.report() or "7.5e-01" in found.report()


def test_tolerance_is_a_share_of_the_threshold():
    recorded = spikes_of()
    recorded[1, 1, 2] = 1
    assert against({"early": recorded}, tolerance=0.75).verdict == "within tolerance"
    assert against({"early": recorded}, tolerance=0.74).verdict == "different"


def test_the_first_node_is_the_first_in_the_order_of_computing_and_the_earliest_in_time_is_named_too():
    early, late = spikes_of("early"), spikes_of("late")
    early[10, 0, 0] = 1 - early[10, 0, 0]
    late[2, 0, 1] = 1
    found = against({"late": late, "early": early})
    assert (found.first.node, found.first.step) == ("early", 10)
    assert (found.earliest.node, found.earliest.step) == ("late", 2)
    assert "earlier in time: late neuron 1, step 2" in found.report()
    assert of(found, "late").differing.cause.all() and not of(found, "early").differing.cause.any()


def test_potentials_that_are_off_are_a_difference_even_where_all_spikes_are_equal():
    model, parameters = network()
    records = npt.run(model, parameters, X, "reference", ["early"]).records["early"]
    found = against({"early": {"spikes": records["spikes"], "v": records["v"] * 1.001}})
    assert found.verdict == "different" and found.differing == 0
    assert of(found, "early").voltage_relative == pytest.approx(1e-3, rel=1e-6)
    assert of(found, "early").voltage_max == pytest.approx(1e-3 * np.abs(records["v"]).max())
    assert "potentials of early differ" in found.reason


def test_the_distance_of_spike_trains_is_the_loss_of_that_name():
    recorded = spikes_of()
    recorded[7, 0, 0] = 1 - recorded[7, 0, 0]
    found = against({"early": recorded}, tau=5e-3)
    # one spike more: (1/tau) integral of exp(-2 t / tau) over the steps after it, in one of two samples
    assert of(found, "early").van_rossum == pytest.approx(0.5 * 0.5 * (1 - np.exp(-2 * 13e-3 / 5e-3)), rel=1e-3)


def test_an_output_delay_shifts_spikes_and_their_distances_belong_to_the_step_before():
    late = npt.Model.parse({**network()[0].to_data(), "numerics": {"output_delay": 1}})
    recorded = spikes_of(pair=(late, npt.init(late)))
    recorded[4, 0, 0] = 1  # decided in step 3, where v = 1 exactly
    found = check((late, npt.init(late)), {"early": recorded}, X, "reference")
    assert found.first.step == 4 and found.first.margin == 0.0 and found.verdict == "within tolerance"


def test_engines_are_compared_with_each_other_in_their_own_precisions():
    pytest.importorskip("torch")
    found = check(network(), None, X, engine=("reference", "torch"))
    assert found.verdict == "equal" and "float64" in found.names[0] and "float32" in found.names[1]


def test_accuracies_are_of_the_largest_sum_over_time():
    weight = np.array([[0.5], [0.25]], np.float32)
    model = npt.Model.sequential(input=(1,), dt=1e-3, layers=[("fc", npt.Linear(2, bias=False)), ("out", npt.IF())])
    a, b = (model, {"fc.weight": weight}), (model, {"fc.weight": weight[::-1].copy()})
    found = check(a, b, X, "reference", labels=np.array([0, 0]))
    assert found.accuracy == (1.0, 0.0)
    spikes = npt.run(*a, X, "reference", ["spikes"]).records["out"]["spikes"]
    assert check(a, {"out": spikes}, X, "reference", labels=np.array([0, 1])).accuracy == (0.5, 0.5)
    with pytest.raises(InvalidData, match="labels"):
        check(a, b, X, "reference", labels=np.array([0.5, 1]))


def test_nodes_are_paired_by_name_by_letters_alone_and_by_what_is_given():
    recorded = {"EARLY": spikes_of("early"), "hidden/2": spikes_of("late")}
    found = against(recorded, pairs={"late": "hidden/2"})
    assert [(one.node, one.other) for one in found.nodes] == [("early", "EARLY"), ("late", "hidden/2")]
    assert found.verdict == "equal"


@pytest.mark.parametrize(("ours", "theirs", "given", "pairs"), [
    (("a", "b"), ("b", "a"), {}, {"a": "a", "b": "b"}),
    (("a.b", "c"), ("a/b", "C"), {}, {"a.b": "a/b", "c": "C"}),
    (("a.b", "a_b"), ("a_b",), {}, {"a_b": "a_b"}),  # the name itself comes first
    (("a.b", "a-b", "c"), ("a_b", "c"), {}, {"c": "c"}),  # which of the two is not known
    (("a", "b"), ("a", "b"), {"a": "b"}, {"a": "b"}),
])
def test_no_node_has_two_partners(ours, theirs, given, pairs):
    assert _matched(ours, theirs, given, strict=False) == pairs


def test_networks_whose_nodes_are_called_differently_say_what_was_left_out():
    renamed = [(name.replace("late", "last"), node) for name, node in LAYERS]
    found = check(network(), network(renamed), X, "reference")
    assert found.alone == (("late",), ("last",)) and "only in A, not compared: late" in found.report()


def test_outputs_without_a_neuron_are_compared_as_values():
    layers = [*LAYERS[:2], ("last", npt.Linear(1, bias=False, weight_init=npt.Constant(1.0)))]
    model, parameters = network(layers)
    other = {**parameters, "last.weight": parameters["last.weight"] * 2}
    found = check((model, parameters), (model, other), X, "reference")
    assert found.verdict == "different" and found.first.node == "output" and of(found, "output").counts is None


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5"])
def test_recordings_come_from_files(tmp_path, suffix):
    recorded, path = spikes_of(), tmp_path / f"recorded{suffix}"
    if suffix == ".npy":
        np.save(path, recorded)
    elif suffix == ".npz":
        np.savez(path, early=recorded, about=np.array(3))
    else:
        traces.save(path, traces.of_arrays({"early": {"spikes": recorded}}, 1e-3))
    assert against(path, node="early").verdict == "equal"
    assert of(against(path, node="early"), "early").values == recorded.size


def test_a_recording_can_bring_its_own_input(tmp_path):
    np.savez(tmp_path / "run.npz", **{"inputs.input": X, "early.spikes": spikes_of()})
    assert check(network(), tmp_path / "run.npz", engine="reference").verdict == "equal"


def test_the_graph_data_of_nir_are_recordings_dense_or_as_events():
    recorded = np.moveaxis(spikes_of(), 1, 0)  # (samples, T, N)
    dense = SimpleNamespace(data=recorded, dt=1e-3)
    sample, step, neuron = np.nonzero(recorded)
    width = np.bincount(sample).max()
    events = SimpleNamespace(idx=np.full((SAMPLES, width), -1), time=np.full((SAMPLES, width), np.inf), n_neurons=3,
                             t_max=STEPS * 1e-3)
    for one in range(SAMPLES):
        count = int((sample == one).sum())
        events.idx[one, :count] = neuron[sample == one]
        events.time[one, :count] = step[sample == one] * 1e-3
    for observable in (dense, events):
        node = SimpleNamespace(observables={"spikes": observable})
        assert against(SimpleNamespace(nodes={"early": node})).verdict == "equal"


def test_one_file_under_two_numerics(tmp_path):
    model, parameters = network(discretization="euler", reset="soft")
    nir.write(tmp_path / "a.nir", model, parameters)
    found = check(tmp_path / "a.nir", None, X, "reference", numerics="norse", dt=1e-3, reset=("soft", "hard"))
    assert "reset soft" in found.names[0] and "reset hard" in found.names[1]
    assert len(found.nodes) == 3 and found.first is not None
    same = check(tmp_path / "a.nir", (model, parameters), X, "reference")
    assert same.verdict == "equal" and same.differing == 0


def test_the_picture_marks_what_only_one_side_has():
    pytest.importorskip("matplotlib")
    recorded = spikes_of()
    recorded[3, 0, 1] = 1
    found = against({"early": recorded})
    figure = found.figure()
    marks = {tuple(map(float, point)) for axis in figure.axes[:2] for group in axis.collections[1:3]
             for point in group.get_offsets()}
    assert marks == {(3.0, 1.0)}  # a ring in A, a colored mark in B
    ring, mark = figure.axes[0].collections[2], figure.axes[1].collections[1]
    assert len(ring.get_offsets()) == len(mark.get_offsets()) == 1
    assert len(found.figure("early").axes) == 2  # the recording has no potentials
    assert len(check(network(), network(reset="hard"), X, "reference").figure().axes) == 3
    with pytest.raises(InvalidData, match="readout"):
        found.figure("readout")


def test_plain_data_name_the_place():
    recorded = spikes_of()
    recorded[1, 1, 2] = 1
    data = against({"early": recorded}).to_data()
    assert data["first"] == {"node": "early", "step": 1, "neuron": [2], "sample": 1, "distance": 0.75}
    (node,) = data["nodes"]
    assert (node["differing"], node["causes"], node["farthest_cause"]) == (1, 1, 0.75)
    assert node["share"] == pytest.approx(1 / (STEPS * SAMPLES * 3))


@pytest.mark.parametrize(("b", "more", "said"), [
    (None, {}, "both sides would be the same"),
    ({"nobody": np.zeros((STEPS, SAMPLES, 3))}, {}, "no such node of neurons"),
    ({"early": np.zeros((STEPS, SAMPLES, 3))}, {"pairs": {"erly": "early"}}, "there is no node 'erly'"),
    ({"early": np.zeros((STEPS + 1, SAMPLES, 3))}, {}, "has shape"),
    ({"early": np.zeros(3)}, {}, "no recording"),
    ({}, {}, "neither spikes nor potentials"),
    (np.zeros((STEPS, 3)), {}, "name its node"),
    (3, {}, "is no recording"),
    ("none.npy", {"node": "early"}, "no such file"),
    ("none.nir", {}, "none.nir"),
    ({"early": np.zeros((STEPS, SAMPLES, 3))}, {"engine": ("reference",) * 3}, "one, or two"),
    (network(), {"tolerance": -1.0}, "no share of a threshold"),
    (network(), {"tolerance": float("nan")}, "no share of a threshold"),
    (network(), {"tau": 0.0}, "no time constant"),
])
def test_a_wrong_request_is_refused_with_a_sentence(b, more, said):
    with pytest.raises(npt.NeuroportError, match=said):
        check(network(), b, X, **{"engine": "reference", **more})


def test_a_network_that_is_none_and_missing_inputs_are_refused():
    with pytest.raises(InvalidData, match="is no network"):
        check(3, network(), X)
    with pytest.raises(InvalidData, match="inputs: are missing"):
        check(network(), {"early": spikes_of()})
