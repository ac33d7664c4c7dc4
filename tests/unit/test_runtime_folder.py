"""The folder of a run: what it holds, when, and what is said where it cannot be."""

import json
import os

import numpy as np
import pytest
from runtime_case import Spoiled, small_data, small_experiment
from safetensors.numpy import load_file

import neuroport as npt
from neuroport.data.disk import write_atomically
from neuroport.runtime.folder import RunFolder, unused

LISTED = {"engine", "device", "seed", "epochs", "train_accuracy", "validation_accuracy", "test_accuracy",
          "samples_per_second", "data_hash", "versions"}


def test_a_run_folder_holds_what_the_design_lists(tmp_path):
    out = tmp_path / "some" / "run"
    run = npt.fit(small_experiment(seed=5), engine="reference", data=small_data(), out=out)
    assert sorted(path.name for path in out.iterdir()) == [
        "checkpoints", "experiment.yaml", "last.safetensors", "metrics.jsonl", "parameters.safetensors", "summary.json"
    ]
    summary = json.loads((out / "summary.json").read_text())
    assert set(summary) >= LISTED and summary == run.summary
    assert (summary["seed"], summary["data_hash"]) == (5, small_data().content_hash)
    assert [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()] == run.history
    assert npt.Experiment.load(out / "experiment.yaml") == run.experiment
    for file, held in (("parameters", run.parameters), ("last", run.last)):
        found = load_file(out / f"{file}.safetensors")
        assert set(found) == set(held) and all(np.array_equal(found[name], held[name]) for name in held)
    assert run.folder == out


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert npt.fit(small_experiment(epochs=1), engine="reference", data=small_data()).folder is None
    assert not list(tmp_path.iterdir())


def test_what_was_reached_before_a_training_failed_stays(tmp_path):
    out = tmp_path / "run"
    with pytest.raises(npt.TrainingDiverged, match=str(out)):
        npt.fit(small_experiment(), engine=Spoiled(losses=[0.7, 0.6, np.nan]), data=small_data(), out=out)
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 2
    assert (out / "parameters.safetensors").exists() and not (out / "summary.json").exists()


def test_a_folder_that_holds_another_run_is_left_alone(tmp_path):
    RunFolder.create(tmp_path, small_experiment())
    before = (tmp_path / "experiment.yaml").read_bytes()
    with pytest.raises(npt.NeuroportError, match=r"holds another run already \(found experiment.yaml\)"):
        npt.fit(small_experiment(seed=1), engine="reference", data=small_data(), out=tmp_path)
    assert (tmp_path / "experiment.yaml").read_bytes() == before


def test_a_folder_below_a_file_is_refused_in_words(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(npt.NeuroportError, match="a run cannot be written to"):
        npt.fit(small_experiment(), engine="reference", data=small_data(), out=tmp_path / "file" / "run")


def test_a_folder_without_permission_is_refused_in_words(tmp_path, monkeypatch):
    def forbidden(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", forbidden)
    with pytest.raises(npt.NeuroportError, match="Permission denied\n  mend: choose a folder that you may write to"):
        npt.fit(small_experiment(), engine="reference", data=small_data(), out=tmp_path / "run")


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_unused_names_count_up(tmp_path):
    assert unused(tmp_path / "run") == tmp_path / "run"
    (tmp_path / "run").mkdir()
    (tmp_path / "run-2").mkdir()
    assert unused(tmp_path / "run") == tmp_path / "run-3"
