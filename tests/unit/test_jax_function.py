"""A compiled model as a plain function in other people's jax code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
import optax  # noqa: E402
from neuroport_jax.engine import JaxExecutable  # noqa: E402

import neuroport as npt  # noqa: E402
from neuroport.errors import InvalidData  # noqa: E402
from neuroport.testing.networks import delayed, forked, recurrent  # noqa: E402

DT = 2.0**-10
T, B = 10, 3


def compiled(model: npt.Model) -> JaxExecutable:
    found = npt.compile(model, engine="jax", device="cpu")
    assert isinstance(found, JaxExecutable)
    return found


def spikes(size: int = 6, steps: int = T, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((steps, B, size)) < 0.5).astype(np.float32)


def same(found: Any, expected: Any) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for value, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-5, atol=1e-5)


def test_it_gives_what_a_run_gives_and_goes_on_from_its_state() -> None:
    model, x = delayed(DT), spikes()
    parameters = npt.init(model, 0)
    expected = npt.run(model, parameters, x, engine="jax", device="cpu")
    run = jax.jit(compiled(model).function())
    outputs, state = run(parameters, None, x)
    same((outputs, state), (expected.outputs, expected.state))
    first, middle = run(parameters, None, x[:4])
    second, last = run(parameters, middle, x[4:])
    same((jnp.concatenate([first, second]), last), (outputs, state))


def test_records_come_third_where_they_are_asked_for() -> None:
    model, x = recurrent(DT), spikes()
    (population,) = (name for name, node in model.nodes.items() if isinstance(node, npt.LIF))
    parameters, asked = npt.init(model, 0), [f"{population}.v", "spikes"]
    expected = npt.run(model, parameters, x, engine="jax", device="cpu", record=asked)
    _, _, records = jax.jit(compiled(model).function(record=asked))(parameters, None, x)
    same(records, expected.records)


def test_several_inputs_and_outputs_are_dicts_by_name() -> None:
    model = forked(DT)
    inputs = {"left": spikes(6), "right": spikes(4)}
    parameters = npt.init(model, 0)
    outputs, _ = compiled(model).function()(parameters, None, inputs)
    same(outputs, npt.run(model, parameters, inputs, engine="jax", device="cpu").outputs)


def test_its_gradient_is_the_engines() -> None:
    model, x, classes = recurrent(DT), spikes(), np.arange(B) % 3
    executable, parameters = compiled(model), npt.init(model, 0)
    run = executable.function()

    @jax.jit
    @jax.value_and_grad
    def loss(parameters: Any) -> Any:
        outputs, _ = run(parameters, None, x)
        return optax.softmax_cross_entropy_with_integer_labels(outputs.mean(0), classes).mean()

    value, found = loss(parameters)
    expected = npt.gradients(model, parameters, x, classes, engine="jax", device="cpu")
    same((value, found), (expected.loss, expected.parameters))


def test_an_ensemble_of_networks_is_one_vmap() -> None:
    model, x = recurrent(DT), spikes()
    members = [npt.init(model, seed) for seed in range(3)]
    together = jax.tree.map(lambda *values: np.stack(values), *members)
    run = compiled(model).function()
    outputs, _ = jax.jit(jax.vmap(run, (0, None, None)))(together, None, x)
    same(list(outputs), [run(parameters, None, x)[0] for parameters in members])


def test_inputs_and_state_have_gradients_too() -> None:
    model, x = recurrent(DT), spikes()
    executable, parameters = compiled(model), npt.init(model, 0)
    run, state = executable.function(), executable.init_state(B)
    of_state, of_x = jax.jit(jax.grad(lambda *given: (run(parameters, *given)[0] ** 2).sum(), (0, 1)))(state, x)
    assert all(np.asarray(value).any() for value in of_state.values())
    assert np.asarray(of_x).any() and of_x.shape == x.shape


def test_what_does_not_fit_is_refused_by_name_while_jax_traces() -> None:
    model = recurrent(DT)
    parameters = npt.init(model, 0)
    parameters["frist.weight"] = parameters.pop("first.weight")
    with pytest.raises(InvalidData) as refused:
        jax.jit(compiled(model).function(record=["hidden.u"]))(parameters, None, spikes(size=5))
    words = str(refused.value)
    assert "parameters.first.weight: is missing" in words and "has shape (10, 3, 5), expected (T, B, 6)" in words
    assert "hidden.u" in words
