"""Augmentation: what each does to spikes, the same bits on every kind of array, each sample by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neuroport.dynamics.discretize import Step
from neuroport.model.augmentation import (
    Augmentation,
    ChannelShift,
    Crop,
    Mix,
    NoiseSpikes,
    SpikeDropout,
    Thinning,
    TimeJitter,
    TimeShift,
    TimeStretch,
)
from neuroport.model.training import Training
from neuroport.program.augment import NUMPY, Words, augmented

STEP = Step(1e-3, "exponential")
SAMPLES = np.array([3, 9, 1, 7, 2**31 + 5], np.uint32)
EVERY = [
    SpikeDropout(p=0.4), NoiseSpikes(rate=100.0), TimeJitter(reach=2e-3), TimeShift(reach=4e-3),
    ChannelShift(reach=2), ChannelShift(reach=1, axis=0), Mix(share=0.3), Crop(duration=6e-3),
]


def spikes(seed: int, shape: tuple[int, ...] = (17, 5, 3, 4), density: float = 0.3) -> np.ndarray:
    return (np.random.default_rng(seed).random(shape) < density).astype(np.float32)


def change(
    augmentation: Augmentation, x: np.ndarray, epoch: int = 0, samples: np.ndarray = SAMPLES, binary: bool = True,
    seed: int = 7, partner: np.ndarray | None = None,
) -> np.ndarray:
    other = spikes(1, x.shape) if partner is None else partner
    training, now = Training(augmentation=(augmentation,)), np.array([epoch], np.uint32)
    return augmented(training, STEP, NUMPY, x, other, binary, seed, now, samples)


@pytest.mark.parametrize("augmentation", EVERY, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("kind", ["jax", "torch"])
def test_frameworks_change_the_same_spikes_as_numpy(augmentation: Augmentation, kind: str) -> None:
    x, partner = spikes(0), spikes(1)
    words: Words
    convert: Any
    if kind == "jax":
        jnp = pytest.importorskip("jax.numpy")
        pytest.importorskip("neuroport_jax.ops")
        words, convert = Words(jnp.uint32, lambda count: jnp.arange(count, dtype=jnp.uint32)), jnp.asarray
        epoch, samples = jnp.asarray([4], jnp.uint32), jnp.asarray(SAMPLES)
    else:
        torch = pytest.importorskip("torch")
        pytest.importorskip("neuroport_torch.ops")
        words, convert = Words(int, torch.arange), torch.tensor
        epoch, samples = torch.tensor([4]), torch.tensor(SAMPLES.astype(np.int64))
    training = Training(augmentation=(augmentation,))
    found = augmented(training, STEP, words, convert(x), convert(partner), True, 7, epoch, samples)
    expected = change(augmentation, x, epoch=4, partner=partner)
    assert not np.array_equal(expected, x), "the augmentation must do something for the comparison to mean something"
    assert np.array_equal(np.asarray(found), expected)


@pytest.mark.parametrize("augmentation", EVERY, ids=lambda one: type(one).__name__)
def test_a_sample_is_changed_alike_whatever_stands_beside_it(augmentation: Augmentation) -> None:
    x, partner = spikes(0), spikes(1)
    whole, rows = change(augmentation, x, partner=partner), np.array([4, 2])
    alone = change(augmentation, x[:, rows], samples=SAMPLES[rows], partner=partner[:, rows])
    assert np.array_equal(alone, whole[:, rows])


@pytest.mark.parametrize("augmentation", EVERY, ids=lambda one: type(one).__name__)
def test_another_epoch_and_another_seed_draw_anew(augmentation: Augmentation) -> None:
    x = spikes(0, (40, 5, 6, 8))
    first = change(augmentation, x)
    assert not np.array_equal(first, change(augmentation, x, epoch=1))
    assert not np.array_equal(first, change(augmentation, x, seed=8))


def test_spike_dropout_silences_its_share_and_adds_nothing() -> None:
    x = spikes(0, (100, 5, 200))
    found = change(SpikeDropout(p=0.25), x)
    assert (found <= x).all()
    assert found.sum() / x.sum() == pytest.approx(0.75, abs=0.01)


def test_thinning_takes_a_share_of_its_own_of_each_sample_up_to_the_most() -> None:
    x = np.ones((60, 300, 50), np.float32)
    kept = change(Thinning(most=0.6), x, samples=np.arange(300, dtype=np.uint32)).mean((0, 2))
    assert 0.39 < kept.min() < 0.46 and 0.97 < kept.max() <= 1
    assert kept.mean() == pytest.approx(0.7, abs=0.03)


def test_a_stretched_sample_keeps_its_rate_and_its_order_and_ends_sooner_or_later() -> None:
    samples = np.arange(200, dtype=np.uint32)
    x = np.zeros((60, 200, 3), np.float32)
    x[:30] = np.arange(1, 31)[:, None, None]
    found = change(TimeStretch(most=1.5), x, samples=samples, binary=False)
    lengths = (found[:, :, 0] > 0).sum(0)
    assert lengths.min() in (20, 21) and lengths.max() in (44, 45) and len(set(lengths)) > 15
    for sample in range(200):
        shown = found[:lengths[sample], sample, 0]
        assert (np.diff(shown) >= 0).all() and (found[lengths[sample]:, sample] == 0).all()
        assert np.abs(shown - (np.arange(len(shown)) + 0.5) * 30 / lengths[sample]).max() < 2


def test_a_pace_of_one_leaves_every_sample_as_it_is() -> None:
    x = spikes(0)
    assert np.array_equal(change(TimeStretch(most=1.0), x), x)


def test_noise_spikes_come_at_their_rate_and_take_nothing() -> None:
    nothing = np.zeros((1000, 5, 100), np.float32)
    found = change(NoiseSpikes(rate=20.0), nothing)
    assert found.mean() / STEP.dt == pytest.approx(20.0, rel=0.02)
    x = spikes(0, nothing.shape)
    assert (change(NoiseSpikes(rate=20.0), x) >= x).all()


def test_noise_on_top_of_a_spike_is_one_spike_in_bits_and_two_in_counts() -> None:
    x = np.ones((50, 5, 40), np.float32)
    assert change(NoiseSpikes(rate=500.0), x).max() == 1
    assert change(NoiseSpikes(rate=500.0), x, binary=False).max() == 2


def test_jittered_counts_keep_every_spike_that_stays_within_the_run() -> None:
    x = np.zeros((30, 5, 20), np.float32)
    x[5:25] = np.random.default_rng(0).integers(0, 4, (20, 5, 20))
    found = change(TimeJitter(reach=3e-3), x, binary=False)
    assert np.array_equal(found.sum(0), x.sum(0))
    lone = np.zeros((30, 5, 20), np.float32)
    lone[10] = 1
    places = np.unique(np.argwhere(change(TimeJitter(reach=3e-3), lone))[:, 0])
    assert places.tolist() == list(range(7, 14))


@pytest.mark.parametrize("augmentation", [TimeShift(reach=3e-3), ChannelShift(reach=3)], ids=["time", "channels"])
def test_a_shift_moves_each_sample_as_a_whole_and_not_all_alike(augmentation: Augmentation) -> None:
    samples = np.arange(200, dtype=np.uint32)
    x = np.zeros((11, 200, 11), np.float32)
    x[5, :, 5] = 1
    found = change(augmentation, x, samples=samples)
    assert (found.sum((0, 2)) == 1).all()
    places = np.argwhere(found)[:, 0 if isinstance(augmentation, TimeShift) else 2] - 5
    assert sorted(set(places)) == [-3, -2, -1, 0, 1, 2, 3]


def test_what_is_shifted_beyond_the_end_is_gone() -> None:
    x = np.ones((8, 5, 6), np.float32)
    found = change(TimeShift(reach=8e-3), x)
    lengths = found[:, :, 0].sum(0)
    assert (lengths < 8).any() and not np.array_equal(found, np.roll(x, 1, 0))


def test_a_mix_takes_its_share_from_the_partner() -> None:
    x = np.zeros((100, 5, 100), np.float32)
    assert change(Mix(share=0.3), x, partner=x + 1).mean() == pytest.approx(0.3, abs=0.01)


def test_a_crop_shows_one_stretch_of_each_sample_from_its_beginning() -> None:
    x = np.broadcast_to(np.arange(1, 21, dtype=np.float32)[:, None, None], (20, 5, 3))
    found = change(Crop(duration=6e-3), x, binary=False)
    assert (found[6:] == 0).all()
    for sample in range(5):
        first = found[0, sample, 0]
        assert np.array_equal(found[:6, sample, 0], np.arange(first, first + 6))
    assert len(set(found[0, :, 0])) > 1
    assert np.array_equal(change(Crop(duration=1.0), x), x)


def test_augmentations_follow_one_another_with_draws_of_their_own() -> None:
    x = spikes(0, (60, 5, 30))
    once = SpikeDropout(p=0.5)
    training = Training(augmentation=(once, once))
    found = augmented(training, STEP, NUMPY, x, None, True, 7, np.array([0], np.uint32), SAMPLES)
    assert found.sum() / x.sum() == pytest.approx(0.25, abs=0.03)
