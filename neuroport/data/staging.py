"""One's own arrays, checked and packed."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuroport.data.events import Events
from neuroport.data.layout import Layout, pack
from neuroport.data.packer import Packer
from neuroport.data.packing import Packed, labels_of, target_problems
from neuroport.data.tally import say
from neuroport.errors import InvalidData, Problem


def stage(
    x: Any, y: Any = None, using: Packer | None = None, layout: Layout | None = None, steps: int | None = None
) -> Packed:
    """Pack activity ``x`` with its targets ``y``.

    x: (N, T, *shape); with ``using`` what that takes: Events for a Binning, images or signals for an encoder.
    y: class indices (N,), or traces (N, T, *shape) of numbers for the losses that compare traces; Events
    bring their own. layout: None: bits where x is 0/1 and counts where it is whole numbers 0..255; "floats"
    for everything else. steps: T of input that is constant over time, x (N, 1, *shape).

    Raises InvalidData where values would be lost.
    """
    refuse_mistaken(x, y, using)
    if using is not None:
        packed = using.stage(x, y)
        say("staged", [packed.report])
        return packed
    x, y = np.asarray(x), np.asarray(y)
    count = (x.shape[1] if x.ndim > 1 else 0) if steps is None else steps
    problems = [*_activity_problems(x, layout, steps), *target_problems(y, len(x) if x.ndim else 0, count)]
    if problems:
        raise InvalidData(problems)
    if layout is None:
        layout = "bits" if steps is None and (x.size == 0 or x.max() <= 1) else "counts"
    return Packed(pack(x, layout), count, labels_of(y), layout)


def refuse_mistaken(x: Any, y: Any, using: Any) -> None:
    """Events without a Binning, what is packed already, arguments in each other's place. Raises InvalidData."""
    example = "using=npt.data.Binning(dt=1e-3, duration=1.0)"
    if isinstance(y, Packer):
        problem = Problem("y", f"is a {type(y).__name__}", "give it by its name: using=...")
    elif using is not None and not isinstance(using, Packer):
        problem = Problem("using", f"is no Binning and no encoder (got {using!r:.60})", f"give, say, {example}")
    elif isinstance(x, Packed):
        problem = Problem("x", "is packed already", "give what it was packed from; or npt.data.Splits(train=PACKED, "
                          "validation=PACKED) for parts that are staged one by one")
    elif isinstance(x, Events) and using is None:
        problem = Problem("x", "is Events, and nothing says how long a step is", f"give {example}")
    else:
        return
    raise InvalidData([problem])


def _activity_problems(x: np.ndarray, layout: Layout | None, steps: int | None) -> list[Problem]:
    if x.dtype.kind not in "buif":
        return [Problem("x", f"holds {x.dtype}", "give numbers")]
    problems = []
    if x.ndim < 3:
        problems.append(Problem("x", f"has shape {x.shape}", "give (samples, steps, *shape)"))
    elif steps is not None and (x.shape[1] != 1 or layout == "bits" or steps < 1):
        wrong = f"has shape {x.shape}, which is not constant over {steps} steps"
        problems.append(Problem("x", wrong, 'give (samples, 1, *shape) and layout="counts" or "floats"'))
    if layout == "floats":
        with np.errstate(over="ignore"):
            finite = bool(np.isfinite(x.astype(np.float32)).all())
        if not finite:
            problems.append(Problem("x", "holds values that are NaN or infinite in float32", "replace or remove them"))
        return problems
    top = 1 if layout == "bits" else 255
    if x.size and x.dtype.kind == "f" and not np.isfinite(x).all():
        first = tuple(int(index) for index in np.argwhere(~np.isfinite(x))[0])
        return [*problems, Problem("x", f"holds NaN or infinity, the first at {first}", "replace or remove it")]
    bad = (x < 0) | (x > top) | (x != np.floor(x)) if x.dtype.kind != "b" else np.zeros(1, bool)
    if bad.any():
        first = tuple(int(index) for index in np.argwhere(bad)[0])
        wrong = f"holds values that are no whole numbers in 0..{top}: {x[first]:g} at {first}, and {bad.sum() - 1} more"
        mend = 'give layout="floats" for currents, or encode them as spikes: using=npt.data.Rate(...), Latency(...)'
        problems.append(Problem("x", wrong, mend))
    return problems
