"""Convolutions of the jax engine on a CPU: equal to XLA's own, forward and in reverse, whatever the windows."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
pytest.importorskip("numba", reason="without it convolutions are XLA's")

from neuroport_jax import convolution  # noqa: E402
from neuroport_jax.layers import layers  # noqa: E402
from neuroport_jax.ways import SCAN, Way  # noqa: E402
from unit.test_native_loops import everything, wave  # noqa: E402

import neuroport as npt  # noqa: E402
from neuroport.model.layers import Convolution  # noqa: E402
from neuroport.program.lower import lower  # noqa: E402

DT = 2.0**-10
OWN, XLA = Way(products=True), Way()
# a node, and the shape of one input; 16 output channels are worked on at once
LAYERS: dict[str, tuple[Convolution, tuple[int, ...]]] = {
    "one channel": (npt.Conv2d(1, 3), (1, 9, 8)),
    "no multiple of 16 channels": (npt.Conv2d(17, 3, bias=False), (3, 7, 6)),
    "everything differs by axis": (npt.Conv2d(5, (2, 3), stride=(3, 2), padding=(1, 4), dilation=(2, 3)), (4, 11, 13)),
    "a window as large as the input": (npt.Conv2d(33, (4, 5)), (2, 4, 5)),
    "steps wider than the kernel": (npt.Conv2d(6, 2, stride=4), (3, 11, 14)),
    "more zeros than the kernel reaches": (npt.Conv2d(4, 2, padding=(3, 5)), (2, 5, 4)),
    "the last column in no window": (npt.Conv2d(4, 3, stride=2), (2, 8, 10)),
    "padding that differs by side": (npt.Conv2d(3, (3, 2), stride=2, padding="same"), (2, 9, 7)),
    "dilation and steps with a common divisor": (npt.Conv2d(3, 3, stride=2, dilation=4, padding=2), (2, 13, 12)),
    "a single position": (npt.Conv2d(8, 1), (5, 1, 1)),
    "three groups": (npt.Conv2d(51, (2, 3), stride=2, padding=1, groups=3), (6, 7, 8)),
    "a group for each channel": (npt.Conv2d(5, 3, dilation=2, groups=5), (5, 9, 8)),
    "one axis": (npt.Conv1d(7, 4, stride=3, padding=2, dilation=2), (3, 29)),
    "one axis, two groups": (npt.Conv1d(4, 3, groups=2), (6, 11)),
    "one axis, as long as its input": (npt.Conv1d(3, 5, padding="same"), (2, 6)),
}


@pytest.fixture(autouse=True)
def however_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "SMALL", 0)


def both(way: Way, node: Convolution, p: Any, x: Any, dy: Any) -> Any:
    """y, and the cotangents of the parameters and of x."""
    run = jax.jit(lambda p, x, dy: (lambda y, pull: (y, *pull(dy)))(
        *jax.vjp(lambda p, x: layers(way.bfloat16, way.products)[type(node).__name__](node, p, x), p, x)))
    return run(p, x, dy)


def drawn(node: Convolution, shape: tuple[int, ...], samples: int, share: float) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(samples)

    def some(*size: int) -> np.ndarray:
        return np.float32(random.normal(size=size) * (random.random(size) < share))

    p = {name: np.float32(random.normal(size=spec.shape)) for name, spec in node.arrays(shape).items()}
    return p, some(samples, *shape), some(samples, *node.output_shape(shape))


def close(found: Any, expected: Any, within: float = 1e-5) -> None:
    for (path, value), other in zip(jax.tree_util.tree_leaves_with_path(expected), jax.tree.leaves(found), strict=True):
        size = max(1.0, float(np.abs(value).max(initial=0.0)))
        np.testing.assert_allclose(other, value, rtol=0, atol=within * size, err_msg=jax.tree_util.keystr(path))


@pytest.mark.parametrize("share", [1.0, 0.04, 0.0], ids=["dense", "few", "nothing"])
@pytest.mark.parametrize("samples", [1, 70])
@pytest.mark.parametrize("name", LAYERS)
def test_a_convolution_and_its_gradients_equal_xlas(name: str, samples: int, share: float) -> None:
    node, shape = LAYERS[name]
    assert convolution.covered(node, shape)
    arrays = drawn(node, shape, samples, share)
    close(both(OWN, node, *arrays), both(XLA, node, *arrays))


@pytest.mark.parametrize("share", [1.0, 0.04])
def test_operands_are_rounded_where_bfloat16_is_asked_for(share: float) -> None:
    node, shape = LAYERS["everything differs by axis"]
    arrays = drawn(node, shape, 9, share)
    rounded, plain = (both(way._replace(bfloat16=True), node, *arrays) for way in (OWN, XLA))
    close(rounded, plain)
    difference = jax.tree.map(lambda a, b: np.abs(a - b).max(), rounded, both(OWN, node, *arrays))
    assert difference[0] > 1e-4 and difference[1]["weight"] > 1e-4 and difference[2] > 1e-4


def test_a_sample_has_the_same_bits_whatever_it_is_convolved_with() -> None:
    node, shape = LAYERS["no multiple of 16 channels"]
    p, x, _ = drawn(node, shape, 150, 0.5)
    x[::2] = drawn(node, shape, 75, 0.02)[1]
    run = layers(OWN.bfloat16, OWN.products)["Conv2d"]
    whole = np.asarray(run(node, p, x))
    assert np.array_equal(whole, np.concatenate([run(node, p, part) for part in np.split(x, [1, 8, 90])]))


def test_a_small_convolution_stays_with_xla_and_a_run_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    model = npt.Model.sequential((1, 16, 16), DT, [npt.Conv2d(1, 3), npt.LIF(tau=8 * DT), npt.Conv2d(9, 3)])
    x = np.float32(np.random.default_rng(0).random((3, 2, 1, 16, 16)))
    info = npt.run(model, npt.init(model, 0), x, engine="jax", device="cpu").info
    assert info["convolutions"] == {"0_conv2d": "XLA", "2_conv2d": "windows"}


MODEL = npt.Model.sequential((2, 9, 9), DT, [
    npt.Conv2d(5, 3, stride=2, padding=1), npt.LIF(tau=8 * DT, r=6.0), npt.Conv2d(17, 2, dilation=2), npt.LI(8 * DT)])
IN_A_CYCLE = npt.Model(
    nodes={"input": npt.Input((2, 5, 5)), "n": npt.LIF(tau=8 * DT, r=6.0), "back": npt.Conv2d(2, 3, padding="same"),
           "output": npt.Output()},
    edges=[("input", "n"), ("n", "back"), ("back", "n", 1), ("n", "output")], dt=DT)


@pytest.mark.parametrize("steps, batch", [(6, 3), (1, 1)])
@pytest.mark.parametrize("model", [MODEL, IN_A_CYCLE], ids=["between populations", "in a cycle"])
def test_a_network_and_its_gradients_are_those_of_xlas_convolutions(model: npt.Model, steps: int, batch: int) -> None:
    program = lower(model)
    random = np.random.default_rng(1)
    x = {"input": np.float32(random.normal(0.5, 1.2, (steps, batch, *program.inputs["input"])))}
    state = {name: np.float32(random.random(shape) / 2) for name, shape in program.state_shapes(batch).items()}
    arrays = npt.init(program.model, 1), state, x
    own, xla = (dict.fromkeys(SCAN, way) for way in (OWN, XLA))
    close(everything(program, own, *arrays), everything(program, xla, *arrays), 3e-5)


def test_a_function_view_may_be_vmapped_and_differentiated() -> None:
    run = npt.compile(MODEL, engine="jax", device="cpu").function()
    parameters = {name: np.float32(value) for name, value in npt.init(MODEL, 1).items()}
    x = np.float32(np.random.default_rng(0).random((3, 4, 2, 2, 9, 9)) < 0.2)

    def loss(parameters: Any, x: Any) -> Any:
        y = run(parameters, None, x)[0]
        return (y * wave(y)).sum()

    each = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(parameters, x)
    assert all(np.any(value) for value in each.values())
    for number, one in enumerate(x):
        close({name: value[number] for name, value in each.items()}, jax.grad(loss)(parameters, one))


def test_a_weights_gradient_of_many_samples_keeps_its_digits() -> None:
    node, shape, samples = npt.Conv2d(1, 3, bias=False), (1, 12, 12), 1000
    x, dy = np.full((samples, *shape), 0.1, np.float32), np.full((samples, 1, 10, 10), 0.1, np.float32)
    _, of_p, _ = both(OWN, node, {"weight": np.zeros((1, 1, 3, 3), np.float32)}, x, dy)
    exact = float(np.float32(0.1)) ** 2 * samples * prod((10, 10))
    np.testing.assert_allclose(of_p["weight"], exact, rtol=2e-6)
