"""A few samples of a data set, beside one another."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuroport.pictures.palette import BLACK, SMALL, canvas, headed, tidy

MARKS = 20_000  # spikes of a sample up to which each is a mark of its own


def samples(
    activity: Any, labels: Any = None, dt: float | None = None, figure: Any = None, title: str = "", rates: Any = None,
) -> Any:
    """Each sample's channels over time: spikes as marks, other values as shades.

    activity: (T, B, *shape). labels: class indices (B,), for the titles. dt: seconds a step; None: time in steps.
    title: of which data set and part they are; each is named by its number there, from 0. rates: of each channel
    over the whole part, spikes per second or per step, (*shape); drawn beside the samples.
    """
    activity = np.asarray(activity, np.float64)
    flat = activity.reshape(*activity.shape[:2], -1)  # (T, B, N)
    steps, count, channels = flat.shape
    beside = 0 if rates is None else 1
    figure = canvas(figure, 1.2 + 2.6 * count + 1.5 * beside, 3.2)
    unit = 1.0 if dt is None else 1e3 * dt
    widths = [2.6] * count + [1.5] * beside
    every = np.atleast_1d(figure.subplots(1, len(widths), sharey=True, width_ratios=widths))
    for sample, axis in enumerate(every[:count]):
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
    every[0].yaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)  # there is no channel 2.5
    if beside:
        axis = tidy(every[-1])
        axis.stairs(np.asarray(rates, np.float64).reshape(-1), np.arange(channels + 1) - 0.5, orientation="horizontal",
                    color=BLACK)
        axis.set_xlim(left=0)
        axis.set_xlabel("spikes a step" if dt is None else "spikes a second")
        axis.set_title("mean rate of\neach channel", fontsize=SMALL)
    return headed(figure, title)
