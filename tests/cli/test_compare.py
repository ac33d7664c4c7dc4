"""``neuroport compare``: engines that agree, engines that do not, and what it says of both."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

# a shell that runs tests in the background has its children ignore Ctrl-C
HEARS_CTRL_C = ("import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
                "from neuroport.cli import main; main()")

ASK = ("compare", "experiment.yaml", "--seeds", 2, "--epochs", 2)


@pytest.fixture
def compared(process, strangers):
    """``compare`` on the strangers' engines, as the function of what is asked."""
    return lambda *options: process(*ASK, *options, paths=(strangers,))


def test_an_engine_of_the_same_equations_agrees_to_the_bit(compared, workplace):
    done = compared("--engines", "honest,reference", "--json", "--out", "compared")
    assert done.code == 0, done.err
    found = done.json
    honest = found["engines"]["honest"]
    assert found["agree"] and honest["agrees"] and honest["spikes"]["tier"] == "bit"
    assert honest["spikes"]["equal"] == honest["spikes"]["total"] == 12 * 8 * 6  # steps, samples, neurons
    assert honest["losses"]["largest"] < 1e-5
    assert [one["seed"] for one in honest["trainings"]] == [0, 1]
    assert found["engines"]["reference"]["trainings"] == []  # --full alone trains the measure
    assert set(found["seeds"]["means"]) == {"honest"} and found["seeds"]["within"] is None
    assert json.loads((workplace / "compared" / "comparison.json").read_text()) == found
    summary = json.loads((workplace / "compared" / "honest-seed1" / "summary.json").read_text())
    assert summary["test_accuracy"] == honest["trainings"][1]["summary"]["test_accuracy"]


def test_the_screen_is_one_screen_of_words_for_a_stranger_and_becomes_a_picture(compared, workplace):
    done = compared("--engines", "honest,reference", "--quiet", "--picture", "screen.png")
    lines = done.out.splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 100
    for word in ("Do they compute the same?", "Do they learn the same?", "How fast, how large?", "576 of 576",
                 "bit: every bit is equal", "norm:", "statistical:", "test accuracy, 2 seeds", "samples/s",
                 "peak memory", "--full", "✓ honest (bit) agrees with reference"):
        assert word in done.out, word
    assert (workplace / "screen.png").read_bytes().startswith(b"\x89PNG")
    assert "seed 0:" not in done.err  # what the strangers print is not ours to silence


def test_the_reference_is_the_measure_even_if_it_is_not_named_and_the_screen_becomes_a_picture(compared, workplace):
    done = compared("--engines", "honest", "--quiet", "--picture", "compared.svg")
    assert done.code == 0 and "the measure is reference (float64)" in done.out
    costs = done.out.partition("How fast")[2]
    assert "honest" in costs and "float64" not in costs
    text = (workplace / "compared.svg").read_text()
    assert text.startswith("<svg")
    assert "honest" in text and "@font-face" not in text  # no font from the net, which a README would not load


def test_an_engine_that_computes_something_else_is_found_out(compared):
    done = compared("--engines", "tilted,honest", "--quiet", "--json")
    assert done.code == 1
    tilted = done.json["engines"]["tilted"]
    assert not tilted["agrees"] and tilted["spikes"]["tier"] == "none" and "potentials differ by" in tilted["why_not"]
    assert done.json["engines"]["honest"]["agrees"] and not done.json["agree"]


def test_an_engine_that_learns_something_else_is_found_out_by_its_losses(compared):
    done = compared("--engines", "climbing", "--quiet")
    assert done.code == 1
    said = "✗ climbing does not agree with reference: spikes agree, but the loss of batch"
    assert said in " ".join(done.out.split())


def test_an_engine_that_dies_does_not_take_the_others_with_it(compared):
    done = compared("--engines", "falling,honest", "--quiet")
    assert done.code == 1 and "Traceback" not in done.err
    assert "✗ falling gave no answer: its process ended with exit code 3" in done.out
    assert "✓ honest (bit) agrees" in done.out


def test_accuracies_of_two_engines_are_held_against_the_spread_over_seeds(compared):
    done = compared("--engines", "honest,reference", "--full", "--json", "--quiet")
    seeds = done.json["seeds"]
    assert set(seeds["means"]) == {"honest", "reference"} and seeds["within"] in (True, False)
    assert seeds["apart"] == pytest.approx(abs(np.subtract(*seeds["means"].values())))
    assert [one["seed"] for one in done.json["engines"]["reference"]["trainings"]] == [0, 1]


def test_ctrl_c_ends_with_130_and_leaves_no_engine_at_work(workplace, strangers):
    command = [sys.executable, "-c", HEARS_CTRL_C, *map(str, ASK[:2]), "--engines", "honest", "--epochs", "5000"]
    paths = os.pathsep.join([str(strangers), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(command, cwd=workplace, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, "PYTHONPATH": paths}) as process:
        for line in process.stderr:
            if line.startswith("a stranger compiles"):  # in the engine's own process
                break
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()  # to its end: whoever worked on would keep it open
    assert process.returncode == 130 and "Traceback" not in said


@pytest.mark.parametrize(("options", "said"), [
    (["experiment.yaml", "--engines", "refrence"], "did you mean 'reference'"),
    (["experiment.yaml", "--engines", "reference"], "no engine to compare with"),
    (["experiment.yaml", "--engines", ","], "no engine to compare with"),
    (["no.yaml", "--engines", "jax"], "no.yaml"),
    (["model.yaml", "--engines", "jax"], "model.yaml"),
    (["experiment.yaml", "--engines", "jax", "--seeds", "0"], "seeds"),
    (["experiment.yaml", "--engines", "jax", "--epochs", "0"], "training.epochs"),
    (["experiment.yaml", "--engines", "jax", "--picture", "x.gif"], "end it in .svg"),
    (["experiment.yaml", "--engines", "jax", "--picture", "nowhere/x.svg"], "no folder nowhere"),
    (["experiment.yaml", "--engines", "jax", "--out", "runs"], "is not empty"),
    (["experiment.yaml", "--engines", "jax", "--out", "data.npz"], "cannot be written"),
])
def test_a_wrong_request_ends_with_2_before_anything_runs(neuroport, options, said):
    done = neuroport("compare", *options)
    assert done.code == 2 and said in done.err and "Traceback" not in done.err and done.out == ""


def test_a_model_that_an_engine_cannot_run_is_a_wrong_request_with_its_gaps(neuroport):
    done = neuroport(*ASK, "--engines", "jax", "--device", "tpu:7", "--quiet")
    assert done.code == 2 and "jax gave no answer" in done.out and "tpu:7" in done.out
