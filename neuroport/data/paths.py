"""Paths as users write them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from neuroport.errors import InvalidData, InvalidExperiment, Problem

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}|\$(\w+)")


def expanded(path: str | Path, option: str = "path") -> Path:
    """``~``, ``$NAME``, ``${NAME}`` and ``${NAME:-default}`` replaced; relative to the current folder.

    Raises InvalidExperiment for a variable that is not set and has no default.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[3]
        found = os.environ.get(name) or match[2]
        if found is None:
            wrong = f"{path} needs the environment variable {name}, which is not set"
            raise InvalidExperiment([Problem(f"data.options.{option}", wrong, f"export {name}=FOLDER")])
        return found

    return Path(_VARIABLE.sub(value, str(path))).expanduser()


def folder(path: str | Path, holds: str, option: str = "path") -> Path:
    """An existing folder. holds: what belongs there, for the error. Raises InvalidData."""
    found = expanded(path, option)
    if not found.is_dir():
        wrong = "is no folder" if found.exists() else "there is no such folder"
        mend = f"give the folder that holds {holds}" if found.exists() else f"put {holds} there"
        raise InvalidData([Problem(str(found), wrong, f"{mend} (taken from {Path.cwd()})")])
    return found


def only(found: Iterable[Path], where: Path, what: str) -> Path:
    """The one file that was looked for. Raises InvalidData where there is none, or several."""
    paths = sorted(found)
    if len(paths) != 1:
        wrong = f"holds no {what}" if not paths else f"holds several: {', '.join(path.name for path in paths)}"
        raise InvalidData([Problem(str(where), wrong, f"put a {what} there, or name the file")])
    return paths[0]
