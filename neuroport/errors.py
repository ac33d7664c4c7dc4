"""Every error a user can meet. Each names the place, what is wrong there and the mend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class NeuroportError(Exception):
    """Base of every error that neuroport raises on purpose."""


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
        super().__init__("\n".join([head, *(f"  - {problem}" for problem in self.problems)]))


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
        lines = [f'engine "{engine}" cannot run this model ({count})']
        lines += [f"  {gap.path}: {gap.wrong}" for gap in self.gaps]
        lines.append(f"Installed engines that can: {', '.join(self.able) or 'none'}")
        super().__init__("\n".join(lines))


class UnknownEngine(NeuroportError):
    """No engine of that name is registered; the message lists those that are."""


class EngineUnavailable(NeuroportError):
    """The engine is registered, but a module or device that it needs is missing."""


class DuplicateEngine(NeuroportError):
    """Two distributions register an engine of the same name; neither is used."""
