"""Which samples train, validate and test."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import events

from neuroport.data import Binning, split
from neuroport.data.shares import drawn, held_out
from neuroport.errors import InvalidData

SHARES = {"test": 0.2, "validation": 0.3}


@settings(max_examples=60, deadline=None)
@given(st.integers(10, 300), st.integers(0, 2**32 - 1), st.sampled_from(["sample", "class", "group"]))
def test_each_sample_goes_to_exactly_one_part(count, seed, by):
    random = np.random.default_rng(count)
    classes = random.integers(0, 4, count) if by == "class" else None
    groups = np.arange(count) % 7 if by == "group" else None
    found = drawn(count, SHARES, seed, classes, groups)
    assert np.array_equal(np.sort(np.concatenate(list(found.values()))), np.arange(count))
    assert all(np.array_equal(part, np.sort(part)) for part in found.values())


def test_classes_are_shared_out_alike():
    classes = np.repeat([0, 1, 2], [100, 50, 10])
    found = drawn(160, SHARES, 3, classes)
    assert np.bincount(classes[found["test"]]).tolist() == [20, 10, 2]
    assert np.bincount(classes[found["validation"]]).tolist() == [30, 15, 3]


def test_a_speaker_is_never_in_two_parts():
    speakers = np.arange(120) % 6
    found = drawn(120, {"test": 1 / 6, "validation": 1 / 6}, 0, groups=speakers)
    held = [set(speakers[part]) for part in found.values()]
    assert sorted(map(len, held)) == [1, 1, 4] and not set.intersection(*held)
    assert set.union(*held) == set(range(6))


def test_a_seed_draws_the_same_parts_again_and_another_seed_others():
    first, again, other = (drawn(200, SHARES, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(first[part], again[part]) for part in first)
    assert not np.array_equal(first["test"], other["test"])


def test_the_parts_are_pinned_for_all_time():
    found = drawn(10, SHARES, 0)
    assert {part: rows.tolist() for part, rows in found.items()} == {
        "test": [0, 2], "validation": [1, 8, 9], "train": [3, 4, 5, 6, 7]}


def test_chosen_speakers_validate_and_all_others_train():
    speakers = np.array([3, 1, 2, 3, 1])
    found = held_out(speakers, [3], "speaker")
    assert found["validation"].tolist() == [0, 3] and found["train"].tolist() == [1, 2, 4]


def test_recordings_are_split_by_speaker_in_one_call():
    found = split(events(60), using=Binning(dt=0.01, steps=50), groups=np.arange(60) % 5, validation=0.2, test=0.2)
    assert [len(packed) for packed in found.parts.values()] == [36, 12, 12] and found.classes == 3


@pytest.mark.parametrize(("call", "said"), [
    (lambda: drawn(10, {"validation": 0.0}, 0), "shares are validation=0.0"),
    (lambda: drawn(10, {"test": 0.5, "validation": 0.5}, 0), "leave something for training"),
    (lambda: drawn(10, {"validation": 0.5}, 0, groups=np.zeros(10)), "1 groups cannot be shared out over 2 parts"),
    (lambda: held_out(np.array([1, 2]), [3], "speaker"), "holds no speaker 3"),
    (lambda: held_out(np.array([1, 1]), [1], "speaker"), "leaves nothing for training"),
])
def test_shares_that_cannot_be_are_refused(call, said):
    with pytest.raises(InvalidData, match=said):
        call()
