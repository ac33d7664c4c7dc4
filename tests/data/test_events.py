"""Event arrays: what they may be, and what is said of those that cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import events, samples

from neuroport.data import Events
from neuroport.errors import InvalidData

ONE = np.array([0])


def of(*pairs, **options):
    return Events.of(list(pairs), np.zeros(len(pairs), int), **({"shape": (4,)} | options))


def camera(t, x, y, p):
    found = np.zeros(len(t), [("x", int), ("y", int), ("t", int), ("p", bool)])
    found["t"], found["x"], found["y"], found["p"] = t, x, y, p
    return found


def test_pairs_of_times_and_units_become_flat_arrays():
    found = of(([0.1, 0.2], [3, 0]), ([], []), ([0.5], [1]))
    assert found.times.tolist() == [0.1, 0.2, 0.5] and found.units.tolist() == [3, 0, 1]
    assert found.lengths.tolist() == [2, 0, 1] and len(found) == 3 and found.duration == 0.5


def test_a_cameras_events_count_polarity_then_row_then_column():
    found = of(camera([1, 2], [4, 0], [1, 2], [0, 1]), shape=(2, 3, 5), time_unit=1e-6)
    assert found.units.tolist() == [0 * 15 + 1 * 5 + 4, 1 * 15 + 2 * 5 + 0]
    assert np.allclose(found.times, [1e-6, 2e-6], rtol=1e-12)


def test_columns_without_polarity_or_row_serve_flatter_shapes():
    assert of(camera([1], [4], [1], [1]), shape=(3, 5)).units.tolist() == [9]
    assert of(camera([1], [3], [1], [1]), shape=(4,)).units.tolist() == [3]


def test_unsigned_times_of_microseconds_are_aligned_to_the_first_event():
    stamps = np.array([1_600_000_000_000_000, 1_600_000_000_250_000], np.uint64)
    found = of((stamps, np.array([0, 1], np.uint8)), ([], []), time_unit=1e-6, align=True)
    assert found.times.tolist() == [0.0, 0.25]


def test_sorting_keeps_pairs_together_and_samples_apart():
    found = of(([0.3, 0.1, 0.2], [1, 2, 3]), ([0.2, 0.0], [0, 1]), sort=True)
    assert found.times.tolist() == [0.1, 0.2, 0.3, 0.0, 0.2] and found.units.tolist() == [2, 3, 1, 1, 0]
    assert of(([0.3, 0.1], [1, 2]), sort=True, align=True).times.tolist() == pytest.approx([0.0, 0.2])


def test_a_later_sample_may_begin_before_the_end_of_the_one_before_it():
    assert of(([0.5], [0]), ([0.1], [0])).times.tolist() == [0.5, 0.1]


def test_reading_some_samples_gives_those_and_remembers_their_numbers():
    whole = events(20)
    part = whole.read(np.array([3, 4, 11]))
    for index, number in enumerate((3, 4, 11)):
        for name in ("times", "units"):
            ours = getattr(part, name)[part.offsets[index]:part.offsets[index + 1]]
            assert np.array_equal(ours, getattr(whole, name)[whole.offsets[number]:whole.offsets[number + 1]])
    assert part.numbers.tolist() == [3, 4, 11] and np.array_equal(part.labels, whole.labels[[3, 4, 11]])


@pytest.mark.parametrize(("pairs", "options", "place", "said"), [
    ([([0.1], [0]), ([0.1, np.nan], [0, 0])], {}, "sample 1, event 1", "its time is nan"),
    ([([0.1, np.inf], [0, 0])], {}, "sample 0, event 1", "its time is inf"),
    ([([], []), ([-0.5, 0.1], [0, 0])], {}, "sample 1, event 0", "its time is -0.5 s, before the beginning"),
    ([([0.2, 0.1], [0, 0])], {}, "sample 0, event 1", "give sort=True"),
    ([([0.1], [0]), ([0.1, 0.2], [0, 4])], {}, "sample 1, event 1", r"its unit is 4, the shape \(4,\) has 0..3"),
    ([([0.1], [-1])], {}, "sample 0, event 0", "its unit is -1"),
    ([([0.1, 0.2], [0])], {}, "sample 0", r"times of shape \(2,\) and units of shape \(1,\)"),
    ([([0.1], [0.5])], {}, "sample 0: units", "holds float64"),
    ([(["a"], [0])], {}, "sample 0: times", "holds <U1"),
    ([[0.1, 0.2, 0.3]], {}, "sample 0", "is no sample of events"),
    ([camera([1], [5], [0], [0])], {"shape": (2, 3, 5)}, "sample 0, event 0", r"its x is 5, the sensor has 0..4"),
    ([camera([1, 2], [0, 0], [0, 3], [0, 0])], {"shape": (2, 3, 5)}, "sample 0, event 1", r"its y is 3"),
    ([camera([-1], [0], [0], [0])], {"shape": (2, 3, 5)}, "sample 0, event 0", "before the beginning"),
    ([np.zeros(2, [("t", int), ("x", int)])], {"shape": (2, 3, 5)}, "sample 0", "needs t, x, y, p"),
    ([([0.1], [0])], {"shape": ()}, "shape", "is no shape of one time step"),
    ([([0.1], [0])], {"shape": (0,)}, "shape", "is no shape of one time step"),
])
def test_a_fault_names_its_sample_its_event_and_the_mend(pairs, options, place, said):
    with pytest.raises(InvalidData, match=said) as raised:
        of(*pairs, **options)
    assert raised.value.problems[0].path == place and raised.value.problems[0].mend


FAULTS = {  # what to do to a sample's times and units at one event, and what is said of it
    "is nan": lambda times, units, at: times.__setitem__(at, np.nan),
    "is -inf": lambda times, units, at: times.__setitem__(at, -np.inf),
    "before the beginning": lambda times, units, at: times.__setitem__(slice(at + 1), -1.0),
    "is before that of the event before it": lambda times, units, at: times.__setitem__(at, times[at - 1] - 0.25),
    "its unit is -1": lambda times, units, at: units.__setitem__(at, -1),
    "its unit is 12": lambda times, units, at: units.__setitem__(at, 12),
}


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(list(FAULTS)), st.data(), st.integers(0, 10**6), st.sampled_from([np.float64, np.float32]))
def test_a_fault_anywhere_is_found_where_it_is(fault, data, seed, kind):
    random = np.random.default_rng(seed)
    pairs = [(np.sort(random.random(count)).astype(kind) + kind(0.5), random.integers(0, 12, count))
             for count in random.integers(0, 9, 7)]
    pairs[3] = (np.linspace(0.5, 1, 6).astype(kind), np.zeros(6, int))  # one at least has events
    sample = data.draw(st.sampled_from([index for index, (times, _) in enumerate(pairs) if len(times) > 1]))
    times, units = (np.array(part) for part in pairs[sample])
    at = data.draw(st.integers(1, len(times) - 1))
    FAULTS[fault](times, units, at)
    pairs[sample] = (times, units)
    with pytest.raises(InvalidData) as raised:
        Events.of(pairs, np.zeros(7, int), (12,))
    first = raised.value.problems[0]
    expected = 0 if fault == "before the beginning" else at
    assert first.path == f"sample {sample}, event {expected}" and fault in first.wrong and first.mend


def test_several_faults_of_a_kind_are_counted_and_kinds_are_told_together():
    with pytest.raises(InvalidData) as raised:
        of(([-1.0, -0.5, 0.0], [9, 0, 9]))
    assert all("(2 such events)" in problem.wrong for problem in raised.value.problems)
    assert len(raised.value.problems) == 2


@pytest.mark.parametrize(("labels", "said"), [
    (np.array([0, -1, 2]), "sample 1: its label is -1"), (np.zeros(2, int), "2 for 3 samples"),
    (np.zeros(3), "give class indices"),
])
def test_labels_that_are_none_are_refused(labels, said):
    with pytest.raises(InvalidData, match=said):
        Events.of(samples(3), labels, (12,))


@pytest.mark.parametrize(("changed", "said"), [
    ({"offsets": np.array([0, 5])}, "offsets: do not divide 1 events"),
    ({"offsets": np.array([0, 1, 0, 1])}, "offsets: do not divide 1 events"),
    ({"times": np.array([1])}, "give seconds"), ({"units": np.array([1, 1])}, "2 for 1 times"),
])
def test_flat_arrays_that_do_not_belong_together_are_refused(changed, said):
    flat = {"times": np.array([0.1]), "units": ONE, "offsets": np.array([0, 1]), "shape": (4,), "labels": ONE}
    with pytest.raises(InvalidData, match=said):
        Events(**{**flat, **changed})
