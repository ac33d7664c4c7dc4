"""Recordings from files: HDF5 in the layout of the Spiking Heidelberg Digits, folders, event files, images."""

from __future__ import annotations

import re

import h5py
import numpy as np
import pytest
from recordings import events, samples, write_digits, write_hdf5

from neuroport import registry
from neuroport.data import Binning, Events, Latency, event_file, stage, unpack
from neuroport.errors import InvalidData, InvalidExperiment

load = registry.load_data
WINDOW = {"dt": 0.01, "steps": 50}
RANDOM = np.random.default_rng(0)


def every(packed):
    return np.moveaxis(unpack(packed, np.arange(len(packed))), 0, 1)


# --- hdf5 --------------------------------------------------------------------------------------


def test_hdf5_gives_the_recordings_that_were_written(tmp_path):
    write_digits(tmp_path / "digits")
    found = load("hdf5", {"path": str(tmp_path / "digits"), "pool": 5, **WINDOW})
    assert [len(packed) for packed in found.parts.values()] == [22, 2, 6]
    assert (found.name, found.classes, found.shape, found.steps) == ("digits", 3, (140,), 50)
    recorded = Events.of(samples(6, 700, seed=2), np.arange(6) % 3, (700,))
    assert np.array_equal(every(found.test), every(stage(recorded, using=Binning(**WINDOW, pool=5))))
    assert np.array_equal(found.test.labels, np.arange(6) % 3)


def test_pieces_of_a_file_join_to_the_whole(tmp_path, monkeypatch):
    write_digits(tmp_path / "digits", train=60)
    options = {"path": str(tmp_path / "digits"), "cache": False, **WINDOW}
    whole = load("hdf5", options)
    monkeypatch.setattr("neuroport.data.packer.BYTES", 3 * 7 * 700)
    assert load("hdf5", options).content_hash == whole.content_hash


def test_speakers_are_held_out_by_number_or_by_share(tmp_path):
    write_digits(tmp_path / "digits", train=40)
    options = {"path": str(tmp_path / "digits"), "cache": False, **WINDOW}
    chosen = load("hdf5", {**options, "speakers": [1, 3]})
    assert len(chosen.validation) == 20 and np.array_equal(chosen.validation.labels, (np.arange(40) % 3)[1::2])
    drawn = load("hdf5", {**options, "by": "speaker", "validation": 0.25})
    assert len(drawn.validation) == 10
    with pytest.raises(InvalidData, match="holds no speaker 9"):
        load("hdf5", {**options, "speakers": [9]})
    with pytest.raises(InvalidData, match="split by one of: class, sample, speaker"):
        load("hdf5", {**options, "by": "accent"})


def test_files_may_be_named_one_by_one_and_bring_their_own_validation(tmp_path):
    for part, count in (("a", 12), ("b", 6), ("c", 5)):
        write_hdf5(tmp_path / f"{part}.h5", samples(count, 20, seed=count), np.arange(count) % 3)
    named = {"train": str(tmp_path / "a.h5"), "validation_file": str(tmp_path / "b.h5"),
             "test": str(tmp_path / "c.h5")}
    found = load("hdf5", {**named, "channels": 20, **WINDOW})
    assert [len(packed) for packed in found.parts.values()] == [12, 6, 5]


def test_a_path_takes_environment_variables_and_their_defaults(tmp_path, monkeypatch):
    write_digits(tmp_path / "digits")
    monkeypatch.setenv("RECORDINGS", str(tmp_path))
    for path in ("$RECORDINGS/digits", "${RECORDINGS}/digits", "${NOT_SET:-" + str(tmp_path) + "}/digits"):
        assert load("hdf5", {"path": path, **WINDOW}).name == "digits"
    with pytest.raises(InvalidExperiment, match="needs the environment variable NOT_SET"):
        load("hdf5", {"path": "${NOT_SET}/digits", **WINDOW})


def damaged(path, time=None, unit=None, sort=False):
    """Change the last sample that has three events or more; its number."""
    with h5py.File(path, "r+") as file:
        lengths = [len(one) for one in file["spikes/times"][()]]
        sample = max(index for index, length in enumerate(lengths) if length >= 3)
        for name, value in (("times", time), ("units", unit)):
            if value is not None:
                held = file[f"spikes/{name}"][sample]
                held[1] = value
                file[f"spikes/{name}"][sample] = held
    return sample


@pytest.mark.parametrize(("change", "said"), [
    ({"time": np.nan}, "event 1: its time is nan"), ({"time": np.inf}, "event 1: its time is inf"),
    ({"time": -0.25}, "event 1: its time is -0.25 s, before the beginning"),
    ({"time": 60000.0}, "event 2: its time .* is before that of the event before it"),
    ({"unit": 700}, r"event 1: its unit is 700, the shape \(700,\) has 0..699"),
    ({"unit": 65535}, "event 1: its unit is 65535"),
])
def test_a_fault_in_a_file_names_file_sample_and_event_and_leaves_nothing_behind(
        tmp_path, change, said, cache_in_a_folder_of_its_own):
    write_digits(tmp_path / "digits")
    sample = damaged(tmp_path / "digits" / "test.h5", **change)
    with pytest.raises(InvalidData, match=f"test.h5: sample {sample}, {said}"):
        load("hdf5", {"path": str(tmp_path / "digits"), **WINDOW})
    assert not list((cache_in_a_folder_of_its_own / "staged").iterdir())


def test_unsorted_events_are_sorted_where_that_is_asked_for(tmp_path):
    write_digits(tmp_path / "digits")
    damaged(tmp_path / "digits" / "test.h5", time=60000.0)
    found = load("hdf5", {"path": str(tmp_path / "digits"), "sort": True, **WINDOW})
    assert found.test.report.cropped == 1


def test_an_empty_recording_is_legal_and_counted(tmp_path):
    recorded = samples(12, 700)
    recorded[5] = (np.zeros(0, np.float16), np.zeros(0, np.uint16))
    write_hdf5(tmp_path / "train.h5", recorded, np.arange(12) % 3)
    found = load("hdf5", {"path": str(tmp_path), "validation": 0.3, **WINDOW})
    assert sum(packed.report.empty for packed in found.parts.values()) == sum(not len(t) for t, _ in recorded) >= 1


def test_a_label_beyond_the_classes_is_refused_before_anything_is_read(tmp_path, monkeypatch):
    write_digits(tmp_path / "digits")
    with h5py.File(tmp_path / "digits" / "test.h5", "r+") as file:
        file["labels"][4] = 3
    monkeypatch.setattr("neuroport.data.hdf5.Hdf5Reader.read", None)
    with pytest.raises(InvalidData, match="test.labels: sample 4 holds the label 3, there are 3 classes"):
        load("hdf5", {"path": str(tmp_path / "digits"), **WINDOW})


def on_one_line(raised):
    """What an error says: where its lines end depends on how long the folder's name is."""
    return " ".join(str(raised.value).split())


def test_files_that_are_none_are_refused_in_words(tmp_path):
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "train.h5").write_text("no HDF5")
    with pytest.raises(InvalidData) as raised:
        load("hdf5", {"path": str(tmp_path / "text"), **WINDOW})
    assert "cannot be read as HDF5 with spikes and labels" in on_one_line(raised)
    (tmp_path / "other").mkdir()
    with h5py.File(tmp_path / "other" / "train.h5", "w") as file:
        file["labels"] = np.zeros(3, int)
    with pytest.raises(InvalidData) as raised:
        load("hdf5", {"path": str(tmp_path / "other"), **WINDOW})
    assert "cannot be read as HDF5 with spikes and labels" in on_one_line(raised)
    (tmp_path / "dense").mkdir()
    with h5py.File(tmp_path / "dense" / "train.h5", "w") as file:
        file["labels"], file["spikes/times"], file["spikes/units"] = (np.zeros(3, int), np.zeros((3, 2)),
                                                                       np.zeros((2, 2), int))
    with pytest.raises(InvalidData) as raised:
        load("hdf5", {"path": str(tmp_path / "dense"), **WINDOW})
    said = on_one_line(raised)
    assert "holds 2 samples, spikes/times 3" in said and "not a list for each" in said


def test_a_truncated_file_is_refused_in_words(tmp_path):
    write_digits(tmp_path / "digits", train=200)
    whole = (tmp_path / "digits" / "train.h5").read_bytes()
    (tmp_path / "digits" / "train.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidData, match="train.h5"):
        load("hdf5", {"path": str(tmp_path / "digits"), **WINDOW})


@pytest.mark.parametrize(("options", "said"), [
    ({"path": "nowhere", **WINDOW}, "there is no such folder"),
    ({"path": ".", "dt": 0.01}, "give either steps or duration"),
    ({"path": ".", "dt": -1, "steps": 3}, "data.options.dt: is too small"),
    ({"path": ".", "steps": 3}, "data.options.dt: is missing"),
    ({"path": ".", **WINDOW, "bins": 3}, "data.options.bins: the source 'hdf5' has no such option"),
    ({**WINDOW}, "data.options.path: is missing"), ({"path": ".", **WINDOW}, "holds no file with 'train' in its name"),
])
def test_options_that_cannot_be_are_refused_by_name(tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((InvalidExperiment, InvalidData), match=said):
        load("hdf5", options)


# --- folders -----------------------------------------------------------------------------------


def fill(where, make, parts=("train", "test"), each=4, suffix=".npy"):
    """each files of the classes "no" and "yes" in each part."""
    made = {}
    for part in parts:
        for label in ("no", "yes"):
            folder = where / part / label
            folder.mkdir(parents=True)
            for number in range(each):
                sample = make()
                made[part, label, number] = sample
                saved = folder / f"{number}{suffix}"
                np.savez(saved, **sample) if isinstance(sample, dict) else np.save(saved, sample)
    return made


def test_a_folder_of_activity_gives_bits_counts_or_floats(tmp_path):
    made = fill(tmp_path / "set", lambda: (RANDOM.random((20, 3)) < 0.3).astype(np.uint8))
    bits = load("folder", {"path": str(tmp_path / "set"), "validation": 0.25})
    assert [len(packed) for packed in bits.parts.values()] == [6, 2, 8] and bits.train.layout == "bits"
    assert np.array_equal(every(bits.test), [made["test", label, n] for label in ("no", "yes") for n in range(4)])
    assert bits.test.labels.tolist() == [0] * 4 + [1] * 4
    for values in ("counts", "floats"):
        other = load("folder", {"path": str(tmp_path / "set"), "validation": 0.25, "values": values})
        assert other.train.layout == values and np.array_equal(every(other.test), every(bits.test))


def test_a_folder_of_a_cameras_events_is_binned(tmp_path):
    def camera():
        found = np.zeros(30, [("t", int), ("x", int), ("y", int), ("p", int)])
        found["t"] = np.sort(RANDOM.integers(0, 100_000, 30))
        for name, top in (("x", 6), ("y", 4), ("p", 2)):
            found[name] = RANDOM.integers(0, top, 30)
        return found

    made = fill(tmp_path / "set", camera)
    options = {"path": str(tmp_path / "set"), "shape": [2, 4, 6], "time_unit": 1e-6, "dt": 0.01, "steps": 10}
    found = load("folder", options)
    recorded = [made["test", label, number] for label in ("no", "yes") for number in range(4)]
    expected = stage(Events.of(recorded, np.zeros(8, int), (2, 4, 6), 1e-6), using=Binning(dt=0.01, steps=10))
    assert np.array_equal(found.test.values, expected.values)


def test_archives_of_columns_or_of_times_and_units_are_events(tmp_path):
    fill(tmp_path / "a", lambda: {"times": np.array([0.1, 0.2]), "units": np.array([0, 3])}, suffix=".npz")
    fill(tmp_path / "b", lambda: {"t": np.array([0.1, 0.2]), "x": np.array([0, 3])}, suffix=".npz")
    hashes = {load("folder", {"path": str(tmp_path / name), "shape": [4], **WINDOW}).content_hash for name in "ab"}
    assert len(hashes) == 1


def test_a_folder_of_classes_alone_is_shared_out(tmp_path):
    fill(tmp_path, lambda: np.ones((5, 2)), parts=("set",), each=20)
    found = load("folder", {"path": str(tmp_path / "set"), "validation": 0.2, "test": 0.1})
    assert [len(packed) for packed in found.parts.values()] == [28, 8, 4]


def test_arrays_of_whole_parts_are_read_by_the_piece(tmp_path):
    x, y = (RANDOM.random((40, 20, 3)) < 0.3).astype(np.uint8), np.arange(40) % 4
    np.save(tmp_path / "x_train.npy", x)
    np.save(tmp_path / "y_train.npy", y)
    found = load("folder", {"path": str(tmp_path), "validation": 0.2, "test": 0.2, "seed": 3})
    assert [len(packed) for packed in found.parts.values()] == [24, 8, 8] and found.classes == 4
    assert all((x == one).all((1, 2)).any() for one in every(found.test))


def test_traces_are_targets_of_whole_parts(tmp_path):
    x, y = RANDOM.normal(size=(20, 30, 2)), RANDOM.normal(size=(20, 30, 1))
    for axis, value in (("x", x), ("y", y)):
        np.save(tmp_path / f"{axis}_train.npy", value)
    found = load("folder", {"path": str(tmp_path), "values": "floats"})
    assert not found.train.has_classes and found.classes == 0 and found.train.layout == "floats"


@pytest.mark.parametrize(("make", "options", "said"), [
    (lambda: np.full((5, 2), 3), {}, "no whole numbers in 0..1"),
    (lambda: np.full((5, 2), 0.5), {"values": "counts"}, "no whole numbers in 0..255"),
    (lambda: np.full((5, 2), np.nan), {"values": "floats"}, "perhaps NaN"),
    (lambda: np.ones((RANDOM.integers(5, 50), 2)), {}, r"the\s+first\s+sample\s+has"),
    (lambda: np.zeros(3, [("t", int), ("x", int)]), WINDOW, "data.options.shape: is missing"),
    (lambda: np.zeros(3, [("t", int), ("x", int)]), {"shape": [4]}, "data.options.dt"),
    (lambda: np.ones((5, 2)), {"values": "float"}, "choose binary, counts or floats"),
    (lambda: np.array([{}]), {}, "cannot be read"),
])
def test_a_file_that_does_not_fit_is_named(tmp_path, make, options, said):
    fill(tmp_path / "set", make)
    with pytest.raises((InvalidData, InvalidExperiment)) as raised:
        load("folder", {"path": str(tmp_path / "set"), **options})
    assert re.search(said, on_one_line(raised))


def test_a_fault_among_events_names_the_file(tmp_path):
    fill(tmp_path / "set", lambda: {"times": np.array([0.1, 0.2]), "units": np.array([0, 4])}, suffix=".npz")
    with pytest.raises(InvalidData, match="no/[0-3].npz, event 1: its unit is 4"):
        load("folder", {"path": str(tmp_path / "set"), "shape": [4], **WINDOW})


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(InvalidData, match="holds no samples"):
        load("folder", {"path": str(tmp_path)})


def test_a_file_in_place_of_its_folder_is_told_to_be_the_folder(tmp_path):
    (tmp_path / "train.h5").touch()
    with pytest.raises(InvalidData, match="train.h5: is no folder\n.*give the folder that holds train.h5 and test.h5"):
        load("hdf5", {"path": str(tmp_path / "train.h5"), **WINDOW})


# --- events and images in one file -------------------------------------------------------------


def test_an_event_file_gives_back_its_recordings(tmp_path):
    train, test = events(30, seed=1), events(10, seed=2)
    event_file.save(tmp_path / "mine.npz", train, test=test)
    found = load("events", {"path": str(tmp_path / "mine.npz"), "validation": 0.2, **WINDOW})
    assert [len(packed) for packed in found.parts.values()] == [24, 6, 10] and found.name == "mine"
    assert np.array_equal(found.test.values, stage(test, using=Binning(**WINDOW)).values)


@pytest.mark.parametrize(("changes", "said"), [
    ({"train_units": None}, "train_units: is missing"), ({"shape": None}, "shape: is missing"),
    ({"train_units": np.array([99])}, "train.units: are 1 for"),
    ({"train_labels": np.array([-1] * 30)}, "train.sample 0: its label is -1"),
])
def test_an_event_file_with_a_fault_is_refused(tmp_path, changes, said):
    event_file.save(tmp_path / "mine.npz", events(30))
    with np.load(tmp_path / "mine.npz") as file:
        arrays = {name: value for name, value in ({**file} | changes).items() if value is not None}
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(InvalidData, match=said):
        load("events", {"path": str(tmp_path / "mine.npz"), **WINDOW})


def test_images_from_a_file_are_encoded(tmp_path):
    x, y = RANDOM.integers(0, 256, (50, 6, 6), dtype=np.uint8), np.arange(50) % 5
    np.savez(tmp_path / "digits.npz", x_train=x, y_train=y, x_test=x[:10], y_test=y[:10])
    found = load("images", {"path": str(tmp_path / "digits.npz"), "encoding": {"type": "Latency", "steps": 20}})
    assert [len(packed) for packed in found.parts.values()] == [42, 8, 10] and found.classes == 5
    assert np.array_equal(found.test.values, stage(x[:10], y[:10], using=Latency(steps=20)).values)
    current = load("images", {"path": str(tmp_path / "digits.npz"), "encoding": {"type": "Current", "steps": 20}})
    assert current.train.constant and current.content_hash != found.content_hash


@pytest.mark.parametrize(("encoding", "said"), [
    ({"type": "Latenzy", "steps": 3}, r"data.options.encoding.type: [^\n]*\n *mend: did you mean 'Latency'"),
    ({"type": "Latency"}, "data.options.encoding.*steps: is missing"),
    ({"type": "Binning", "dt": 1, "steps": 3}, "Binning is for events"), (5, "data.options.encoding"),
])
def test_an_encoding_that_is_none_is_refused_by_name(tmp_path, encoding, said):
    np.savez(tmp_path / "digits.npz", x_train=np.zeros((4, 2)), y_train=np.arange(4))
    with pytest.raises(InvalidExperiment, match=said):
        load("images", {"path": str(tmp_path / "digits.npz"), "encoding": encoding})


# --- options of any source ---------------------------------------------------------------------


@pytest.mark.parametrize(("source", "options", "said"), [
    ("hdf5", {"path": ".", **WINDOW, "validation": "much"}, "data.options.validation: is no number"),
    ("hdf5", {"path": ".", **WINDOW, "speakers": 3}, "data.options.speakers"),
    ("hdf5", {"path": 5, **WINDOW}, "data.options.path"),
    ("folder", {"path": ".", "shape": ["a"]}, "data.options.shape"),
    ("yinyang", {"train": 1.5}, "data.options.train: is no whole number"),
    ("mackeyglass", {"steps": None}, "data.options.steps: is no whole number"),
])
def test_an_option_of_the_wrong_type_is_refused_by_name(source, options, said):
    with pytest.raises(InvalidExperiment, match=said):
        load(source, options)


def test_losses_of_recordings_in_memory_are_said_once(capsys):
    found = Events.of([(np.full(3, 0.001), np.zeros(3, int))], [0], (1,))
    for _ in range(2):
        stage(found, using=Binning(dt=0.0011, steps=2))
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "of 3 events 2 (67 %) fell into a bin that was already set" in said
