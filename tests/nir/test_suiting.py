"""Files for a platform say the same network in the form that its importer takes, and give ours back bit by bit."""

from dataclasses import replace

import numpy as np
import pytest

import neuroport as npt
from neuroport.nir.presets import PRESETS

DT = 1e-3
STEPS, SAMPLES = 60, 4
PLATFORM_DT = {"norse": DT, "snntorch": 1e-4}


def recurrent(neuron: npt.Neuron, **options) -> tuple[npt.Model, dict[str, np.ndarray]]:
    """A network whose biases and gains count."""
    model = npt.Model.sequential(5, DT, {
        "drive": npt.Linear(6), "hidden": npt.Recurrent(npt.Linear(6), neuron, **options), "way": npt.Linear(3),
        "end": npt.CubaLIF(tau_syn=3 * DT, tau_mem=6 * DT, v_threshold=0.3)}, numerics=npt.Numerics(reset="hard"))
    random = np.random.default_rng(0)
    parameters = {name: random.normal(0.8 if name == "drive.weight" else 0.0, 1.5, spec.shape).astype(np.float32)
                  for name, spec in model.parameters.items()}
    tau = parameters.get("hidden.tau_mem")
    return model, {**parameters, **({} if tau is None else {"hidden.tau_mem": np.abs(tau) * DT + 3 * DT})}


def spikes(model: npt.Model, parameters: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    inputs = (np.random.default_rng(1).random((STEPS, SAMPLES, 5)) < 0.3).astype(np.float32)
    layers = [name for name, node in model.nodes.items() if isinstance(node, npt.Neuron)]
    found = npt.run(model, parameters, inputs, engine="reference", record=[f"{name}.spikes" for name in layers])
    return {name.split("/")[-1]: found.records[name]["spikes"] for name in layers}


FAST_AND_SLOW = npt.Parameter(value=npt.Constant(value=5 * DT), per="neuron")
NEURONS = {
    "CubaLIF": npt.CubaLIF(tau_syn=2 * DT, tau_mem=FAST_AND_SLOW, r=1.7, w_in=0.6),
    "LIF": npt.LIF(5 * DT, r=2.5),
    "LIF by its decay": npt.LIF.from_decay(0.8),
}


@pytest.mark.parametrize("platform", PLATFORM_DT)
@pytest.mark.parametrize("name", NEURONS)
def test_a_platform_reads_our_steps_from_its_file(platform, name, tmp_path):
    model, parameters = recurrent(NEURONS[name])
    npt.nir.write(tmp_path / "there.nir", model, parameters, numerics=platform)
    there = spikes(*npt.nir.read(tmp_path / "there.nir", numerics=platform, dt=PLATFORM_DT[platform], reset="hard"))
    rule = PRESETS[platform].numerics.reset_rule
    ours = spikes(model.model_copy(update={"numerics": npt.Numerics(reset="hard", reset_rule=rule)}), parameters)
    for layer, value in ours.items():
        assert 0.02 < value.mean() < 0.9
        np.testing.assert_array_equal(there[layer], value, layer)


@pytest.mark.parametrize("platform", PLATFORM_DT)
@pytest.mark.parametrize("name", NEURONS)
def test_its_file_gives_the_network_back_bit_by_bit(platform, name, tmp_path):
    model, parameters = recurrent(NEURONS[name])
    npt.nir.write(tmp_path / "there.nir", model, parameters, numerics=platform)
    again, found = npt.nir.read(tmp_path / "there.nir")
    assert again == model and list(found) == list(model.parameters)
    assert all(found[key].tobytes() == parameters[key].tobytes() for key in found)


def test_snntorch_gets_gains_of_one_in_its_own_step_and_a_nested_recurrence(tmp_path):
    npt.nir.write(tmp_path / "there.nir", *recurrent(NEURONS["CubaLIF"]), numerics="snntorch")
    graph = npt.nir.load(tmp_path / "there.nir").graph
    inner = graph.nodes["hidden"]
    fields = inner.nodes["hidden"].fields
    for gain, tau in (("r", "tau_mem"), ("w_in", "tau_syn")):
        np.testing.assert_allclose(fields[gain], fields[tau] / 1e-4, rtol=1e-6)
    assert set(inner.nodes) == {"input", "hidden", "hidden_recurrent", "output"}
    assert ("drive", "hidden") in graph.edges and ("hidden", "way") in graph.edges


def test_the_bias_of_a_recurrence_goes_where_it_acts_from_the_first_step(tmp_path):
    model, parameters = recurrent(NEURONS["CubaLIF"])
    npt.nir.write(tmp_path / "there.nir", model, parameters, numerics="norse")
    nodes = npt.nir.load(tmp_path / "there.nir").graph.nodes
    assert nodes["hidden_recurrent"].type == "Linear"
    both = parameters["drive.bias"] + parameters["hidden_recurrent.bias"]
    np.testing.assert_array_equal(nodes["drive"].fields["bias"], both)


def test_a_bias_that_is_late_in_the_model_stays_late(tmp_path):
    model, parameters = recurrent(NEURONS["CubaLIF"], bias_at_start=False)
    npt.nir.write(tmp_path / "there.nir", model, parameters, numerics="norse")
    there = spikes(*npt.nir.read(tmp_path / "there.nir", numerics="norse", dt=DT, reset="hard"))
    for layer, value in spikes(model, parameters).items():
        np.testing.assert_array_equal(there[layer], value, layer)


@pytest.mark.parametrize("shape", [3, ()])
def test_gains_without_weights_to_go_into_are_refused_by_name(shape, tmp_path):
    model = npt.Model.sequential(shape, DT, {"alone": npt.LIF(5 * DT, r=2.0)})
    with pytest.raises(npt.InvalidData, match=r"alone: norse reads no r or w_in.*no weights of their own"):
        npt.nir.write(tmp_path / "there.nir", model, npt.init(model), numerics="norse")
    npt.nir.write(tmp_path / "there.nir", model, npt.init(model), numerics=replace(PRESETS["norse"], gains={}))


def test_weights_that_others_changed_are_not_taken_for_ours(tmp_path):
    npt.nir.write(tmp_path / "there.nir", *recurrent(NEURONS["CubaLIF"]), numerics="snntorch")
    file = npt.nir.load(tmp_path / "there.nir")
    drive = file.graph.nodes["drive"]
    drive.fields["weight"] = drive.fields["weight"] * 2
    npt.nir.save(tmp_path / "trained.nir", file)
    with pytest.raises(npt.InvalidData, match="drive: this node was changed"):
        npt.nir.read(tmp_path / "trained.nir")
    _, found = npt.nir.read(tmp_path / "trained.nir", numerics="snntorch", dt=1e-4, reset="hard")
    np.testing.assert_array_equal(found["drive.weight"], drive.fields["weight"])


@pytest.mark.parametrize(("platform", "words"), [
    ("norse", "resets to 0"), ("snntorch", "resets to 0"), ("sinabs", "its reset is hard, in sinabs it is soft")])
def test_a_reset_that_the_platform_has_not_is_told(platform, words, tmp_path):
    neuron = npt.LIF(tau=10e-3, v_reset=-0.2, numerics=npt.Numerics(discretization="euler", reset="hard"))
    model = npt.Model.sequential(3, 1e-3, {"fc": npt.Linear(4), "cell": neuron})
    told = npt.nir.write(tmp_path / "a.nir", model, npt.init(model, 0), numerics=platform)
    assert [one.path for one in told if words in one.words] == ["cell"]


@pytest.mark.parametrize(("platform", "words"), [
    ("snntorch", "its importer refuses it"), ("norse", "leaves it out without a word"), (None, None)])
def test_what_the_importer_refuses_or_leaves_out_is_told(platform, words, tmp_path):
    model = npt.Model.sequential(3, 1e-4, {"fc": npt.Linear(4), "out": npt.LI(tau=10e-3)})
    told = npt.nir.write(tmp_path / "a.nir", model, npt.init(model, 0), numerics=platform)
    assert [(one.path, words in one.words) for one in told] == ([("out", True)] if platform else [])
