"""``neuroport simulate``: every kind of model and of input, what is printed and what is written."""

from __future__ import annotations

import numpy as np
import pytest

import neuroport as npt

ON = ("--engine", "reference")


def test_a_run_simulates_a_sample_of_its_own_data_with_its_own_engine_and_decides(neuroport):
    done = neuroport("simulate", "runs/first", "--sample", 3)
    assert done.code == 0, done.err
    for word in ("run runs/first, trained parameters, on reference", "data, test sample 3 of class 1", "1_lif", "LIF",
                 "do not spike", "decision: class", "true class: 1"):
        assert word in done.out


def test_json_counts_the_spikes_that_npt_run_gives(neuroport, workplace):
    found = neuroport("simulate", "experiment.yaml", *ON, "--sample", 2, "--seed", 4, "--json").json
    experiment = npt.Experiment.load(workplace / "experiment.yaml")
    with np.load(workplace / "data.npz") as data:
        x = data["x_test"][2][:, None].astype(np.float32)
    ran = npt.run(experiment.model, npt.init(experiment.model, 4), x, "reference", ["spikes"])
    spikes = ran.records["1_lif"]["spikes"]
    hidden = next(one for one in found["populations"] if one["name"] == "1_lif")
    assert (hidden["spikes"], hidden["spikes_per_second"]) == (spikes.sum(), pytest.approx(spikes.mean() / 1e-3))
    assert hidden["silent"] == (spikes.sum((0, 1)) == 0).sum()
    assert (found["steps"], found["batch"], found["class"]) == (12, 1, 0)


def test_traces_and_a_raster_are_written(neuroport, workplace):
    done = neuroport("simulate", "model.yaml", *ON, "--poisson", 200, "--steps", 30, "--record", "v",
                     "--record", "1_lif.spikes", "--out", "traces.npz", "--plot", "raster.png")
    assert done.code == 0, done.err
    with np.load(workplace / "traces.npz") as traces:
        assert set(traces) == {"inputs.input", "outputs.output", "1_lif.v", "1_lif.spikes", "3_li.v"}
        assert traces["1_lif.v"].shape == (30, 1, 6) and traces["inputs.input"].shape == (30, 1, 4)
        assert 0 < traces["inputs.input"].mean() < 0.5
    assert (workplace / "raster.png").read_bytes().startswith(b"\x89PNG")


def test_poisson_input_is_a_function_of_the_seed(neuroport):
    ask = ("simulate", "model.yaml", *ON, "--poisson", 300, "--json", "--seed")
    one, same, other = (neuroport(*ask, seed).json for seed in (1, 1, 2))
    assert one == same and one["populations"] != other["populations"] and one["steps"] == 200


@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_input_comes_from_a_file_with_or_without_a_batch(neuroport, workplace, suffix, batch):
    x = np.ones((9, 4) if batch is None else (9, batch, 4))
    path = workplace / f"x{suffix}"
    np.save(path, x) if suffix == ".npy" else np.savez(path, mine=x)
    found = neuroport("simulate", "model.yaml", *ON, "--input", path.name, "--steps", 7, "--json").json
    assert (found["steps"], found["batch"]) == (7, batch or 1)


def test_a_nir_file_is_told_to_be_imported_first(neuroport, workplace):
    (workplace / "network.nir").write_bytes(b"\x89HDF\r\n\x1a\n")
    done = neuroport("simulate", "network.nir", "--poisson", 50)
    assert done.code == 2 and "neuroport nir import network.nir --numerics" in " ".join(done.err.split())


def test_parameters_come_from_a_file_or_from_another_run(neuroport):
    ask = ("simulate", "model.yaml", *ON, "--poisson", 100, "--json", "--parameters")
    of_run, of_file = neuroport(*ask, "runs/first"), neuroport(*ask, "runs/first/parameters.safetensors")
    assert of_run.json["populations"] == of_file.json["populations"]
    own = neuroport("simulate", "runs/first", *ON, "--poisson", 100, "--json")
    assert own.json["populations"] == of_run.json["populations"]


@pytest.mark.parametrize(("options", "said"), [
    (["no.yaml"], "no.yaml"),
    (["model.yaml"], "--poisson RATE"),
    (["model.yaml", "--poisson", "2000"], "give 0 to 1000 spikes/s"),
    (["model.yaml", "--poisson", "10", "--steps", "0"], "--steps"),
    (["model.yaml", "--poisson", "10", "--input", "x.npy"], "exclude each other"),
    (["model.yaml", "--poisson", "10", "--sample", "1"], "--sample"),
    (["model.yaml", "--input", "none.npy"], "there is no such file"),
    (["model.yaml", "--input", "experiment.yaml"], "cannot be read as .npz"),
    (["model.yaml", "--input", "data.npz"], "the file holds x_train"),
    (["model.yaml", "--data", "brail"], "did you mean 'braille'"),
    (["model.yaml", "--data", "braille"], "inputs"),
    (["experiment.yaml", "--sample", "8"], "give a number from 0 to 7"),
    (["experiment.yaml", "--part", "exam"], "test"),
    (["experiment.yaml", "--record", "1_lif.u"], "1_lif.spikes"),
    (["experiment.yaml", "--parameters", "data.npz"], "cannot be read"),
    (["experiment.yaml", "--out", "traces.txt"], "end it in .npz"),
    (["experiment.yaml", "--plot", "nowhere/raster.png"], "there is no folder nowhere"),
])
def test_a_wrong_request_ends_with_2_and_a_sentence(neuroport, options, said):
    done = neuroport("simulate", *options, *ON)
    assert done.code == 2 and said in done.err and "Traceback" not in done.err and done.out == ""
