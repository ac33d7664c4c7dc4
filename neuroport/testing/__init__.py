"""The conformance kit: what an engine is held to, its author's or a stranger's.

    from neuroport.testing import EngineConformance

    class TestMine(EngineConformance):
        engine_name = "mine"
        expected_failures = {"test_gradients[ALIF]": "the adaptation's gradient is not done yet"}

``pytest`` runs everything the class inherits. What the engine's capabilities do not claim is skipped.
"""

import pytest

for _module in (
    "interface", "bit_tier", "norm_tier", "learned", "learning", "refusal", "metamorphic", "tiers", "conformance",
):
    pytest.register_assert_rewrite(f"{__name__}.{_module}")

from neuroport.testing.conformance import EngineConformance, NeuronConformance  # noqa: E402

__all__ = ["EngineConformance", "NeuronConformance"]
