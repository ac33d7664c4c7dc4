"""Sources of data: the shipped set, one's own arrays and files, and what is said when they do not fit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroport import data
from neuroport.data import SourceInfo, Splits, braille, npz, stage
from neuroport.data.builtin import neuroport_sources
from neuroport.data.source import load
from neuroport.errors import InvalidData, InvalidExperiment

RANDOM = np.random.default_rng(0)


def pair(count, steps=10, channels=3, classes=4):
    x = (RANDOM.random((count, steps, channels)) < 0.3).astype(np.uint8)
    return x, np.arange(count) % classes


def write(path, **changes):
    arrays = {f"{axis}_{part}": value for part in npz.PARTS for axis, value in zip("xy", pair(8), strict=True)}
    arrays |= changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return str(path)


def test_the_shipped_braille_set_has_the_sizes_of_the_paper_and_its_licence_beside_it():
    found = braille.load()
    assert [len(packed) for packed in found.parts.values()] == [980, 280, 140]
    assert (found.steps, found.shape, found.classes) == (256, (12,), 7)
    assert all(np.array_equal(np.bincount(packed.labels), [len(packed) // 7] * 7) for packed in found.parts.values())
    assert found.content_hash == "fcff86e3033fa0b134a3330b0d527cb1"
    assert "Redistribution and use" in braille.FILE.with_name("LICENSE.NIR").read_text()
    assert braille.FILE.stat().st_size < 400_000


def test_own_arrays_become_splits():
    found = data.splits(train=pair(8), validation=pair(6), test=pair(4), name="mine")
    assert (found.classes, found.shape, found.steps, found.name) == (4, (3,), 10, "mine")
    assert data.splits(train=pair(8), validation=pair(6)).test is None


def test_the_content_hash_follows_the_content_and_nothing_else():
    train, validation = pair(8), pair(6)
    first = data.splits(train, validation, name="a")
    assert first.content_hash == data.splits(train, validation, name="b").content_hash
    changed = train[0].copy()
    changed[0, 0, 0] ^= 1
    assert first.content_hash != data.splits((changed, train[1]), validation).content_hash
    assert first.content_hash != data.splits((train[0], train[1][::-1]), validation).content_hash


def test_shuffled_labels_keep_activity_and_counts_and_lose_the_pairing():
    plain = braille.load()
    control = plain.with_shuffled_labels(0)
    assert np.array_equal(control.train.values, plain.train.values)
    assert np.array_equal(np.bincount(control.train.labels), np.bincount(plain.train.labels))
    assert (control.train.labels == plain.train.labels).mean() < 0.3


def test_every_fault_of_every_part_is_named_at_once():
    with pytest.raises(InvalidData) as raised:
        data.splits((np.full((2, 3, 1), 0.5), np.zeros(2, int)), (np.zeros((2, 3, 1)), np.zeros(3, int)))
    assert "train.x" in str(raised.value) and "validation.y" in str(raised.value)


@pytest.mark.parametrize(("validation", "classes", "said"), [
    (pair(4, steps=9), 0, "has 9 steps"),
    (pair(4, channels=2), 0, r"of \(2,\), train has"),
    (pair(6, classes=6), 0, "the label 5, there are 4 classes"),
    (pair(4), 2, "the label 3, there are 2 classes"),
    ((np.zeros((0, 10, 3)), np.zeros(0, int)), 0, "holds no samples"),
])
def test_parts_that_do_not_belong_together_are_refused(validation, classes, said):
    with pytest.raises(InvalidData, match=said):
        data.splits(train=pair(8), validation=validation, classes=classes)


def test_an_empty_training_set_is_refused():
    with pytest.raises(InvalidData, match="train: holds no samples"):
        Splits(stage(np.zeros((0, 10, 3)), np.zeros(0, int)), stage(*pair(4)))


# --- one set of samples, shared out -----------------------------------------------------------------


def numbered(count, classes=None):
    """Activity in which sample k spikes at its own places, so that it is found again; labels or traces."""
    x = (np.arange(count)[:, None] >> np.arange(12) & 1)[:, :, None].astype(np.uint8)
    if classes is None:
        return x, np.arange(count, dtype=np.float32)[:, None, None] * np.ones((1, 12, 2), np.float32)
    return x, np.random.default_rng(count).permutation(np.arange(count) % classes)


def numbers_of(packed):
    """Which samples a part holds."""
    bits = data.unpack(packed, np.arange(len(packed)))[:, :, 0]  # (T, N)
    return (bits * 2.0 ** np.arange(12)[:, None]).sum(0).astype(int)


@settings(max_examples=40, deadline=None)
@given(st.integers(30, 300), st.integers(1, 5), st.floats(0.1, 0.4), st.floats(0.1, 0.4), st.integers(0, 1000))
def test_a_split_shares_out_each_class_alike_and_every_sample_once(count, classes, validation, test, seed):
    x, y = numbered(count, classes)
    found = data.split(x, y, validation, test, seed)
    held = {part: numbers_of(packed) for part, packed in found.parts.items()}
    assert set(held) == {"train", "validation", "test"} and found.classes == classes
    np.testing.assert_array_equal(np.sort(np.concatenate(list(held.values()))), np.arange(count))
    for part, share in (("validation", validation), ("test", test), ("train", 1 - validation - test)):
        np.testing.assert_array_equal(found.parts[part].labels, y[held[part]])
        of_class = np.bincount(found.parts[part].labels, minlength=classes)
        assert (np.abs(of_class - share * np.bincount(y, minlength=classes)) <= 1).all(), part


def test_a_split_follows_its_seed():
    x, y = numbered(100, 4)
    assert data.split(x, y, seed=3).content_hash == data.split(x, y, seed=3).content_hash
    assert len({data.split(x, y, seed=seed).content_hash for seed in range(5)}) == 5


def test_a_split_without_a_test_part_leaves_the_rest_for_training():
    found = data.split(*numbered(40, 2), validation=0.25, test=0)
    assert found.test is None and (len(found.train), len(found.validation)) == (30, 10)


def test_traces_are_split_with_their_samples():
    x, traces = numbered(50)
    found = data.split(x, traces, validation=0.2, test=0.2)
    assert [len(packed) for packed in found.parts.values()] == [30, 10, 10] and found.classes == 0
    for packed in found.parts.values():
        np.testing.assert_array_equal(packed.labels[:, 0, 0], numbers_of(packed))


@pytest.mark.parametrize(("shares", "said"), [
    ({"validation": 0.0}, "shares are validation=0.0"), ({"validation": 0.6, "test": 0.4}, "leave something for train"),
    ({"test": -0.1}, "shares above 0"), ({"validation": 1.5}, "shares above 0"),
])
def test_shares_that_leave_nothing_are_refused(shares, said):
    with pytest.raises(InvalidData, match=said):
        data.split(*numbered(40, 2), **shares)


def test_what_is_wrong_with_the_samples_of_a_split_is_said_once_by_its_own_name():
    with pytest.raises(InvalidData) as raised:
        data.split(np.full((20, 5, 2), 0.5), np.zeros(19, int))
    assert [problem.path for problem in raised.value.problems] == ["x", "y"]


def test_a_part_that_would_be_empty_is_refused():
    with pytest.raises(InvalidData, match="validation: holds no samples"):
        data.split(*numbered(4, 4))  # one sample a class: all of them train


def test_parts_with_other_kinds_of_targets_are_refused():
    x, labels = numbered(10, 2)
    _, traces = numbered(10)
    with pytest.raises(InvalidData, match="same kind of targets"):
        data.splits((x, traces), (x, labels))
    with pytest.raises(InvalidData, match=r"has targets of shape \(12, 1\) a sample, train has \(12, 2\)"):
        data.splits((x, traces), (x, traces[..., :1]))
    assert data.splits((x, traces), (x, traces)).classes == 0


def test_shuffled_traces_lose_the_pairing_too():
    x, traces = numbered(60)
    control = data.splits((x, traces), (x, traces)).with_shuffled_labels(0)
    shuffled = control.train.labels[:, 0, 0]
    assert sorted(shuffled) == list(range(60)) and (shuffled == np.arange(60)).mean() < 0.2


def test_an_npz_file_gives_its_parts(tmp_path):
    found = npz.own(write(tmp_path / "mine.npz"))
    assert list(found.parts) == ["train", "validation", "test"] and found.name == "mine"
    assert npz.own(write(tmp_path / "two.npz", x_test=None, y_test=None)).test is None


@pytest.mark.parametrize(("changes", "said"), [
    ({"x_validation": None}, "x_validation: is missing"),
    ({"y_test": None}, "y_test: is missing"),
    ({"y_train": np.zeros(3, int)}, "train.y: holds 3 labels for 8 samples"),
    ({"y_train": np.zeros(8)}, "train.y: has shape"),
    ({"x_train": np.array([{"a": 1}] * 8)}, "cannot be read as .npz"),  # objects would need pickle
])
def test_an_npz_file_with_a_fault_is_refused_in_words(tmp_path, changes, said):
    with pytest.raises(InvalidData, match=said):
        npz.own(write(tmp_path / "bad.npz", **changes))


def test_a_missing_or_foreign_file_is_refused_in_words(tmp_path):
    with pytest.raises(InvalidData, match="there is no such file"):
        npz.own(str(tmp_path / "none.npz"))
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(InvalidData, match="cannot be read"):
        npz.own(str(tmp_path / "text.npz"))
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(InvalidData, match="holds one array"):
        npz.own(str(tmp_path / "one.npy"))


def test_packed_files_round_trip(tmp_path):
    plain = data.splits(train=pair(9), validation=(pair(6)[0] * 3, pair(6)[1]))
    npz.save_packed(tmp_path / "packed.npz", plain)
    assert npz.load_packed(tmp_path / "packed.npz", "again").content_hash == plain.content_hash


def test_unknown_and_missing_options_of_a_source_are_named_together():
    info = next(info for info in neuroport_sources() if info.name == "npz")
    with pytest.raises(InvalidExperiment) as raised:
        load(info, {"pat": "x"})
    assert "data.options.pat" in str(raised.value) and "data.options.path: is missing" in str(raised.value)


def test_a_source_is_imported_only_when_it_is_loaded():
    assert load(SourceInfo("braille", "neuroport.data.braille:load"), {}).name == "braille"
