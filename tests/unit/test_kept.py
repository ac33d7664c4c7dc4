"""What a kernel keeps of a step for its reverse: numbers, single bits, or nothing; found on the recorded reverse."""

from __future__ import annotations

import numpy as np
import pytest

from neuroport.dynamics import ops
from neuroport.dynamics.ops import NUMPY
from neuroport.dynamics.printer import python_function
from neuroport.model.graph import Model
from neuroport.model.neurons import ALIF, LIF, CubaLIF
from neuroport.model.numerics import Numerics
from neuroport.model.surrogates import Boxcar, StraightThrough, SuperSpike, Surrogate
from neuroport.model.values import Parameter, Uniform
from neuroport.program.lower import lower


class Steps(Surrogate):
    """A user's own derivative of three values."""

    def derivative(self, u):
        return ops.where(ops.abs(u) < 0.1, 1.0, ops.where(u > 0.0, 0.5, 0.25))


def bound(neuron, **numerics):
    return lower(Model.sequential(input=4, dt=1e-3, layers=[neuron.model_copy(update={
        "numerics": Numerics(**numerics)})])).neurons["0_" + type(neuron).__name__.lower()]


THRESHOLD = Parameter(value=Uniform(low=0.5, high=1.0), per="neuron")
HARD = {"reset": "hard", "reset_gradient": False}
CASES = {
    "a smooth surrogate": (LIF(tau=5e-3, surrogate=SuperSpike()), {}, ("v",), 0),
    "a window": (LIF(tau=5e-3, surrogate=Boxcar()), {}, (), 1),
    "a window and a threshold that learns": (LIF(tau=5e-3, surrogate=Boxcar(), v_threshold=THRESHOLD), {}, (), 2),
    "a window and a detached hard reset": (LIF(tau=5e-3, surrogate=Boxcar()), HARD, (), 2),
    "a window and a hard reset": (LIF(tau=5e-3, surrogate=Boxcar()), {"reset": "hard"}, ("v",), 0),
    "two states": (CubaLIF(tau_syn=5e-3, tau_mem=8e-3, surrogate=Boxcar()), {}, (), 1),
    "a threshold that adapts": (ALIF(tau=5e-3, tau_adapt=9e-3, surrogate=Boxcar()), {}, ("a",), 2),
    "three values": (LIF(tau=5e-3, surrogate=Steps()), {}, (), 2),
    "a constant": (LIF(tau=5e-3, surrogate=StraightThrough()), {}, (), 0),
}


@pytest.mark.parametrize("name", CASES)
def test_decisions_are_kept_as_bits_where_the_reverse_reads_no_number(name):
    neuron, numerics, numbers, bits = CASES[name]
    found = bound(neuron, **numerics).kept
    assert (found.saved, len(found.bits)) == (numbers, bits)
    assert set(found.bits) <= set(found.after.outputs) and set(found.bits) <= set(found.reverse.inputs)


@pytest.mark.parametrize("name", CASES)
def test_the_reverse_over_what_is_kept_is_the_recorded_reverse(name):
    neuron, numerics, *_ = CASES[name]
    whole, least = bound(neuron, **numerics).traced, bound(neuron, **numerics).kept
    random = np.random.default_rng(0)
    given = {f"cut.{key}": random.normal(0.7, 0.4, 500) for key in whole.cut}
    given |= {key: random.normal(size=500) for key in whole.reverse.inputs if key not in given}
    given |= {key: random.uniform(0.5, 1.0, 500) for key in whole.after.inputs if key[:2] == "c."}
    after, one, other = (python_function(graph, NUMPY) for graph in (least.after, whole.reverse, least.reverse))
    kept = {key: value for key, value in {**given, **after(given)}.items() if key in least.reverse.inputs}
    assert {key for key in kept if key[:4] == "cut."} == {f"cut.{key}" for key in least.saved}
    for key, value in one(given).items():
        np.testing.assert_array_equal(other(kept)[key], value, err_msg=key)
