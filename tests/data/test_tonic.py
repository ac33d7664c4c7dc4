"""tonic's data sets, through tonic's own classes, from files in their original formats. Nothing is downloaded."""

from __future__ import annotations

import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from recordings import samples, write_hdf5

from neuroport import registry
from neuroport.data import Splits, unpack
from neuroport.errors import InvalidData, InvalidExperiment, MissingPackage

tonic = pytest.importorskip("tonic", reason="the extra `data` is not installed")
load = registry.load_data


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*request: object, **options: object) -> None:
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


def activity(found: Splits, part: str) -> np.ndarray:
    packed = found.parts[part]
    return unpack(packed, np.arange(len(packed)))


# --- Spiking Heidelberg Digits ------------------------------------------------------------------


def write_shd(where: Path, train: int = 20, test: int = 7) -> Path:
    """The files as tonic unpacks them: SHD/shd_train.h5 beside its archive."""
    folder = where / "SHD"
    folder.mkdir(parents=True)
    for part, count, seed in (("train", train, 1), ("test", test, 2)):
        write_hdf5(folder / f"shd_{part}.h5", samples(count, 700, seed=seed), np.arange(count) % 3)
        (folder / f"shd_{part}.h5.zip").write_bytes(b"")
    return where


def test_shd_read_by_tonic_equals_the_same_file_read_by_us(tmp_path):
    where = write_shd(tmp_path)
    options = {"dt": 4e-3, "duration": 0.5, "pool": 5, "validation": 0.2}
    theirs = load("tonic:SHD", {"path": str(where), **options})
    ours = load("hdf5", {"path": str(where / "SHD"), **options})
    assert theirs.shape == (140,) and theirs.classes == 3 and theirs.steps == 125
    assert [len(packed) for packed in theirs.parts.values()] == [16, 4, 7]
    assert theirs.train.values.any() and theirs.content_hash == ours.content_hash


def test_the_class_that_reads_is_tonics_own(tmp_path, monkeypatch):
    where, read = write_shd(tmp_path), []
    plain = tonic.datasets.SHD.__getitem__
    monkeypatch.setattr(tonic.datasets.SHD, "__getitem__", lambda self, index: read.append(index) or plain(self, index))
    load("tonic:SHD", {"path": str(where), "dt": 0.01, "steps": 50})
    assert set(read) == set(range(20))


def test_the_second_start_of_a_set_of_tonics_comes_from_the_cache(tmp_path, monkeypatch):
    where = write_shd(tmp_path)
    options = {"path": str(where), "dt": 0.01, "steps": 50, "validation": 0.2}
    first = load("tonic:SHD", options)
    monkeypatch.setattr("neuroport.data.tonic.TonicReader.read", None)
    assert load("tonic:SHD", options).content_hash == first.content_hash


# --- N-MNIST -----------------------------------------------------------------------------------

COUNT = 10_000  # .bin files without which tonic holds the set for incomplete


def address_events(x: np.ndarray, y: np.ndarray, p: np.ndarray, t: np.ndarray) -> bytes:
    """N-MNIST's binary format: 5 bytes an event, x, y, then the polarity in 1 bit and microseconds in 23."""
    rows = np.stack([x, y, (p << 7) | (t >> 16), (t >> 8) & 255, t & 255], 1)
    return rows.astype(np.uint8).tobytes()


def one_digit(label: int, number: int) -> tuple[np.ndarray, ...]:
    """Few events that are another for each file, up to 300 ms."""
    random = np.random.default_rng((label, number))
    size = 3 + number % 3
    t = np.sort(random.integers(0, 300_000, size))
    return random.integers(0, 34, size), random.integers(0, 34, size), random.integers(0, 2, size), t


def write_nmnist(where: Path, each: int) -> Path:
    """The files as tonic unpacks them: NMNIST/Train/LABEL/NUMBER.bin, ``each`` of a label."""
    for part, archive in (("Train", "train.zip"), ("Test", "test.zip")):
        for label in range(10):
            folder = where / "NMNIST" / part / str(label)
            folder.mkdir(parents=True)
            for number in range(each):
                (folder / f"{number:05}.bin").write_bytes(address_events(*one_digit(label, number)))
        (where / "NMNIST" / archive).write_bytes(b"")
    return where


def test_nmnist_files_become_what_was_written_into_them(tmp_path):
    where = write_nmnist(tmp_path, COUNT // 10)
    found = load("tonic:NMNIST", {"path": str(where), "dt": 10e-3, "duration": 0.3})
    assert found.shape == (2, 34, 34) and found.steps == 30 and found.classes == 10
    assert [len(packed) for packed in found.parts.values()] == [9000, 1000, 10000]
    assert np.array_equal(np.bincount(found.test.labels), [1000] * 10)
    for sample in (0, 1, 5678):  # in order of label and file name
        expected = np.zeros((30, 2, 34, 34))
        for x, y, p, t in zip(*one_digit(*divmod(sample, 1000)), strict=True):
            expected[t // 10_000, p, y, x] = 1
        assert np.array_equal(unpack(found.test, np.array([sample]))[:, 0], expected)
    report = found.test.report
    assert report.events == sum(3 + number % 3 for number in range(1000)) * 10
    assert report.kept + report.merged == report.events and report.cropped == 0


def test_options_of_tonics_class_reach_it(tmp_path, monkeypatch):
    where = write_nmnist(tmp_path, 4)
    monkeypatch.setattr(tonic.datasets.NMNIST, "_folder_contains_at_least_n_files_of_type", lambda *least: True)
    options = {"path": str(where), "dt": 10e-3, "duration": 0.3, "validation": 0.25}
    whole, first = (load("tonic:NMNIST", {**options, "options": {"first_saccade_only": only}})
                    for only in (False, True))
    late = slice(10, None)  # the first saccade ends after 100 ms
    assert activity(whole, "test")[late].any() and not activity(first, "test")[late].any()
    assert np.array_equal(activity(whole, "test")[:10], activity(first, "test")[:10])


def test_options_that_tonics_class_does_not_have_are_refused(tmp_path):
    options = {"path": str(tmp_path), "dt": 10e-3, "duration": 0.3, "options": {"first_sacade_only": True}}
    with pytest.raises(InvalidExperiment, match="options.first_sacade_only: tonic's NMNIST has no such option"):
        load("tonic:NMNIST", options)


# --- others, and what goes wrong ---------------------------------------------------------------


def test_dvs_gesture_splits_into_train_and_test_by_its_own_folders(tmp_path):
    random = np.random.default_rng(0)
    for part, users in (("ibmGestureTrain", 10), ("ibmGestureTest", 10)):
        for user in range(users):
            folder = tmp_path / "DVSGesture" / part / f"user{user:02}_led"
            folder.mkdir(parents=True)
            for label in range(11):
                columns = [random.integers(0, 128, 20), random.integers(0, 128, 20), random.integers(0, 2, 20),
                           np.sort(random.integers(0, 1000, 20))]
                np.save(folder / f"{label}.npy", np.stack(columns, 1))
        (tmp_path / "DVSGesture" / f"{part}.tar.gz").write_bytes(b"")
    options = {"path": str(tmp_path), "dt": 20e-3, "duration": 1.0, "pool": 4, "validation": 0.2}
    found = load("tonic:DVSGesture", options)
    assert found.shape == (2, 32, 32) and found.classes == 11
    assert [len(packed) for packed in found.parts.values()] == [88, 22, 110]


def test_every_data_set_of_tonic_has_a_name_here():
    from neuroport.data import tonic as sources

    assert set(sources.names()) == set(tonic.datasets.__all__) >= {"SHD", "SSC", "NMNIST", "DVSGesture", "CIFAR10DVS"}
    assert all(sources.class_of(name) is getattr(tonic.datasets, name) for name in sources.names())


@pytest.mark.parametrize(("name", "archive"), [
    ("SHD", "shd_train.h5.zip"), ("NMNIST", "train.zip"), ("DVSGesture", "ibmGestureTrain.tar.gz"),
    ("DVSLip", "DVS-Lip.zip"), ("SMNIST", "train-images"),
])
def test_a_failed_download_names_the_folder_to_fill_and_the_file(tmp_path, name, archive, capsys):
    with pytest.raises(InvalidData) as raised:
        load(f"tonic:{name}", {"path": str(tmp_path), "dt": 1e-3, "steps": 10})
    said = " ".join(str(raised.value).split())
    assert str(tmp_path / {"SMNIST": "smnist"}.get(name, name)) in said and archive in said
    assert capsys.readouterr().out == ""  # tonic's own talk goes to standard error


def test_sets_whose_targets_are_no_classes_are_refused_in_words(tmp_path, monkeypatch):
    where = write_shd(tmp_path)
    plain = tonic.datasets.SHD.__getitem__
    monkeypatch.setattr(tonic.datasets.SHD, "__getitem__", lambda self, i: (plain(self, i)[0], {"box": [1, 2]}))
    with pytest.raises(InvalidData, match="its targets are no classes"):
        load("tonic:SHD", {"path": str(where), "dt": 0.01, "steps": 50})


def test_a_file_that_tonic_cannot_read_is_named_by_its_sample(tmp_path, monkeypatch):
    where = write_shd(tmp_path)

    def broken(self: object, index: int) -> None:
        raise OSError("truncated file")

    monkeypatch.setattr(tonic.datasets.SHD, "__getitem__", broken)
    with pytest.raises(InvalidData, match="tonic:SHD: sample 0: tonic cannot read it: OSError: truncated file"):
        load("tonic:SHD", {"path": str(where), "dt": 0.01, "steps": 50})


@pytest.mark.parametrize(("source", "said"), [
    ("tonic:SHDD", "tonic has no data set 'SHDD'"), ("tonic:nmnist", "did you mean 'tonic:NMNIST'"),
    ("tonic", "did you mean 'tonic:NAME'"), ("tonic:", "there is no data source 'tonic:'"),
    ("braille:x", "there is no data source 'braille:x'"),
])
def test_a_name_that_is_none_is_refused_with_the_known_ones(source, said):
    with pytest.raises(InvalidExperiment, match=said):
        load(source, {"dt": 1e-3, "steps": 10} if source != "braille:x" else {})


def test_without_tonic_the_pip_line_is_said(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "tonic"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tonic", None)
    with pytest.raises(MissingPackage, match=r"pip install 'neuroport\[data\]'"):
        load("tonic:SHD", {"dt": 1e-3, "steps": 10})


def test_files_can_move_without_being_staged_again(tmp_path, monkeypatch):
    where = write_shd(tmp_path / "old")
    options = {"dt": 0.01, "steps": 50, "validation": 0.2}
    first = load("tonic:SHD", {"path": str(where), **options})
    shutil.move(where, tmp_path / "new")
    monkeypatch.setattr("neuroport.data.tonic.TonicReader.read", None)
    assert load("tonic:SHD", {"path": str(tmp_path / "new"), **options}).content_hash == first.content_hash
