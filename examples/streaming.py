"""A Braille letter is classified while the finger still moves: chunk by chunk, the state carried along.

    python examples/streaming.py [--engine jax] [--chunk 32] [--epochs 20]

Trains the network of braille.yaml, then feeds it recorded touch as if it arrived now, and prints
what the network takes the letter for after each chunk.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import neuroport as npt
from neuroport.data import braille, unpack

EXPERIMENT = Path(__file__).with_name("braille.yaml")


def main() -> None:
    asked = arguments()
    experiment = npt.Experiment.load(EXPERIMENT)
    training = experiment.training.model_copy(update={"epochs": asked.epochs})
    run = npt.fit(experiment.model_copy(update={"training": training}), engine=asked.engine)
    recordings = braille.load().test
    touch = unpack(recordings, np.arange(asked.samples))  # (T, B, 12)
    for sample, letter in enumerate(recordings.labels[: asked.samples]):
        print(f"letter {letter}")
        arriving = chunks(touch[:, [sample]], asked.chunk)
        for step, found, share, seconds in classify(run.model, run.parameters, arriving, asked.engine):
            bar = "#" * round(20 * share)
            print(f"  {step:4} ms  taken for {found}  {bar:<20} {share:.0%}  ({seconds * 1e3:.1f} ms to compute)")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="jax")
    parser.add_argument("--chunk", type=int, default=32, help="steps of 1 ms that arrive together")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--samples", type=int, default=3)
    return parser.parse_args()


def chunks(touch: np.ndarray, length: int) -> Iterator[np.ndarray]:
    """A recording (T, 1, 12) as it arrives, ``length`` steps at a time."""
    for start in range(0, len(touch), length):
        yield touch[start : start + length]


def classify(
    model: npt.Model, parameters: dict[str, np.ndarray], arriving: Iterator[np.ndarray], engine: str
) -> Iterator[tuple[int, int, float, float]]:
    """After each chunk: the step, the class so far, its share of the softmax, and how long the chunk took.

    The score is the mean readout over all steps so far, which is what the network was trained on.
    """
    state, total, steps = None, 0.0, 0
    for chunk in arriving:
        started = time.perf_counter()
        result = npt.run(model, parameters, chunk, engine=engine, state=state)
        state = result.state  # everything that the network remembers
        total, steps = total + result.outputs[:, 0].sum(0), steps + len(chunk)
        scores = total / steps
        shares = np.exp(scores - scores.max())
        found = int(scores.argmax())
        yield steps, found, float(shares[found] / shares.sum()), time.perf_counter() - started


if __name__ == "__main__":
    main()
