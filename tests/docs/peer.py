"""Runs snippets one after the other and keeps what they leave: in a peer's environment, or in this one.

    python peer.py snippets.json found.npz

Needs NumPy alone, so that it runs wherever a peer is installed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

COMPARED = ("spikes", "membrane", "outputs", "loss", "losses", "gradient", "decisions")


def leavings(snippets: Sequence[Sequence[str]], where: str) -> dict[str, np.ndarray]:
    """Run (section, code) pairs in one namespace; what each leaves under the names of ``COMPARED``.

    where: what tracebacks call the page. Keys are "section: name".
    """
    names: dict[str, Any] = {"__name__": "page"}
    found = {}
    for section, code in snippets:
        for name in COMPARED:
            names.pop(name, None)
        exec(compile(code, f"{where}, {section}", "exec", dont_inherit=True), names)
        found |= {f"{section}: {name}": as_array(names[name]) for name in COMPARED if name in names}
    return found


def as_array(value: Any) -> np.ndarray:
    """NumPy's array of any library's, or of a list of them."""
    if isinstance(value, list):
        return np.stack([as_array(one) for one in value])
    return np.asarray(value.detach() if hasattr(value, "detach") else value)


if __name__ == "__main__":
    np.savez(sys.argv[2], **leavings(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), sys.argv[1]))
