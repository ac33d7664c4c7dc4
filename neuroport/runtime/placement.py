"""Where a data set lies while it is read: whole on the device, or streamed there piece by piece.

Both give the same batches. A streamed piece holds the samples that its batches name, and the next one is
brought while the device computes on this one, so two lie there at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from neuroport.data.order import batches
from neuroport.data.packing import Packed
from neuroport.engine.base import Executable, Metrics
from neuroport.errors import InvalidExperiment, Problem
from neuroport.runtime.memory import budget_for
from neuroport.runtime.totals import combined

SHARE = 0.5  # of the free memory that data may take where no budget is given; the rest is for activity


class Rows(NamedTuple):
    """Batches of a data set: order, and partners to mix with if any, (batches, B) indices of samples."""

    order: np.ndarray
    partners: np.ndarray | None = None


class Piece(NamedTuple):
    """Batches of what is staged: rows of it, and what those samples are called in the whole data set."""

    staged: Any
    rows: Rows
    identities: np.ndarray


@dataclass(frozen=True)
class Placement:
    """One part of a data set for one executable. staged: all of it, None where it is streamed.

    longest: how many batches a piece may hold; None: any number.
    """

    executable: Executable
    packed: Packed
    batch_size: int
    staged: Any = None
    longest: int | None = None

    @property
    def streamed(self) -> bool:
        return self.longest is not None

    def pieces(self, wanted: Sequence[Rows]) -> Iterator[Piece]:
        """The batches asked for, in order, each piece where the device can read it."""
        if not self.streamed:
            for rows in wanted:
                yield Piece(self.staged, rows, rows.order)
            return
        with ThreadPoolExecutor(1, "neuroport-stream") as bringing:
            coming = [bringing.submit(self._bring, rows) for rows in wanted[:1]]
            for following in chain(wanted[1:], [None]):
                piece = coming.pop().result()
                if following is not None:
                    coming.append(bringing.submit(self._bring, following))
                yield piece

    def _bring(self, rows: Rows) -> Piece:
        """One piece: the samples that it names, each once, and its rows counted among those."""
        named = [rows.order] if rows.partners is None else [rows.order, rows.partners]
        every = np.concatenate([part.reshape(-1) for part in named])
        samples = np.unique(every)
        # pieces of one length have one shape, so that a compiled program serves all of them
        samples = np.concatenate([samples, np.full(len(every) - len(samples), samples[-1])])
        chunk = replace(self.packed, values=np.asarray(self.packed.values[samples]), labels=self.packed.labels[samples])
        found = [np.searchsorted(samples, part).astype(np.int32) for part in named]
        return Piece(self.executable.stage(chunk), Rows(found[0], found[1] if len(found) > 1 else None), rows.order)

    def evaluate(self, handle: Any) -> Metrics:
        """All samples once, in their own order."""
        order, mask = batches(np.arange(len(self.packed)), self.batch_size)
        size = self.longest or len(order)
        cuts = [slice(first, first + size) for first in range(0, len(order), size)]
        pieces = self.pieces([Rows(order[cut]) for cut in cuts])
        return combined([self.executable.evaluate(handle, piece.staged, piece.rows.order, mask[cut])
                         for piece, cut in zip(pieces, cuts, strict=True)])


def place(
    executable: Executable, packed: Packed, batch_size: int, memory: int | None = None, together: int = 1,
    mixing: bool = False,
) -> Placement:
    """Whole on the device where it fits ``memory`` bytes, else streamed.

    memory: None: half of what is measured to be free there. together: so many batches must lie in one piece.
    mixing: whether batches bring partners. Raises InvalidExperiment where two pieces do not fit.
    """
    allowed = budget_for(executable, SHARE) if memory is None else memory
    size = packed.values.nbytes + packed.labels.nbytes
    if allowed is None or size <= allowed:
        return Placement(executable, packed, batch_size, executable.stage(packed))
    batch = size / len(packed) * min(batch_size, len(packed)) * (2 if mixing else 1)
    longest = int(allowed / 2 / batch)
    if longest < together:
        least = f"{2 * together * batch:,.0f}: two pieces of {together} x {batch_size} samples"
        wrong = f"{allowed:,} bytes are less than {least}"
        raise InvalidExperiment([Problem("memory", wrong, "give more memory, or a smaller training.batch_size")])
    return Placement(executable, packed, batch_size, longest=longest)
