"""``neuroport train`` from the outside: its folder, its output, its exit codes."""

import json
import subprocess
import sys

import numpy as np
import pytest
from runtime_case import patterns, small_experiment


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with an experiment and its data."""
    place = tmp_path_factory.mktemp("workplace")
    parts = {"train": patterns(16, 0), "validation": patterns(8, 1), "test": patterns(8, 2)}
    np.savez(place / "data.npz", **{f"{axis}_{part}": value for part, pair in parts.items()
                                    for axis, value in zip("xy", pair, strict=True)})
    experiment = small_experiment(epochs=3, data={"source": "npz", "options": {"path": "data.npz"}})
    (place / "experiment.yaml").write_text(experiment.to_yaml())
    return place


def train(place, *options):
    command = [sys.executable, "-m", "neuroport", "train", "experiment.yaml", "--engine", "reference", *options]
    return subprocess.run(command, cwd=place, capture_output=True, text=True)


def test_it_trains_writes_a_run_and_says_what_was_reached(workplace):
    done = train(workplace)
    assert done.returncode == 0, done.stderr
    assert "test accuracy" in done.stdout and "run: runs/small-reference" in done.stdout
    assert "epoch 3/3" in done.stderr and "samples/s" in done.stderr and "left" in done.stderr
    assert (workplace / "runs" / "small-reference" / "summary.json").exists()


def test_json_is_one_document_and_overrides_are_resolved(workplace):
    done = train(workplace, "--json", "--epochs", "1", "--seed", "7", "--batch-size", "4", "--out", "mine")
    summary = json.loads(done.stdout)
    assert (summary["epochs"], summary["seed"], len(summary["first_losses"])) == (1, 7, 4)
    assert "batch_size: 4" in (workplace / "mine" / "experiment.yaml").read_text()
    assert json.loads((workplace / "mine" / "summary.json").read_text()) == summary


def test_quiet_is_quiet(workplace):
    assert train(workplace, "--quiet", "--out", "quiet").stderr == ""


@pytest.mark.parametrize(("options", "said"), [
    (["--epochs", "0"], "training.epochs"),
    (["--batch-size", "-1", "--seed", "-2"], "training.batch_size"),
    (["--engine", "refrence"], "did you mean 'reference'"),
    (["--device", "tpu"], "tpu"),
    (["--out", "data.npz"], "a run cannot be written to data.npz"),
])
def test_a_wrong_request_ends_with_2_and_a_sentence(workplace, options, said):
    done = train(workplace, *options)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_training_that_diverges_ends_with_1(workplace):
    text = (workplace / "experiment.yaml").read_text().replace("learning_rate: 0.2", "learning_rate: 1.0e+308")
    (workplace / "wild.yaml").write_text(text)
    done = subprocess.run([sys.executable, "-m", "neuroport", "train", "wild.yaml", "--engine", "reference"],
                          cwd=workplace, capture_output=True, text=True)
    assert done.returncode == 1 and "became" in done.stderr and "learning_rate" in done.stderr
