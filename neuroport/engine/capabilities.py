"""What an engine can run: data that answers without running, documents itself and words the refusal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import get_args

from neuroport.errors import Problem
from neuroport.model.numerics import Numerics
from neuroport.program.needs import NUMERICS, Need, numerics_feature


class Level(Enum):
    FULL = "full"
    NOT_IMPLEMENTED = "not implemented"
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True)
class Support:
    """How far a feature is supported, and the reason where it is not."""

    level: Level
    reason: str = ""


FULL = Support(Level.FULL)
UNDECLARED = Support(Level.NOT_IMPLEMENTED)


@dataclass(frozen=True)
class Capabilities:
    """Supported features by name, and the numbers that bound a run.

    features: names as in ``program/needs.py``; "neuron.*" stands for all neurons. What is not named
    is not implemented. precisions: the first is the native one. max_batch, dt, weight_bits: None is
    any.
    """

    features: Mapping[str, Support]
    precisions: tuple[str, ...] = ("float32",)
    max_batch: int | None = None
    dt: float | None = None
    weight_bits: int | None = None
    deterministic: bool = True
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_gradients(self) -> bool:
        return self.support("gradients").level is Level.FULL

    def support(self, feature: str) -> Support:
        """The support of one feature: its own entry, or its family's "family.*"."""
        if feature.startswith("precision."):
            known = feature.removeprefix("precision.") in self.precisions
            words = f"this device has {', '.join(self.precisions)}"
            return FULL if known else self.features.get(feature, Support(Level.IMPOSSIBLE, words))
        family = feature.split(".", 1)[0] + ".*"
        return self.features.get(feature, self.features.get(family, UNDECLARED))

    def gaps(self, wanted: Iterable[Need], dt: float | None = None) -> list[Problem]:
        """Every need that is not met, in words, each place and feature once."""
        found = []
        for need in wanted:
            support = self.support(need.feature)
            if support.level is not Level.FULL:
                reason = f" ({support.reason})" if support.reason else ""
                found.append(Problem(need.path, f"{need.words}, {support.level.value}{reason}"))
        if self.dt is not None and dt is not None and dt != self.dt:
            found.append(Problem("dt", f"a time step of {dt} s, impossible (fixed at {self.dt} s)"))
        return list(dict.fromkeys(found))


def all_numerics() -> dict[str, Support]:
    """Every value of every field of Numerics: what an engine has that runs the shared step."""
    found = {}
    for name in NUMERICS:
        kind = Numerics.model_fields[name].annotation
        values = (True, False) if kind is bool else get_args(kind)
        found.update({numerics_feature(name, value): FULL for value in values})
    return found


def stepping_engine(layers: Iterable[str], training: bool = True) -> dict[str, Support]:
    """Features of an engine that runs the shared step and these stateless layers.

    layers: the keys of the engine's own lowering table, so that the claim cannot outrun the code.
    """
    features = {f"node.{name}": FULL for name in layers}
    features |= {"neuron.*": FULL, "loop": FULL, "edge.delay": FULL}
    features |= {"several_inputs": FULL, "several_outputs": FULL, **all_numerics()}
    if training:
        features |= {"gradients": FULL, "trainable.neuron": FULL, "surrogate.*": FULL, "loss.*": FULL}
        features |= {"regularizer.*": FULL, "metric.*": FULL, "schedule.*": FULL, "clip_norm": FULL}
        features |= {"learning_rates": FULL, "accumulate": FULL, "augmentation.*": FULL}
    return features
