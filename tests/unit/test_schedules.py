"""Schedules: exact factors, and torch's schedulers where there is one of the kind."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuroport as npt
from neuroport.model.schedules import plateau_of

SCHEDULES: list[npt.Schedule] = [
    npt.ConstantRate(), npt.Cosine(), npt.Cosine(final=0.2), npt.Exponential(gamma=0.7),
    npt.StepDecay(every=2, gamma=0.5), npt.Plateau(), npt.Warmup(), npt.Warmup(epochs=0.3, start=0.5),
    npt.Warmup(epochs=2.5, then=npt.Cosine()), npt.Warmup(epochs=1, then=npt.StepDecay(every=1, gamma=0.1)),
    npt.Warmup(epochs=1000), npt.Warmup(epochs=1e-6, then=npt.Exponential()),
]
named = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda of: of.to_json().replace("\n", ""))
lengths = st.tuples(st.integers(1, 40), st.integers(1, 30))


@named
@settings(max_examples=40, deadline=None)
@given(lengths)
def test_there_is_a_factor_between_zero_and_one_for_each_step(schedule: npt.Schedule, length: tuple[int, int]) -> None:
    found = schedule.factors(*length)
    assert found.shape == (length[0] * length[1],) and found.dtype == np.float64
    assert (found >= 0).all() and (found <= 1).all()


def test_every_schedule_of_neuroport_is_tried_here() -> None:
    assert {type(of).__name__ for of in SCHEDULES} == set(npt.Schedule.family)


def test_factors_of_small_trainings() -> None:
    np.testing.assert_array_equal(npt.ConstantRate().factors(2, 3), np.ones(6))
    np.testing.assert_array_equal(npt.Plateau().factors(2, 3), np.ones(6))
    half = math.sqrt(0.5)
    np.testing.assert_allclose(npt.Cosine().factors(2, 2), [1, (1 + half) / 2, 0.5, (1 - half) / 2], rtol=1e-14)
    np.testing.assert_allclose(npt.Cosine(final=0.5).factors(1, 2), [1, 0.75], rtol=1e-14)
    np.testing.assert_allclose(npt.Exponential(gamma=0.25).factors(2, 2), [1, 0.5, 0.25, 0.125], rtol=1e-14)
    np.testing.assert_allclose(npt.StepDecay(every=2, gamma=0.1).factors(2, 5), [1] * 4 + [0.1] * 4 + [0.01] * 2)
    np.testing.assert_allclose(npt.Warmup(epochs=1.5).factors(2, 3), [0.25, 0.5, 0.75, 1, 1, 1], rtol=1e-14)
    np.testing.assert_allclose(npt.Warmup(epochs=1, start=0.4).factors(2, 2), [0.6, 0.8, 1, 1], rtol=1e-14)


@settings(max_examples=60, deadline=None)
@given(lengths, st.floats(0.05, 40), st.floats(0, 0.99), st.sampled_from(
    [of for of in SCHEDULES if not isinstance(of, npt.Warmup)]))
def test_a_warm_up_rises_and_joins_what_follows_at_its_beginning(
    length: tuple[int, int], epochs: float, start: float, then: npt.Schedule
) -> None:
    found = npt.Warmup(epochs=epochs, start=start, then=then).factors(*length)
    rising = min(round(epochs * length[0]), len(found))
    rise, after = found[:rising], found[rising:]
    assert (np.diff(rise) > 0).all()
    assert (rise > start).all() and (rise < 1).all()  # the first step moves; the full rate comes after the rise
    np.testing.assert_array_equal(after[:1], then.factors(*length)[: len(after[:1])])
    if not isinstance(then, npt.Cosine):  # a cosine spans the epochs that are left
        np.testing.assert_array_equal(after, then.factors(*length)[: len(after)])


def test_a_warm_ups_cosine_ends_where_the_training_does() -> None:
    found = npt.Warmup(epochs=2, then=npt.Cosine(final=0.1)).factors(10, 12)
    np.testing.assert_allclose(found[20:], npt.Cosine(final=0.1).factors(10, 10), rtol=1e-14)


def test_the_part_that_follows_the_validation_is_found_inside_a_warm_up() -> None:
    plateau = npt.Plateau(patience=3)
    assert plateau_of(plateau) is plateau and plateau_of(npt.Warmup(then=plateau)) == plateau
    assert plateau_of(npt.Warmup()) is plateau_of(npt.Cosine()) is None


STEPS, EPOCHS = 7, 6
TORCHS: list[tuple[npt.Schedule, Callable[[Any, Any], Any]]] = [
    (npt.Cosine(), lambda of, o: of.CosineAnnealingLR(o, STEPS * EPOCHS)),
    (npt.Cosine(final=0.3), lambda of, o: of.CosineAnnealingLR(o, STEPS * EPOCHS, 0.3)),
    (npt.Exponential(gamma=0.6), lambda of, o: of.ExponentialLR(o, 0.6 ** (1 / STEPS))),
    (npt.StepDecay(every=2, gamma=0.5), lambda of, o: of.StepLR(o, 2 * STEPS, 0.5)),
    (npt.ConstantRate(), lambda of, o: of.ConstantLR(o, 1.0)),
    # from 1/8 in a straight line of 7 steps, and then 1
    (npt.Warmup(epochs=1), lambda of, o: of.LinearLR(o, 1 / 8, 1.0, STEPS)),
    (npt.Warmup(epochs=1, then=npt.StepDecay(every=2, gamma=0.5)), lambda of, o: of.SequentialLR(
        o, [of.LinearLR(o, 1 / 8, 1.0, STEPS), of.StepLR(o, 2 * STEPS, 0.5)], [STEPS])),
]


@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step:UserWarning")  # torch's own SequentialLR
@pytest.mark.parametrize(("schedule", "make"), TORCHS, ids=[of.to_json().replace("\n", "") for of, _ in TORCHS])
def test_factors_equal_those_of_torchs_schedulers(schedule: npt.Schedule, make: Callable[[Any, Any], Any]) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    theirs, rates = make(torch.optim.lr_scheduler, optimizer), []
    for _ in range(STEPS * EPOCHS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    np.testing.assert_allclose(schedule.factors(STEPS, EPOCHS), rates, rtol=1e-10, atol=1e-12)
