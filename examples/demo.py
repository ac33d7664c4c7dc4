"""What `make demo` runs: one network, one seed, two engines, side by side.

    python examples/demo.py [--epochs N] [--seed S] [--out DIR] [--engines jax,torch]

Trains examples/braille.yaml on each engine in a process of its own, holds both to the reference
engine, prints agreement, accuracy, speed and memory, and writes one picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console

import neuroport as npt
from neuroport.compare.comparison import compare
from neuroport.compare.screen import WIDTH, screen
from neuroport.data import braille, unpack
from neuroport.pictures import raster, training_curves
from neuroport.runtime.folder import unused
from neuroport.runtime.overrides import overridden
from neuroport.runtime.run import Run

EXPERIMENT = Path(__file__).with_name("braille.yaml")


def main() -> None:
    asked = arguments()
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(highlight=False, width=WIDTH)
    experiment = overridden(npt.Experiment.load(EXPERIMENT), asked.epochs, asked.seed)
    out = unused(asked.out)
    found = compare(experiment, asked.engines.split(","), seeds=1, out=out, say=console.print)
    console.print(screen(found))
    runs = {name: Run.load(out / f"{name}-seed{asked.seed}") for name, share in found.shares.items() if share.trainings}
    picture = out / "braille.png"
    draw(runs, picture)
    console.print(f"picture: {picture}\nruns: {', '.join(str(run.folder) for run in runs.values())}")
    raise SystemExit(found.exit_code)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, help="in place of the experiment's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"))
    parser.add_argument("--engines", default="jax,torch", help="separated by commas")
    return parser.parse_args()


def draw(runs: dict[str, Run], path: Path) -> None:
    """Training curves of all engines, and one test sample through the layers of the first one's network."""
    from matplotlib.figure import Figure

    data = braille.load()
    assert data.test is not None
    engine, first = next(iter(runs.items()))
    inputs = unpack(data.test, np.array([0]))
    found = npt.run(first.model, first.parameters, inputs, engine=engine, record=["spikes"])
    figure = Figure(figsize=(13, 6.5), dpi=130, layout="constrained")
    left, right = figure.subfigures(1, 2)
    left.suptitle("Training on Braille letters")
    training_curves({name: run.history for name, run in runs.items()}, left)
    right.suptitle(f"One test sample (letter {data.test.labels[0]}) through the layers, on {engine}")
    raster(first.model, found.records, inputs, found.outputs, figure=right)
    figure.savefig(path)


if __name__ == "__main__":
    main()
