"""Braille over seeds, on each engine, and the control with shuffled labels: the table of docs/braille.md.

    python benchmarks/braille_seeds.py --engines jax,torch --seeds 0,1,2,3,4 --write

Each engine runs in a process of its own. The seeds are not those that settings were tuned on.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe

ROOT = Path(__file__).resolve().parent.parent
EXPERIMENT = ROOT / "examples" / "braille.yaml"
PAGE = ROOT / "docs" / "braille.md"
KEPT = ("seed", "best_epoch", "train_accuracy", "validation_accuracy", "test_accuracy", "samples_per_second", "seconds")
CONTROLS = 2  # seeds of the control


def work(engine: str, seeds: list[int]) -> None:
    """In the process of one engine: a line of JSON for each training."""
    import neuroport as npt
    from neuroport.data import braille
    from neuroport.runtime.overrides import overridden

    experiment, data = npt.Experiment.load(EXPERIMENT), braille.load()
    for index, seed in enumerate(seeds):
        for shuffled in (False, True) if index < CONTROLS else (False,):
            used = data.with_shuffled_labels(seed) if shuffled else data
            summary = npt.fit(overridden(experiment, seed=seed), engine=engine, data=used).summary
            row = {"engine": engine, "shuffled": shuffled, **{name: summary[name] for name in KEPT}}
            print(json.dumps({**row, "versions": summary["versions"]}), flush=True)


def collect(engine: str, seeds: str) -> list[dict[str, Any]]:
    """The lines of one engine's process, echoed as they come."""
    command = [sys.executable, __file__, "--worker", engine, "--seeds", seeds]
    rows = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            row = json.loads(line)
            what = "shuffled labels" if row["shuffled"] else f"validation {row['validation_accuracy']:.4f}"
            found = f"test {row['test_accuracy']:.4f}, {what}, {row['seconds']:.0f} s"
            print(f"{engine} seed {row['seed']}: {found}", flush=True)
            rows.append(row)
    if process.returncode:
        sys.exit(f"{engine} failed")
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The results as Markdown."""
    lines = ["| engine | seed | best epoch | train % | validation % | test % | samples/s | seconds in all |",
             "|---|---|---|---|---|---|---|---|"]
    for engine in dict.fromkeys(row["engine"] for row in rows):
        own = [row for row in rows if row["engine"] == engine and not row["shuffled"]]
        for row in own:
            lines.append(
                f"| {engine} | {row['seed']} | {row['best_epoch']} | {100 * row['train_accuracy']:.1f} "
                f"| {100 * row['validation_accuracy']:.1f} | {100 * row['test_accuracy']:.1f} "
                f"| {row['samples_per_second']:,.0f} | {row['seconds']:.0f} |"
            )
        means = [f"{100 * np.mean([row[f'{part}_accuracy'] for row in own]):.1f}" for part in ("train", "validation")]
        tests = 100 * np.array([row["test_accuracy"] for row in own])
        spread = f" ± {tests.std(ddof=1):.1f}" if len(tests) > 1 else ""
        lines.append(f"| **{engine}** | mean | | {means[0]} | {means[1]} | **{tests.mean():.1f}**{spread} | | |")
    for row in rows:
        if row["shuffled"]:
            lines.append(
                f"| {row['engine']}, shuffled labels | {row['seed']} | {row['best_epoch']} "
                f"| {100 * row['train_accuracy']:.1f} | {100 * row['validation_accuracy']:.1f} "
                f"| {100 * row['test_accuracy']:.1f} | {row['samples_per_second']:,.0f} | {row['seconds']:.0f} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", default="jax,torch")
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--write", action="store_true", help="put the table into docs/braille.md")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        work(asked.worker, [int(seed) for seed in asked.seeds.split(",")])
        return
    rows = [row for engine in asked.engines.split(",") for row in collect(engine, asked.seeds)]
    shown = table(rows)
    print(shown)
    if asked.write:
        results = PAGE.parent.parent / "benchmarks" / "results" / "braille_seeds.json"
        results.write_text(json.dumps({"machine": describe(), "rows": rows}, indent=1) + "\n")
        text = PAGE.read_text()
        PAGE.write_text(re.sub(r"(<!-- table -->\n).*?(<!-- end -->)", rf"\g<1>{shown}\n\g<2>", text, flags=re.DOTALL))


if __name__ == "__main__":
    main()
