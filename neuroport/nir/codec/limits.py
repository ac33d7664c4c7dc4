"""How much a file may ask for before it is refused: what it declares is counted before anything is read."""

from __future__ import annotations

from dataclasses import dataclass

MOST_BYTES = 1 << 30  # of all arrays and texts, unpacked
MOST_ITEMS = 50_000  # nodes, fields and groups: half a minute to read; a network has hundreds
MOST_EDGES = 1_000_000
MOST_CHUNKS = 100_000  # of one array: each costs a look-up, present in the file or not
DEEPEST = 64  # groups within groups; a nested graph takes two


@dataclass(frozen=True)
class Limits:
    """bytes: of all arrays and texts. items: nodes, fields and groups. chunks: of one array. depth: of groups.

    A graph that is truly larger is read with ``npt.nir.load(path, limits=npt.nir.Limits(bytes=8 << 30))``.
    """

    bytes: int = MOST_BYTES
    items: int = MOST_ITEMS
    edges: int = MOST_EDGES
    chunks: int = MOST_CHUNKS
    depth: int = DEEPEST


LIMITS = Limits()
