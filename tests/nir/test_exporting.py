"""Models become files that give them back bit by bit, that nir reads, and that hide nothing."""

import warnings
from dataclasses import replace

import nir
import numpy as np
import pytest

import neuroport as npt
from neuroport.nir.exporting import exported
from neuroport.nir.importing import imported
from neuroport.testing import networks
from neuroport.testing.cases import NUMERICS

DT = 1e-3
NETWORKS = {
    **{name: lambda of=of: networks.network(of(DT), DT) for name, of in networks.NEURONS.items()
       if "stranger" not in name},
    **{f"{name}, recurrent": lambda of=of: networks.network(of(DT), DT, back=networks.feedback())
       for name, of in networks.NEURONS.items() if "stranger" not in name},
    **{f"trainable {name} per {per}": lambda of=of, per=per: networks.network(of(DT, per), DT)
       for name, of in networks.TRAINABLE.items() for per in ("layer", "neuron")},
    **{f"numerics: {name}": lambda of=of: networks.network(npt.LIF(8 * DT), DT, of) for name, of in NUMERICS.items()},
    "convolution": lambda: networks.image(DT, npt.LIF(tau=6 * DT)),
    "convolution, per channel": lambda: networks.image(DT, networks.TRAINABLE["LIF"](DT, "channel")),
    "delays": lambda: networks.delayed(DT), "late": lambda: networks.late(DT), "held": lambda: networks.held(DT),
    "dropout": lambda: networks.silenced(DT, True),
    "several ends": lambda: networks.forked(DT),
    "recurrent, its bias late": lambda: npt.Model.sequential(4, DT, [
        npt.Linear(8, weight_init=networks.weights()),
        npt.Recurrent(networks.feedback(), npt.LIF(8 * DT), bias_at_start=False)]),
    "odd names": lambda: npt.Model.sequential(4, DT, {"a/b.c": npt.Linear(8), "μ λ": npt.LIF(8 * DT)}),
    "threshold and integrator": lambda: npt.Model.sequential(4, DT, [
        npt.Linear(8, weight_init=networks.weights()), npt.Threshold(), npt.I()]),
    "delays by neuron": lambda: npt.Model.sequential(3, DT, [npt.Delay([0.0, DT, 3 * DT]), npt.IF(r=0.4)]),
}
# nir 1.0.8 takes the height of a kernel for its width too, and knows one input and one output alone
NOT_READ_BY_NIR = {"convolution", "convolution, per channel", "several ends"}


def made(name):
    model = NETWORKS[name]()
    return model, npt.init(model, 3)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_gives_model_and_parameters_back_bit_by_bit(name, tmp_path):
    model, parameters = made(name)
    npt.nir.write(tmp_path / "model.nir", model, parameters)
    again, found = npt.nir.read(tmp_path / "model.nir")
    assert again == model
    assert list(found) == list(parameters)
    for key, value in parameters.items():
        assert found[key].dtype == value.dtype and np.array_equal(found[key], value), key


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in NOT_READ_BY_NIR])
def test_nir_reads_a_file_of_ours_strictly(name, tmp_path):
    npt.nir.write(tmp_path / "model.nir", *made(name))
    graph = nir.read(tmp_path / "model.nir", type_check=True)
    assert len(graph.nodes) >= len(NETWORKS[name]().nodes)


@pytest.mark.parametrize("numerics", [None, "snntorch"])
def test_a_file_that_nir_has_written_anew_is_read_as_before_whatever_its_names(numerics, tmp_path):
    layers = {"a/b": npt.Linear(4), "a/c": npt.Recurrent(npt.Linear(4), npt.LIF(8 * DT)), ".": npt.Linear(2)}
    model = npt.Model.sequential(3, DT, layers)
    parameters = npt.init(model, 3)
    npt.nir.write(tmp_path / "ours.nir", model, parameters, numerics=numerics)
    nir.write(tmp_path / "anew.nir", nir.read(tmp_path / "ours.nir"))
    again, found = npt.nir.read(tmp_path / "anew.nir")
    assert again == model and all(np.array_equal(found[key], value) for key, value in parameters.items())


def standard_alone(file):
    """The file as another tool would hand it on: without our metadata."""
    nodes = {name: replace(node, metadata={}) for name, node in file.graph.nodes.items()}
    return replace(file, graph=replace(file.graph, nodes=nodes, metadata={}), findings=())


@pytest.mark.parametrize("name", ["LIF", "CubaLIF", "CubaLIF, recurrent", "IF, recurrent", "delays", "held",
                                  "recurrent, its bias late", "threshold and integrator", "delays by neuron",
                                  "numerics: impulse", "convolution", "LIF by decay", "CubaLIF by decay"])
def test_the_standards_fields_alone_give_the_same_network(name):
    model, parameters = made(name)
    steps, shape = 40, next(iter(model.nodes.values())).shape
    x = (np.random.default_rng(0).random((steps, 2, *shape)) < 0.5).astype(np.float32)
    file = standard_alone(exported(model, parameters))
    # a neuron that is given by its decay is written for readers that take Euler's steps
    numerics = npt.Numerics(discretization="euler") if "decay" in name else model.numerics
    if name == "held":
        numerics = npt.Numerics(output_delay=1)
    preset = replace(npt.nir.PRESETS["nengo"], numerics=numerics, reset="soft", resets_to_zero=False,
                     bias_at_start="late" not in name)
    found = imported(file, preset, DT)
    expected = npt.run(model, parameters, x, engine="reference")
    given = npt.run(found.model, found.parameters, x, engine="reference")
    assert np.allclose(given.outputs, expected.outputs, rtol=1e-4, atol=1e-5)
    assert np.abs(expected.outputs).sum() > 1


@pytest.mark.parametrize("platform", ["norse", "sinabs"])
def test_a_file_for_a_platform_takes_our_steps_there(platform):
    model, parameters = made("CubaLIF, recurrent")
    x = (np.random.default_rng(0).random((60, 4, 6)) < 0.5).astype(np.float32)
    preset = replace(npt.nir.PRESETS[platform], bias_at_start=True)
    expected = npt.run(model, parameters, x, engine="reference").outputs

    def share_of_difference(numerics):
        found = imported(standard_alone(exported(model, parameters, numerics=numerics)), preset, DT, "soft")
        given = npt.run(found.model, found.parameters, x, engine="reference").outputs
        return np.abs(given - expected).max() / np.abs(expected).max()

    assert share_of_difference(platform) < 1e-5
    assert share_of_difference(None) > 1e-2


def test_a_file_for_a_platform_that_counts_charge_by_the_second_gives_integrators_what_they_get_here():
    model = npt.Model.sequential(4, DT, [npt.Linear(8, weight_init=networks.weights()), npt.IF(r=0.4), npt.I(r=0.3)])
    parameters = npt.init(model, 3)
    x = np.random.default_rng(0).random((40, 2, 4))
    found = imported(standard_alone(exported(model, parameters, numerics="spikingjelly")), "spikingjelly", DT, "soft")
    expected = npt.run(model, parameters, x, engine="reference").outputs
    assert expected.any()
    assert np.allclose(npt.run(found.model, found.parameters, x, engine="reference").outputs, expected, rtol=1e-5)


@pytest.mark.parametrize("numerics, words", [
    (npt.Numerics(reset="soft"), "a reset that is soft"),
    (npt.Numerics(reset="hard", comparison="ge"), ">= v_threshold"),
    (npt.Numerics(reset="hard", output_delay=1), "leave a step later")])
def test_what_nir_cannot_say_is_named_and_with_strict_refused(numerics, words, tmp_path):
    model = npt.Model.sequential(4, DT, {"cell": npt.LIF(8 * DT)}, numerics)
    (finding,) = npt.nir.write(tmp_path / "model.nir", model, {})
    assert finding.path == "cell" and words in finding.words
    with pytest.raises(npt.InvalidData, match="cell"):
        npt.nir.write(tmp_path / "strict.nir", model, {}, strict=True)
    assert not (tmp_path / "strict.nir").exists()


def test_a_model_that_nir_can_say_is_written_strictly(tmp_path):
    model = npt.Model.sequential(4, DT, [npt.LIF(8 * DT)], npt.Numerics(reset="hard"))
    assert npt.nir.write(tmp_path / "model.nir", model, {}, strict=True) == ()


def test_an_adaptive_threshold_is_refused_by_name_when_strict():
    model = npt.Model.sequential(4, DT, {"cell": npt.ALIF(8 * DT)}, npt.Numerics(reset="hard"))
    with pytest.raises(npt.InvalidData, match="adapts"):
        exported(model, {}, strict=True)


def test_a_neuron_with_equations_of_its_own_is_refused():
    model = networks.network(networks.NEURONS["a stranger's neuron"](DT), DT)
    with pytest.raises(npt.InvalidData, match="equations are your own"):
        exported(model, npt.init(model, 0))


def test_weights_that_others_trained_are_read_and_other_changes_are_told():
    model, parameters = made("LIF")
    file = exported(model, parameters)
    name = next(name for name, node in file.graph.nodes.items() if node.type == "Affine")
    file.graph.nodes[name].fields["weight"] = file.graph.nodes[name].fields["weight"] * 2
    assert np.array_equal(imported(file).parameters[f"{name}.weight"], 2 * parameters[f"{name}.weight"])
    cell = next(node for node in file.graph.nodes.values() if node.type == "LIF")
    cell.fields["tau"] = cell.fields["tau"] * 2
    with pytest.raises(npt.InvalidData, match="changed since neuroport wrote it"):
        imported(file)
    assert imported(file, "norse", DT, "soft").model.nodes["hidden"].tau == pytest.approx(16 * DT)


def test_a_membrane_without_leak_that_is_given_by_its_decay_has_no_time_constant():
    model = npt.Model.sequential(4, DT, {"cell": npt.LIF.from_decay(1.0)})
    with pytest.raises(npt.InvalidData, match="use an IF"):
        exported(model, {})


@pytest.mark.parametrize("name", ["LIF", "CubaLIF", "CubaLIF, recurrent", "IF, recurrent"])
def test_a_file_for_a_platform_that_reads_no_gains_has_them_in_its_weights(name):
    model = NETWORKS[name]().model_copy(update={"numerics": npt.nir.PRESETS["spyx"].of("CubaLIF", "soft")})
    model = npt.Model(nodes={node: its.model_copy(update={"v_leak": 0.0}) if hasattr(its, "v_leak") else its
                             for node, its in model.nodes.items()},
                      edges=model.edges, dt=DT, numerics=model.numerics)
    parameters = npt.init(model, 3)
    x = (np.random.default_rng(0).random((60, 4, 6)) < 0.5).astype(np.float32)
    preset = replace(npt.nir.PRESETS["spyx"], kinds={})
    found = imported(standard_alone(exported(model, parameters, numerics="spyx")), preset, DT)
    # the delay of a recurrence is that of the output there
    expected = npt.run(model, parameters, x, engine="reference").outputs
    given = npt.run(npt.Model(nodes=found.model.nodes, edges=model.edges, dt=DT, numerics=found.model.numerics),
                    found.parameters, x, engine="reference").outputs
    assert np.abs(expected).sum() > 1
    assert np.abs(given - expected).max() < 1e-5 * np.abs(expected).max()


def test_a_leak_potential_is_refused_for_a_platform_that_has_none():
    with pytest.raises(npt.InvalidData, match="spyx reads no v_leak"):
        exported(*made("LIF"), numerics="spyx")


def test_reading_a_file_of_ours_warns_of_nothing(tmp_path):
    npt.nir.write(tmp_path / "model.nir", *made("LIF"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        npt.nir.read(tmp_path / "model.nir")
