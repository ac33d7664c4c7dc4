"""Gradients that pass through the state: into it at the start, and out of it after the run."""

from functools import cache

import jax
import numpy as np
import pytest
import torch
from neuroport_torch.arena import Fresh
from neuroport_torch.engine import TorchExecutable

import neuroport as npt
from neuroport.engine.base import Options
from neuroport.program.lower import lower

DT = 1e-3


def feed_forward():
    return npt.Model.sequential(input=(5,), dt=DT, layers=[
        npt.Linear(7), npt.ALIF(tau=8e-3, tau_adapt=30e-3), npt.Linear(3), npt.LI(tau=5e-3)])


def recurrent():
    return npt.Model.sequential(input=(5,), dt=DT, layers=[
        npt.Linear(7), npt.Recurrent(npt.Linear(7), npt.CubaLIF(tau_syn=1e-3, tau_mem=8e-3)), npt.Linear(3)])


def waiting(delay):
    return npt.Model(
        nodes={"input": npt.Input((2,)), "n": npt.LIF(tau=8e-3, r=20.0), "back": npt.Scale(0.7),
               "wait": npt.Delay(delay), "output": npt.Output()},
        edges=[("input", "n"), ("n", "back"), ("back", "wait"), ("wait", "n"), ("n", "output")], dt=DT)


MODELS = {"feed-forward": feed_forward(), "recurrent": recurrent(), "delayed": waiting(2e-3),
          "delayed by more than the run": waiting(9e-3), "each its own delay": waiting([1e-3, 8e-3])}


def task(name):
    """The program, its arrays, and the weight of each state after the run in what is derived."""
    program, rng = lower(MODELS[name]), np.random.default_rng(0)
    parameters = {key: np.float32(value) for key, value in npt.init(program.model, seed=1).items()}
    state = {key: np.float32(rng.normal(0, 0.5, shape)) for key, shape in program.state_shapes(2).items()}
    x = np.float32(rng.normal(0, 1, (6, 2, *program.model.nodes["input"].shape)))
    weights = {key: np.float32(rng.normal(size=value.shape)) for key, value in state.items()}
    return program, parameters, state, x, weights


@cache
def by_jax(name, of_outputs):
    program, parameters, state, x, weights = task(name)
    run = npt.compile(program.model, engine="jax").function()

    def expected(parameters, state, x):
        outputs, after = run(parameters, state, x)
        return sum((after[key] * weights[key]).sum() for key in after) + of_outputs * outputs.sum()

    return jax.grad(expected, (0, 1, 2))(parameters, state, x)


@pytest.mark.parametrize("fused", [True, False], ids=["kernels", "step by step"])
@pytest.mark.parametrize("of_outputs", [1.0, 0.0], ids=["with outputs", "states alone"])
@pytest.mark.parametrize("name", list(MODELS))
def test_gradients_through_the_state_are_those_of_jax(name, of_outputs, fused):
    program, parameters, state, x, weights = task(name)

    def ours(parameters, state, x):
        compiled = TorchExecutable(program, Options("cpu"), torch.device("cpu"), fused).compiled
        found = compiled.run(parameters, state, {"input": x}, Fresh())
        total = sum((value * torch.tensor(weights[key])).sum() for key, value in found.state.items())
        return total + sum(found.values[name].sum() for name in program.outputs) * of_outputs if of_outputs else total

    of_parameters, of_state, of_x = by_jax(name, of_outputs)
    wanted = {**of_parameters, **of_state, "x": of_x}
    leaves = {key: torch.tensor(value).requires_grad_() for key, value in {**parameters, **state, "x": x}.items()}
    loss = ours({key: leaves[key] for key in parameters}, {key: leaves[key] for key in state}, leaves["x"])
    found = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
    for key, value in zip(leaves, found, strict=True):
        np.testing.assert_allclose(value.numpy(), wanted[key], rtol=1e-4, atol=1e-5, err_msg=key)
    assert any(np.any(value) for value in of_state.values())
