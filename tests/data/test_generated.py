"""Yin-Yang and Mackey-Glass: data sets that are computed."""

from __future__ import annotations

import numpy as np
import pytest

from neuroport import registry
from neuroport.data import mackeyglass, unpack, yinyang
from neuroport.errors import InvalidExperiment

load = registry.load_data


def test_points_are_drawn_in_the_authors_order():
    """A class from randint(3), then pairs of rand(2) until one lies in it (Kriener et al.)."""
    random = np.random.RandomState(42)
    wanted, tries = random.randint(3), 0
    while True:
        x, y = random.rand(2)
        tries += 1
        if np.hypot(x - 0.5, y - 0.5) <= 0.5 and yinyang.class_of(x, y) == wanted:
            break
    features, classes = yinyang.points(1, 42)
    assert classes.tolist() == [wanted] and features[0].tolist() == [x, y, 1 - x, 1 - y] and tries >= 1


def test_the_regions_are_those_of_a_yin_yang():
    assert [yinyang.class_of(*point) for point in (
        (0.25, 0.5), (0.75, 0.5), (0.25, 0.62), (0.75, 0.62), (0.5, 0.9), (0.5, 0.1))] == [2, 2, 1, 0, 1, 0]
    features, classes = yinyang.points(3000, 1)
    turned = [yinyang.class_of(1 - x, 1 - y) for x, y in features[:, :2]]
    # half a turn makes yin yang and leaves the dots
    assert np.mean(np.array(turned) == np.array([1, 0, 2])[classes[: len(turned)]]) > 0.999
    assert np.all(np.bincount(classes) > 900)


def test_the_parts_have_the_authors_sizes_and_seeds():
    found = load("yinyang", {})
    assert {part: len(packed) for part, packed in found.parts.items()} == {
        "train": 5000, "validation": 1000, "test": 1000}
    assert found.classes == 3 and found.shape == (5,) and found.steps == 60 and found.dt == 5e-4
    for part, seed in yinyang.SEEDS.items():
        packed = found.parts[part]
        assert np.array_equal(packed.labels, yinyang.points(len(packed), seed)[1])


def test_each_feature_is_the_time_of_one_spike_and_a_larger_one_is_later():
    found = load("yinyang", {"train": 50, "validation": 10, "test": 10})
    activity = unpack(found.train, np.arange(50))
    assert np.array_equal(activity.sum(0), np.ones((50, 5)))
    features, _ = yinyang.points(50, 42)
    times = activity.argmax(0)[:, :4] * 5e-4
    assert np.all(np.abs(times + 2.5e-4 - (2e-3 + 25e-3 * features)) <= 2.5e-4 + 1e-9)
    assert np.all(activity.argmax(0)[:, 4] == 4)  # the bias, at 2 ms


def test_features_may_be_currents_held_once():
    found = load("yinyang", {"encoding": "current", "gain": 3.0, "train": 20, "validation": 5, "test": 5})
    assert found.train.constant and found.shape == (4,) and found.steps == 60
    assert np.allclose(found.train.values[:, 0], 3 * yinyang.points(20, 42)[0])


def test_yinyang_is_the_same_at_every_start():
    assert load("yinyang", {}).content_hash == load("yinyang", {}).content_hash == "6a1b76fc9431309b7074c25c41cd6e67"


@pytest.mark.parametrize(("options", "said"), [
    ({"encoding": "rate"}, "choose 'latency' or 'current'"), ({"late": 0.05}, "keep 0 <= early < late <= duration"),
    ({"dt": 0}, "data.options.dt: is too small"),
])
def test_options_of_yinyang_that_cannot_be_are_refused(options, said):
    with pytest.raises(InvalidExperiment, match=said):
        load("yinyang", options)


# --- Mackey-Glass ------------------------------------------------------------------------------


def euler(seconds: float, step: float) -> np.ndarray:
    """The equation itself, by many small Euler steps."""
    lag, count = round(17 / step), round(seconds / step)
    x = np.full(count + 1, mackeyglass.HISTORY)
    for k in range(count):
        late = x[k - lag] if k >= lag else mackeyglass.HISTORY
        x[k + 1] = x[k] + step * (0.2 * late / (1 + late**10) - 0.1 * x[k])
    return x


def test_the_series_solves_the_delay_equation():
    fine = euler(60.0, 1e-3)
    found = mackeyglass.series(61, 1.0)
    assert np.abs(found - fine[::1000]).max() < 1e-4  # Euler's own error
    assert np.abs(mackeyglass.series(61, 0.7) - fine[np.round(np.arange(61) * 700).astype(int)]).max() < 1e-4


def test_halving_the_step_shrinks_the_error_sixteenfold(monkeypatch):
    found = []
    for step in (0.2, 0.1, 0.05):
        monkeypatch.setattr(mackeyglass, "STEP", step)
        found.append(mackeyglass.series(120, 1.0))
    errors = [np.abs(coarse - fine).max() for coarse, fine in zip(found, found[1:], strict=False)]
    assert 10 < errors[0] / errors[1] < 25 and errors[1] < 1e-8


def test_targets_are_the_input_a_little_later():
    found = load("mackeyglass", {"horizon": 3, "steps": 40, "stride": 7})
    assert found.train.layout == "floats" and not found.train.has_classes and found.shape == (1,)
    for packed in found.parts.values():
        assert np.array_equal(packed.labels[:, :-3], packed.values[:, 3:])
        assert np.array_equal(packed.values[1:, :-7], packed.values[:-1, 7:])  # a window every seven points


def test_the_parts_follow_one_another_and_share_no_point():
    found = load("mackeyglass", {"train": 4, "validation": 2, "test": 2, "skip": 1})
    points = [np.unique(np.concatenate([packed.values.ravel(), packed.labels.ravel()]))
              for packed in found.parts.values()]
    series = mackeyglass.series(9 * 75, 197 / 75).astype(np.float32)
    for part, (start, stop) in zip(points, ((75, 375), (375, 525), (525, 675)), strict=True):
        assert np.isin(part, series[start:stop]).all()


@pytest.mark.parametrize(("options", "said"), [
    ({"steps": 0}, "data.options.steps: is 0"), ({"tau": 0.15}, "give a multiple of 0.1"),
    ({"validation": 0.5}, "a window needs 76"),
])
def test_options_of_mackeyglass_that_cannot_be_are_refused(options, said):
    with pytest.raises(InvalidExperiment, match=said):
        load("mackeyglass", options)
