"""Batches to augment, in every layout and in odd shapes, and what the NumPy definition makes of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import neuroport as npt
from neuroport.data.packing import Packed, unpack
from neuroport.data.staging import stage
from neuroport.engine.base import Options
from neuroport.model.augmentation import (
    Augmentation,
    ChannelShift,
    Crop,
    Mix,
    NoiseSpikes,
    SpikeDropout,
    Thinning,
    TimeJitter,
    TimeShift,
    TimeStretch,
)
from neuroport.model.training import Training
from neuroport.program.augment import NUMPY, augmented
from neuroport.program.lower import lower
from neuroport.program.objective import step_of

EVERY: tuple[Augmentation, ...] = (
    SpikeDropout(p=0.4), NoiseSpikes(rate=200.0), NoiseSpikes(rate=1e4), TimeJitter(reach=2e-3), TimeJitter(reach=0.0),
    TimeShift(reach=4e-3), TimeShift(reach=40e-3), ChannelShift(reach=2), ChannelShift(reach=9, axis=0), Mix(share=0.3),
    Crop(duration=6e-3), Thinning(most=0.6), TimeStretch(most=1.5), TimeStretch(most=1.0),
)
SEED = 2**31 + 77
IDENTITIES = [2**31 - 1, 10, 21, 2**30, 32]


class Case(NamedTuple):
    """B samples of T steps, taken from six of them."""

    layout: Any
    steps: int
    batch: int
    shape: tuple[int, ...]

    def packed(self) -> Packed:
        random = np.random.default_rng(self.steps)
        x = random.integers(0, 2 if self.layout == "bits" else 4, (6, self.steps, *self.shape))
        if self.layout == "floats":
            return stage(x - 1.3, np.zeros(6, int), layout="floats")
        return stage(x * random.integers(0, 2, x.shape), np.zeros(6, int), layout=self.layout)

    def rows(self) -> np.ndarray:
        return np.random.default_rng(1).integers(0, 6, self.batch)

    def partners(self) -> np.ndarray:
        return np.random.default_rng(2).integers(0, 6, self.batch)

    def identities(self) -> np.ndarray:
        return (np.resize(IDENTITIES, self.batch) + np.arange(self.batch) // len(IDENTITIES)) % 2**31

    def options(self, training: Training, precision: str = "float32") -> tuple[Any, Options]:
        """What an engine compiles for it."""
        model = npt.Model.sequential(self.shape, 1e-3, {
            "flat": npt.Flatten(), "sum": npt.Linear(2), "readout": npt.LI(tau=5e-3)})
        return lower(model), Options(device="cpu", precision=precision, training=training)


CASES = (
    Case("bits", 17, 5, (3, 4)), Case("bits", 13, 1, (2, 3, 5)), Case("bits", 1, 4, (6,)),
    Case("counts", 9, 3, (2, 3, 4)), Case("counts", 1, 1, (1,)), Case("floats", 12, 5, (7,)),
    Case("floats", 11, 1, (2, 2, 3)),
)


def defined(case: Case, training: Training, epoch: int) -> np.ndarray:
    """The batch (T, B, *shape) of the definition, float32."""
    packed, (program, _) = case.packed(), case.options(training)
    x, partner = unpack(packed, case.rows()), unpack(packed, case.partners())
    return np.asarray(augmented(
        training, step_of(program), NUMPY, x, partner, packed.binary, SEED, np.array([epoch], np.uint32),
        case.identities().astype(np.uint32),
    ))
