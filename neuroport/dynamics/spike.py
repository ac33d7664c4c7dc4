"""One time step of a neuron, composed once for all neurons: comparison, reset, output.

A neuron says how its state moves (``integrate``), when it fires (``threshold``) and what else a
spike changes (``jump``); ``Numerics`` says the rest. The step is cut in two at the comparison:

    before: (coefficients, state, input) -> cut       everything up to the potential that is compared
    after:  (coefficients, cut) -> (state, output)    the spike, the reset, the jump

The cut is what a reverse pass has to remember: from it, everything after follows by recomputing.
State and cut are dicts of arrays, coefficients any object with attributes.
"""

from __future__ import annotations

from typing import Any

from neuroport.dynamics import ops
from neuroport.dynamics.ops import Array

# fields that the numerics add to a neuron's own state or cut
LAST_OUTPUT = "last_output"
RESET_BEFORE = "reset_before"

State = dict[str, Array]


def state_fields(neuron: Any, numerics: Any) -> tuple[str, ...]:
    """Names of the state of a neuron under these numerics, the neuron's own first."""
    delayed = numerics.output_delay or (neuron.spiking and numerics.reset_delay)
    return (*neuron.state, LAST_OUTPUT) if delayed else tuple(neuron.state)


def before(neuron: Any, numerics: Any, c: Any, s: State, x: Array) -> State:
    """Everything up to the comparison: input, decay, and resets that earlier spikes still owe."""
    own = neuron.State(**{field: s[field] for field in neuron.state})
    moved = neuron.integrate(c, own, x)
    cut = dict(moved._asdict())
    if hasattr(c, "drive"):  # a bias placed on the membrane, past the synapse
        cut["v"] = cut["v"] + c.drive
    if neuron.spiking and numerics.reset != "none":
        if numerics.reset_delay:
            owed = s[LAST_OUTPUT] if numerics.reset_gradient else ops.detach(s[LAST_OUTPUT])
            cut["v"] = _reset(numerics, c, cut["v"], neuron.threshold(c, moved), owed)
        elif numerics.reset_rule == "snntorch":
            fired = _spike(neuron, numerics, own.v, neuron.threshold(c, own))
            owed = fired if numerics.reset_gradient else ops.detach(fired)
            amount = _amount(numerics, c, cut["v"], neuron.threshold(c, moved))
            cut["v"] = cut["v"] - owed * amount
            cut[RESET_BEFORE] = owed
    if LAST_OUTPUT in s and numerics.output_delay:
        cut[LAST_OUTPUT] = s[LAST_OUTPUT]
    return cut


def after(neuron: Any, numerics: Any, c: Any, cut: State) -> tuple[State, Array]:
    """The spike, the reset and what else a spike changes; returns the next state and the output."""
    own = neuron.State(**{field: cut[field] for field in neuron.state})
    if neuron.spiking:
        now, state = _fire(neuron, numerics, c, own, cut)
    else:
        now, state = own.v, dict(own._asdict())
    if LAST_OUTPUT in state_fields(neuron, numerics):
        state[LAST_OUTPUT] = now
    return state, cut[LAST_OUTPUT] if numerics.output_delay else now


def _fire(neuron: Any, numerics: Any, c: Any, own: Any, cut: State) -> tuple[Array, State]:
    theta = neuron.threshold(c, own)
    single = _spike(neuron, numerics, own.v, theta)
    z = _count(neuron, numerics, own.v, theta) if numerics.multi_spike else single
    if numerics.reset != "none" and not numerics.reset_delay:
        # a hard reset asks whether, a soft one how often
        owed = z if numerics.reset == "soft" else single
        owed = owed if numerics.reset_gradient else ops.detach(owed)
        if numerics.reset_rule == "snntorch":
            amount = _amount(numerics, c, own.v, theta)
            v = own.v - (owed - cut[RESET_BEFORE]) * amount
        else:
            v = _reset(numerics, c, own.v, theta, owed)
        own = own._replace(v=v)
    return z, dict(neuron.jump(c, own, z)._asdict())


def _spike(neuron: Any, numerics: Any, v: Array, theta: Array) -> Array:
    return ops.spike(v - theta, neuron.surrogate, numerics.comparison == "ge")


def _count(neuron: Any, numerics: Any, v: Array, theta: Array) -> Array:
    """Spikes of one step where several are allowed: how many thresholds fit under ``v``.

    Its derivative is the surrogate at the nearest multiple of the threshold (as in sinabs).
    """
    ratio = v / theta
    fitting = ops.floor(ratio) if numerics.comparison == "ge" else -ops.floor(-ratio) - 1.0
    count = ops.detach(ops.maximum(fitting, 0.0))
    nearest = ops.detach(ops.maximum(ops.floor(ratio + 0.5), 1.0))
    slope = _spike(neuron, numerics, v, theta * nearest)
    return count + (slope - ops.detach(slope))


def _reset(numerics: Any, c: Any, v: Array, theta: Array, z: Array) -> Array:
    if numerics.reset == "soft":
        return v - theta * z
    if numerics.reset_gradient:
        return ops.select(z, c.v_reset, v)
    return ops.where(z > 0.0, c.v_reset, v)


def _amount(numerics: Any, c: Any, v: Array, theta: Array) -> Array:
    """How much one reset takes from ``v`` under snnTorch's rule."""
    return theta if numerics.reset == "soft" else v - c.v_reset
