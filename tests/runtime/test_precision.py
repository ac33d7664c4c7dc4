"""A training in bfloat16: what it keeps, and that it goes on as it began."""

import numpy as np
import pytest
from runtime_case import small_data, small_experiment

import neuroport as npt
from neuroport.errors import CannotResume, UnsupportedModel


@pytest.fixture(params=["reference", "torch"])
def engine(request):
    pytest.importorskip(request.param if request.param != "reference" else "numpy")
    return request.param


def train(engine, out, precision="bfloat16", **changes):
    resume = changes.pop("resume", False)
    return npt.fit(small_experiment(**changes), engine, out, data=small_data(), precision=precision, resume=resume)


def test_a_run_in_bfloat16_goes_on_in_bfloat16_to_the_same_bits(engine, tmp_path):
    whole = train(engine, tmp_path / "whole")
    train(engine, tmp_path / "parts", epochs=2)
    resumed = train(engine, tmp_path / "parts", None, resume=True)
    assert whole.summary["precision"] == resumed.summary["precision"] == "bfloat16"
    for name, value in whole.last.items():
        assert np.array_equal(resumed.last[name], value), name


def test_a_run_in_bfloat16_does_not_go_on_in_another_precision(engine, tmp_path):
    train(engine, tmp_path / "run", epochs=2)
    with pytest.raises(CannotResume, match="precision"):
        train(engine, tmp_path / "run", "float32", resume=True)


def test_parameters_stay_finer_than_bfloat16_and_training_is_not_that_of_float32(engine):
    found, plain = train(engine, None), train(engine, None, "float32")
    weights = found.last["0_linear.weight"]
    assert weights.dtype.itemsize >= 4 and (weights.astype(np.float32).view(np.uint32) & 0xFFFF).any()
    assert not np.array_equal(weights, plain.last["0_linear.weight"])


def test_a_run_in_bfloat16_is_judged_in_the_precision_that_is_asked_for(engine):
    run, data = train(engine, None), small_data()
    found = npt.evaluate(run, "test", engine, data=data, precision="bfloat16")
    assert found.loss == pytest.approx(run.summary["test_loss"], rel=1e-6)
    assert npt.evaluate(run, "test", engine, data=data).loss != found.loss


def test_an_engine_without_the_precision_says_so():
    with pytest.raises(UnsupportedModel, match="float16"):
        train("reference", None, "float16")
