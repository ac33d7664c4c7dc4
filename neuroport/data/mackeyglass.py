"""The Mackey-Glass series (Mackey and Glass 1977): predict a chaotic signal a little ahead. Generated.

x'(t) = beta x(t - tau) / (1 + x(t - tau)^n) - gamma x(t), beta 0.2, gamma 0.1, n 10, tau 17, x(t <= 0) = 0.7206597.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neuroport.data.packing import Packed
from neuroport.data.splits import Splits
from neuroport.data.staging import stage
from neuroport.errors import InvalidExperiment, Problem

BETA, GAMMA, POWER = 0.2, 0.1, 10
HISTORY = 0.7206597
STEP = 0.1  # of the integration: tau is a whole number of them
LYAPUNOV = 197.0  # the Lyapunov time at tau 17, the unit of "how far ahead"


def slope(x: float, delayed: float) -> float:
    """x'(t). delayed: x(t - tau)."""
    return BETA * delayed / (1.0 + delayed**POWER) - GAMMA * x


def series(count: int, spacing: float, tau: float = 17.0, history: float = HISTORY) -> np.ndarray:
    """x at the times 0, spacing, 2 spacing, ...: (count,) float64.

    Classical Runge-Kutta with steps of 0.1; between them, and for the delayed value at half a step, the cubic
    through values and slopes at both ends (Hermite), which is of the same order.
    """
    lag = round(tau / STEP)
    steps = int(np.ceil((count - 1) * spacing / STEP)) + 1
    x, rates = np.empty(steps + 1), np.empty(steps + 1)
    x[0] = history
    for k in range(steps):
        start, end = (x[k - lag] if k >= lag else history), (x[k + 1 - lag] if k + 1 >= lag else history)
        middle = _hermite(start, end, rates[k - lag], rates[k + 1 - lag], 0.5) if k >= lag else history
        first = slope(x[k], start)
        second = slope(x[k] + 0.5 * STEP * first, middle)
        third = slope(x[k] + 0.5 * STEP * second, middle)
        fourth = slope(x[k] + STEP * third, end)
        rates[k] = first
        x[k + 1] = x[k] + STEP / 6.0 * (first + 2.0 * second + 2.0 * third + fourth)
    rates[steps] = slope(x[steps], x[steps - lag] if steps >= lag else history)
    times = np.arange(count) * spacing / STEP
    left = np.minimum(times.astype(np.int64), steps - 1)
    found: np.ndarray = _hermite(x[left], x[left + 1], rates[left], rates[left + 1], times - left)
    return found


def load(
    *, steps: int = 75, stride: int = 5, horizon: int = 1, points: int = 75, tau: float = 17.0,
    history: float = HISTORY, train: float = 10.0, validation: float = 5.0, test: float = 10.0, skip: float = 5.0,
) -> Splits:
    """The source "mackeyglass": input x(t) as floats (N, steps, 1), target x(t + horizon), a trace of the same shape.

    points: samples of the series in a Lyapunov time (197 units of time). train, validation, test: Lyapunov times of
    the series that each part holds, one after the other, so that none sees another's future; skip: what is left out
    before, until the series has forgotten its beginning. Each part is cut into windows of ``steps``, a new one every
    ``stride`` points.
    """
    whole = {"steps": steps, "stride": stride, "horizon": horizon, "points": points}
    problems = [Problem(f"data.options.{name}", f"is {value}", "give 1 or more")
                for name, value in whole.items() if value < 1]
    if tau < STEP or abs(tau / STEP - round(tau / STEP)) > 1e-9:
        problems.append(Problem("data.options.tau", f"is {tau:g}", f"give a multiple of {STEP}"))
    spans = {"train": train, "validation": validation, "test": test}
    for name, span in spans.items():
        if round(span * points) < steps + horizon:
            wrong = f"{span:g} Lyapunov times are {round(span * points)} points, a window needs {steps + horizon}"
            problems.append(Problem(f"data.options.{name}", wrong, "give more"))
    if problems:
        raise InvalidExperiment(problems)
    lengths = [round(span * points) for span in (skip, *spans.values())]
    whole_series = series(sum(lengths), LYAPUNOV / points, tau, history)
    pieces = np.split(whole_series, np.cumsum(lengths)[:-1])[1:]
    parts: dict[str, Packed] = {}
    for name, piece in zip(spans, pieces, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(piece, steps + horizon)[::stride, :, None]
        parts[name] = stage(windows[:, :steps], windows[:, horizon:], layout="floats")
    return Splits(parts["train"], parts["validation"], parts["test"], name="mackeyglass")


def _hermite(start: Any, end: Any, rate: Any, end_rate: Any, share: Any) -> Any:
    """Between two points of the integration, ``share`` of a step after the first."""
    rest = 1.0 - share
    ends = start * (1 + 2 * share) * rest**2 + end * share**2 * (3 - 2 * share)
    return ends + STEP * share * rest * (rate * rest - end_rate * share)
