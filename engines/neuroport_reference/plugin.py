"""Registers the reference engine, through the same hook as anybody's."""

from neuroport.engine.base import EngineInfo
from neuroport.hookspecs import hookimpl


@hookimpl
def neuroport_engines() -> list[EngineInfo]:
    return [EngineInfo(name="reference", factory="neuroport_reference.engine:ReferenceEngine", priority=-10,
                       is_reference=True)]
