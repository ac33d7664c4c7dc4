"""Registers the torch engine, through the same hook as anybody's."""

from neuroport.engine.base import EngineInfo
from neuroport.hookspecs import hookimpl


@hookimpl
def neuroport_engines() -> list[EngineInfo]:
    return [
        EngineInfo(
            name="torch", factory="neuroport_torch.engine:TorchEngine", requires=("torch",),
            install="pip install 'neuroport[torch]'", priority=10,
        )
    ]
