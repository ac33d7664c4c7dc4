"""The kit as one class, for an engine's author to inherit."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import pytest

from neuroport.model.neurons import Neuron
from neuroport.testing.base import Kit
from neuroport.testing.bfloat16 import RoundedProducts
from neuroport.testing.bit_tier import BitTier
from neuroport.testing.cases import neuron_cases
from neuroport.testing.interface import Interface
from neuroport.testing.learning import Learning
from neuroport.testing.metamorphic import Metamorphic
from neuroport.testing.norm_tier import NormTier, Report, compare_activity, compare_gradients
from neuroport.testing.refusal import Refusal
from neuroport.testing.subject import Subject


class EngineConformance(Refusal, Interface, BitTier, NormTier, RoundedProducts, Learning, Metamorphic):
    """Everything an engine is held to.

    Write ``class TestMine(EngineConformance): engine_name = "mine"`` in a test module and run pytest.
    expected_failures lists what does not pass yet, each with its reason: {"test_gradients[ALIF]": "why"}.
    """


class NeuronConformance(Kit):
    """A neuron of your own, alone and in a cycle, on one engine: its run and its gradients.

    neuron: (dt) -> the neuron, with a threshold of order one and time constants of some dt.
    """

    neuron: ClassVar[Callable[[float], Neuron]]

    @pytest.mark.parametrize("recurrent", [False, True])
    def test_neuron_equals_the_reference_in_norm(
        self, subject: Subject, recurrent: bool, record_property: Report
    ) -> None:
        case = neuron_cases({type(self).__name__: type(self).neuron})[recurrent]
        compare_activity(subject, case, record_property)
        compare_gradients(subject, case, record_property)
