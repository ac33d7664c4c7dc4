"""Every error a user can meet. Each names the place, what is wrong there and the mend."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

WIDTH, LINES = 150, 34  # what a message may take, so that it fits on one screen


def listed(names: Iterable[object], most: int = 12) -> str:
    """``a, b, c``; of many the first ones and how many more there are."""
    every = [str(name) for name in names]
    shown = ", ".join(every[:most]) or "none"
    return shown if len(every) <= most else f"{shown} and {len(every) - most} more"


def _on_one_screen(head: str, items: Iterable[str], tail: str = "") -> str:
    """A heading and indented items, wrapped; those that no longer fit are counted."""
    lines, waiting = [head], list(items)
    while waiting:
        wrapped = [piece for line in waiting[0].splitlines() for piece in _wrapped(line)]
        if len(lines) > 1 and len(lines) + len(wrapped) > LINES:
            lines.append(f"  ... and {len(waiting)} more (in the error's list of them)")
            break
        lines += wrapped[:LINES]
        waiting.pop(0)
    return "\n".join([*lines, *([tail] if tail else [])])


def _wrapped(line: str) -> list[str]:
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.wrap(line, WIDTH, subsequent_indent=indent + "    ", break_on_hyphens=False) or [line]


class NeuroportError(Exception):
    """Base of every error that neuroport raises on purpose.

    exit_code: of the command that meets it: 2 where the request was wrong, 1 where the work failed.
    """

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True)
class Problem:
    """One fault of a description: where it stands, what is wrong, how to mend it."""

    path: str
    wrong: str
    mend: str = ""

    def __str__(self) -> str:
        line = f"{self.path}: {self.wrong}" if self.path else self.wrong
        return f"{line}\n      mend: {self.mend}" if self.mend else line

    def under(self, prefix: str) -> Problem:
        """The same problem seen from one level further out."""
        path = ".".join(part for part in (prefix, self.path) if part)
        return Problem(path, self.wrong, self.mend)


class Invalid(NeuroportError):
    """A description with one or more problems, all of them listed."""

    subject = "description"

    def __init__(self, problems: Sequence[Problem], subject: str | None = None):
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        head = f"invalid {subject or self.subject} ({count})"
        super().__init__(_on_one_screen(head, (f"  - {problem}" for problem in self.problems)))


class InvalidModel(Invalid):
    """A model (or a node of one) that cannot be: every problem, each with its node's path."""

    subject = "model"


class InvalidExperiment(Invalid):
    """An experiment whose model, data or training section cannot be: every problem at once."""

    subject = "experiment"


class InvalidData(Invalid):
    """Arrays that do not fit: inputs, targets, parameters, states, data sets."""

    subject = "data"


class UnsupportedModel(NeuroportError):
    """The chosen engine cannot run this model: every gap, and the engines that can."""

    def __init__(self, engine: str, gaps: Sequence[Problem], able: Iterable[str] = ()):
        self.engine, self.gaps, self.able = engine, tuple(gaps), tuple(able)
        count = f"{len(self.gaps)} gap{'s' if len(self.gaps) != 1 else ''}"
        head = f'engine "{engine}" cannot run this model ({count})'
        lines = (f"  {gap.path}: {gap.wrong}" for gap in self.gaps)
        super().__init__(_on_one_screen(head, lines, f"Installed engines that can: {listed(self.able)}"))


class NoSuchView(NeuroportError):
    """An executable gives no such view of a model: not every framework has the form that is asked for."""

    def __init__(self, executable: str, view: str, views: Iterable[str]):
        given = " and ".join(f".{name}()" for name in views)
        mend = f"use {given} here" if given else "use run(), gradients() and train_segment() here"
        super().__init__(
            f"{executable} gives no .{view}(): that is the form of another engine's framework\n"
            f"  mend: {mend}, or compile the model for an engine that has it: npt.compile(model, engine=...).{view}()"
        )


class UnknownEngine(NeuroportError):
    """No engine of that name is registered; the message lists those that are."""


class EngineUnavailable(NeuroportError):
    """The engine is registered, but a module or device that it needs is missing."""


class UnknownDevice(NeuroportError):
    """The engine is there, but it has no device of that name; the message lists those it has."""


class DuplicateEngine(NeuroportError):
    """Two distributions register an engine of the same name; neither is used."""


class UnusableFolder(NeuroportError):
    """A run cannot be written there: not writable, or another run stands in it."""


class CannotResume(Invalid):
    """A run that cannot go on as it is asked to: another experiment, engine, device or data, or nothing whole."""

    subject = "continuation"


class NotWritten(NeuroportError):
    """A disk filled up, or a file could no longer be written, while the work was under way."""

    exit_code = 1


class MissingPackage(NeuroportError):
    """A package that only this asks for is not installed; the message has the pip line."""


class TrainingDiverged(NeuroportError):
    """A loss became NaN or infinite; the message names the epoch and what to try."""

    exit_code = 1


class UnusualValue(UserWarning):
    """A model has a time constant that is hardly meant, such as 20 seconds; it runs as it stands."""
