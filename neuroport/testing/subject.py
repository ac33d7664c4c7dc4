"""The engine under test: what it declares, and programs compiled for it, each once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import pytest

from neuroport import api, registry
from neuroport.engine.base import Engine, Executable, Trainable
from neuroport.engine.capabilities import Capabilities
from neuroport.model.graph import Model
from neuroport.model.schedules import ConstantRate
from neuroport.model.training import Training
from neuroport.program.lower import lower
from neuroport.program.needs import needs

DT = 2.0**-10  # seconds; the time step of the kit's models where the engine fixes none
GRADIENTS, STEPS, EVALUATION = "gradients", "steps", "evaluation"
_MOVING = ("optimizer.", "schedule.", "augmentation.", "clip_norm", "learning_rates", "accumulate")
WEIGHT_BITS = 8  # the kit's snapped weights are k / 64 with |k| <= 127


def skip(declared: str) -> NoReturn:
    """Leave a test out because of what the engine says about itself."""
    pytest.skip(f"engine declares: {declared}")


def reference() -> Engine:
    """The engine that every other is compared with."""
    return registry.reference_engine()


@dataclass(eq=False)
class Subject:
    """An engine under test. shown: features of what has run as it should in one test, so that no other need run it."""

    engine: Engine
    compiled: dict[Any, Executable] = field(default_factory=dict)
    shown: set[str] = field(default_factory=set)

    @property
    def able(self) -> Capabilities:
        return self.engine.capabilities()

    @property
    def dt(self) -> float:
        return self.able.dt or DT

    @property
    def snapped(self) -> bool:
        """Whether weights must lie on the grid k / 64; a test that cannot do with that is skipped."""
        if self.able.weight_bits is not None and self.able.weight_bits < WEIGHT_BITS:
            skip(f"weight_bits={self.able.weight_bits}")
        return self.able.weight_bits is not None

    def batch(self, wanted: int) -> int:
        return min(wanted, self.able.max_batch or wanted)

    def precision(self, *allowed: str) -> str:
        """The first of these precisions that the engine has; a test that needs one is skipped."""
        for precision in allowed:
            if precision in self.able.precisions:
                return precision
        skip(f"precisions={', '.join(self.able.precisions)}")

    def covers(self, model: Model, training: Training | None = None) -> list[str]:
        """What keeps the engine from this model, in words."""
        program = lower(model)
        found = [f"{gap.path}: {gap.wrong}" for gap in self.able.gaps(needs(program, training), model.dt)]
        return list(dict.fromkeys(found))

    def executable(
        self, model: Model, training: Training | None = None, precision: str | None = None
    ) -> Executable:
        """The model compiled, shared between tests; skips where the engine does not claim it."""
        gaps = self.covers(model, training)
        if gaps:
            skip("; ".join(gaps))
        # a schedule reaches an engine as the factors of each run of batches: it is no part of what is compiled
        course = None if training is None else training.model_copy(update={"schedule": ConstantRate()})
        key = (model, course, precision)
        if key not in self.compiled:
            self.compiled[key] = api.compile(model, engine=self.engine, precision=precision, training=training)
        return self.compiled[key]

    def trainable(self, model: Model, training: Training, precision: str | None = None) -> Trainable:
        """The same, for gradients."""
        if not self.able.has_gradients:
            skip("no gradients")
        found = self.executable(model, training, precision)
        assert isinstance(found, Trainable), "gradients are declared, so the executable must be a Trainable"
        return found


    def show(self, model: Model, training: Training | None = None, way: str = GRADIENTS) -> None:
        """Note that a model has run as it should, and been trained that far. way: see ``way_of``."""
        ways = (GRADIENTS, STEPS) if way == STEPS else (way,)  # a step takes a gradient
        self.shown |= {need.feature for need in needs(lower(model), training) if way_of(need.feature) in ways}


def way_of(feature: str) -> str:
    """What a feature is about: a run and its gradients, the steps that parameters take, or what an evaluation finds."""
    if feature.startswith("metric."):
        return EVALUATION
    return STEPS if feature.startswith(_MOVING) else GRADIENTS


def arrays(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Whatever an engine returns, as NumPy."""
    return {name: np.asarray(value).copy() for name, value in values.items()}
