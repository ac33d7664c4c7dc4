"""What `make demo` runs: one network, one seed, two engines, side by side.

    python examples/demo.py [--epochs N] [--seed S] [--out DIR] [--engines jax,torch]

Trains examples/braille.yaml on each engine in a process of its own, prints accuracy and speed,
shows that both start from the same weights and batches, and writes one picture.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from safetensors.numpy import load_file

import neuroport as npt
from neuroport.data import Splits, braille, unpack
from neuroport.pictures import raster, training_curves
from neuroport.runtime.folder import BEST, METRICS, unused

EXPERIMENT = Path(__file__).with_name("braille.yaml")
Run = dict[str, Any]  # "summary", "history" and "parameters" of one engine's run


def main() -> None:
    asked = arguments()
    console = Console()
    out = unused(asked.out)
    runs = {engine: train(engine, asked.seed, asked.epochs, out / engine) for engine in asked.engines.split(",")}
    console.print(side_by_side(runs))
    console.print(agreement(runs))
    picture = out / "braille.png"
    draw(runs, picture)
    console.print(f"picture: {picture}\nruns: {', '.join(str(out / engine) for engine in runs)}", highlight=False)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, help="in place of the experiment's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"))
    parser.add_argument("--engines", default="jax,torch", help="separated by commas")
    return parser.parse_args()


def train(engine: str, seed: int, epochs: int | None, out: Path) -> Run:
    """Train on one engine in a process of its own, so that neither framework disturbs the other."""
    command = [sys.executable, "-m", "neuroport", "train", str(EXPERIMENT), "--engine", engine, "--seed", str(seed),
               "--out", str(out), "--json", *(["--epochs", str(epochs)] if epochs else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)  # progress goes to standard error
    if done.returncode:
        sys.exit(done.returncode)
    return {
        "summary": json.loads(done.stdout),
        "history": [json.loads(line) for line in (out / METRICS).read_text().splitlines()],
        "parameters": load_file(out / BEST),
    }


def side_by_side(runs: dict[str, Run]) -> Table:
    """Accuracy and speed of each engine."""
    table = Table(title="Braille letters, a recurrent network 12-38-7 over 256 steps")
    for heading in ("engine", "test accuracy", "validation", "best epoch", "samples/s", "seconds in all"):
        table.add_column(heading, justify="left" if heading == "engine" else "right")
    for engine, run in runs.items():
        found = run["summary"]
        table.add_row(
            f"{engine} ({found['device']})", f"{found['test_accuracy']:.1%}", f"{found['validation_accuracy']:.1%}",
            f"{found['best_epoch']} of {found['epochs']}", f"{found['samples_per_second']:,.0f}",
            f"{found['seconds']:.1f}",
        )
    return table


def agreement(runs: dict[str, Run]) -> Table:
    """The losses of the first steps: equal weights and batches, so equal losses up to rounding."""
    losses = {engine: np.array(run["summary"]["first_losses"]) for engine, run in runs.items()}
    table = Table(title="Loss at the first steps, from one seed")
    for heading in ("step", *losses, "largest difference"):
        table.add_column(heading, justify="right")
    for step, values in enumerate(zip(*losses.values(), strict=True)):
        spread = (max(values) - min(values)) / max(values)
        table.add_row(str(step + 1), *(f"{value:.6f}" for value in values), f"{spread:.1e}")
    table.caption = "Spikes near the threshold fall either way on any two machines: from then on trainings drift apart."
    return table


def draw(runs: dict[str, Run], path: Path) -> None:
    """Training curves of all engines, and one test sample through the layers of the first one's network."""
    from matplotlib.figure import Figure

    data: Splits = braille.load()
    assert data.test is not None
    engine, first = next(iter(runs.items()))
    model = npt.Experiment.load(EXPERIMENT).model
    inputs = unpack(data.test, np.array([0]))
    found = npt.run(model, first["parameters"], inputs, engine=engine, record=["spikes"])
    figure = Figure(figsize=(13, 6.5), dpi=130, layout="constrained")
    left, right = figure.subfigures(1, 2)
    left.suptitle("Training on Braille letters")
    training_curves({name: run["history"] for name, run in runs.items()}, left)
    right.suptitle(f"One test sample (letter {data.test.labels[0]}) through the layers, on {engine}")
    raster(model, found.records, inputs, found.outputs, figure=right)
    figure.savefig(path)


if __name__ == "__main__":
    main()
