"""Registers the jax engine; imports no jax."""

from neuroport.engine.base import EngineInfo
from neuroport.hookspecs import hookimpl


@hookimpl
def neuroport_engines() -> list[EngineInfo]:
    return [EngineInfo(name="jax", factory="neuroport_jax.engine:JaxEngine", requires=("jax", "optax"),
                       install="pip install 'neuroport[jax]'", priority=20)]
