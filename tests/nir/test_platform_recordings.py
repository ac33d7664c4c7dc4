"""What platforms did with the NIR paper's files, spike by spike, under the presets that name them."""

import numpy as np
import pytest
from recordings import nir_recording

import neuroport as npt

BRAILLE = {  # file: reset, hidden neurons, accuracy by platform as the paper has it
    "bias_zero": ("hard", 38, {"snntorch": 95.00, "norse": 94.29, "spinnaker2": 85.00}),
    "noBias_subtract": ("soft", 40, {"snntorch": 92.14, "norse": 93.57, "spinnaker2": 93.57}),
}
ENGINES = [("reference", "float32"), ("jax", None), ("torch", None)]
CLOSE = 1e-5  # to the threshold: as near as rounding brings a potential


def braille(name, numerics):
    return npt.nir.read(nir_recording(f"braille_noDelay_{name}.nir"), numerics=numerics, dt=1e-4,
                        reset=BRAILLE[name][0])


@pytest.fixture(scope="module")
def touches():
    """Activity (256, 140, 12) and classes of the test set that the paper judged."""
    path = nir_recording("lif_norse.nir").parents[1] / "braille" / "braille7.npz"
    with np.load(path) as held:
        return np.moveaxis(held["x_test"], 0, 1).astype(np.float32), held["y_test"]


def decided(outputs):
    return outputs.sum(0).argmax(1)


@pytest.mark.parametrize("engine, precision", ENGINES, ids=lambda value: str(value))
@pytest.mark.parametrize("name", BRAILLE)
def test_snntorch_preset_gives_every_hidden_spike_that_snntorch_recorded(name, engine, precision, touches):
    recorded = np.load(nir_recording(f"snntorch_activity_noDelay_{name}.npy"))[:, None]
    found = npt.nir.check(braille(name, "snntorch"), {"lif1.lif": recorded}, touches[0][:, :1], engine=engine,
                          precision=precision)
    (hidden,) = [node for node in found.nodes if node.node == "lif1.lif"]
    assert hidden.values == 256 * BRAILLE[name][1]
    assert hidden.counts[1] == recorded.sum()
    if engine == "reference":
        assert len(hidden.differing) == 0
    assert (hidden.differing.distance[hidden.differing.cause] < CLOSE).all()


@pytest.mark.parametrize("engine, precision", ENGINES, ids=lambda value: str(value))
@pytest.mark.parametrize("name", BRAILLE)
def test_snntorch_preset_gives_the_accuracy_that_snntorch_recorded(name, engine, precision, touches):
    x, y = touches
    outputs = npt.run(*braille(name, "snntorch"), x, engine=engine, precision=precision).outputs
    right, recorded = (decided(outputs) == y).sum(), np.load(nir_recording(f"snntorch_accuracy_noDelay_{name}.npy"))
    assert abs(right - round(float(recorded) * len(y))) <= (0 if engine == "reference" else 1)


@pytest.mark.parametrize("platform", ["norse", "spinnaker2", "snntorch"])
@pytest.mark.parametrize("name", BRAILLE)
def test_presets_give_the_accuracies_that_the_paper_published(name, platform, touches):
    x, y = touches
    outputs = npt.run(*braille(name, platform), x, engine="reference", precision="float32").outputs
    assert round(100 * float(np.mean(decided(outputs) == y)), 2) == BRAILLE[name][2][platform]


def test_spyx_recurrence_takes_one_step_though_its_spikes_leave_one_step_later(touches):
    spyx, base = (npt.run(*braille("noBias_subtract", numerics), touches[0][:, :4], engine="reference",
                          record=["lif1.lif.spikes"]).records["lif1.lif"]["spikes"]
                  for numerics in ("spyx", npt.Numerics(discretization="euler", reset="soft")))
    assert base.sum() > 100
    assert np.array_equal(spyx[1:], base[:-1])


@pytest.mark.parametrize("engine, precision", ENGINES, ids=lambda value: str(value))
@pytest.mark.parametrize("platform, reset, scale", [
    ("norse", "hard", 1), ("snntorch", "hard", 25), ("sinabs", None, 1)])
def test_single_lif_has_the_recorded_potential_and_spikes(platform, reset, scale, engine, precision):
    current, potential, spikes = np.loadtxt(nir_recording(f"lif_{platform}.csv"), delimiter=",").T
    model, parameters = npt.nir.read(nir_recording("lif_norse.nir"), numerics=platform, dt=1e-4, reset=reset)
    found = npt.run(model, parameters, (current > 0)[:, None, None].astype(np.float32), engine=engine,
                    precision=precision, record=["1"]).records["1"]
    assert spikes.sum() == 4
    assert np.array_equal(found["spikes"][:, 0, 0], spikes)
    assert np.abs(found["v"][:, 0, 0] - potential / scale).max() < 1e-6  # snnTorch scales it by tau / dt


@pytest.mark.parametrize("engine, precision", ENGINES, ids=lambda value: str(value))
@pytest.mark.parametrize("platform, reset, file", [
    ("nengo", None, "nengo_activity.npz"), ("snntorch", "soft", "snnTorch_activity.npz")])
def test_first_layer_of_the_cnn_has_all_recorded_spikes(platform, reset, file, engine, precision):
    with np.load(nir_recording("cnn_numbers.npz")) as held, np.load(nir_recording(file)) as activity:
        x, recorded = held["x"].astype(np.float32), activity["a"]
    model, parameters = npt.nir.read(nir_recording("cnn_sinabs.nir"), numerics=platform, reset=reset)
    found = npt.run(model, parameters, x, engine=engine, precision=precision, record=["1.spikes"])
    assert recorded.size == 12_288_000
    assert np.array_equal(found.records["1"]["spikes"], recorded)
    if platform == "nengo":
        assert decided(found.outputs).tolist() == list(range(10))
