"""What is measured beside the loss when a model is judged: formulas in ``ops``."""

from __future__ import annotations

import abc
import re
from typing import ClassVar, Literal

from pydantic import Field

from neuroport.dynamics import ops
from neuroport.dynamics.discretize import Step
from neuroport.dynamics.ops import Array
from neuroport.errors import Invalid, InvalidExperiment
from neuroport.model.kinds import Kind


class Metric(Kind):
    """The mean of ``per_sample`` over a data set. name: what it is called in results; the class's where not given.

    targets: what a data set must hold, as with a ``Loss``; "any" where it makes no difference.
    """

    error_class: ClassVar[type[Invalid]] = InvalidExperiment
    targets: ClassVar[Literal["classes", "traces", "any"]] = "any"

    name: str | None = None

    @property
    def label(self) -> str:
        """The name under which results report it: ``TopK`` is ``top_k``."""
        return self.name or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()

    @abc.abstractmethod
    def per_sample(self, outputs: Array, targets: Array, step: Step) -> Array:
        """The metric of each sample, (B,), from outputs (T, B, C) and the loss's targets."""


class TopK(Metric):
    """1 where the target is among the ``k`` largest sums over time, else 0. Ties count for the target."""

    targets: ClassVar[Literal["classes", "traces", "any"]] = "classes"

    k: int = Field(5, gt=0)

    def per_sample(self, outputs: Array, targets: Array, step: Step) -> Array:
        scores = ops.sum(outputs, 0)  # (B, C)
        chosen = ops.sum(scores * ops.one_hot(targets, scores), 1)
        above = ops.sum(ops.where(scores > ops.expand(chosen, 1, scores), scores * 0.0 + 1.0, scores * 0.0), 1)
        return ops.where(above < float(self.k), above * 0.0 + 1.0, above * 0.0)
