"""What commands print: one JSON document, or text and tables for people."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

from neuroport.errors import UnusualValue

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 100  # where there is no terminal to ask


@contextmanager
def nothing_else() -> Iterator[None]:
    """Standard output is kept for the answer: what engines, plugins and users' files print goes to standard error."""
    with redirect_stdout(sys.stderr):
        yield


def print_json(data: Any) -> None:
    """One document; NaN and infinities, which JSON lacks, become null."""
    print(json.dumps(_finite(data), indent=2, allow_nan=False))


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(key): _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    if isinstance(data, float) and not -float("inf") < data < float("inf"):
        return None
    return data


def console(stderr: bool = False) -> Console:
    """Where people read; 100 columns where it is no terminal."""
    from rich.console import Console

    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, highlight=False, width=None if terminal else WIDTH)


def teller(quiet: bool) -> Callable[[str], None]:
    """Tells people how far a command is, on standard error; nothing where they asked for quiet."""
    errors = console(stderr=True)
    return (lambda sentence: None) if quiet else (lambda sentence: errors.print(sentence, style="dim", markup=False))


def plain_warnings() -> None:
    """From here on, what is unusual about a model is a sentence on standard error, without Python's file and line."""
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, UnusualValue):
            print(f"warning: {message}", file=sys.stderr)
        else:
            usual(message, category, *where, **more)

    warnings.showwarning = show
