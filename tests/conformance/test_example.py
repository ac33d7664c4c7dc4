"""The example engine, made from its class: it need not be installed here. CI installs it and runs its own tests."""

import sys
from pathlib import Path

from neuroport.engine.base import Engine
from neuroport.testing import EngineConformance

FOLDER = Path(__file__).parents[2] / "plugins" / "example_engine"


def _engine() -> Engine:
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    from neuroport_example.engine import ExampleEngine

    return ExampleEngine()


class TestExample(EngineConformance):
    engine_factory = _engine
