"""``neuroport evaluate``: what it says of a run, and to whom."""

from __future__ import annotations

import json

import pytest


def test_a_screen_names_accuracy_classes_and_spikes(neuroport):
    done = neuroport("evaluate", "runs/first")
    assert done.code == 0, done.err
    for word in ("8 test samples on reference (cpu)", "accuracy", "true class", "1_lif", "spikes/s", "silent"):
        assert word in done.out
    assert max(map(len, done.out.splitlines())) <= 100


def test_json_agrees_with_the_runs_own_summary(neuroport, workplace):
    found = neuroport("evaluate", "runs/first", "--json").json
    summary = json.loads((workplace / "runs" / "first" / "summary.json").read_text())
    assert found["accuracy"] == summary["test_accuracy"] and found["engine"] == "reference"
    assert sum(map(sum, found["confusion"])) == found["samples"] == 8


def test_another_part_on_another_engine(process, strangers):
    done = process("evaluate", "runs/first", "--part", "validation", "--engine", "honest", "--json", paths=(strangers,))
    assert (done.json["part"], done.json["engine"]) == ("validation", "honest")


@pytest.mark.parametrize(("options", "said"), [
    (["runs/none"], "not the folder of a run"),
    (["data.npz"], "not the folder of a run"),
    (["runs/first", "--part", "exam"], "there is no 'exam'"),
    (["runs/first", "--engine", "refrence"], "did you mean 'reference'"),
    (["runs/first", "--device", "tpu"], "tpu"),
])
def test_a_wrong_request_ends_with_2_and_a_sentence(neuroport, options, said):
    done = neuroport("evaluate", *options)
    assert done.code == 2 and said in done.err and "Traceback" not in done.err and done.out == ""
