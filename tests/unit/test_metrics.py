"""Metrics: top-k against NumPy, and what a metric is called."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuroport as npt
from neuroport.dynamics.discretize import Step

STEP = Step(1e-3, "exponential")


class SecondsActive(npt.Metric):
    """A user's metric."""

    def per_sample(self, outputs: Any, targets: Any, step: Step) -> Any:
        return npt.ops.sum(npt.ops.sum(outputs, 0), 1) * step.dt


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 7), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_top_k_counts_a_target_that_fewer_than_k_classes_exceed(
    steps: int, batch: int, classes: int, k: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    outputs = random.integers(0, 3, (steps, batch, classes)).astype(np.float32)  # counts, so that many tie
    targets = random.integers(0, classes, batch)
    found = npt.TopK(k=k).per_sample(outputs, targets, STEP)
    scores = outputs.sum(0)
    above = (scores > scores[np.arange(batch), targets][:, None]).sum(1)
    np.testing.assert_array_equal(found, above < k)
    assert found.shape == (batch,) and found.dtype == np.float32


def test_top_1_is_the_accuracy_and_top_all_is_one() -> None:
    random = np.random.default_rng(0)
    outputs, targets = random.normal(size=(9, 50, 4)), random.integers(0, 4, 50)
    decided = outputs.sum(0).argmax(1)
    np.testing.assert_array_equal(npt.TopK(k=1).per_sample(outputs, targets, STEP), decided == targets)
    assert 0 < (decided == targets).mean() < 1
    np.testing.assert_array_equal(npt.TopK(k=4).per_sample(outputs, targets, STEP), np.ones(50))


def test_a_metric_is_called_by_its_class_unless_it_has_a_name() -> None:
    assert npt.TopK().label == "top_k" and npt.TopK(k=3, name="best of three").label == "best of three"
    assert SecondsActive().label == "seconds_active"


def test_a_metric_of_ones_own_is_written_down_like_any_other() -> None:
    training = npt.Training.parse({"metrics": [{"type": "TopK", "k": 2}, "SecondsActive"]})
    assert training.metrics == (npt.TopK(k=2), SecondsActive())
    assert npt.Training.from_json(training.to_json()) == training
    np.testing.assert_allclose(SecondsActive().per_sample(np.ones((5, 2, 3)), None, STEP), 15e-3)


@pytest.mark.parametrize("k", [0, -1, 1.5])
def test_k_is_a_count(k: float) -> None:
    with pytest.raises(npt.InvalidExperiment, match="k:"):
        npt.TopK(k=k)
