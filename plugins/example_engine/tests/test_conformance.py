"""The whole kit, inherited. What the engine does not declare is skipped, or must be refused."""

from neuroport.testing import EngineConformance


class TestExample(EngineConformance):
    engine_name = "example"
