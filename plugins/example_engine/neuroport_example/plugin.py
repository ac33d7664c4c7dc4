"""Registers the engine. Imported whenever engines are listed, so it imports nothing heavy."""

from neuroport.engine.base import EngineInfo
from neuroport.hookspecs import hookimpl


@hookimpl
def neuroport_engines() -> list[EngineInfo]:
    return [EngineInfo(name="example", factory="neuroport_example.engine:ExampleEngine", requires=("numpy",),
                       install="pip install neuroport-example-engine", priority=-20)]
