"""The NumPy optimizers, which define every engine's, against torch.optim and optax in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuroport as npt
from neuroport.engine.optimize import CHANGES, KNOWN, clip, first_moments, update

STEPS, RATE = 10, 0.03
OPTIMIZERS: dict[str, npt.Optimizer] = {
    "SGD": npt.SGD(RATE),
    "SGD, momentum and decay": npt.SGD(RATE, momentum=0.9, weight_decay=0.05),
    "Adam": npt.Adam(RATE, beta1=0.8, beta2=0.95, eps=1e-3),
    "AdamW": npt.AdamW(RATE, weight_decay=0.1, eps=1e-8),
    "Lion": npt.Lion(RATE, beta1=0.8, beta2=0.95, weight_decay=0.1),
    "RMSprop": npt.RMSprop(RATE, decay=0.9, eps=1e-3),
    "RMSprop, momentum": npt.RMSprop(RATE, decay=0.9, eps=1e-3, momentum=0.8),
}
START = {"a": np.random.default_rng(0).normal(size=(3, 4)), "b": np.random.default_rng(1).normal(size=4)}
FACTORS = np.linspace(1.0, 0.1, STEPS)  # of a learning rate that moves


def gradients(step: int, parameters: dict[str, Any]) -> dict[str, np.ndarray]:
    """Of a bowl that shakes: they depend on where the parameters are."""
    random = np.random.default_rng(100 + step)
    return {name: 0.5 * np.asarray(value) + random.normal(size=value.shape) for name, value in parameters.items()}


def ours(optimizer: npt.Optimizer, factors: np.ndarray) -> list[dict[str, np.ndarray]]:
    parameters, moments, way = START, first_moments(START), []
    for step, factor in enumerate(factors):
        rates = dict.fromkeys(parameters, optimizer.learning_rate * factor)
        found = gradients(step, parameters)
        parameters, moments = update(optimizer, rates, None, step, parameters, found, moments)
        way.append(parameters)
    return way


def torchs(optimizer: npt.Optimizer, factors: np.ndarray) -> list[dict[str, np.ndarray]]:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    make: dict[type[npt.Optimizer], Callable[..., Any]] = {
        npt.SGD: lambda o, p: torch.optim.SGD(p, o.learning_rate, o.momentum, weight_decay=o.weight_decay),
        npt.Adam: lambda o, p: torch.optim.Adam(p, o.learning_rate, (o.beta1, o.beta2), o.eps),
        npt.AdamW: lambda o, p: torch.optim.AdamW(p, o.learning_rate, (o.beta1, o.beta2), o.eps, o.weight_decay),
        npt.RMSprop: lambda o, p: torch.optim.RMSprop(p, o.learning_rate, o.decay, o.eps, momentum=o.momentum),
    }
    held = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in START.items()}
    theirs, way = make[type(optimizer)](optimizer, held.values()), []
    for step, factor in enumerate(factors):
        theirs.param_groups[0]["lr"] = optimizer.learning_rate * factor
        for name, value in gradients(step, {name: value.detach() for name, value in held.items()}).items():
            held[name].grad = torch.tensor(value)
        theirs.step()
        way.append({name: value.detach().numpy().copy() for name, value in held.items()})
    return way


def optaxs(optimizer: npt.Optimizer, factors: np.ndarray) -> list[dict[str, np.ndarray]]:
    jax = pytest.importorskip("jax", reason="jax is not installed")
    optax = pytest.importorskip("optax", reason="optax is not installed")
    constant = bool((factors == 1).all())

    def rate(o: Any) -> Any:
        return o.learning_rate if constant else lambda step: o.learning_rate * jax.numpy.asarray(factors)[step]

    make: dict[type[npt.Optimizer], Callable[[Any], Any]] = {
        npt.SGD: lambda o: optax.chain(optax.add_decayed_weights(o.weight_decay), optax.trace(o.momentum),
                                       optax.scale_by_learning_rate(rate(o))),
        npt.Adam: lambda o: optax.adam(rate(o), o.beta1, o.beta2, o.eps),
        npt.AdamW: lambda o: optax.adamw(rate(o), o.beta1, o.beta2, o.eps, weight_decay=o.weight_decay),
        npt.Lion: lambda o: optax.lion(rate(o), o.beta1, o.beta2, weight_decay=o.weight_decay),
        npt.RMSprop: lambda o: optax.rmsprop(rate(o), o.decay, o.eps, momentum=o.momentum, eps_in_sqrt=False),
    }
    with jax.enable_x64(True):
        held = {name: jax.numpy.asarray(value) for name, value in START.items()}
        theirs = make[type(optimizer)](optimizer)
        state, way = theirs.init(held), []
        for step in range(len(factors)):
            found = {name: jax.numpy.asarray(value) for name, value in gradients(step, held).items()}
            change, state = theirs.update(found, state, held)
            held = optax.apply_updates(held, change)
            way.append({name: np.asarray(value) for name, value in held.items()})
    return way


COMPARED = [
    (name, theirs, rate) for name in OPTIMIZERS for theirs in (torchs, optaxs) for rate in ("constant", "moving")
    # torch.optim has no Lion; optax's RMSprop takes up steps in its momentum, torch's and ours gradients
    if (name, theirs) != ("Lion", torchs) and (name, theirs, rate) != ("RMSprop, momentum", optaxs, "moving")
]


@pytest.mark.parametrize(("name", "theirs", "rate"), COMPARED)
def test_ten_steps_equal_torchs_and_optaxs(name: str, theirs: Callable[..., Any], rate: str) -> None:
    factors = np.ones(STEPS) if rate == "constant" else FACTORS
    found, expected = ours(OPTIMIZERS[name], factors), theirs(OPTIMIZERS[name], factors)
    for step in range(STEPS):
        for parameter in START:
            np.testing.assert_allclose(
                found[step][parameter], expected[step][parameter], rtol=1e-10, atol=1e-10, err_msg=f"step {step}")
    assert all(np.abs(found[-1][parameter] - START[parameter]).min() > 0 for parameter in START)


def test_every_optimizer_of_neuroport_is_defined_and_tried_here() -> None:
    assert set(KNOWN) == set(npt.Optimizer.family) == {type(of).__name__ for of in OPTIMIZERS.values()}
    assert set(CHANGES) == {type(of) for of in OPTIMIZERS.values()}


@pytest.mark.parametrize("kind", npt.Optimizer.family.values(), ids=lambda kind: kind.__name__)
def test_the_learning_rate_comes_first(kind: type[npt.Optimizer]) -> None:
    assert kind(0.5) == kind(learning_rate=0.5)
    assert list(kind().to_data())[:2] == ["type", "learning_rate"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_parameter_whose_rate_is_zero_does_not_move(name: str) -> None:
    optimizer, parameters, moments = OPTIMIZERS[name], START, first_moments(START)
    for step in range(STEPS):
        rates = {"a": RATE, "b": 0.0}
        parameters, moments = update(optimizer, rates, 1.0, step, parameters, gradients(step, parameters), moments)
    np.testing.assert_array_equal(parameters["b"], START["b"])
    assert np.abs(parameters["a"] - START["a"]).min() > 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e3), st.floats(1e-3, 1e3))
def test_clipping_bounds_the_norm_of_all_gradients_together_and_keeps_their_direction(
    seed: int, size: float, norm: float
) -> None:
    random = np.random.default_rng(seed)
    given_ = {"a": size * random.normal(size=(3, 2)), "b": size * random.normal(size=5)}
    found = clip(given_, norm)
    before, after = (np.concatenate([of["a"].ravel(), of["b"]]) for of in (given_, found))
    total = np.linalg.norm(before)
    assert np.linalg.norm(after) <= norm * (1 + 1e-12)
    np.testing.assert_allclose(after, before * min(1.0, norm / total), rtol=1e-12)
    np.testing.assert_array_equal(clip(given_, None)["a"], given_["a"])


def test_clipping_equals_optaxs_and_leaves_zeros_alone() -> None:
    jax = pytest.importorskip("jax", reason="jax is not installed")
    optax = pytest.importorskip("optax", reason="optax is not installed")
    found = gradients(0, START)
    with jax.enable_x64(True):
        theirs, _ = optax.clip_by_global_norm(0.7).update(jax.tree.map(jax.numpy.asarray, found), optax.EmptyState())
    for name, value in clip(found, 0.7).items():
        np.testing.assert_allclose(value, theirs[name], rtol=1e-12)
    np.testing.assert_array_equal(clip({"a": np.zeros(3)}, 0.5)["a"], np.zeros(3))
