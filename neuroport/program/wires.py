"""The edges of a model as they run: a Delay node is the edges into it, longer by its delay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from neuroport.dynamics import ops
from neuroport.dynamics.discretize import Step
from neuroport.dynamics.ops import Array, Fixed
from neuroport.model.graph import Edge, Model
from neuroport.model.layers import Delay
from neuroport.model.values import Shape


@dataclass(frozen=True, eq=False)
class Lags:
    """Steps that each channel or neuron of a wire takes; they differ. steps: broadcasts to the shape carried."""

    steps: np.ndarray

    @cached_property
    def distinct(self) -> tuple[int, ...]:
        return tuple(int(lag) for lag in np.unique(self.steps))

    @cached_property
    def _rank(self) -> Fixed:
        """Of each its place among the distinct ones, (1, 1, *shape)."""
        return Fixed(np.searchsorted(self.distinct, self.steps)[None, None])

    def chosen(self, by_lag: Callable[[int], Array]) -> Array:
        """Of what ``by_lag`` gives for each lag, (B, *shape), to each channel or neuron its own."""
        each = ops.concatenate([by_lag(lag)[None] for lag in self.distinct])
        return ops.gather(each, self._rank)[0]


@dataclass(frozen=True)
class Wire:
    """What runs between two nodes. delay: steps that its line holds, the longest where ``lags`` differ."""

    source: str
    target: str
    delay: int
    lags: Lags | None = None

    @property
    def key(self) -> str:
        """Its line's name among states: the edge's."""
        return f"{self.source}->{self.target}"

    @property
    def soonest(self) -> int:
        """Steps after which something arrives: 0 if its source runs before its target in a step."""
        return self.delay if self.lags is None else self.lags.distinct[0]


def wires(model: Model, entering: Mapping[str, Shape]) -> tuple[Wire, ...]:
    """Every edge of a model, in its order."""
    return tuple(_wire(edge, model, entering[edge.target]) for edge in model.edges)


def _wire(edge: Edge, model: Model, shape: Shape) -> Wire:
    node = model.nodes[edge.target]
    if not isinstance(node, Delay):
        return Wire(edge.source, edge.target, edge.delay)
    lags = edge.delay + node.lags(shape, Step(model.dt, model.numerics.discretization))
    differ = lags.min() != lags.max()
    return Wire(edge.source, edge.target, int(lags.max()), Lags(lags) if differ else None)


def delayed(values: Array, line: Array, wire: Wire) -> tuple[Array, Array]:
    """A whole run (T, ...) through a wire whose line (delay, ...) is given: what arrives, and the line afterwards."""
    steps, both = values.shape[0], ops.concatenate((line, values))
    if wire.lags is None:
        return both[:steps], both[steps:]
    return ops.gather(both, _left(wire.lags, wire.delay, steps)), both[steps:]


def undelayed(cotangents: Array, wire: Wire) -> Array:
    """The transpose of ``delayed``: from the cotangents of what arrives (T, ...) to those of what left."""
    if wire.lags is None:
        return ops.shift(cotangents, -wire.delay)
    nothing = ops.shift(cotangents, len(cotangents))
    after = ops.concatenate((cotangents, *[nothing] * -(-wire.delay // len(cotangents))))
    return ops.gather(after, _arrives(wire.lags, len(cotangents)))


def undelayed_ends(cotangents: Array, of_after: Array, wire: Wire) -> tuple[Array, Array]:
    """What the transpose of ``delayed`` has beside ``undelayed``.

    From the cotangents of what arrives (T, ...) and of the line afterwards (delay, ...): those of the line before, and
    what the line afterwards adds to those of the last values (at most ``delay`` of them, ...).
    """
    nothing, sent = of_after * 0.0, min(len(cotangents), wire.delay)
    # what the run was too short to send on stands in the line before and after it
    still_held = ops.concatenate((nothing[:sent], of_after[: wire.delay - sent]))
    if wire.lags is None:
        of_line = ops.concatenate((cotangents[:sent], nothing[sent:]))
    else:
        arriving = ops.concatenate((nothing, cotangents[: 2 * wire.delay], nothing))
        of_line = ops.gather(arriving, _left_of_line(wire.lags, wire.delay))
    return of_line + still_held, of_after[wire.delay - sent :]


@lru_cache(maxsize=64)  # engines keep a copy of each on their device
def _left(lags: Lags, longest: int, steps: int) -> Fixed:
    """When what arrives in each step left, (T, 1, *shape), counted from the start of the line."""
    return Fixed(longest + _step_numbers(lags, steps) - lags.steps)


@lru_cache(maxsize=64)
def _arrives(lags: Lags, steps: int) -> Fixed:
    """When what leaves in each step arrives, (T, 1, *shape)."""
    return Fixed(_step_numbers(lags, steps) + lags.steps)


@lru_cache(maxsize=64)
def _left_of_line(lags: Lags, longest: int) -> Fixed:
    """When what the line held arrives, (delay, 1, *shape), counted from ``delay`` steps before the run."""
    return Fixed(_step_numbers(lags, longest) + lags.steps)


def _step_numbers(lags: Lags, steps: int) -> np.ndarray:
    return np.arange(steps).reshape(-1, *(1,) * (1 + lags.steps.ndim))
