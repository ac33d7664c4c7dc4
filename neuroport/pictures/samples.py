"""A few samples of a data set, beside one another."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuroport.pictures.palette import BLACK, SMALL, canvas, headed, tidy

MARKS = 20_000  # spikes of a sample up to which each is a mark of its own


def samples(activity: Any, labels: Any = None, dt: float | None = None, figure: Any = None, title: str = "") -> Any:
    """Each sample's channels over time: spikes as marks, other values as shades.

    activity: (T, B, *shape). labels: class indices (B,), for the titles. dt: seconds a step; None: time in steps.
    title: of which data set and part they are; each is named by its number there, from 0.
    """
    activity = np.asarray(activity, np.float64)
    flat = activity.reshape(*activity.shape[:2], -1)  # (T, B, N)
    steps, count, channels = flat.shape
    figure = canvas(figure, 1.2 + 2.6 * count, 3.2)
    unit = 1.0 if dt is None else 1e3 * dt
    every = np.atleast_1d(figure.subplots(1, count, sharey=True))
    for sample, axis in enumerate(every):
        values = flat[:, sample]
        whole = bool(np.all((values == 0) | (values == 1)))
        when, where = np.nonzero(values)
        if whole and len(when) <= MARKS:
            axis.scatter(when * unit, where, s=2.0, marker="s", color=BLACK, linewidths=0, rasterized=len(when) > 2_000)
        else:
            axis.imshow(values.T, aspect="auto", origin="lower", cmap="gray_r", interpolation="nearest",
                        extent=(-0.5 * unit, (steps - 0.5) * unit, -0.5, channels - 0.5))
        axis.set_xlim(-0.5 * unit, (steps - 0.5) * unit)
        axis.set_ylim(-0.5, channels - 0.5)
        axis.set_xlabel("time (steps)" if dt is None else "time (ms)")
        name = "" if labels is None else f", class {int(labels[sample])}"
        axis.set_title(f"sample {sample}{name}\n{values.mean():.3g} a step", fontsize=SMALL)
        tidy(axis)
    every[0].set_ylabel("channel")
    return headed(figure, title)
