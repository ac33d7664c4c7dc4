"""A user's own neurons and losses: Python that is imported before a description is read."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from neuroport.errors import Invalid, NeuroportError, Problem

_own: set[str] = set()  # files that were imported for the user


def import_first(names: Sequence[str] | None) -> None:
    """Import files (``neurons.py``, ``my/neurons.py``) and modules (``my.neurons``), each once.

    Raises Invalid with all that cannot be imported, and why.
    """
    problems = []
    for name in names or ():
        try:
            _import(name)
        except NeuroportError as error:
            problems.append(_problem(name, error, str(error)))
        except FileNotFoundError:
            mend = f"the path is taken from {Path.cwd()}"
            problems.append(Problem(f"--import {name}", "there is no such file", mend))
        except (Exception, SystemExit) as error:  # the user's code: whatever it raises is worth a sentence
            problems.append(_problem(name, error, f"{type(error).__name__}: {error}"))
    if problems:
        raise Invalid(problems, "request")


def _import(name: str) -> None:
    if not name.endswith(".py") and "/" not in name:
        _look_in(Path.cwd())
        _own.add(str(importlib.import_module(name).__file__))
        return
    path = Path(name).resolve()
    if not path.is_file():
        raise FileNotFoundError(path)
    known = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    if str(path) in known:
        return
    _look_in(path.parent)  # for what lies beside it
    title = path.stem if path.stem not in sys.modules else f"{path.stem}_of_{path.parent.name}"
    spec = importlib.util.spec_from_file_location(title, path)
    if spec is None or spec.loader is None:
        raise ImportError("it is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[title] = module
    _own.add(str(path))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[title]
        raise


def failed_in_own(error: BaseException) -> str:
    """In a sentence what failed, if it did in a line of a user's file; "" where it is none of theirs."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or frames[-1].filename not in _own:
        return ""
    last = frames[-1]
    return f"{type(error).__name__}: {error}\n  in {last.name} ({last.filename}, line {last.lineno}): {last.line}"


def _look_in(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _problem(name: str, error: BaseException, said: str) -> Problem:
    """What failed, and in which line of which file of the user's."""
    path = f"--import {name}"
    own = [frame for frame in traceback.extract_tb(error.__traceback__)
           if "importlib" not in frame.filename and frame.filename != __file__]
    place = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
    if missing and not own:
        mend = f"give a file, ./{name}.py, or a module that Python finds from {Path.cwd()}"
        return Problem(path, f"there is no module {missing!r}", mend)
    mend = f"install {missing!r}, or put it beside the file" if missing else "mend it there"
    return Problem(path, f"failed: {' '.join(said.split())}{place}", mend)
