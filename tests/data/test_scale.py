"""Size and memory: recordings of 700 channels x 100 steps at 2 %. Speeds are in benchmarks/results/staging_cpu.md."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest

from neuroport import registry

pytest.importorskip("resource", reason="peak memory is asked of POSIX systems")

OPTIONS = {"dt": 0.01, "steps": 100, "by": "sample"}
ONE = textwrap.dedent("""
    import json, resource, sys
    from neuroport import registry
    data = registry.load_data("hdf5", {"path": sys.argv[1], "dt": 0.01, "steps": 100, "by": "sample"})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps([peak, sum(packed.values.nbytes for packed in data.parts.values()), data.content_hash]))
""")


def write(folder, count):
    folder.mkdir()
    random = np.random.default_rng(0)
    times = np.sort(random.random((50, 1400)) * 0.999, 1).astype(np.float16)
    recorded = list(zip(times, random.integers(0, 700, (50, 1400), np.uint16), strict=True))
    with h5py.File(folder / "train.h5", "w") as file:
        for name, part, kind in (("times", 0, np.float16), ("units", 1, np.uint16)):
            held = file.create_dataset(f"spikes/{name}", (count,), h5py.vlen_dtype(kind))
            for index in range(count):
                held[index] = recorded[index % 50][part]
        file["labels"] = np.arange(count) % 10
    return folder


def peak(folder):
    ended = subprocess.run([sys.executable, "-c", ONE, str(folder)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_bits_are_a_thirtieth_of_dense_floats_or_less(tmp_path):
    data = registry.load_data("hdf5", {"path": str(write(tmp_path / "set", 100)), **OPTIONS})
    for packed in data.parts.values():
        assert packed.values.nbytes <= 4 * len(packed) * 100 * 700 / 30
        assert packed.report.ratio == pytest.approx(4 * 100 / 13) and 0.018 < packed.report.density < 0.02


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path):
    small, _, _ = peak(write(tmp_path / "small", 600))
    first, staged, name = peak(write(tmp_path / "large", 6000))
    again, _, same = peak(tmp_path / "large")
    assert staged > 50e6 and name == same
    # were the staged arrays held, or their pages mapped while they are written or checked, all of them would show
    assert first - small < 0.3 * staged and again - small < 0.3 * staged
