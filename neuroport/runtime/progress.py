"""Live progress of a training in the terminal; one line per epoch where there is none."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from neuroport.runtime.activity import LayerWarning
from neuroport.runtime.callbacks import Callback, Piece, Plan
from neuroport.runtime.resume import ResumeWarning
from neuroport.runtime.run import Run


class LiveProgress(Callback):
    """Loss, accuracy, samples per second and the time left, on standard error unless told otherwise."""

    def __init__(self, console: Console | None = None):
        self.console = console or Console(stderr=True)
        self.bar: Progress | None = None

    def on_start(self, plan: Plan) -> None:
        self.plan, self.validated, self.speed = plan, "", 0.0
        title = f"[bold]{escape(plan.name)}[/bold] on {plan.engine} ({plan.device})"
        size = f" of {plan.steps} steps x {' x '.join(map(str, plan.shape))}" if plan.steps else ""
        goes_on = f", goes on in epoch {plan.first_epoch}" if plan.first_epoch > 1 else ""
        self.console.print(f"{title}: {plan.samples} samples{size}, {plan.epochs} epochs{goes_on}", soft_wrap=True)
        bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"), BarColumn(bar_width=24),
            TextColumn("{task.fields[shown]}"), console=self.console, transient=True,
            disable=not self.console.is_terminal,
        )
        self.task = bar.add_task(
            "", total=plan.samples * plan.epochs, completed=plan.samples * (plan.first_epoch - 1),
            epoch=min(plan.first_epoch, plan.epochs), epochs=plan.epochs, shown="compiling",
        )
        bar.start()
        self.bar = bar

    def on_piece(self, piece: Piece) -> None:
        done = (piece.epoch - 1) * self.plan.samples + piece.done
        speed = self.speed or piece.samples_per_second
        left = (self.plan.epochs * self.plan.samples - done) / speed
        shown = (f"loss {piece.loss:.3f}{_percent('accuracy', piece.accuracy)}{self.validated}  "
                 f"{piece.samples_per_second:,.0f} samples/s  {clock(left)} left")
        if self.bar is not None:
            self.bar.update(self.task, completed=done, epoch=piece.epoch, shown=shown)

    def on_epoch(self, row: dict[str, Any]) -> None:
        self.validated = _percent("validation", row["validation_accuracy"], row["validation_loss"])
        if row["epoch"] > self.plan.first_epoch:  # the first epoch compiles: its speed says nothing of the others
            self.speed = row["samples_per_second"]
        if not self.console.is_terminal:
            left = (self.plan.epochs - row["epoch"]) * self.plan.samples / row["samples_per_second"]
            self.console.print(
                f"epoch {row['epoch']}/{self.plan.epochs}  loss {row['train_loss']:.3f}"
                f"{_percent('accuracy', row['train_accuracy'])}{self.validated}  "
                f"{row['samples_per_second']:,.0f} samples/s  {clock(left)} left", soft_wrap=True,
            )

    def on_end(self, run: Run | None) -> None:
        if self.bar is not None:
            self.bar.stop()


@contextmanager
def warnings_on(console: Console) -> Iterator[None]:
    """Warnings of a training as sentences on a console, without Python's file and line."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, (LayerWarning, ResumeWarning)):
                console.print(f"[yellow]warning:[/yellow] {escape(str(message))}", soft_wrap=True)
            else:
                usual(message, category, *where, **more)

        warnings.showwarning = show
        yield


def report(run: Run) -> str:
    """A run's result in two or three lines."""
    found = run.summary
    if found is None:
        return f"not finished: {len(run.history)} of {run.experiment.training.epochs} epochs are done in {run.folder}"
    tested = "no test set" if found["test_loss"] is None else _reached("test", found)
    stopped = f", stopped after {found['epochs_trained']}" if found["epochs_trained"] < found["epochs"] else ""
    lines = [
        f"{tested}, {_reached('validation', found)} (best epoch {found['best_epoch']} of {found['epochs']}{stopped})",
        f"{found['samples_per_second']:,.0f} samples/s, {clock(found['seconds'])} in all, "
        f"on {found['engine']} ({found['device']})",
    ]
    return "\n".join([*lines, f"run: {run.folder}"] if run.folder else lines)


def _reached(part: str, found: Mapping[str, Any]) -> str:
    """``test accuracy 93.00%``, or the loss where there is no accuracy."""
    accuracy = found[f"{part}_accuracy"]
    return f"{part} loss {found[f'{part}_loss']:.4g}" if accuracy is None else f"{part} accuracy {accuracy:.2%}"


def _percent(name: str, share: float | None, loss: float | None = None) -> str:
    """``  accuracy 93.0%``; where there is none the loss, and where there is none of that nothing."""
    if share is not None:
        return f"  {name} {share:.1%}"
    return "" if loss is None else f"  {name} loss {loss:.3f}"


def clock(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
