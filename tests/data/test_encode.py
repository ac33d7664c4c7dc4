"""Images and signals as spikes or currents."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neuroport.data import Analog, Current, Delta, Latency, Rate, split, stage, unpack
from neuroport.errors import InvalidData

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.random((6, 5, 4))
LABELS = np.arange(6) % 3


def encoded(x, encoder):
    """Sample-major activity (N, T, *shape)."""
    packed = stage(x, np.arange(len(x)) % 3, using=encoder)
    return np.moveaxis(unpack(packed, np.arange(len(packed))), 0, 1)


def test_linear_latency_is_earlier_for_brighter_pixels_and_spikes_once():
    found = encoded(np.array([[1.0, 0.9, 0.5, 0.1, 0.005, 0.0]]), Latency(steps=11))
    assert [np.flatnonzero(found[0, :, pixel]).tolist() for pixel in range(6)] == [[0], [1], [5], [9], [], []]


def test_logarithmic_latency_is_when_a_leaky_membrane_reaches_the_threshold():
    encoder = Latency(steps=60, formula="log", threshold=0.2, tau=20e-3, dt=1e-3)
    images = np.array([[1.0, 0.7, 0.4, 0.25, 0.2, 0.1]])
    found = encoded(images, encoder)
    fine = 1e-6
    for pixel, x in enumerate(images[0]):
        v, times = 0.0, []
        for k in range(60_000):  # the membrane itself, integrated a thousand times finer
            v += fine / 20e-3 * (x - v)
            if v > 0.2:
                times.append(int((k + 1) * fine / 1e-3))
                break
        assert np.flatnonzero(found[0, :, pixel]).tolist() == times


def test_pixels_too_dark_to_spike_in_time_are_counted_as_cropped():
    packed = stage(np.full((1, 3), 0.2001), np.array([0]), using=Latency(steps=10, formula="log", threshold=0.2))
    assert not packed.values.any() and (packed.report.events, packed.report.cropped) == (3, 3)


@settings(max_examples=30, deadline=None)
@given(arrays(np.float64, (3, 4), elements=st.floats(0, 1)), st.integers(1, 30), st.sampled_from(["linear", "log"]))
def test_every_latency_code_has_at_most_one_spike_a_pixel(images, steps, formula):
    assert encoded(images, Latency(steps=steps, formula=formula, threshold=0.05)).sum(1).max(initial=0) <= 1


def test_rates_follow_the_pixels_and_the_seed():
    encoder = Rate(steps=4000, rate=500.0)
    found = encoded(IMAGES, encoder)
    wanted = 0.5 * IMAGES
    assert np.all(np.abs(found.mean(1) - wanted) < 5 * np.sqrt(wanted * (1 - wanted) / 4000) + 1e-9)
    assert np.array_equal(found, encoded(IMAGES, encoder))
    assert not np.array_equal(found, encoded(IMAGES, Rate(steps=4000, rate=500.0, seed=1)))


def test_draws_of_pixels_steps_and_samples_are_independent():
    found = encoded(np.full((4, 8), 0.5), Rate(steps=2000, rate=1000.0)) - 0.5
    series = found.transpose(0, 2, 1).reshape(32, 2000)
    apart = np.corrcoef(series) - np.eye(32)
    assert np.abs(apart).max() < 5 / np.sqrt(2000)
    assert all(abs((one[1:] * one[:-1]).mean() * 4) < 5 / np.sqrt(2000) for one in series)


def test_a_samples_spikes_do_not_depend_on_the_samples_around_it(monkeypatch):
    whole = stage(IMAGES, LABELS, using=Rate(steps=50))
    monkeypatch.setattr("neuroport.data.packer.BYTES", 1)
    assert np.array_equal(whole.values, stage(IMAGES, LABELS, using=Rate(steps=50)).values)


def test_the_extremes_of_a_rate_are_certain():
    found = encoded(np.array([[0.0, 1.0]]), Rate(steps=300, rate=1000.0))
    assert not found[..., 0].any() and found[..., 1].all()


def test_the_drawn_spikes_are_pinned_for_all_time():
    found = encoded(np.full((2, 4), 0.5), Rate(steps=4, rate=1000.0, seed=7))
    assert found.astype(int).reshape(2, -1).tolist() == [
        [0, 1, 1, 0, 0, 0, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1], [0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0]]


def test_a_current_is_held_once_and_is_the_image_in_every_step():
    packed = stage(IMAGES, LABELS, using=Current(steps=100, gain=2.0))
    assert packed.values.nbytes == 4 * IMAGES.size and packed.steps == 100 and packed.constant
    assert np.allclose(unpack(packed, np.arange(6)), 2 * IMAGES.astype(np.float32))
    assert packed.report.ratio == 100


def test_images_of_bytes_count_as_shares_of_255():
    grey = RANDOM.integers(0, 256, (3, 7), dtype=np.uint8)
    assert np.array_equal(encoded(grey, Latency(steps=20)), encoded(grey / 255, Latency(steps=20)))


def test_delta_spikes_rebuild_the_signal_to_a_threshold():
    time = np.linspace(0, 6, 400)
    signal = np.stack([np.sin(time), 0.5 * np.cos(2 * time)], 1)[None]
    found = encoded(signal, Delta(threshold=0.05))
    assert found.shape == (1, 400, 2, 2)
    rebuilt = signal[:, :1] + 0.05 * np.cumsum(found[:, :, 0] - found[:, :, 1], 1)
    assert np.abs(rebuilt - signal).max() < 0.05
    assert not (found[:, :, 0] * found[:, :, 1]).any()


def test_delta_spikes_only_on_changes_of_a_threshold_or_more():
    signal = np.array([0.0, 0.1, 0.2, 0.2, 0.15, 0.0])[None, :, None]
    found = encoded(signal, Delta(threshold=0.1))[0, :, :, 0]
    assert found[:, 0].tolist() == [0, 1, 1, 0, 0, 0] and found[:, 1].tolist() == [0, 0, 0, 0, 0, 1]
    assert not encoded(np.full((1, 9, 1), 3.7), Delta(threshold=0.1)).any()


def test_sound_stays_floats():
    signal = RANDOM.normal(size=(6, 50, 3))
    packed = stage(signal, LABELS, using=Analog(gain=0.5, dt=1e-3))
    assert packed.layout == "floats" and packed.steps == 50 and packed.shape == (3,)
    assert np.array_equal(packed.values, (0.5 * signal).astype(np.float32)) and packed.report.dt == 1e-3


def test_images_are_split_and_encoded_in_one_call():
    found = split(np.repeat(IMAGES, 5, 0), np.repeat(LABELS, 5), using=Latency(steps=20))
    assert found.steps == 20 and found.shape == (5, 4) and found.classes == 3 and found.dt == 1e-3


@pytest.mark.parametrize(("x", "encoder", "said"), [
    (np.full((2, 3), 1.5), Latency(steps=5), r"sample 0: holds 1.5, beyond \[0, 1\]"),
    (np.array([[0.0], [-0.1]]), Rate(steps=5), r"sample 1: holds -0.1"),
    (np.array([[0.0], [np.nan]]), Current(steps=5), r"x\[1\]: holds values that are NaN"),
    (np.array([[["a"]]]), Analog(), "give numbers"), (np.zeros((2, 3)), Delta(), "give signals over time"),
    (np.zeros(4), Latency(steps=5), r"x: has shape \(4,\)"),
])
def test_what_cannot_be_encoded_is_refused_by_its_sample(x, encoder, said):
    with pytest.raises(InvalidData, match=said):
        stage(x, np.zeros(len(x), int), using=encoder)


@pytest.mark.parametrize(("options", "said"), [
    ({"steps": 5, "rate": 2000.0}, "at most 1 / dt"), ({"steps": 0}, "steps: is too small"),
    ({"steps": 5, "seed": -1}, "seed: is too small"), ({"steps": 5, "rates": 3}, "did you mean 'rate'"),
])
def test_an_encoder_that_is_none_is_refused(options, said):
    with pytest.raises(InvalidData, match=said):
        Rate(**options)
