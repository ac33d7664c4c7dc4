"""Binning: every event is in the step and channel where it belongs, or it is counted as lost."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import events, samples

from neuroport.data import Binning, Events, split, splits, stage, unpack
from neuroport.data.tally import lost
from neuroport.errors import InvalidData


def binned(found: Events, binning: Binning) -> tuple[np.ndarray, object]:
    """Sample-major activity and the report."""
    packed = stage(found, using=binning)
    return np.moveaxis(unpack(packed, np.arange(len(packed))), 0, 1), packed.report


def naive(found: Events, binning: Binning, steps: int) -> np.ndarray:
    """A count for each event, one by one, without pooling."""
    counts = np.zeros((len(found), steps, int(np.prod(found.shape))))
    for sample in range(len(found)):
        for event in range(found.offsets[sample], found.offsets[sample + 1]):
            step = math.floor((float(found.times[event]) - binning.start) / binning.dt + 1e-6)
            if 0 <= step < steps:
                counts[sample, step, int(found.units[event])] += 1
    return counts.reshape(len(found), steps, *found.shape)


recordings = st.builds(
    lambda count, channels, seed, mean: Events.of(
        samples(count, channels, seed=seed, mean=mean), np.zeros(count, int), (channels,)),
    st.integers(1, 6), st.integers(1, 9), st.integers(0, 10**6), st.integers(0, 60))
windows = st.builds(
    lambda dt, steps, start: {"dt": dt, "steps": steps, "start": start},
    st.sampled_from([1e-3, 4e-3, 0.01, 1 / 300, 0.1]), st.integers(1, 70), st.sampled_from([0.0, 0.05]))


@settings(max_examples=80, deadline=None)
@given(recordings, windows)
def test_binning_equals_counting_the_events_one_by_one(found, window):
    counts, counted = binned(found, Binning(**window, values="counts"))
    bits, merged = binned(found, Binning(**window))
    expected = naive(found, Binning(**window), window["steps"])
    assert np.array_equal(counts, expected)
    assert np.array_equal(bits, expected > 0)
    assert counted.events == merged.events == len(found.times)
    assert counted.cropped == merged.cropped == len(found.times) - expected.sum()
    assert merged.merged == (expected - (expected > 0)).sum() and counted.merged == 0
    assert counted.kept == expected.sum() and merged.kept == (expected > 0).sum() == merged.nonzero
    assert merged.empty == (found.lengths == 0).sum()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40))
def test_binning_equals_numpys_histogram(seed, steps):
    random = np.random.default_rng(seed)
    times, units = np.sort(random.random(200)), random.integers(0, 8, 200)
    found = Events.of([(times, units)], [0], (8,))
    counts, _ = binned(found, Binning(dt=1 / steps, steps=steps, values="counts"))
    edges = np.arange(steps + 1) / steps
    assert np.array_equal(counts[0], np.histogram2d(times, units, bins=(edges, np.arange(9) - 0.5))[0])


@pytest.mark.parametrize("dt", [1e-3, 1e-2, 7e-3, 1 / 30, 5e-4])
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_events_on_an_edge_lie_in_the_step_that_begins_there(dt, kind):
    steps = 1000
    times = (np.arange(steps) * dt).astype(kind)
    found = Events(times, np.zeros(steps, int), np.array([0, steps]), (1,), np.array([0]))
    activity, report = binned(found, Binning(dt=dt, steps=steps, values="counts"))
    assert np.array_equal(activity.ravel(), np.ones(steps)) and report.cropped == 0


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([np.float32, np.float64]), st.sampled_from([1.0, 1e-3, 1e-6]),
    st.one_of(st.sampled_from([1e-3, 1e-2, 4e-3, 7e-3, 1 / 30]), st.floats(1e-4, 0.2)), st.integers(0, 10**5),
    st.lists(st.integers(0, 2000), min_size=1, max_size=40), st.booleans(),
)
def test_an_edge_stored_in_any_unit_and_aligned_or_not_lies_in_the_step_that_begins_there(
        kind, unit, dt, begun, places, sort):
    places = [0, *places] if sort else [0, *sorted(places)]
    stored = ((np.array(places) + begun) * (dt / unit)).astype(kind)  # as a program stores step numbers times dt
    found = Events.of([(stored, np.zeros(len(places), int))], [0], (1,), time_unit=unit, align=True, sort=sort)
    activity, report = binned(found, Binning(dt=dt, steps=2001, values="counts"))
    assert np.array_equal(activity.ravel(), np.bincount(places, minlength=2001)) and report.cropped == 0
    apart = np.array(sorted(places)).astype(kind) * kind(dt / unit)  # the product rounded, not only stored
    found = Events.of([(apart, np.zeros(len(places), int))], [0], (1,), time_unit=unit)
    activity, _ = binned(found, Binning(dt=dt, steps=2001, values="counts"))
    assert np.array_equal(activity.ravel(), np.bincount(places, minlength=2001))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([np.float32, np.float64]), st.sampled_from([1.0, 1e-3, 1e-6]),
    st.sampled_from([1e-3, 1e-2, 1 / 30]), st.integers(0, 10**4),
    st.lists(st.floats(0.02, 0.98), min_size=1, max_size=40),
)
def test_what_rounding_cannot_explain_stays_before_the_edge(kind, unit, dt, begun, parts):
    places = np.arange(len(parts))
    stored = np.concatenate([[begun], begun + places + parts]) * (dt / unit)
    found = Events.of([(stored.astype(kind), np.zeros(len(stored), int))], [0], (1,), time_unit=unit, align=True)
    activity, _ = binned(found, Binning(dt=dt, steps=len(parts), values="counts"))
    assert np.array_equal(activity.ravel(), np.bincount([0, *places]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 60, width=16), min_size=1, max_size=50), st.sampled_from([1.0, 1e-2]), st.booleans())
def test_float16_times_lose_nothing_when_they_are_aligned_or_get_another_unit(times, unit, align):
    stored = np.sort(np.array(times, np.float16))
    options = {"time_unit": unit, "align": align}
    units, window = np.zeros(len(stored), int), Binning(dt=4e-3, duration=60.1, values="counts")
    coarse, fine = (binned(Events.of([(one, units)], [0], (1,), **options), window)[0]
                    for one in (stored, stored.astype(np.float64)))
    assert np.array_equal(coarse, fine)


def test_samples_of_several_types_are_each_binned_by_their_own_resolution(tmp_path):
    from neuroport.data import event_file

    edges = np.arange(1000) * 7e-3
    pairs = [(edges.astype(np.float32), np.zeros(1000, int)), (edges, np.zeros(1000, int))]
    found = Events.of(pairs, [0, 1], (1,))
    assert np.array_equal(binned(found, Binning(dt=7e-3, steps=1000))[0], np.ones((2, 1000, 1)))
    event_file.save(tmp_path / "events.npz", found)
    again = event_file.read(tmp_path / "events.npz")["train"]
    assert np.array_equal(binned(again, Binning(dt=7e-3, steps=1000))[0], np.ones((2, 1000, 1)))


def test_microseconds_on_an_edge_lie_in_the_step_that_begins_there():
    stamps = np.arange(1000) * 7000
    found = Events.of([(stamps, np.zeros(1000, int))], [0], (1,), time_unit=1e-6)
    assert np.array_equal(binned(found, Binning(dt=7e-3, steps=1000))[0].ravel(), np.ones(1000))


def test_float16_times_are_binned_as_they_are_stored():
    times = np.array([0.57, 0.999], np.float16)  # stored as 0.56982 and 0.99902
    found = Events(times, np.zeros(2, int), np.array([0, 2]), (1,), np.array([0]))
    assert np.flatnonzero(binned(found, Binning(dt=0.01, steps=100))[0].ravel()).tolist() == [56, 99]
    every = np.arange(2**14, dtype=np.uint16).view(np.float16)  # all of them from 0 to 2 s
    every = every[(every >= 0) & (every < 2)]
    found = Events(every, np.zeros(len(every), int), np.array([0, len(every)]), (1,), np.array([0]))
    activity, report = binned(found, Binning(dt=1e-3, steps=2000, values="counts", beyond="error"))
    expected = np.bincount(np.floor(every.astype(np.float64) / 1e-3 + 1e-6).astype(int), minlength=2000)
    assert np.array_equal(activity.ravel(), np.minimum(expected, 255))
    assert report.clipped == np.maximum(expected - 255, 0).sum()


def test_pooling_seven_hundred_channels_to_one_hundred_and_forty_joins_neighbors():
    found = events(10, channels=700)
    plain, _ = binned(found, Binning(dt=0.01, steps=50, values="counts"))
    pooled, _ = binned(found, Binning(dt=0.01, steps=50, values="counts", pool=5))
    assert pooled.shape == (10, 50, 140)
    assert np.array_equal(pooled, plain.reshape(10, 50, 140, 5).sum(-1))


@pytest.mark.parametrize(("pool", "shape"), [(2, (2, 4, 3)), ((2, 4, 1), (1, 2, 6)), ((1, 8, 6), (2, 1, 1))])
def test_pooling_a_camera_joins_pixels(pool, shape):
    random = np.random.default_rng(0)
    flat = np.sort(random.random(300)) * 0.1
    found = Events.of([(flat, random.integers(0, 2 * 8 * 6, 300))], [0], (2, 8, 6))
    plain, _ = binned(found, Binning(dt=0.01, steps=10, values="counts"))
    pooled, _ = binned(found, Binning(dt=0.01, steps=10, values="counts", pool=pool))
    sizes = (1, pool, pool) if isinstance(pool, int) else pool
    blocks = plain.reshape(1, 10, *(part for pair in zip(shape, sizes, strict=True) for part in pair))
    assert pooled.shape == (1, 10, *shape) and np.array_equal(pooled, blocks.sum((3, 5, 7)))


def test_what_is_lost_is_counted_and_said():
    times = np.concatenate([np.full(300, 0.001), [0.011, 0.5]])
    found = Events.of([(times, np.zeros(302, int)), ([], [])], [0, 0], (1,))
    counts = stage(found, using=Binning(dt=0.01, steps=2, values="counts")).report
    assert (counts.events, counts.clipped, counts.cropped, counts.merged, counts.kept) == (302, 45, 1, 0, 256)
    bits = stage(found, using=Binning(dt=0.01, steps=2)).report
    assert (bits.clipped, bits.cropped, bits.merged, bits.kept, bits.empty) == (0, 1, 299, 2, 1)
    assert bits.density == 2 / 4 and bits.rates.tolist() == [2 / (2 * 0.02)]


def test_a_window_may_begin_late():
    found = Events.of([([0.0, 0.05, 0.06, 0.2], [0, 1, 2, 3])], [0], (4,))
    activity, report = binned(found, Binning(dt=0.01, steps=3, start=0.05))
    assert [tuple(one) for one in np.argwhere(activity[0])] == [(0, 1), (1, 2)] and report.cropped == 2


def test_a_duration_makes_whole_steps():
    assert [Binning(dt=dt, duration=duration).window for dt, duration in
            ((0.1, 0.3), (1e-3, 1.0), (0.01, 1.001), (1.0, 0.5))] == [3, 1000, 101, 1]


def test_events_on_a_large_sensor_are_counted_alike():
    random = np.random.default_rng(0)
    units = np.repeat(random.integers(0, 2 * 200 * 200, 50), 3)
    found = Events.of([(np.full(150, 0.001), units)], [0], (2, 200, 200))
    activity, report = binned(found, Binning(dt=1e-3, steps=40, values="counts"))
    assert np.array_equal(activity[0, 1].ravel(), np.bincount(units, minlength=2 * 200 * 200))
    assert report.kept == 150


@pytest.mark.parametrize("count", [1, 2, 40])
def test_pieces_do_not_change_what_is_staged(monkeypatch, count):
    found = events(70)
    whole = stage(found, using=Binning(dt=0.01, steps=50))
    monkeypatch.setattr("neuroport.data.packer.BYTES", count * 7 * 12)
    pieces = stage(found, using=Binning(dt=0.01, steps=50))
    assert np.array_equal(whole.values, pieces.values)
    assert np.array_equal(whole.report.rates, pieces.report.rates) and whole.report.merged == pieces.report.merged


@pytest.mark.parametrize(("options", "said"), [
    ({"dt": 0.01}, r"steps, duration: are both missing\n.*give either steps or duration"),
    ({"dt": 0.01, "steps": 3, "duration": 1}, r"are both given\n.*either steps or"),
    ({"dt": 0.0, "steps": 3}, "dt: is too small"), ({"dt": 0.01, "steps": 0}, "steps: is too small"),
    ({"dt": 0.01, "steps": 3, "pool": 0}, "pool must be 1 or more"), ({"dt": 0.01, "stps": 3}, "did you mean 'steps'"),
    ({"dt": 0.01, "steps": 3, "values": "counters"}, "values: is none of the possible values"),
    ({"dt": 0.01, "steps": 3, "start": -1.0}, "start: is too small"),
])
def test_a_binning_that_is_none_is_refused(options, said):
    with pytest.raises(InvalidData, match=said):
        Binning(**options)


@pytest.mark.parametrize(("binning", "said"), [
    (Binning(dt=0.01, steps=3, pool=7), r"pool: 7 does not divide the shape \(12,\)"),
    (Binning(dt=0.01, steps=3, pool=(2, 2)), r"does not divide the shape \(12,\)"),
    (Binning(dt=0.01, steps=3, beyond="error"), r"sample 1, event 3: its time .* outside the window from 0 to 0.03 s"),
])
def test_what_a_binning_cannot_do_with_some_events_is_refused(binning, said):
    with pytest.raises(InvalidData, match=said):
        stage(events(3), using=binning)


def test_a_binning_takes_events_and_nothing_else():
    with pytest.raises(InvalidData, match="is no Events"):
        stage(np.zeros((3, 4, 1)), np.zeros(3, int), using=Binning(dt=0.01, steps=3))
    with pytest.raises(InvalidData, match="y: is given beside Events"):
        stage(events(3), np.zeros(3, int), using=Binning(dt=0.01, steps=3))


@pytest.mark.parametrize("ask", [
    lambda: stage(events(6)), lambda: split(events(6)), lambda: splits(train=events(6), validation=events(6)),
])
def test_events_without_a_binning_are_told_to_take_one(ask):
    with pytest.raises(InvalidData, match="is Events, and nothing says how long a step is\\n.*using=npt.data.Binning"):
        ask()


@pytest.mark.parametrize(("ask", "said"), [
    (lambda window, packed: stage(events(6), window), r"y: is a Binning\n.*using="),
    (lambda window, packed: split(events(6), window), r"y: is a Binning\n.*using="),
    (lambda window, packed: stage(events(6), using={"dt": 0.01}), r"using: is no Binning and no encoder \(got {'dt'"),
    (lambda window, packed: stage(packed), "x: is packed already"),
    (lambda window, packed: split(packed), "x: is packed already"),
    (lambda window, packed: splits(train=packed, validation=packed), "validation.x: is packed already"),
    (lambda window, packed: splits(train=3, validation=events(6), using=window), r"train: is no pair \(got int\)"),
])
def test_arguments_of_staging_in_the_wrong_place_are_told_where_they_belong(ask, said):
    window = Binning(dt=0.01, steps=5)
    with pytest.raises(InvalidData, match=said):
        ask(window, stage(events(6), using=window))


def test_where_every_event_lies_outside_the_window_the_unit_of_times_is_asked_about():
    microseconds = Events.of([([50_000, 90_000], [0, 1])], [0], (2,))
    said = lost([stage(microseconds, using=Binning(dt=0.01, steps=10)).report])
    assert said.endswith("(100 %) lie outside the window; times count in seconds (time_unit=1e-6 for microseconds)")


def test_events_may_have_traces_as_targets():
    plain = events(5)
    traces = np.random.default_rng(0).random((5, 20, 2))
    packed = stage(Events(plain.times, plain.units, plain.offsets, plain.shape, traces),
                   using=Binning(dt=0.01, steps=20))
    assert not packed.has_classes and np.allclose(packed.labels, traces)
    with pytest.raises(InvalidData, match="has 20 steps, x has 30"):
        stage(Events(plain.times, plain.units, plain.offsets, plain.shape, traces), using=Binning(dt=0.01, steps=30))
