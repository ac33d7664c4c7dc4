"""Bit tier: spikes, membranes and every other state equal the reference's, bit by bit, in float32."""

from __future__ import annotations

import pytest

from neuroport.testing.base import Kit
from neuroport.testing.cases import Case
from neuroport.testing.dyadic import DYADIC, exact
from neuroport.testing.subject import Subject, arrays
from neuroport.testing.tiers import equal, flat, no_subnormals


class BitTier(Kit):
    """500 steps of networks in which every product is exact."""

    @pytest.mark.parametrize("case", DYADIC, ids=repr)
    def test_spikes_and_voltages_equal_bit_by_bit(self, subject: Subject, case: Case) -> None:
        precision = subject.precision("float32")
        assert subject.snapped is not None  # skips below 8 bits
        executable = subject.executable(case.build(subject.dt), precision=precision)
        batch = subject.batch(case.batch)
        of = exact(case, subject.dt, batch)
        expected = {**flat(of.result.records), **arrays(of.result.outputs)}
        no_subnormals(expected)
        found = executable.run(executable.load(of.parameters), executable.init_state(batch), of.inputs, of.record)
        equal({**flat(found.records), **arrays(found.outputs)}, expected, case.name)
        equal(arrays(found.state), arrays(of.result.state), "state after the run")
