"""Losses: their formulas, and their derivatives by the tape against central differences in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import neuroport as npt
from neuroport.dynamics.discretize import Step
from neuroport.model.losses import cross_entropy, first_spike, smoothed
from neuroport.program.cotangents import judge
from neuroport.program.lower import lower
from neuroport.testing.strangers import StrangersLoss

DT = 1e-3
STEP = Step(DT, "exponential")
LOSSES: dict[str, npt.Loss] = {
    "sum": npt.CrossEntropy(over="sum"),
    "mean": npt.CrossEntropy(over="mean", label_smoothing=0.1),
    "max": npt.CrossEntropy(over="max"),
    "last": npt.CrossEntropy(over="last", label_smoothing=0.9),
    "first_spike": npt.CrossEntropy(over="first_spike"),
    "SpikeCountMSE": npt.SpikeCountMSE(correct=4, incorrect=1),
    "RateMSE": npt.RateMSE(),
    "TraceMSE": npt.TraceMSE(),
    "VanRossum": npt.VanRossum(tau=4e-3),
    "TemporalCrossEntropy": npt.TemporalCrossEntropy(tau=2e-3),
    "TemporalCrossEntropy, early": npt.TemporalCrossEntropy(tau=2e-3, early_strength=0.5, early_tau=10e-3),
    "TET": npt.TET(weight=0.3, target=0.7),
    "TET without target": npt.TET(weight=0.0),
    "a stranger's": StrangersLoss(tau=3e-3),
}
seeds = st.integers(0, 2**32 - 1)
sizes = st.tuples(st.integers(1, 7), st.integers(1, 3), st.integers(2, 4))  # T, B, C
few = settings(max_examples=15, deadline=None)


def activity(size: tuple[int, int, int], seed: int) -> np.ndarray:
    """Relaxed spikes inside (0, 1), no two of them near each other: a maximum has no edge there."""
    random = np.random.default_rng(seed)
    total = int(np.prod(size))
    return (0.05 + 0.9 * (random.permutation(total) + random.random(total) * 0.5) / total).reshape(size)


def targets_for(loss: npt.Loss, size: tuple[int, int, int], seed: int) -> np.ndarray:
    random = np.random.default_rng(seed + 1)
    return random.integers(0, size[2], size[1]) if loss.targets == "classes" else random.random(size)


def judged(loss: npt.Loss, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> Any:
    """The objective and its derivatives by the outputs, as engines without automatic differentiation have them."""
    program = lower(npt.Model.sequential((outputs.shape[2],), DT, [npt.IF()]))
    batch = outputs.shape[1]
    shares = np.full(batch, 1 / batch) if weights is None else weights
    (name,) = program.outputs
    found = judge(program, npt.Training(loss=loss), {name: outputs}, {}, targets, shares)
    return found.loss, found.activity[name]


def slopes(loss: npt.Loss, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Central differences of the weighted loss by every entry of the outputs."""
    found, h = np.zeros_like(outputs), 1e-5
    for place in np.ndindex(outputs.shape):
        high, low = outputs.copy(), outputs.copy()
        high[place] += h
        low[place] -= h
        found[place] = sum(
            sign * (loss.per_sample(at, targets, STEP) * weights).sum() for sign, at in ((1, high), (-1, low))
        ) / (2 * h)
    return found


@pytest.mark.parametrize("name", LOSSES)
@few
@given(sizes, seeds)
def test_the_tapes_derivative_equals_central_differences(name: str, size: tuple[int, int, int], seed: int) -> None:
    loss, outputs = LOSSES[name], activity(size, seed)
    targets = targets_for(loss, size, seed)
    weights = np.random.default_rng(seed + 2).random(size[1])
    value, slope = judged(loss, outputs, targets, weights)
    assert value == pytest.approx((loss.per_sample(outputs, targets, STEP) * weights).sum(), rel=1e-12)
    expected = slopes(loss, outputs, targets, weights)
    assert np.linalg.norm(slope - expected) <= 1e-6 * np.linalg.norm(expected) + 1e-10


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_of_neuroport_is_tried_here_and_keeps_float32(name: str) -> None:
    own = {type(loss).__name__ for loss in LOSSES.values()}
    assert own >= {kind for kind, of in npt.Loss.family.items() if of.__module__ == "neuroport.model.losses"}
    loss, outputs = LOSSES[name], activity((5, 2, 3), 0).astype(np.float32)
    targets = targets_for(loss, outputs.shape, 0)
    targets = targets.astype(np.float32) if targets.dtype.kind == "f" else targets
    found = loss.per_sample(outputs, targets, STEP)
    assert found.shape == (2,) and found.dtype == np.float32
    assert loss.targets == "traces" or loss.scores(outputs, STEP).dtype == np.float32


@pytest.mark.parametrize("name", LOSSES)
@few
@given(seeds)
def test_samples_are_judged_one_by_one(name: str, seed: int) -> None:
    loss, outputs = LOSSES[name], activity((6, 3, 4), seed)
    targets = targets_for(loss, outputs.shape, seed)
    together = loss.per_sample(outputs, targets, STEP)
    for k in range(3):
        alone = targets[k : k + 1] if loss.targets == "classes" else targets[:, k : k + 1]
        np.testing.assert_allclose(loss.per_sample(outputs[:, k : k + 1], alone, STEP), together[k : k + 1], 1e-12)


# --- cross-entropy ------------------------------------------------------------------------------

scores_strategy = arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(2, 6)), elements=st.floats(-30, 30))


@settings(max_examples=60, deadline=None)
@given(scores_strategy, seeds, st.sampled_from([0.0, 0.1, 0.75]))
def test_cross_entropy_equals_torchs_and_scipys(scores: np.ndarray, seed: int, smoothing: float) -> None:
    classes = np.random.default_rng(seed).integers(0, scores.shape[1], len(scores))
    wanted = smoothed(classes, scores, smoothing)
    found = cross_entropy(scores, wanted, 1)

    special = pytest.importorskip("scipy.special", reason="scipy is not installed")
    np.testing.assert_allclose(found, -(wanted * special.log_softmax(scores, 1)).sum(1), rtol=1e-12, atol=1e-12)
    torch = pytest.importorskip("torch", reason="torch is not installed")
    theirs = torch.nn.functional.cross_entropy(
        torch.tensor(scores), torch.tensor(classes), label_smoothing=smoothing, reduction="none")
    np.testing.assert_allclose(found, theirs.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.75])
def test_cross_entropy_equals_optaxs(smoothing: float) -> None:
    random = np.random.default_rng(0)
    scores, classes = random.normal(size=(200, 5)) * 10, random.integers(0, 5, 200)
    found = cross_entropy(scores, smoothed(classes, scores, smoothing), 1)
    jax = pytest.importorskip("jax", reason="jax is not installed")
    optax = pytest.importorskip("optax", reason="optax is not installed")
    with jax.enable_x64(True):
        hit = jax.nn.one_hot(classes, scores.shape[1], dtype=np.float64)
        theirs = optax.softmax_cross_entropy(scores, optax.smooth_labels(hit, smoothing))
        np.testing.assert_allclose(found, np.asarray(theirs), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("over", "reduce"), [
    ("sum", lambda x: x.sum(0)), ("mean", lambda x: x.mean(0)), ("max", lambda x: x.max(0)), ("last", lambda x: x[-1]),
])
def test_time_is_reduced_before_the_softmax(over: str, reduce: Any) -> None:
    loss, outputs, classes = npt.CrossEntropy(over=over), activity((9, 4, 3), 1), np.array([0, 2, 1, 1])
    scores = reduce(outputs)
    np.testing.assert_allclose(loss.scores(outputs, STEP), scores, rtol=1e-14)
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    np.testing.assert_allclose(loss.per_sample(outputs, classes, STEP), -np.log(shares[range(4), classes]), rtol=1e-12)


def test_huge_scores_give_finite_losses_and_derivatives() -> None:
    outputs = np.array([[[1e4, -1e4, 0.0]], [[3e4, 1e4, 5.0]]])
    for over in ("sum", "mean", "max", "last"):
        value, slope = judged(npt.CrossEntropy(over=over), outputs, np.array([1]))
        assert value > 1e3 and np.isfinite(slope).all() and np.abs(slope).sum() > 0


def test_ties_under_max_share_the_derivative() -> None:
    outputs = np.zeros((4, 1, 2))
    outputs[[0, 2], 0, 0] = 1.0  # class 0 has its largest value twice
    _, slope = judged(npt.CrossEntropy(over="max"), outputs, np.array([0]))
    assert slope[0, 0, 0] == slope[2, 0, 0] != 0 and slope[1, 0, 0] == slope[3, 0, 0] == 0
    np.testing.assert_allclose(slope[:, 0, 1], slope[0, 0, 1])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(2, 9), st.floats(0, 0.99), seeds)
def test_smoothed_targets_are_shares(batch: int, classes: int, smoothing: float, seed: int) -> None:
    targets = np.random.default_rng(seed).integers(0, classes, batch)
    found = smoothed(targets, np.zeros((batch, classes)), smoothing)
    np.testing.assert_allclose(found.sum(1), 1.0, rtol=1e-12)
    others = np.delete(found[0], targets[0])
    np.testing.assert_allclose(others, smoothing / classes, atol=1e-15)
    assert found[0, targets[0]] == pytest.approx(1 - smoothing + smoothing / classes)


# --- times of first spikes ----------------------------------------------------------------------

trains = arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 2), st.integers(1, 3)),
                elements=st.sampled_from([0.0, 1.0, 3.0]))


class StepsBeforeSpikes(npt.Loss):
    """All first spikes together."""

    def per_sample(self, outputs: Any, targets: Any, step: Step) -> Any:
        return npt.ops.sum(first_spike(outputs), 1)


def first_by_looking(spikes: np.ndarray) -> np.ndarray:
    steps = np.arange(len(spikes))[:, None, None]
    return np.where(spikes > 0, steps, len(spikes)).min(0)


@settings(max_examples=80, deadline=None)
@given(trains)
def test_first_spike_counts_the_steps_before_it_and_all_of_them_where_none_comes(spikes: np.ndarray) -> None:
    np.testing.assert_array_equal(first_spike(spikes), first_by_looking(spikes))


def test_first_spike_of_examples() -> None:
    spikes = np.zeros((5, 1, 4))
    spikes[0, 0, 0] = spikes[3, 0, 1] = spikes[4, 0, 1] = 1  # at once; late and again; never; several at a step
    spikes[2, 0, 3] = 7
    assert first_spike(spikes)[0].tolist() == [0, 3, 5, 2]


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, st.tuples(st.integers(1, 9), st.just(1), st.integers(1, 3)),
              elements=st.sampled_from([0.0, 1.0])))
def test_the_derivative_of_a_first_spike_is_the_change_that_one_flipped_spike_makes(spikes: np.ndarray) -> None:
    _, slope = judged(StepsBeforeSpikes(), spikes, np.zeros(1, int))
    for place in np.ndindex(spikes.shape):
        with_it, without = spikes.copy(), spikes.copy()
        with_it[place], without[place] = 1.0, 0.0
        assert slope[place] == (first_by_looking(with_it) - first_by_looking(without)).sum()


def spikes_at(times: list[int | None], steps: int) -> np.ndarray:
    """One sample, one spike a class (T, 1, C)."""
    found = np.zeros((steps, 1, len(times)))
    for k, time in enumerate(times):
        if time is not None:
            found[time, 0, k] = 1.0
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=2, max_size=5), st.integers(0, 20), seeds)
def test_only_differences_of_first_spikes_count_and_early_strength_asks_for_early_ones(
    times: list[int], later: int, seed: int
) -> None:
    target = np.array([seed % len(times)])
    plain = npt.TemporalCrossEntropy(tau=4e-3)
    early = npt.TemporalCrossEntropy(tau=4e-3, early_strength=0.7, early_tau=20e-3)
    shifted = [time + later for time in times]
    one, other = (spikes_at(of, 45) for of in (times, shifted))
    assert plain.per_sample(other, target, STEP) == pytest.approx(plain.per_sample(one, target, STEP), abs=1e-12)
    for of, at in ((times, one), (shifted, other)):
        added = early.per_sample(at, target, STEP) - plain.per_sample(at, target, STEP)
        seconds = of[target[0]] * DT
        assert added == pytest.approx(0.7 * (math.exp(seconds / 20e-3) - 1), rel=1e-9, abs=1e-12)


def test_the_first_to_spike_decides_and_loses_least() -> None:
    loss, spikes = npt.TemporalCrossEntropy(), spikes_at([7, 2, None], 10)
    assert loss.scores(spikes, STEP).argmax(1) == [1]
    losses = [float(loss.per_sample(spikes, np.array([k]), STEP)[0]) for k in range(3)]
    assert losses[1] < losses[0] < losses[2]
    np.testing.assert_allclose(loss.scores(spikes, STEP)[0], -np.array([7, 2, 10]) * DT / 5e-3)
    # the same decision where cross-entropy reads first spikes, in steps
    np.testing.assert_array_equal(npt.CrossEntropy(over="first_spike").scores(spikes, STEP)[0], [-7, -2, -10])


# --- counts, rates, traces, distances -----------------------------------------------------------


def test_counts_and_rates_are_compared_with_what_is_wanted_of_each_class() -> None:
    spikes = spikes_at([1, 3, None], 8)
    spikes[5, 0, 0] = 1.0  # counts 2, 1, 0
    count = npt.SpikeCountMSE(correct=5, incorrect=1)
    assert count.per_sample(spikes, np.array([0]), STEP) == pytest.approx(((2 - 5) ** 2 + 0 + 1) / 3)
    rate = npt.RateMSE(correct=0.5, incorrect=0.125)
    assert rate.per_sample(spikes, np.array([0]), STEP) == pytest.approx((0.25**2 + 0 + 0.125**2) / 3)


def test_a_trace_is_compared_by_its_mean_square() -> None:
    outputs, targets = activity((6, 2, 3), 0), activity((6, 2, 3), 1)
    found = npt.TraceMSE().per_sample(outputs, targets, STEP)
    np.testing.assert_allclose(found, np.square(outputs - targets).mean((0, 2)), rtol=1e-12)
    np.testing.assert_array_equal(npt.TraceMSE().per_sample(targets, targets, STEP), 0.0)


@pytest.mark.parametrize("method", ["exponential", "euler"])
@pytest.mark.parametrize("per_tau", [5, 50, 500])
def test_van_rossum_is_its_closed_form(per_tau: int, method: str) -> None:
    tau, steps = 10e-3, 12 * per_tau
    step, loss = Step(tau / per_tau, method), npt.VanRossum(tau=tau)
    one, none, late = (spikes_at([time], steps) for time in (per_tau, None, 2 * per_tau))
    apart = [float(loss.per_sample(a, b, step)[0]) for a, b in ((one, none), (one, late), (one, one))]
    # one spike against none: (1/tau) integral exp(-2t/tau) = 1/2; two that are one tau apart: 1 - exp(-1)
    # whatever the time step, but for the tail that the run's end cuts off
    assert apart[0] == pytest.approx(0.5, rel=1e-8)
    assert apart[1] == pytest.approx(1 - math.exp(-1), rel=1e-7)
    assert apart[2] == 0.0


@few
@given(seeds)
def test_van_rossum_is_a_squared_distance_over_all_channels(seed: int) -> None:
    random, loss = np.random.default_rng(seed), npt.VanRossum(tau=3e-3)
    a, b, c = (random.integers(0, 2, (30, 1, 2)).astype(float) for _ in range(3))

    def root(x: np.ndarray, y: np.ndarray) -> float:
        return math.sqrt(float(loss.per_sample(x, y, STEP)[0]))

    assert root(a, b) == root(b, a) and root(a, a) == 0
    assert root(a, c) <= root(a, b) + root(b, c) + 1e-12
    by_channel = sum(root(a[..., k : k + 1], b[..., k : k + 1]) ** 2 for k in range(2))
    assert root(a, b) ** 2 == pytest.approx(by_channel)


# --- TET ----------------------------------------------------------------------------------------


def test_tet_averages_the_cross_entropy_of_every_step() -> None:
    outputs, classes = activity((7, 3, 4), 3), np.array([1, 0, 3])
    last = npt.CrossEntropy(over="last")
    of_steps = np.mean([last.per_sample(outputs[t : t + 1], classes, STEP) for t in range(7)], 0)
    np.testing.assert_allclose(npt.TET(weight=0).per_sample(outputs, classes, STEP), of_steps, rtol=1e-12)
    square = np.square(outputs - 0.4).mean((0, 2))
    np.testing.assert_allclose(npt.TET(weight=1, target=0.4).per_sample(outputs, classes, STEP), square, rtol=1e-12)
    mixed = npt.TET(weight=0.2, target=0.4).per_sample(outputs, classes, STEP)
    np.testing.assert_allclose(mixed, 0.8 * of_steps + 0.2 * square, rtol=1e-12)
    np.testing.assert_allclose(npt.TET().scores(outputs, STEP), outputs.mean(0), rtol=1e-14)


# --- which losses suit which models --------------------------------------------------------------


@pytest.mark.parametrize("loss", [npt.CrossEntropy(over="first_spike"), npt.TemporalCrossEntropy()])
def test_first_spikes_are_asked_of_spiking_neurons_alone(loss: npt.Loss) -> None:
    training = npt.Training(loss=loss)
    spiking, analog = (npt.Model.sequential((3,), DT, [npt.Linear(2), of]) for of in (npt.LIF(5e-3), npt.LI(5e-3)))
    assert not training.problems_with(spiking)
    (problem,) = training.problems_with(analog)
    assert problem.path == "loss" and "LIF" in problem.mend


def test_classes_need_one_axis_and_traces_take_any() -> None:
    image = npt.Model.sequential((1, 4, 4), DT, [npt.IF()])
    assert [problem.path for problem in npt.Training().problems_with(image)] == ["loss"]
    assert not npt.Training(loss=npt.TraceMSE()).problems_with(image)
