"""The only place where dt and tau meet.

Each neuron asks here for the coefficients of its first-order low-passes; the functions are written
in ``ops``, so that gradients reach tau on every engine.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neuroport.dynamics import ops
from neuroport.dynamics.ops import Array


class LowPass(NamedTuple):
    """One step of ``tau y' = -y + x``: y <- decay * y + gain * x; ``rise`` is 1 - decay."""

    decay: Array
    rise: Array
    gain: Array


def exponential(tau: Array, dt: float) -> LowPass:
    """Decay over one step of a first-order low-pass, exp(-dt / tau); the gain is one minus it.

    tau: time constant in seconds, > 0, any shape. Returns the same shape, in (0, 1).
    Exact for input held constant over the step (zero-order hold).
    """
    rise = -ops.expm1(-dt / tau)
    return LowPass(ops.exp(-dt / tau), rise, rise)


def euler(tau: Array, dt: float) -> LowPass:
    """Forward Euler: decay 1 - dt / tau, gain dt / tau. tau: seconds, >= dt, any shape."""
    return LowPass(1.0 - dt / tau, dt / tau, dt / tau)


def impulse(tau: Array, dt: float) -> LowPass:
    """Decay exp(-dt / tau), gain dt / tau. tau: seconds, > 0, any shape.

    Exact for input that arrives all at once at the end of the step (impulse invariance), as sinabs does.
    """
    return LowPass(ops.exp(-dt / tau), -ops.expm1(-dt / tau), dt / tau)


METHODS = {"exponential": exponential, "euler": euler, "impulse": impulse}


def _of_exponential(decay: Array, dt: float) -> Array:
    return -dt / ops.log(decay)


def _of_euler(decay: Array, dt: float) -> Array:
    return dt / (1.0 - decay)


TIME_CONSTANTS = {"exponential": _of_exponential, "euler": _of_euler, "impulse": _of_exponential}


class Step(NamedTuple):
    """One time step: its length in seconds and the method that turns rates into decays."""

    dt: float
    method: str

    def low_pass(self, tau: Array | None, decay: Array | None = None) -> LowPass:
        """Coefficients of a low-pass given by ``tau`` (s), or by its ``decay`` per step itself.

        From tau the gain is 1 - decay, so that a constant input is reached in the limit; a decay
        given directly has the input gain one, as in snnTorch's and Spyx's leaky neurons.
        """
        if decay is not None:
            return LowPass(decay, 1.0 - decay, 1.0)
        return METHODS[self.method](tau, self.dt)

    def time_constant(self, decay: Array) -> Array:
        """The time constant (s) whose decay per step this is. decay: in (0, 1), under Euler also 0."""
        return TIME_CONSTANTS[self.method](decay, self.dt)

    def filter_decay(self, tau: float) -> float:
        """Decay per step of an exponential filter that analyses traces, exp(-dt / tau), whatever the method. tau: s."""
        return float(exponential(tau, self.dt).decay)

    def filter_energy(self, tau: float) -> float:
        """(1/tau) integral over one step of exp(-2 t / tau): what a squared filtered trace of 1 adds. tau: s."""
        return float(-0.5 * ops.expm1(-2.0 * self.dt / tau))

    def fraction(self, tau: float) -> float:
        """The time step as a part of ``tau`` (s)."""
        return self.dt / tau

    def steps(self, duration: float) -> int:
        """How many whole steps a duration (s) takes, rounded to the nearest."""
        return round(duration / self.dt)

    def whole_steps(self, durations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many steps durations (s) take, to the nearest, and for which of them that is exact.

        Exact is what float32 numbers of seconds can tell: to one part in a million.
        """
        asked = durations / self.dt
        steps = np.rint(asked)
        return steps.astype(np.int64), np.abs(asked - steps) <= 1e-6 * np.maximum(steps, 1.0)

    def charge(self, current: Array) -> Array:
        """What a current deposits within one step."""
        return current * self.dt

    def current(self, charge: Array) -> Array:
        """The current that deposits a charge within one step."""
        return charge / self.dt

    def expected(self, rate: float) -> float:
        """Events expected within one step at ``rate`` (1/s)."""
        return rate * self.dt

    @property
    def shortest_tau(self) -> float:
        """Lower bound of a valid time constant, in seconds: dt for Euler, else 0."""
        return self.dt if self.method == "euler" else 0.0
