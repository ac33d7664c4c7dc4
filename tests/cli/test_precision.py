"""--precision from the outside."""

from __future__ import annotations


def test_a_training_and_an_evaluation_take_a_precision(neuroport):
    done = neuroport("train", "experiment.yaml", "--engine", "reference", "--precision", "bfloat16", "--json",
                     "--out", "rounded", "--epochs", 1)
    assert done.json["precision"] == "bfloat16"
    found = {precision: neuroport("evaluate", "rounded", "--json", "--precision", precision).json["loss"]
             for precision in ("bfloat16", "float64")}
    assert found["bfloat16"] != found["float64"]


def test_a_precision_that_an_engine_has_not_ends_with_2(neuroport):
    done = neuroport("train", "experiment.yaml", "--engine", "reference", "--precision", "float8", "--out", "none")
    assert done.code == 2 and "float8" in done.err
