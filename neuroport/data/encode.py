"""From images and signals to spikes or currents."""

from __future__ import annotations

import abc
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from neuroport.data.layout import Layout
from neuroport.data.packer import Packer, dense_rows
from neuroport.data.tally import Tally, tally_of
from neuroport.errors import InvalidData, Problem
from neuroport.program.noise import mix, of_samples, stream_of

STREAM = stream_of("data.rate")
SMALLEST = 2.0**-24  # half a grey level's millionth: 1 - 0.9 is not 0.1 in floats


class ImageEncoder(Packer):
    """Of images (N, *shape) with values in [0, 1], or uint8, which counts as 0..255 / 255."""

    abstract = True

    steps: int = Field(gt=0)
    dt: float = Field(1e-3, gt=0, allow_inf_nan=False)

    @property
    def seconds_per_step(self) -> float | None:
        return self.dt

    def length(self, shape: tuple[int, ...]) -> int:
        return self.steps

    def packed_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    @property
    def layout(self) -> Layout:
        return "bits"

    @abc.abstractmethod
    def encode(self, images: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """Spikes (B, T, *shape), 0/1 uint8, of images in [0, 1]. samples: their numbers, (B,)."""

    def expected(self, images: np.ndarray) -> int | None:
        """How many spikes there would be without end of time; None: no more than there are."""
        return None

    def pack(self, raw: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, Tally]:
        images = intensities(raw, samples)
        rows, tally = dense_rows(self.encode(images, samples), self.layout, self.steps)
        events = self.expected(images)
        if events is not None:
            tally.cropped, tally.events = events - tally.events, events
        return rows, tally


class Latency(ImageEncoder):
    """One spike a pixel, the earlier the brighter; none below ``threshold``.

    "linear": in step round((1 - x) (T - 1)). "log": when a leaky membrane of time constant ``tau`` reaches
    ``threshold`` under the constant input x: t = tau ln(x / (x - threshold)), in step floor(t / dt); pixels that
    take longer than all steps stay silent. (Both as in Eshraghian et al. 2023, "Training spiking neural networks
    using lessons from deep learning", section III.)
    """

    formula: Literal["linear", "log"] = "linear"
    threshold: float = Field(0.01, ge=0, lt=1)
    tau: float = Field(20e-3, gt=0, allow_inf_nan=False)

    def expected(self, images: np.ndarray) -> int | None:
        return int((images > self.threshold).sum())

    def encode(self, images: np.ndarray, samples: np.ndarray) -> np.ndarray:
        spiking = images > self.threshold
        if self.formula == "linear":
            step = np.floor((1.0 - images) * (self.steps - 1) + 0.5 + SMALLEST)
        else:
            bright = np.where(spiking, images, 1.0)
            step = np.floor(self.tau / self.dt * np.log(bright / (bright - self.threshold)) + SMALLEST)
            spiking &= step < self.steps
        found = np.zeros((len(images), self.steps, int(np.prod(images.shape[1:]))), np.uint8)
        sample, unit = np.nonzero(spiking.reshape(len(images), -1))
        found[sample, step.reshape(len(images), -1)[sample, unit].astype(np.int64), unit] = 1
        return found.reshape(len(images), self.steps, *images.shape[1:])


class Rate(ImageEncoder):
    """Spikes at random, with probability x rate dt in each step (Bernoulli; for small rate dt a Poisson process).

    rate: spikes per second of a pixel of value 1. Drawn by the counter-based hash of (seed, sample, step, pixel):
    equal on every machine, and for a sample whatever others there are.
    """

    rate: float = Field(200.0, gt=0, allow_inf_nan=False)
    seed: int = Field(0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _one_spike_a_step(self) -> Self:
        if self.rate * self.dt > 1 + SMALLEST:
            raise ValueError(f"rate x dt is {self.rate * self.dt:g}, a step holds one spike: at most 1 / dt")
        return self

    def encode(self, images: np.ndarray, samples: np.ndarray) -> np.ndarray:
        flat = images.reshape(len(images), -1)
        bound = (flat * min(self.rate * self.dt, 1.0) * 2.0**32).astype(np.uint64)
        keys = of_samples(STREAM, self.seed, np.zeros(1, np.uint32), samples.astype(np.uint32))[:, None]
        units = np.arange(flat.shape[1], dtype=np.uint32)
        found = np.empty((len(images), self.steps, flat.shape[1]), np.uint8)
        for step in range(self.steps):
            index = units + np.uint32(step * flat.shape[1] % 2**32)
            found[:, step] = mix(keys ^ index, np.uint32) < bound
        return found.reshape(len(images), self.steps, *images.shape[1:])


class Current(ImageEncoder):
    """The image itself as a current that is constant over time: ``gain`` x. Held once, not for each step."""

    gain: float = Field(1.0, allow_inf_nan=False)

    @property
    def layout(self) -> Layout:
        return "floats"

    def rows(self, shape: tuple[int, ...]) -> int:
        return 1

    def encode(self, images: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """(B, 1, *shape) float32."""
        return (self.gain * images[:, None]).astype(np.float32)


class SignalEncoder(Packer):
    """Of signals over time (N, T, *shape)."""

    abstract = True

    dt: float | None = Field(None, gt=0, allow_inf_nan=False)

    @property
    def seconds_per_step(self) -> float | None:
        return self.dt

    def length(self, shape: tuple[int, ...]) -> int:
        if len(shape) < 2:
            wrong = f"has shape {('samples', *shape)}".replace("'", "")
            raise InvalidData([Problem("x", wrong, "give signals over time, (samples, steps, *shape)")])
        return shape[0]


class Analog(SignalEncoder):
    """The signal itself, as floats: ``gain`` x."""

    gain: float = Field(1.0, allow_inf_nan=False)

    @property
    def layout(self) -> Layout:
        return "floats"

    def packed_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        self.length(shape)
        return shape[1:]

    def pack(self, raw: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, Tally]:
        rows = np.ascontiguousarray(raw * np.float64(self.gain) if self.gain != 1 else raw, np.float32)
        return rows, tally_of(rows, "floats", rows.shape[1])


class Delta(SignalEncoder):
    """Spikes where a signal has changed by ``threshold``: (2, *shape) a step, first rises (ON), then falls (OFF).

    Delta modulation: a reference follows the signal. Where the signal is ``threshold`` or more above the reference,
    ON spikes and the reference rises by the threshold; OFF likewise. At most one spike a step and channel, so
    that the reference lags behind a steeper signal and catches up. It begins at the first value.
    """

    threshold: float = Field(0.1, gt=0, allow_inf_nan=False)

    @property
    def layout(self) -> Layout:
        return "bits"

    def packed_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        self.length(shape)
        return (2, *shape[1:])

    def encode(self, signals: np.ndarray) -> np.ndarray:
        """Spikes (B, T, 2, *shape), 0/1 uint8, of signals (B, T, *shape)."""
        signals = signals.astype(np.float64)
        steps = signals.shape[1]
        found = np.zeros((len(signals), steps, 2, *signals.shape[2:]), np.uint8)
        # counted in thresholds, so that the reference has no rounding errors to gather
        level = np.zeros((len(signals), *signals.shape[2:]), np.int64)
        near = 1.0 - SMALLEST
        for step in range(1, steps):
            change = (signals[:, step] - signals[:, 0]) / self.threshold - level
            rising, falling = change >= near, change <= -near
            found[:, step, 0], found[:, step, 1] = rising, falling
            level += rising.astype(np.int64) - falling
        return found

    def pack(self, raw: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, Tally]:
        return dense_rows(self.encode(raw), "bits", raw.shape[1])


def intensities(images: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Images as float64 in [0, 1]. Raises InvalidData that names the first sample with a value beyond."""
    if images.dtype == np.uint8:
        return np.asarray(images / 255.0)
    found = images.astype(np.float64)
    outside = ((found < 0) | (found > 1) | np.isnan(found)).reshape(len(found), -1)
    if outside.any():
        sample = int(outside.any(1).argmax())
        value = found.reshape(len(found), -1)[sample, int(outside[sample].argmax())]
        mend = "scale images to [0, 1], or give uint8 of 0..255"
        raise InvalidData([Problem(f"sample {samples[sample]}", f"holds {value:g}, beyond [0, 1]", mend)])
    return found
