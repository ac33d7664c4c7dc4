"""The cache: written whole or not at all, never read where it is damaged, shared by processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from recordings import write_digits

from neuroport import registry
from neuroport.data import Part, Plan, cache, contents, disk
from neuroport.data.disk import cache_folder
from neuroport.data.packer import ArrayReader
from neuroport.errors import NotWritten, UnusableFolder

WINDOW = {"dt": 0.01, "steps": 50, "pool": 5}


@pytest.fixture
def digits(tmp_path: Path) -> dict[str, object]:
    """Options of a small set of recordings."""
    return {"path": str(write_digits(tmp_path / "digits", train=40)), "validation": 0.2, **WINDOW}


def load(options):
    return registry.load_data("hdf5", options)


def entries(folder: Path) -> list[Path]:
    return sorted((folder / "staged").iterdir())


@pytest.fixture
def folder(cache_in_a_folder_of_its_own: Path) -> Path:
    return cache_in_a_folder_of_its_own


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows whenever a file's spikes are read."""
    from neuroport.data.hdf5 import Hdf5Reader

    pieces: list[int] = []
    plain = Hdf5Reader.read
    monkeypatch.setattr(Hdf5Reader, "read", lambda self, samples: pieces.append(len(samples)) or plain(self, samples))
    return pieces


# --- what is kept ------------------------------------------------------------------------------


def test_the_second_start_reads_no_recording_and_gives_the_same(digits, read, folder):
    first = load(digits)
    assert sum(read) == 46
    again = load(digits)
    assert sum(read) == 46 and again.content_hash == first.content_hash and len(entries(folder)) == 1
    assert all(isinstance(packed.values, np.memmap) for packed in again.parts.values())
    for name, packed in again.parts.items():
        other = first.parts[name].report
        assert packed.report.to_data() == other.to_data() and np.array_equal(packed.report.rates, other.rates)


def test_staging_without_the_cache_gives_the_same_and_leaves_nothing_on_disk(digits, folder):
    assert load({**digits, "cache": False}).content_hash == load(digits).content_hash
    shutil.rmtree(folder)
    load({**digits, "cache": False})
    assert not folder.exists()


@pytest.mark.parametrize("change", [
    {"dt": 0.02}, {"steps": 49}, {"pool": 7}, {"values": "counts"}, {"start": 0.01}, {"validation": 0.3}, {"seed": 1},
    {"by": "sample"}, {"by": "speaker"}, {"sort": True},
])
def test_another_option_is_another_entry(digits, folder, change):
    load(digits)
    load({**digits, **change})
    assert len(entries(folder)) == 2


def test_files_that_moved_are_known_again(digits, tmp_path, folder, read):
    load(digits)
    shutil.move(digits["path"], tmp_path / "elsewhere" / "digits")
    load({**digits, "path": str(tmp_path / "elsewhere" / "digits")})
    assert sum(read) == 46 and len(entries(folder)) == 1


def settled(path: Path) -> None:
    """As if the file had been written long ago, as far as a program can say so."""
    os.utime(path, ns=(10**18, 10**18))


def test_a_changed_file_is_staged_again_even_if_its_size_and_time_are_the_old_ones(digits, folder, monkeypatch):
    path = Path(str(digits["path"])) / "test.h5"
    monkeypatch.setattr(contents, "RACY", -1.0)  # believe notes at once
    settled(path)
    first = load(digits)
    with h5py.File(path, "r+") as file:
        file["labels"][0] = 2
    settled(path)
    assert load(digits).content_hash != first.content_hash and len(entries(folder)) == 2


def test_unchanged_files_are_not_read_again_for_their_checksum(digits, monkeypatch):
    monkeypatch.setattr(contents, "RACY", -1.0)
    load(digits)
    monkeypatch.setattr(contents, "checksum", None)
    load(digits)


def test_a_file_written_just_now_is_read_again_for_its_checksum(digits, monkeypatch):
    load(digits)
    summed = []
    plain = contents.checksum
    monkeypatch.setattr(contents, "checksum", lambda path: summed.append(path.name) or plain(path))
    load(digits)
    assert sorted(summed) == ["test.h5", "train.h5"]


OWN = """
from neuroport.data import Latency

class Mine(Latency):
    def encode(self, images, samples):
        return super().encode(images{change}, samples)
"""


def test_ones_own_encoder_is_another_one_when_its_code_has_changed(tmp_path, folder, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    x, y = np.random.default_rng(0).random((20, 4)), np.arange(20) % 2
    hashes = []
    for name, change in (("first", ""), ("again", ""), ("other", " * 0.5")):
        (tmp_path / f"encoder_{name}.py").write_text(OWN.format(change=change))
        encoder = __import__(f"encoder_{name}").Mine(steps=10)
        parts = {part: Part.all(ArrayReader(x, y)) for part in ("train", "validation")}
        hashes.append(Plan("mine", parts, encoder).staged().content_hash)
    assert hashes[0] == hashes[1] != hashes[2] and len(entries(folder)) == 2


def test_changing_a_mapped_array_does_not_reach_the_file(digits):
    first = load(digits)
    first.train.values[:] = 255
    assert load(digits).content_hash == first.content_hash and load(digits).train.values.max() < 255


def test_the_folder_is_the_users_alone(digits, folder):
    load(digits)
    for place in (folder, folder / "staged", *entries(folder)):
        assert stat.S_IMODE(place.stat().st_mode) == 0o700


def test_the_folder_follows_the_platform_where_none_is_given(tmp_path, monkeypatch):
    monkeypatch.delenv("NEUROPORT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_folder() == tmp_path / "xdg" / "neuroport"
    monkeypatch.setattr(disk.Path, "home", lambda: tmp_path / "home")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == tmp_path / "home" / "Library" / "Caches" / "neuroport"


# --- damage ------------------------------------------------------------------------------------


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def other_version(entry: Path) -> None:
    header = cache._header(entry)
    (entry / cache.HEADER).write_text(cache._sealed({**header, "format": cache.FORMAT + 1}))


def other_key(entry: Path) -> None:
    header = cache._header(entry)
    (entry / cache.HEADER).write_text(cache._sealed({**header, "key": "0" * 32}))


def without_parts(entry: Path) -> None:
    (entry / cache.HEADER).write_text(cache._sealed({"format": cache.FORMAT, "key": cache._header(entry)["key"]}))


DAMAGE = {
    "a bit of the values": lambda entry: flip(entry / "train.values.npy"),
    "a bit of the labels": lambda entry: flip(entry / "test.labels.npy"),
    "a truncated file": lambda entry: os.truncate(entry / "train.values.npy", 1000),
    "an empty file": lambda entry: os.truncate(entry / "validation.values.npy", 0),
    "a longer file": lambda entry: os.truncate(entry / "train.values.npy", 10**6),
    "a missing part": lambda entry: (entry / "test.values.npy").unlink(),
    "a missing header": lambda entry: (entry / cache.HEADER).unlink(),
    "a truncated header": lambda entry: os.truncate(entry / cache.HEADER, 200),
    "a changed header": lambda entry: (entry / cache.HEADER).write_text(
        (entry / cache.HEADER).read_text().replace('"steps": 50', '"steps": 51')),
    "another version": other_version,
    "another key": other_key,
    "a header without parts": without_parts,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_entry_is_built_again_and_never_read(digits, folder, read, damage, capsys):
    first = load(digits)
    (entry,) = entries(folder)
    damage(entry)
    again = load(digits)
    assert sum(read) == 92 and again.content_hash == first.content_hash and entries(folder) == [entry]
    assert "is damaged" in capsys.readouterr().err
    load(digits)
    assert sum(read) == 92


def test_every_byte_of_an_entry_is_checked(digits, folder):
    load(digits)
    (entry,) = entries(folder)
    key = entry.name.rpartition("-")[2]
    for path in entry.iterdir():
        for place in {0, 1, path.stat().st_size // 2, path.stat().st_size - 1}:
            whole = path.read_bytes()
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1:])
            with pytest.raises(cache.Damaged):
                cache.opened(entry, key)
            path.write_bytes(whole)
    assert cache.opened(entry, key) is not None


def test_blocks_of_a_large_file_are_checked_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "BLOCK", 1000)
    values = np.random.default_rng(0).integers(0, 256, (100, 99), dtype=np.uint8)

    def write(sink):
        column = sink.column("train.values", values.shape, np.uint8)
        for start in range(0, 100, 7):
            column.append(values[start:start + 7])

    entry = cache.build("large", "k" * 32, 0, write, lambda entry: {"seen": int(entry.arrays["train.values"].sum())})
    assert np.array_equal(entry.arrays["train.values"], values) and entry.notes == {"seen": int(values.sum())}
    assert len(cache._header(entry.path)["arrays"]["train.values"]["checksums"]) == 11
    with (entry.path / "train.values.npy").open("r+b") as file:
        file.seek(5500)
        file.write(b"damage")
    with pytest.raises(cache.Damaged, match="from byte 5,000 on"):
        cache.opened(entry.path, "k" * 32)


# --- interruptions -----------------------------------------------------------------------------


def test_an_error_while_staging_leaves_nothing_behind(digits, folder, monkeypatch):
    def interrupt(part, done, of):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        registry.registry().load_data("hdf5", digits, interrupt)
    assert entries(folder) == []


SLOW = textwrap.dedent("""
    import sys, time
    from neuroport.registry import registry
    import neuroport.data.packer as packer
    packer.BYTES = 3 * 7 * 140

    def progress(part, done, of):
        print(part, done, flush=True)
        time.sleep(float(sys.argv[2]))

    data = registry().load_data("hdf5", eval(sys.argv[1]), progress)
    print(data.content_hash, flush=True)
""")


def start(options, pause, **changes):
    environment = {**os.environ, **{name: str(value) for name, value in changes.items()}}
    return subprocess.Popen([sys.executable, "-c", SLOW, repr(options), str(pause)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, env=environment)


def test_a_process_killed_while_it_writes_leaves_no_entry_and_the_next_one_cleans_up(digits, folder):
    process = start(digits, 60)
    assert process.stdout is not None and process.stdout.readline().startswith("train")
    (building,) = entries(folder)
    assert building.name.startswith(".building-")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert entries(folder) == [building]  # nobody could clean up
    found = load(digits)
    (entry,) = entries(folder)
    assert entry.name.startswith("digits-") and found.content_hash == load({**digits, "cache": False}).content_hash


def test_what_another_process_is_building_is_left_alone(digits, folder):
    process = start(digits, 0.2)
    assert process.stdout is not None and process.stdout.readline().startswith("train")
    found = load({**digits, "steps": 40})  # sweeps
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert len(entries(folder)) == 2 and said.split()[-1] != found.content_hash


def test_two_processes_that_build_one_entry_both_end_well(digits, folder):
    racing = [start(digits, 0.05) for _ in range(3)]
    ended = [process.communicate(timeout=120) for process in racing]
    assert [process.returncode for process in racing] == [0, 0, 0], ended
    assert len({said.split()[-1] for said, _ in ended}) == 1 and len(entries(folder)) == 1
    assert load(digits).content_hash == ended[0][0].split()[-1]


def test_of_two_entries_the_first_one_stays(digits, folder, monkeypatch):
    """Another process finishes while this one is still building."""
    inner = []

    def progress(part, done, of):
        if not inner:
            inner.append(load(digits))

    outer = registry.registry().load_data("hdf5", digits, progress)
    (entry,) = entries(folder)
    assert outer.content_hash == inner[0].content_hash
    assert Path(outer.train.values.filename).parent == Path(inner[0].train.values.filename).parent == entry


# --- no room -----------------------------------------------------------------------------------


def test_a_disk_without_room_is_found_before_anything_is_read(digits, folder, read, monkeypatch):
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(NotWritten, match=r"staging needs [\d.,]+ MB in .*staged, 0.0 MB are free") as raised:
        load(digits)
    assert "NEUROPORT_CACHE" in str(raised.value) and not read and entries(folder) == []


FULL = textwrap.dedent("""
    import os, shutil, sys
    from neuroport.registry import registry
    from neuroport.data import cache
    from neuroport.errors import NotWritten
    if sys.argv[2] == "late":  # the room goes while it is written: another process takes it
        cache._check_space = lambda folder, needed: None
    try:
        registry().load_data("hdf5", eval(sys.argv[1]))
    except NotWritten as error:
        print("refused:", " ".join(str(error).split()))
    print("left:", [path for path, _, files in os.walk(os.environ["NEUROPORT_CACHE"]) if "train.values.npy" in files])
""")


@pytest.mark.parametrize("when", ["early", "late"])
def test_a_full_disk_is_said_and_nothing_half_written_stays(tmp_path, when):
    options = {"path": str(write_digits(tmp_path / "digits", train=400)), "dt": 0.01, "steps": 50}
    mount = tmp_path / "small"
    mount.mkdir()
    script = tmp_path / "full.py"
    script.write_text(FULL)
    inside = f'mount -t tmpfs -o size=1m none "{mount}" && exec "$0" "{script}" "$1" {when}'
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "true"], capture_output=True).returncode:
        pytest.skip("no small disk can be mounted here (unshare -rm is not permitted)")
    ended = subprocess.run(
        [unshare, "-rm", "sh", "-c", inside, sys.executable, repr(options)], capture_output=True, text=True,
        env={**os.environ, "NEUROPORT_CACHE": str(mount / "cache")}, check=False)
    assert ended.returncode == 0, ended.stderr
    assert f"refused: the disk is full: staging needs 3.0 MB in {mount}/cache/staged" in ended.stdout, ended.stdout
    assert "left: []" in ended.stdout


def test_a_cache_that_cannot_be_is_refused_in_words(digits, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NEUROPORT_CACHE", str(tmp_path / "file"))
    with pytest.raises(UnusableFolder, match="data.options.cache: false"):
        load(digits)
    monkeypatch.setenv("NEUROPORT_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(UnusableFolder, match="NEUROPORT_CACHE"):
        load(digits)
    assert load({**digits, "cache": False}).steps == 50


def test_what_was_left_long_ago_is_removed(digits, folder):
    old = folder / "staged" / ".building-old"
    old.mkdir(parents=True)
    long_ago = time.time() - 2 * cache.ABANDONED
    os.utime(old, (long_ago, long_ago))
    young = folder / "staged" / ".building-young"
    young.mkdir()
    load(digits)
    assert not old.exists() and young.exists()


def test_entries_are_listed_with_their_headers(digits, folder):
    load(digits)
    (path, header), = cache.entries()
    assert path == entries(folder)[0] and header["notes"]["packer"]["type"] == "Binning"
    json.dumps(header)
