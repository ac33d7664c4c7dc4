"""Augmentation on torch: the bits of the NumPy definition from kernels and from plain tensors, in every layout."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from augmentation_cases import CASES, EVERY, IDENTITIES, SEED, Case, defined  # noqa: E402
from neuroport_torch import products  # noqa: E402
from neuroport_torch.arena import Arena  # noqa: E402
from neuroport_torch.engine import TorchEngine  # noqa: E402
from neuroport_torch.kernels import threads  # noqa: E402
from neuroport_torch.runner import Noise  # noqa: E402
from neuroport_torch.training import entering  # noqa: E402

from neuroport.dynamics import ops  # noqa: E402
from neuroport.model.augmentation import Mix, NoiseSpikes, SpikeDropout, TimeJitter, TimeShift  # noqa: E402
from neuroport.model.training import Training  # noqa: E402
from neuroport.program.initialize import init  # noqa: E402

LARGE = Case("bits", 40, 20, (37, 3))  # each thread has work, and a choice between tensors its kernel
SEVERAL = (Mix(share=0.5), NoiseSpikes(rate=50.0), TimeJitter(reach=3e-3), SpikeDropout(p=0.3), TimeShift(reach=5e-3))


class Poisoned(Arena):
    """Every buffer holds NaN when it is handed out."""

    def empty(self, shape, dtype, device):
        return super().empty(shape, dtype, device).fill_(torch.nan)


def found(case, training, epoch, precision="float32"):
    """The batch that training sees."""
    executable = TorchEngine().compile(*case.options(training, precision))
    rows, others, identities = (torch.tensor(part, dtype=torch.int64)
                                for part in (case.rows(), case.partners(), case.identities()))
    return entering(executable.compiled, training, executable.stage(case.packed()), rows, others,
                    Noise(SEED, torch.tensor([epoch]), identities), Poisoned())


@pytest.fixture(params=["kernels", "tensors"])
def way(request, monkeypatch):
    """With numba's kernels, and without, as on other devices."""
    if request.param == "tensors":
        monkeypatch.setattr(products, "HAS_NUMBA", False)
    elif not products.HAS_NUMBA:
        pytest.skip("numba is not installed")
    return request.param


@pytest.mark.parametrize("case", [*CASES, LARGE], ids=str)
@pytest.mark.parametrize("augmentation", EVERY, ids=str)
def test_every_augmentation_gives_the_bits_of_the_definition(augmentation, case, way):
    training = Training(augmentation=(augmentation,))
    x = found(case, training, 4)
    assert x.is_contiguous()
    np.testing.assert_array_equal(x.numpy(), defined(case, training, 4))


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_several_in_a_row_give_the_bits_of_the_definition(precision, way):
    training = Training(augmentation=SEVERAL)
    for case in (LARGE, CASES[3]._replace(steps=30)):
        expected = defined(case, training, 2)
        assert expected.any() and not np.array_equal(expected, defined(case, Training(), 2))
        np.testing.assert_array_equal(found(case, training, 2, precision).numpy(), expected)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_any_number_of_threads_gives_equal_bits(count, monkeypatch):
    monkeypatch.setattr(threads, "threads", lambda: count)
    for augmentation in EVERY:
        training = Training(augmentation=(augmentation,))
        np.testing.assert_array_equal(found(LARGE, training, 1).numpy(), defined(LARGE, training, 1))


def test_a_users_own_augmentation_is_not_taken_for_the_one_that_it_derives_from(way):
    class Burst(SpikeDropout):
        """Spikes in a part of the steps are doubled, and others come from the step before."""

        def apply(self, x, draw, step, partner):
            x = ops.where(draw.chance(x, self.p), x * 2.0, x)
            return ops.where(draw.choice(x, 5) * 1.0 > 3.0, ops.shift(x, 1), draw.move(x, 2, 0))

    for case in (*CASES, LARGE):
        training = Training(augmentation=(Burst(p=0.5), SpikeDropout(p=0.1)))
        np.testing.assert_array_equal(found(case, training, 0).numpy(), defined(case, training, 0))


def test_a_step_of_training_is_taken_on_the_batch_of_the_definition(way):
    training = Training(augmentation=SEVERAL)
    executable = TorchEngine().compile(*LARGE.options(training))
    handle, order = executable.load(init(executable.program.model, 0)), LARGE.rows()[None]
    expected = executable.gradients(
        handle, executable.init_state(LARGE.batch), {"input": defined(LARGE, training, 3)}, np.zeros(LARGE.batch, int))
    _, metrics = executable.train_segment(
        executable.init_training(handle), executable.stage(LARGE.packed()), order, np.ones(order.shape), np.ones(1),
        (SEED, 3), LARGE.identities()[None], LARGE.partners()[None])
    assert metrics.loss[0] == pytest.approx(expected.loss, rel=1e-6)
    assert max(LARGE.identities()) == max(IDENTITIES)


def test_a_choice_between_large_tensors_is_torchs():
    random = torch.Generator().manual_seed(0)
    for shape in [(2**14,), (130, 7, 31), (2**15 + 3,)]:
        for dtype in (torch.float32, torch.float64, torch.int64):
            a, b = (torch.randint(0, 9, shape, generator=random).to(dtype) for _ in range(2))
            condition = torch.rand(shape, generator=random) < 0.4
            assert torch.equal(ops.where(condition, a, b), torch.where(condition, a, b))
    turned = a[:32768].view(128, 256).t()  # not in one block
    assert torch.equal(ops.where(turned > 4, turned, turned * 2), torch.where(turned > 4, turned, turned * 2))
    assert torch.equal(ops.where(condition, a, 1), torch.where(condition, a, 1))


def test_a_choice_between_large_tensors_keeps_its_gradient():
    a, b = torch.ones(2**15, requires_grad=True), torch.zeros(2**15)
    condition = torch.arange(2**15) % 3 == 0
    ops.where(condition, a, b).sum().backward()
    assert torch.equal(a.grad, condition.float())


def test_a_shift_beyond_the_run_leaves_silence():
    x = torch.ones(3, 2)
    for steps in (3, 4, 7, -3, -4, -7):
        assert torch.equal(ops.shift(x, steps), torch.zeros(3, 2))
