"""The confusion matrix: which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from neuroport.errors import InvalidData, Problem
from neuroport.pictures.palette import BLUE, FINE, SMALL, canvas, tidy

NUMBERED = 30  # classes, up to which a cell has room for its count
TICKS = 40  # labels on an axis
CELL, SMALLEST, LARGEST = 0.3, 2.5, 8.5  # inches, of a cell and of the matrix
DIGIT = 0.65  # width of a letter in its height


def confusion(matrix: Any, labels: Sequence[Any] | None = None, figure: Any = None) -> Any:
    """Counts of decisions, rows the true class, columns the decision; at the side the accuracy of each class.

    matrix: (classes, classes) counts, as ``Evaluation.confusion``. The shade is a cell's share of its
    row; counts are written up to 30 classes, zeros never. labels: names of the classes, their numbers
    where not given. Raises InvalidData.
    """
    counts = np.asarray(matrix)
    names = [str(label) for label in (range(len(counts)) if labels is None else labels)] if counts.ndim else []
    _check(counts, names)
    classes, total = len(counts), counts.sum()
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = float(np.clip(CELL * classes, SMALLEST, LARGEST))
    figure = canvas(figure, side + 2.6, side + 1.4)
    cells, bars = figure.subplots(1, 2, sharey=True, width_ratios=(side, 1.1))
    shown = cells.imshow(shares, cmap="Greys", vmin=0, vmax=1, aspect="auto")
    every = range(0, classes, _stride(classes))
    room = 72 * 0.8 * side / np.array([classes, len(every)])  # points, of a cell and of a label
    of_label = float(min(9, 0.7 * room[1]))
    of_count = float(min(9, 0.7 * room[0], room[0] / (DIGIT * len(str(counts.max())))))
    if classes <= NUMBERED:
        for row, column in zip(*np.nonzero(counts), strict=True):
            cells.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=of_count,
                       color="white" if shares[row, column] > 0.5 else "black")
    turned = 90 if max(len(names[index]) for index in every) * DIGIT * of_label > room[1] else 0
    cells.set_xticks(every, [names[index] for index in every], rotation=turned, fontsize=of_label)
    cells.set_yticks(every, [names[index] for index in every], fontsize=of_label)
    cells.set_xlabel("decided class")
    cells.set_ylabel("true class")
    right = int(np.trace(counts))
    said = f"{right} of {total} samples right ({right / total:.1%})" if total else "no sample"
    cells.set_title(said, fontsize="medium")
    _accuracies(bars, shares, counts, of_label)
    bar = figure.colorbar(shown, ax=[cells, bars], location="bottom", fraction=0.03, aspect=50, shrink=0.6)
    bar.set_label("shade: share of the true class's samples", fontsize=FINE)
    bar.ax.tick_params(labelsize=FINE)
    return figure


def _stride(classes: int) -> int:
    """Every how many classes a label stands: 1, 2, 5, 10, 20, ..."""
    steps = (step * int(10**power) for power in range(9) for step in (1, 2, 5))
    return next(step for step in steps if step * TICKS >= classes)


def _check(counts: np.ndarray, names: Sequence[str]) -> None:
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size or counts.dtype.kind not in "iu":
        wrong = f"is no matrix of counts (got shape {counts.shape} of {counts.dtype})"
        raise InvalidData([Problem("matrix", wrong, "give integers (classes, classes), as Evaluation.confusion")])
    if len(names) != len(counts):
        wrong = f"names {len(names)} classes, the matrix has {len(counts)}"
        raise InvalidData([Problem("labels", wrong, "give one label a class")])


def _accuracies(axis: Any, shares: np.ndarray, counts: np.ndarray, size: float) -> None:
    """A bar per class and, where there is room, its percentage; a class without samples has a dash."""
    classes = len(shares)
    accuracy = 100 * np.diag(shares)
    axis.barh(np.arange(classes), accuracy, height=0.7, color=BLUE)
    tidy(axis).tick_params(axis="y", left=False, labelleft=False)
    axis.set_xlim(0, 100)
    axis.set_xticks([0, 100])
    axis.set_xlabel("accuracy (%)", fontsize=SMALL)
    if classes <= NUMBERED:
        for row in range(classes):
            text = f"{accuracy[row]:.0f}" if counts[row].any() else "–"
            axis.text(104, row, text, va="center", fontsize=size)
