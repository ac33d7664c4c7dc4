"""Generated loops under XLA on a CPU: equal to the scan, forward and in reverse, and so are products with spikes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
pytest.importorskip("numba")

import jax.numpy as jnp  # noqa: E402
from neuroport_jax import native_loops, products  # noqa: E402
from neuroport_jax.run import forward  # noqa: E402
from neuroport_jax.ways import NATIVE, SCAN, Ways  # noqa: E402

import neuroport as npt  # noqa: E402
from neuroport.program.lower import Program, lower  # noqa: E402
from neuroport.testing.cases import NUMERICS  # noqa: E402

DT = 2.0**-10
TAUS = npt.Parameter(value=npt.Uniform(low=6 * DT, high=12 * DT), per="neuron")


def looped(neuron: npt.Neuron, back: Any, extra: dict[str, Any] | None = None) -> npt.Model:
    """A population that hears itself through ``back`` and whatever stands behind it."""
    chain = {"back": back, **(extra or {})}
    edges = [("input", "n"), ("n", "back"), *zip(chain, list(chain)[1:], strict=False), (list(chain)[-1], "n", 1)]
    return npt.Model(nodes={"input": npt.Input((5,)), "n": neuron, **chain, "output": npt.Output()},
                     edges=[*edges, ("n", "output")], dt=DT)


def alone(neuron: npt.Neuron, numerics: npt.Numerics | None = None) -> npt.Model:
    return npt.Model.sequential((5,), DT, [neuron], numerics)


MODELS = {
    "LIF": alone(npt.LIF(tau=8 * DT, r=3.0)),
    "LIF, snnTorch's hard reset": alone(npt.LIF(tau=8 * DT, r=3.0), NUMERICS["snntorch rule, hard"]),
    "ALIF, all of it trained": alone(npt.ALIF(tau=TAUS, tau_adapt=20 * DT, beta=0.2)),
    "CubaLI": alone(npt.CubaLI(tau_syn=4 * DT, tau_mem=8 * DT)),
    "recurrent": looped(npt.CubaLIF(tau_syn=4 * DT, tau_mem=8 * DT), npt.Linear(5)),
    "a trained factor, delayed": looped(npt.LIF(tau=TAUS), npt.Scale(npt.Parameter(value=0.7)),
                                        {"wait": npt.Delay(3 * DT)}),
    "delays that differ": looped(npt.LIF(tau=8 * DT), npt.Scale(0.7), {
        "wait": npt.Delay([0, 8 * DT, 0, DT, 3 * DT])}),
}


@pytest.fixture(autouse=True)
def however_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_loops, "WIDE", 0)


def wave(y: Any) -> Any:
    """A cotangent in which no two values are alike."""
    return jnp.cos(jnp.arange(y.size, dtype=y.dtype) ** 2).reshape(y.shape)


def everything(program: Program, ways: Ways, *arrays: Any) -> Any:
    """Outputs, the state after, and what both of them pull back to parameters, state and inputs."""

    def run(parameters: Any, state: Any, x: Any) -> Any:
        activity = forward(program, parameters, state, x, ways=ways)
        return {name: activity.values[name] for name in program.outputs}, activity.state

    def both(*arrays: Any) -> Any:
        found, back = jax.vjp(run, *arrays)
        return found, back(jax.tree.map(wave, found))

    return jax.jit(both)(*arrays)


def drawn(program: Program, steps: int, batch: int) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(1)
    state = {name: np.float32(random.random(shape) / 2) for name, shape in program.state_shapes(batch).items()}
    x = {name: np.float32(random.normal(0.5, 1.2, (steps, batch, *shape))) for name, shape in program.inputs.items()}
    return {name: np.float32(value) for name, value in npt.init(program.model, 1).items()}, state, x


@pytest.mark.parametrize("steps, batch", [(6, 3), (1, 1), (7, 700)], ids=["6 steps", "one step", "several threads"])
@pytest.mark.parametrize("name", MODELS)
def test_a_generated_loop_and_its_reverse_equal_the_scan(name: str, steps: int, batch: int) -> None:
    program = lower(MODELS[name])
    arrays = drawn(program, steps, batch)
    found, expected = (everything(program, ways, *arrays) for ways in (NATIVE, SCAN))
    assert all("generated" in way for way in described(program))
    for (path, value), other in zip(jax.tree_util.tree_leaves_with_path(expected), jax.tree.leaves(found), strict=True):
        size = max(float(np.abs(value).max()), 1e-3)
        np.testing.assert_allclose(other, value, rtol=0, atol=3e-5 * size, err_msg=jax.tree_util.keystr(path))


def described(program: Program) -> list[str]:
    from neuroport_jax.ways import described

    return list(described(program, NATIVE).values())


def test_what_is_recorded_equals_the_scan() -> None:
    program = lower(MODELS["recurrent"])
    parameters, state, x = drawn(program, 6, 3)
    record = [("n", "v"), ("n", "v_pre"), ("n", "spikes"), ("n", "i")]
    native, scan = (forward(program, parameters, state, x, record, ways=ways).records for ways in (NATIVE, SCAN))
    for place in record:
        np.testing.assert_allclose(native[place], scan[place], rtol=0, atol=1e-5, err_msg=str(place))


def test_a_function_view_may_be_vmapped() -> None:
    run = npt.compile(MODELS["LIF"], engine="jax", device="cpu").function()
    x = np.float32(np.random.default_rng(0).normal(0.5, 1.0, (4, 6, 2, 5)))
    each = jax.vmap(lambda x: run({}, None, x)[0])(x)
    assert np.array_equal(each, [run({}, None, one)[0] for one in x]) and np.any(each)


@pytest.mark.parametrize("rows, terms, columns", [(1000, 130, 300), (129, 64, 70), (3, 5, 7)])
@pytest.mark.parametrize("kind", ["spikes", "counts", "mostly not zero", "nothing"])
def test_a_product_with_spikes_and_its_gradients_equal_the_dense_one(kind, rows, terms, columns) -> None:
    random = np.random.default_rng(0)
    x = np.float32(random.random((rows, terms)) < {"mostly not zero": 0.7, "nothing": 0.0}.get(kind, 0.05))
    x *= random.integers(1, 4, x.shape) if kind == "counts" else 1
    weight, bias = np.float32(random.normal(size=(columns, terms))), np.float32(random.normal(size=columns))
    dy = np.float32(random.normal(size=(rows, columns)))
    y, pull = jax.vjp(jax.jit(products.linear), x, weight, bias)
    expected = [x @ weight.T + bias, dy @ weight, dy.T @ x, dy.sum(0)]
    for found, wanted in zip([y, *pull(dy)], expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * max(1.0, np.abs(wanted).max()))


@pytest.mark.parametrize("share", [0.05, 0.9])
def test_a_product_may_be_vmapped_however_full_its_inputs_are(share) -> None:
    random = np.random.default_rng(0)
    x = np.float32(random.random((3, 200, 40)) < share)
    weight, bias = np.float32(random.normal(size=(70, 40))), np.zeros(70, np.float32)
    dy = np.float32(random.normal(size=(3, 200, 70)))

    def both(x, dy):
        y, pull = jax.vjp(products.linear, x, weight, bias)
        return y, pull(dy)[1]

    y, dw = jax.jit(jax.vmap(both))(x, dy)
    np.testing.assert_allclose(y, x @ weight.T, rtol=0, atol=1e-4)
    np.testing.assert_allclose(dw, np.einsum("smn,smk->snk", dy, x), rtol=0, atol=1e-3)


# numba tells of the exception where XLA has called it, and pytest hears of that
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_fails_is_an_error() -> None:
    from neuroport_jax.native import Call
    from neuroport_jax.native_call import Outline, call

    numba = pytest.importorskip("numba")

    @numba.njit
    def broken(lo, hi, x, y):
        if x[lo] > 2.0:
            raise ValueError("too large")
        for m in range(lo, hi):
            y[m] = x[m]

    module = sys.modules[__name__]
    module.broken = broken  # type: ignore[attr-defined]
    run = jax.jit(lambda x: call(Call(__name__, "broken", ("lo", "hi"), ("x", "y"), 2), 6, {"x": x}, {
        "y": Outline((6,), jnp.float32)}, {})["y"])
    assert np.array_equal(run(np.ones(6, np.float32)), np.ones(6))
    with pytest.raises(Exception, match="generated loop"):
        jax.block_until_ready(run(np.full(6, 3.0, np.float32)))


def test_wide_networks_say_that_they_run_in_generated_loops_and_narrow_ones_that_they_scan(monkeypatch) -> None:
    monkeypatch.undo()
    model = npt.Model.sequential((2,), DT, [npt.Linear(64), npt.LIF(tau=8 * DT), npt.Linear(3), npt.LI(tau=8 * DT)])
    info = npt.run(model, npt.init(model), np.ones((2, 1, 2)), engine="jax", device="cpu").info
    assert info["segments"] == {"1_lif": "generated loop", "3_li": "scan"}


def test_without_numba_every_segment_scans() -> None:
    script = ("import sys; sys.modules['numba'] = None\n"
              "import jax; from neuroport_jax.ways import SCAN, ways_on\n"
              "assert ways_on(jax.devices('cpu')) == SCAN")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
