"""Live progress of a training in the terminal; one line per epoch where there is none."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from neuroport.runtime.activity import LayerWarning
from neuroport.runtime.callbacks import Callback, Piece, Plan
from neuroport.runtime.run import Run


class LiveProgress(Callback):
    """Loss, accuracy, samples per second and the time left, on standard error unless told otherwise."""

    def __init__(self, console: Console | None = None):
        self.console = console or Console(stderr=True)

    def on_start(self, plan: Plan) -> None:
        self.plan, self.validated, self.speed = plan, "", 0.0
        title = f"[bold]{plan.name}[/bold] on {plan.engine} ({plan.device})"
        self.console.print(f"{title}: {plan.samples} samples, {plan.epochs} epochs")
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"), BarColumn(bar_width=24),
            TextColumn("{task.fields[shown]}"), console=self.console, transient=True,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task(
            "", total=plan.samples * plan.epochs, epoch=1, epochs=plan.epochs, shown="compiling"
        )
        self.bar.start()

    def on_piece(self, piece: Piece) -> None:
        done = (piece.epoch - 1) * self.plan.samples + piece.done
        speed = self.speed or piece.samples_per_second
        left = (self.plan.epochs * self.plan.samples - done) / speed
        shown = (f"loss {piece.loss:.3f}  accuracy {piece.accuracy:.1%}{self.validated}  "
                 f"{piece.samples_per_second:,.0f} samples/s  {clock(left)} left")
        self.bar.update(self.task, completed=done, epoch=piece.epoch, shown=shown)

    def on_epoch(self, row: dict[str, Any]) -> None:
        self.validated = f"  validation {row['validation_accuracy']:.1%}"
        if row["epoch"] > 1:  # the first epoch compiles: its speed says nothing of the others
            self.speed = row["samples_per_second"]
        if not self.console.is_terminal:
            left = (self.plan.epochs - row["epoch"]) * self.plan.samples / row["samples_per_second"]
            self.console.print(
                f"epoch {row['epoch']}/{self.plan.epochs}  loss {row['train_loss']:.3f}  "
                f"accuracy {row['train_accuracy']:.1%}{self.validated}  "
                f"{row['samples_per_second']:,.0f} samples/s  {clock(left)} left", soft_wrap=True,
            )

    def on_end(self, run: Run | None) -> None:
        self.bar.stop()


@contextmanager
def warnings_on(console: Console) -> Iterator[None]:
    """Layer warnings as sentences on a console, without Python's file and line."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, LayerWarning):
                console.print(f"[yellow]warning:[/yellow] {escape(str(message))}", soft_wrap=True)
            else:
                usual(message, category, *where, **more)

        warnings.showwarning = show
        yield


def report(run: Run) -> str:
    """A run's result in two or three lines."""
    found = run.summary
    tested = "no test set" if found["test_accuracy"] is None else f"test accuracy {found['test_accuracy']:.2%}"
    lines = [
        f"{tested}, validation {found['validation_accuracy']:.2%} "
        f"(best epoch {found['best_epoch']} of {found['epochs']})",
        f"{found['samples_per_second']:,.0f} samples/s, {clock(found['seconds'])} in all, "
        f"on {found['engine']} ({found['device']})",
    ]
    return "\n".join([*lines, f"run: {run.folder}"] if run.folder else lines)


def clock(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
