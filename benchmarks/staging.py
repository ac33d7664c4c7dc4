"""The staging layer: speed, size, memory and the second start, on recordings of 700 channels x 100 steps at 2 %.

    python benchmarks/staging.py [--samples 100000] [--folder FOLDER] [--write]

Writes an HDF5 file in the layout of the Spiking Heidelberg Digits (about 6 kB a sample) into FOLDER, stages a tenth
of it and all of it in processes of their own, and opens the staged set a second time. --write: the table becomes
benchmarks/results/staging_cpu.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import h5py
import machine
import numpy as np

CHANNELS, STEPS, DT, DENSITY = 700, 100, 0.01, 0.02
EVENTS = round(CHANNELS * STEPS * DENSITY)  # a sample
RESULT = Path(__file__).parent / "results" / "staging_cpu.md"


def write(path: Path, count: int) -> None:
    """Recordings with ``EVENTS`` events each at random: float16 seconds below 1, sorted, and channels."""
    random = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        times = file.create_dataset("spikes/times", (count,), h5py.vlen_dtype(np.float16))
        units = file.create_dataset("spikes/units", (count,), h5py.vlen_dtype(np.uint16))
        file["labels"] = (np.arange(count) % 20).astype(np.uint16)
        block = 1000
        for start in range(0, count, block):
            size = min(block, count - start)
            drawn = np.sort(random.random((size, EVENTS), dtype=np.float32) * 0.9995, axis=1).astype(np.float16)
            channels = random.integers(0, CHANNELS, (size, EVENTS), dtype=np.uint16)
            for row in range(size):  # h5py takes many lists of one length for a table
                times[start + row], units[start + row] = drawn[row], channels[row]


def stage(folder: str, values: str) -> dict[str, Any]:
    """One start, in this process: load through the cache, and what it took."""
    from neuroport.data.hdf5 import load

    before = _peak()
    started = time.perf_counter()
    data = load(folder, dt=DT, steps=STEPS, values=values, validation=0.1, by="sample").staged()
    seconds = time.perf_counter() - started
    reports = [packed.report for packed in data.parts.values() if packed.report]
    dense = sum(report.dense_bytes for report in reports)
    return {
        "samples": sum(report.samples for report in reports), "seconds": seconds, "dense_bytes": dense,
        "staged_bytes": sum(packed.values.nbytes for packed in data.parts.values()),
        "staging_seconds": sum(report.seconds for report in reports), "peak_mib": _peak(), "before_mib": before,
        "density": sum(report.nonzero for report in reports) / sum(report.cells for report in reports),
        "hash": data.content_hash,
    }


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(folder: Path, cache: Path, values: str) -> dict[str, Any]:
    """``stage`` in a process of its own."""
    ended = subprocess.run(
        [sys.executable, __file__, "--one", str(folder), "--values", values], text=True, capture_output=True,
        env={**os.environ, "NEUROPORT_CACHE": str(cache)}, check=False)
    if ended.returncode:
        raise SystemExit(ended.stderr)
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def measure(samples: int, where: Path) -> list[dict[str, Any]]:
    """Rows of the table: first and second start of a tenth and of all of it, bits; first start of counts."""
    rows = []
    for count in (samples // 10, samples):
        folder, cache = where / f"set{count}", where / f"cache{count}"
        folder.mkdir()
        write(folder / "train.h5", count)
        for values, starts in (("binary", ("first", "second", "second")), ("counts", ("first",))):
            if values == "counts" and count == samples:
                continue  # ten times the disk for the same figure
            for start in starts:
                rows.append({"layout": values, "start": start, **apart(folder, cache, values)})
        shutil.rmtree(cache)
        shutil.rmtree(folder)
    return rows


def table(rows: list[dict[str, Any]], described: dict[str, Any]) -> str:
    head = ("| layout | samples | start | seconds | MB/s of dense float32 | staged MB | smaller than float32 | "
            "peak MiB | of it before |")
    lines = [
        f"# Staging {CHANNELS} channels x {STEPS} steps at {DENSITY:.0%}, HDF5 to the memory-mapped cache", "",
        "The first start reads the recordings, bins and packs them and writes the cache, then checks what it wrote;",
        "the second one checks every byte of the cache and maps it. Without the interpreter's start and imports.", "",
        head, "|---" * 9 + "|",
    ]
    for row in rows:
        speed = f"{row['dense_bytes'] / 1e6 / row['seconds']:,.0f}" if row["start"] == "first" else ""
        lines.append(
            f"| {row['layout']} | {row['samples']:,} | {row['start']} | {row['seconds']:.2f} | {speed} | "
            f"{row['staged_bytes'] / 1e6:,.1f} | {row['dense_bytes'] / row['staged_bytes']:.1f}x | "
            f"{row['peak_mib']:.0f} | {row['before_mib']:.0f} |")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("neuroport", "numpy", "h5py"))
    state = f"commit {described['commit']}" + (" with changes" if described["modified"] else "")
    lines += ["", f"{described['cpu_model']}, {described['cpus']} cores, load {described['load']} before; "
              f"{described['system']}; python {sys.version.split()[0]}, {versions}; {described['date']}; {state}.", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="for the recordings and the cache; removed afterwards")
    parser.add_argument("--write", action="store_true", help=f"the table becomes {RESULT.name}")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--values", default="binary", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(stage(asked.one, asked.values)))
        return
    described = machine.describe()
    with tempfile.TemporaryDirectory(dir=asked.folder) as where:
        rows = measure(asked.samples, Path(where))
    said = table(rows, described)
    print(said)
    if asked.write:
        RESULT.write_text(said, encoding="utf-8")


if __name__ == "__main__":
    main()
