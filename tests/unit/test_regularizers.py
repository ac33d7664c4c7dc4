"""Regularizers: their formulas, which populations and parameters they read, and their derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuroport as npt
from neuroport.dynamics.discretize import Step
from neuroport.program.cotangents import judge
from neuroport.program.lower import Program, lower
from neuroport.program.objective import objective, parameters_of_objective, penalized, read_by_objective, regularized
from neuroport.testing.strangers import StrangersParameterRegularizer, StrangersSpikeRegularizer

DT = 1e-3
STEP = Step(DT, "exponential")
OF_SPIKES: dict[str, npt.SpikeRegularizer] = {
    "RateBounds": npt.RateBounds(lower=0.45, upper=0.55, strength=3.0),
    "RateBounds per layer": npt.RateBounds(lower=0.6, upper=0.7, strength=3.0, per="layer"),
    "RateL1": npt.RateL1(strength=0.5),
    "RateL2": npt.RateL2(strength=0.5),
    "a stranger's": StrangersSpikeRegularizer(strength=2.0),
}
OF_PARAMETERS: dict[str, npt.ParameterRegularizer] = {
    "WeightL1": npt.WeightL1(strength=0.1),
    "WeightL2": npt.WeightL2(strength=0.1, parameters=("*.weight", "hidden.tau")),
    "a stranger's": StrangersParameterRegularizer(strength=0.1),
}
few = settings(max_examples=15, deadline=None)


def model() -> npt.Model:
    return npt.Model.sequential((4,), DT, {
        "first": npt.Linear(3), "hidden": npt.LIF(npt.Parameter(5e-3)), "fixed": npt.Linear(2, trainable=False),
        "last": npt.LIF(5e-3), "readout": npt.LI(5e-3)})


PROGRAM: Program = lower(model())


def rates(spikes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return (spikes.mean(0) * weights[:, None]).sum(0)


def arrays_of(seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Activity (T, B, N) of every population, parameters, classes and weights of samples."""
    random = np.random.default_rng(seed)
    values = {name: random.random((5, 3, size)) for name, size in (("hidden", 3), ("last", 2), ("output", 2))}
    parameters = {name: random.normal(size=spec.shape) + np.sign(random.normal(size=spec.shape))
                  for name, spec in PROGRAM.parameters.items()}
    return values, parameters, random.integers(0, 2, 3), random.dirichlet(np.ones(3))


def judged(training: npt.Training, seed: int) -> Any:
    values, parameters, targets, weights = arrays_of(seed)
    return judge(PROGRAM, training, values, parameters, targets, weights)


def slope(found: Any, held: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Central differences of a function of ``held`` by each entry of one of its arrays."""
    out, h = np.zeros_like(held[name]), 1e-6
    for place in np.ndindex(out.shape):
        high, low = held[name].copy(), held[name].copy()
        high[place] += h
        low[place] -= h
        out[place] = (found({**held, name: high}) - found({**held, name: low})) / (2 * h)
    return out


@pytest.mark.parametrize("name", OF_SPIKES)
@few
@given(st.integers(0, 2**32 - 1))
def test_derivatives_by_spikes_equal_central_differences(name: str, seed: int) -> None:
    values, parameters, targets, weights = arrays_of(seed)
    training = npt.Training(regularizers=(OF_SPIKES[name],))

    def loss(at: dict[str, np.ndarray]) -> float:
        return float(objective(PROGRAM, training, at, {}, targets, weights))

    found = judge(PROGRAM, training, values, parameters, targets, weights).activity
    assert set(found) == {"output", "hidden", "last"}
    for node, derivative in found.items():
        expected = slope(loss, values, node)
        np.testing.assert_allclose(derivative, expected, rtol=1e-6, atol=1e-8 * np.abs(expected).max() + 1e-9)


@pytest.mark.parametrize("name", OF_PARAMETERS)
@few
@given(st.integers(0, 2**32 - 1))
def test_derivatives_by_parameters_equal_central_differences(name: str, seed: int) -> None:
    values, parameters, targets, weights = arrays_of(seed)
    training = npt.Training(regularizers=(OF_PARAMETERS[name],))

    def loss(at: dict[str, np.ndarray]) -> float:
        flat = {parameter: value.reshape(-1) for parameter, value in at.items()}
        return float(objective(PROGRAM, training, values, flat, targets, weights))

    found = judge(PROGRAM, training, values, parameters, targets, weights).parameters
    expected_names = {"first.weight", *(("hidden.tau",) if name == "WeightL2" else ())}
    assert set(found) == expected_names  # what is frozen is not penalized
    for parameter, derivative in found.items():
        np.testing.assert_allclose(derivative, slope(loss, parameters, parameter), rtol=1e-6, atol=1e-8)


def test_every_regularizer_of_neuroport_is_tried_here_and_keeps_float32() -> None:
    own = {type(of).__name__ for of in [*OF_SPIKES.values(), *OF_PARAMETERS.values()]}
    assert own >= {name for name, of in npt.Regularizer.family.items() if of.__module__.startswith("neuroport.model")}
    spikes, weights = np.ones((4, 2, 3), np.float32), np.array([0.5, 0.5], np.float32)
    assert {of.penalty(spikes, weights, STEP).dtype for of in OF_SPIKES.values()} == {np.dtype(np.float32)}
    assert {of.penalty(spikes[0, 0]).dtype for of in OF_PARAMETERS.values()} == {np.dtype(np.float32)}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.5), st.floats(0.5, 0.99))
def test_penalties_of_rates_are_their_formulas(seed: int, lower_bound: float, upper_bound: float) -> None:
    random = np.random.default_rng(seed)
    spikes, weights = random.random((6, 3, 4)), random.dirichlet(np.ones(3))
    of_neurons = rates(spikes, weights)

    def outside(rate: Any) -> Any:
        return np.maximum(lower_bound - rate, 0) ** 2 + np.maximum(rate - upper_bound, 0) ** 2

    bounds = {"lower": lower_bound, "upper": upper_bound, "strength": 2.0}
    for regularizer, expected in (
        (npt.RateBounds(**bounds), 2 * outside(of_neurons).mean()),
        (npt.RateBounds(**bounds, per="layer"), 2 * outside(of_neurons.mean())),
        (npt.RateL1(strength=2.0), 2 * of_neurons.mean()),
        (npt.RateL2(strength=2.0), 2 * np.square(of_neurons).mean()),
    ):
        assert regularizer.penalty(spikes, weights, STEP) == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_a_layer_may_be_within_bounds_while_its_neurons_are_not() -> None:
    spikes = np.zeros((10, 1, 2))
    spikes[..., 1] = 1.0  # rates 0 and 1, in the mean a half
    weights = np.ones(1)
    bounds = {"lower": 0.4, "upper": 0.6}
    assert npt.RateBounds(**bounds, per="layer").penalty(spikes, weights, STEP) == 0
    assert npt.RateBounds(**bounds).penalty(spikes, weights, STEP) == pytest.approx(0.16)


def test_samples_without_weight_do_not_count() -> None:
    spikes = np.random.default_rng(0).random((5, 3, 2))
    for regularizer in OF_SPIKES.values():
        found = regularizer.penalty(spikes, np.array([0.5, 0.5, 0.0]), STEP)
        assert found == pytest.approx(float(regularizer.penalty(spikes[:, :2], np.array([0.5, 0.5]), STEP)), rel=1e-12)


def test_penalties_of_weights_are_sums() -> None:
    values = np.array([0.5, -2.0, 0.0])
    assert npt.WeightL1(strength=0.1).penalty(values) == pytest.approx(0.25)
    assert npt.WeightL2(strength=0.1).penalty(values) == pytest.approx(0.425)


def test_what_is_regularized_follows_names_and_patterns() -> None:
    named = npt.Training(regularizers=(npt.RateL1(nodes=("hidden",)), npt.WeightL1(parameters=("*.bias", "first.*"))))
    assert [name for _, name in regularized(PROGRAM, named)] == ["hidden"]
    assert [name for _, name in penalized(PROGRAM, named)] == ["first.weight", "first.bias"]
    assert read_by_objective(PROGRAM, named) == ["output", "hidden"]
    every = npt.Training(regularizers=(npt.RateL2(), npt.WeightL2()))
    assert [name for _, name in regularized(PROGRAM, every)] == ["hidden", "last"]  # the readout does not spike
    assert parameters_of_objective(PROGRAM, every) == ["first.weight"]  # neither biases nor what is frozen


def test_penalties_add_up_beside_the_loss() -> None:
    plain = judged(npt.Training(), 3).loss
    several = [npt.RateL1(strength=0.3), npt.WeightL2(strength=0.2), npt.WeightL1(strength=0.1)]
    added = [judged(npt.Training(regularizers=(of,)), 3).loss - plain for of in several]
    assert min(added) > 0
    assert judged(npt.Training(regularizers=tuple(several)), 3).loss == pytest.approx(plain + sum(added), rel=1e-12)
