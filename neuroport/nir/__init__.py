"""The NIR bridge: files of the Neuromorphic Intermediate Representation read, checked, written and compared.

    model, parameters = npt.nir.read("network.nir", numerics="norse", dt=1e-4, reset="hard")
    npt.nir.write("network.nir", model, parameters)

``read`` and ``write`` go between files and models that run; ``load`` and ``save`` keep a file's contents as they
are, known or not; ``check`` finds the first place where two networks part; ``info`` says what a file holds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuroport.nir.checking import check as check
    from neuroport.nir.codec.hdf5 import load as load
    from neuroport.nir.codec.hdf5 import save as save
    from neuroport.nir.codec.limits import Limits as Limits
    from neuroport.nir.contents import Finding as Finding
    from neuroport.nir.contents import NirFile as NirFile
    from neuroport.nir.contents import NirGraph as NirGraph
    from neuroport.nir.contents import NirNode as NirNode
    from neuroport.nir.exporting import write as write
    from neuroport.nir.importing import NirWarning as NirWarning
    from neuroport.nir.importing import read as read
    from neuroport.nir.presets import PRESETS as PRESETS
    from neuroport.nir.presets import Preset as Preset
    from neuroport.nir.report import info as info

# imported when first asked for: "module:name" within this package
_LAZY = {
    "read": "importing:read", "NirWarning": "importing:NirWarning", "write": "exporting:write",
    "load": "codec.hdf5:load", "save": "codec.hdf5:save", "check": "checking:check", "info": "report:info",
    "Limits": "codec.limits:Limits", "PRESETS": "presets:PRESETS", "Preset": "presets:Preset",
    **{name: f"contents:{name}" for name in ("Finding", "NirFile", "NirGraph", "NirNode")},
}

__all__ = [
    "Finding", "Limits", "NirFile", "NirGraph", "NirNode", "NirWarning", "PRESETS", "Preset", "check", "info", "load",
    "read", "save", "write",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'neuroport.nir' has no attribute {name!r}")
    module, _, attribute = _LAZY[name].partition(":")
    globals()[name] = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
