"""Operations over time on tensors: NumPy's values, and derivatives by finite differences in float64."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import neuroport_torch.ops  # noqa: E402, F401  (teaches ops about tensors)

from neuroport.dynamics import ops  # noqa: E402

LAYOUTS = {
    "contiguous": lambda x: x, "transposed": lambda x: x.transpose(0, 2).contiguous().transpose(0, 2),
    "strided": lambda x: x.repeat_interleave(2, 0)[::2], "expanded": lambda x: x[:, :1].expand(x.shape),
    "one step": lambda x: x[:1], "channels last": lambda x: x.movedim(1, 2).contiguous().movedim(2, 1),
}


def tensors(count):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(5, 3, 4, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(count)]


def numpys(*values):
    return (value.detach().contiguous().numpy() for value in values)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_recurrence_has_numpys_values_and_true_derivatives(layout, reverse):
    lay, leaves = LAYOUTS[layout], tensors(2)
    decay, x = (lay(value.detach()) for value in leaves)
    kept = x.clone()
    got = ops.recurrence(decay, x, reverse)
    np.testing.assert_allclose(got.numpy(), ops.recurrence(*numpys(decay, x), reverse), rtol=1e-14)
    assert torch.equal(x, kept)
    assert torch.autograd.gradcheck(lambda a, b: ops.recurrence(lay(a), lay(b), reverse), leaves)
    assert torch.autograd.gradcheck(lambda a: ops.recurrence(lay(a), x, reverse), leaves[:1])
    # the cotangent of a sum is one number, laid out over all places
    assert torch.autograd.gradcheck(lambda b: ops.recurrence(decay, lay(b), reverse).sum(), leaves[1:])


@pytest.mark.parametrize("decay", [0.5, 1.0])
def test_a_recurrence_of_one_decay_is_a_filter(decay):
    (x,) = tensors(1)
    weights = torch.tensor([[decay ** (t - s) if s <= t else 0.0 for s in range(5)] for t in range(5)]).double()
    torch.testing.assert_close(ops.recurrence(decay, x), torch.tensordot(weights, x, 1))
    assert torch.autograd.gradcheck(lambda b: ops.recurrence(decay, b), [x])


@pytest.mark.parametrize("steps", [-5, -2, 0, 1, 5])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_shift_has_numpys_values_and_true_derivatives(layout, steps):
    lay, (leaf,) = LAYOUTS[layout], tensors(1)
    x = lay(leaf.detach())
    steps = max(-len(x), min(steps, len(x)))
    np.testing.assert_array_equal(ops.shift(x, steps).numpy(), ops.shift(*numpys(x), steps))
    assert torch.autograd.gradcheck(lambda a: ops.shift(lay(a), steps), [leaf])


def test_nothing_is_recorded_for_derivatives_that_nobody_asks_for():
    decay, x = tensors(2)
    with torch.no_grad():
        assert ops.recurrence(decay, x).grad_fn is None
    assert ops.recurrence(decay.detach(), x.detach()).grad_fn is None
