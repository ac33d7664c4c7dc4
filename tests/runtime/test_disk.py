"""A disk that fills up, or becomes read-only, under a training: what is said, and what stays."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def has_namespaces():
    """Whether this process may mount a small disk that nobody else sees."""
    if not (shutil.which("unshare") and shutil.which("mount")):
        return False
    tried = subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True)
    return tried.returncode == 0


needs_namespaces = pytest.mark.skipif(not has_namespaces(), reason="no mount namespaces here (unshare -rm mount)")


def on_a_small_disk(case, tmp_path):
    (tmp_path / "disk").mkdir()
    command = ["unshare", "-rm", sys.executable, str(HERE / "small_disk.py"), case, str(tmp_path / "disk"),
               str(tmp_path / "elsewhere")]
    paths = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_namespaces
def test_a_full_disk_is_said_and_leaves_everything_whole_whatever_could_not_be_written(tmp_path):
    found = on_a_small_disk("full", tmp_path)
    failed_at = {case["said"].split("(at ")[1].split(")")[0] for case in found}
    assert {"metrics.jsonl", "last.safetensors", "parameters.safetensors"} <= failed_at
    assert any(name.startswith("checkpoints/") for name in failed_at)
    for case in found:
        assert case["exit_code"] == 1
        assert "/run cannot be written any more: No space left on device" in case["said"]
        then = f"goes on from checkpoints/{case['checkpoints'][0]}" if case["checkpoints"] else "begins again"
        assert "--resume" in case["said"] and then in case["said"]
        assert len(case["whole"]) == len(case["checkpoints"])
        assert not case["rests"] and not case["half_a_row"]
    assert any(case["checkpoints"] for case in found)


@needs_namespaces
def test_with_room_again_a_training_goes_on_to_the_result_of_one_that_always_had_it(tmp_path):
    assert all(case["goes_on"] for case in on_a_small_disk("full", tmp_path))


@needs_namespaces
def test_a_row_for_which_there_is_half_the_room_is_not_written_at_all(tmp_path):
    found = on_a_small_disk("rows", tmp_path)
    assert all(case["whole"] and case["lines"] == case["written"] for case in found)
    assert any(case["bytes"] % 4096 for case in found)  # there was room for a part of the next one


@needs_namespaces
def test_a_folder_that_becomes_read_only_is_said_and_the_last_checkpoint_stays(tmp_path):
    found = on_a_small_disk("read_only", tmp_path)
    assert "Read-only file system" in found["said"] and found["exit_code"] == 1
    assert found["whole"] == [1] and found["parameters"] == ["parameters", "last"]
    for said in (found["begun"], found["again"]):  # not even begun: refused before anything runs
        assert "a run cannot be written to" in said and "mend: choose a folder" in said
    assert found["goes_on"]
