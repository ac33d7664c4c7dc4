"""What a training tells those who watch it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuroport.runtime.run import Run


@dataclass(frozen=True)
class Plan:
    """What is about to happen. samples: of the training set; engine and device: their names."""

    name: str
    engine: str
    device: str
    epochs: int
    samples: int


@dataclass(frozen=True)
class Piece:
    """Where a training stands within an epoch (from 1).

    done: samples seen in this epoch. loss, accuracy: their means over those samples, as they were
    seen. samples_per_second: of this epoch so far.
    """

    epoch: int
    done: int
    loss: float
    accuracy: float
    samples_per_second: float


class Callback:
    """A watcher of a training. Override what you want to hear; the rest does nothing."""

    def on_start(self, plan: Plan) -> None:
        """Before the first batch."""

    def on_piece(self, piece: Piece) -> None:
        """After each piece of an epoch."""

    def on_epoch(self, row: dict[str, Any]) -> None:
        """After each epoch and its validation; ``row`` is a line of metrics.jsonl."""

    def on_end(self, run: Run | None) -> None:
        """At the end, whatever it was: the run, or None where an error or the user stopped it."""
