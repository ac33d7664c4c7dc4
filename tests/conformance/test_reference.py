"""The reference engine: float32 against its own float64, and everything else the kit asks."""

from neuroport.testing import EngineConformance


class TestReference(EngineConformance):
    engine_name = "reference"
