"""What a training tells those who watch it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neuroport.model.training import Experiment

if TYPE_CHECKING:
    from neuroport.runtime.run import Run


@dataclass(frozen=True)
class Plan:
    """What is about to happen. samples: of the training set; steps, shape: of each; engine and device: their names.

    first_epoch: from 1; later where a training is resumed. Rows of epochs before it were told
    already, those from it on may have been.
    """

    name: str
    engine: str
    device: str
    epochs: int
    samples: int
    experiment: Experiment
    first_epoch: int = 1
    steps: int = 0
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Piece:
    """Where a training stands within an epoch (from 1).

    done: samples seen in this epoch. loss, accuracy: their means over those samples, as they were
    seen; accuracy None where the loss knows no classes. samples_per_second: of this epoch so far.
    """

    epoch: int
    done: int
    loss: float
    accuracy: float | None
    samples_per_second: float


class Callback:
    """A watcher of a training. Override what you want to hear; the rest does nothing.

    An error that it raises stops the training; the others still hear the end.
    """

    def on_start(self, plan: Plan) -> None:
        """Before the first batch."""

    def on_piece(self, piece: Piece) -> None:
        """After each piece of an epoch."""

    def on_epoch(self, row: dict[str, Any]) -> None:
        """After each epoch and its validation; ``row`` is a line of metrics.jsonl."""

    def on_end(self, run: Run | None) -> None:
        """At the end, whatever it was: the run, or None where an error or the user stopped it, even before on_start."""


def tell_end(callbacks: Sequence[Callback], run: Run | None) -> None:
    """The end, to all of them; the first error that one raises is raised when all were told."""
    errors = []
    for callback in callbacks:
        try:
            callback.on_end(run)
        except Exception as error:
            errors.append(error)
    if errors:
        raise errors[0]
