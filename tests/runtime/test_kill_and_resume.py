"""kill -9 at any moment, the same command again: the result is that of a training that never stopped, bit by bit."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from neuroport.runtime.checkpoint import Checkpoint
from neuroport.runtime.folder import checkpoint_files

HERE = Path(__file__).parent
PROGRAM = HERE / "killed_training.py"
LINES, PAUSE = 17, 0.01  # of killed_training.py
SPEED = {"samples_per_second", "seconds"}
SEED = 20
KILLS = {"reference": 20, "jax": 3, "torch": 3}


def environment():
    """Of a process that finds what the tests share, and that starts no more threads than it must."""
    paths = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def finish(engine, out, *cases):
    command = [sys.executable, str(PROGRAM), engine, str(out), *cases]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def without_speed(row):
    return {name: value for name, value in row.items() if name not in SPEED | {"versions"}}


def content(out):
    """All that a training has left, but for speeds; parameters as bytes."""
    found = {name: (out / f"{name}.safetensors").read_bytes() for name in ("parameters", "last")}
    found["metrics"] = [without_speed(json.loads(line)) for line in (out / "metrics.jsonl").read_text().splitlines()]
    found["summary"] = without_speed(json.loads((out / "summary.json").read_text()))
    return found


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    found = {}

    def of(engine):
        if engine not in found:
            out = tmp_path_factory.mktemp("uninterrupted") / engine
            assert len(finish(engine, out)) == LINES
            found[engine] = content(out)
        return found[engine]

    return of


def victims(engine):
    """(policy, [(line, seconds after it), ...]): when a training is killed, some of them twice in a row."""
    moments, found = random.Random(SEED), []
    for index in range(KILLS[engine]):
        policy = ("epochs", "pieces", "second")[index % 3]
        after_line, later = moments.randint(1, LINES - 3), moments.uniform(0, 2 * PAUSE)
        if index % 4 == 1:
            found[-1][1].append((min(after_line, 3), later))  # soon after it went on
        else:
            found.append((policy, [(after_line, later)]))
    return found


@pytest.mark.parametrize("engine", KILLS)
def test_a_training_killed_at_random_moments_ends_as_if_it_had_never_stopped(engine, tmp_path, uninterrupted):
    pytest.importorskip(engine if engine != "reference" else "numpy")
    expected = uninterrupted(engine)

    cases = victims(engine)
    print(f"seed {SEED}: {cases}")
    finish(engine, tmp_path, json.dumps(cases))
    assert sum(len(moments) for _, moments in cases) == KILLS[engine]
    for index, case in enumerate(cases):
        out = tmp_path / str(index)
        found = content(out)
        for name, value in expected.items():
            assert found[name] == value, f"{name} after {case}"
        assert not list(out.rglob("*.tmp"))
        for file in checkpoint_files(out):
            Checkpoint.read(file)


def test_a_training_killed_at_every_single_write_ends_as_if_it_had_never_stopped(tmp_path):
    command = [sys.executable, str(HERE / "killed_at_every_write.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["failed"] == [] and found["writes"] > 30


@pytest.mark.parametrize("engine", ["jax", "torch"])
def test_one_seed_in_two_processes_gives_equal_bits(engine, tmp_path, uninterrupted):
    pytest.importorskip(engine)
    expected = uninterrupted(engine)
    finish(engine, tmp_path / "again")
    assert content(tmp_path / "again") == expected
