"""Times that a model may have and that hardly anybody means: milliseconds in place of seconds, mostly."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

from neuroport.model.neurons import Neuron
from neuroport.model.nodes import Node, bounds_of
from neuroport.model.values import Bound, numbers_in

LONGEST = 5.0  # seconds; published membranes stay below one, adaptation below three
MOST_STEPS = 1000  # a model in units of its own, with dt = 1, has long times and few steps
SHORTEST = 0.25  # of dt: less than 2 % of a potential is left after a step


def unusual(nodes: Mapping[str, Node], dt: float) -> Iterable[str]:
    """A sentence for each time constant that is far from what steps of ``dt`` seconds can show."""
    for name, node in nodes.items():
        for field, bound in bounds_of(node).items() if isinstance(node, Neuron) else ():
            times = numbers_in(getattr(node, field)) if bound is Bound.TIME else []
            if not times:
                continue
            long, short = max(times), min(times)
            if long > max(LONGEST, MOST_STEPS * dt):
                yield (f"{name}.{field} is {long:g} s, {long / dt:,.0f} steps of dt = {dt:g} s; "
                       f"times are in seconds: {long:g} ms are {field}={long / 1000:g}")
            if short < SHORTEST * dt:
                yield (f"{name}.{field} is {short:g} s: after one step of dt = {dt:g} s nothing is left; "
                       "times are in seconds: a step of a millisecond is dt=1e-3")


def caller() -> int:
    """Where a warning belongs: how many calls up the first line is that stands outside of neuroport and Pydantic."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(("neuroport.", "pydantic")):
        frame, level = frame.f_back, level + 1
    return level
