"""Training curves: how loss and accuracy move from epoch to epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuroport.pictures.palette import SMALL, canvas, look, tidy

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MARKS = 8  # on a curve, so that it is told from the others without colour
Row = Mapping[str, Any]


def training_curves(histories: Mapping[str, Sequence[Row]], figure: Any = None) -> Any:
    """Loss and accuracy over epochs, a colour, a line style and a mark for each named history.

    histories: rows as in ``Run.history``. Faint lines are training, strong ones validation. The
    accuracy is left out where no row has one: a loss on traces knows no classes.
    """
    measures = [("loss", 1, "loss"), ("accuracy", 100, "accuracy (%)")]
    measures = [one for one in measures if one[0] == "loss" or _has(histories, one[0])]
    figure = canvas(figure, 6, 1 + 2.2 * len(measures))
    panels = np.atleast_1d(figure.subplots(len(measures), 1, sharex=True))
    for axis, (what, unit, label) in zip(panels, measures, strict=True):
        for index, (name, rows) in enumerate(histories.items()):
            epochs = [row["epoch"] for row in rows]
            mark = {"marker": MARKERS[index % len(MARKERS)], "markersize": 4, "label": name,
                    "markevery": max(1, len(rows) // MARKS)}
            axis.plot(epochs, _column(rows, f"train_{what}", unit), linewidth=0.8, alpha=0.5,
                      marker="x" if len(epochs) == 1 else None, **look(index))  # a line of one point is none
            axis.plot(epochs, _column(rows, f"validation_{what}", unit), linewidth=1.8, **mark, **look(index))
        axis.set_ylabel(label)
        axis.grid(alpha=0.25)
        tidy(axis)
    panels[0].set_title("validation (strong, with marks) and training (faint)", fontsize=SMALL)
    panels[-1].set_xlabel("epoch")
    panels[-1].xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    panels[-1].legend(loc="best", frameon=False, fontsize=SMALL, handlelength=3.5)
    return figure


def _has(histories: Mapping[str, Sequence[Row]], what: str) -> bool:
    return any(row.get(f"{part}_{what}") is not None
               for rows in histories.values() for row in rows for part in ("train", "validation"))


def _column(rows: Sequence[Row], key: str, unit: float) -> np.ndarray:
    """One measure over the epochs; NaN, which is not drawn, where a row lacks it."""
    return unit * np.array([np.nan if row.get(key) is None else row[key] for row in rows], dtype=float)
