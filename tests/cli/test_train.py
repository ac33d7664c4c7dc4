"""``neuroport train`` from the outside: its folder, its output, its exit codes, going on after a stop."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

# a shell that runs tests in the background has its children ignore Ctrl-C
HEARS_CTRL_C = ("import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
                "from neuroport.cli import main; main()")

REFERENCE = ("train", "experiment.yaml", "--engine", "reference")


def test_it_trains_writes_a_run_and_says_what_was_reached(process, workplace):
    done = process(*REFERENCE)
    assert done.code == 0, done.err
    assert "test accuracy" in done.out and "run: runs/small-reference" in done.out
    assert "epoch 3/3" in done.err and "samples/s" in done.err and "left" in done.err
    assert (workplace / "runs" / "small-reference" / "summary.json").exists()


def test_json_is_one_document_and_overrides_are_resolved(neuroport, workplace):
    done = neuroport(*REFERENCE, "--json", "--epochs", 1, "--seed", 7, "--batch-size", 4, "--out", "mine")
    summary = done.json
    assert (summary["epochs"], summary["seed"], len(summary["first_losses"])) == (1, 7, 4)
    assert "batch_size: 4" in (workplace / "mine" / "experiment.yaml").read_text()
    assert json.loads((workplace / "mine" / "summary.json").read_text()) == summary


def test_quiet_is_quiet(neuroport):
    assert neuroport(*REFERENCE, "--quiet", "--out", "quiet").err == ""


def test_what_a_strangers_engine_prints_does_not_reach_standard_output(process, strangers):
    done = process("train", "experiment.yaml", "--engine", "honest", "--json", "--out", "honest", paths=(strangers,))
    assert done.json["engine"] == "honest"
    assert "a stranger's plugin says hello" in done.err and "a stranger compiles" in done.err


def test_only_the_newest_checkpoints_are_kept(neuroport, workplace):
    neuroport(*REFERENCE, "--out", "kept", "--checkpoint-epochs", 1, "--keep", 2)
    assert len(list((workplace / "kept" / "checkpoints").iterdir())) == 2
    neuroport(*REFERENCE, "--out", "rare", "--checkpoint-minutes", 100)
    assert len(list((workplace / "rare" / "checkpoints").iterdir())) == 1  # at the end


def test_a_table_is_logged_where_it_is_asked_for(neuroport, workplace):
    assert neuroport(*REFERENCE, "--out", "logged", "--log", "csv").code == 0
    header, *rows = (workplace / "logged" / "metrics.csv").read_text().splitlines()
    assert "validation_accuracy" in header and len(rows) == 3


def test_resume_without_a_folder_finds_the_newest_run_of_that_name(neuroport, workplace):
    text = (workplace / "experiment.yaml").read_text().replace("name: small", "name: again")
    (workplace / "again.yaml").write_text(text)
    again = ("train", "again.yaml", "--engine", "reference", "--quiet", "--json")
    neuroport(*again)
    neuroport(*again, "--seed", 5)
    (workplace / "runs" / "again-reference-2" / "summary.json").unlink()  # as if it had been stopped at its end
    resumed = neuroport(*again, "--seed", 5, "--resume")
    assert resumed.code == 0 and resumed.json["seed"] == 5
    assert (workplace / "runs" / "again-reference-2" / "summary.json").exists()
    assert not (workplace / "runs" / "again-reference-3").exists()


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(workplace):
    command = [sys.executable, "-c", HEARS_CTRL_C, *REFERENCE, "--epochs", "2000", "--out", "stopped"]
    with subprocess.Popen(command, cwd=workplace, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.startswith("epoch 2/"):
                break
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130 and "Traceback" not in said
    assert "--resume --out stopped goes on" in said
    assert not (workplace / "stopped" / "summary.json").exists()


@pytest.mark.parametrize(("options", "said"), [
    (["--epochs", "0"], "training.epochs"),
    (["--batch-size", "-1", "--seed", "-2"], "training.batch_size"),
    (["--engine", "refrence"], "did you mean 'reference'"),
    (["--device", "tpu"], "tpu"),
    (["--out", "data.npz"], "a run cannot be written to data.npz"),
    (["--out", "runs/first"], "holds another run already"),
    (["--keep", "0"], "keep"),
    (["--checkpoint-minutes", "-1"], "every_minutes"),
    (["--log", "csv,papyrus"], "there is no log 'papyrus'"),
    (["--resume", "--out", "runs/first", "--seed", "9"], "seed"),
])
def test_a_wrong_request_ends_with_2_and_a_sentence(neuroport, options, said):
    done = neuroport(*REFERENCE, *options)
    assert done.code == 2 and said in done.err and "Traceback" not in done.err
    assert done.out == ""


def test_a_training_that_diverges_ends_with_1(process, workplace):
    text = (workplace / "experiment.yaml").read_text().replace("learning_rate: 0.2", "learning_rate: 1.0e+308")
    (workplace / "wild.yaml").write_text(text)
    done = process("train", "wild.yaml", "--engine", "reference")
    assert done.code == 1 and "became" in done.err and "learning_rate" in done.err
