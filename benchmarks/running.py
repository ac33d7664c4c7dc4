"""A contestant's process: how it is started, asked, and taken out where it fails."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import machine
from contestants import Entry

from neuroport.compare.processes import Conversation, Ended

HERE = Path(__file__).resolve().parent
CAPTURED = 2000  # last letters of what a process says that ends


class LeftOut(Exception):
    """A contestant that is not timed, and why."""


@contextmanager
def opened(entry: Entry, device: str, log: Path) -> Iterator[Conversation]:
    """A contestant's process. log: where what it prints goes. Raises LeftOut where it has no interpreter."""
    if not entry.python.exists():
        name = entry.python.parts[-3]
        raise LeftOut(f"not installed here: run benchmarks/make_peers.sh {name}")
    if device != "cpu" and entry.kind != "ours":
        raise LeftOut("its contestant is written for the CPU")
    command = [*entry.command, *([device] if device != "cpu" else [])]
    paths = os.pathsep.join([str(machine.ROOT), str(machine.ROOT / "engines")]) if entry.kind == "ours" else ""
    environment = {"PYTHONPATH": paths} | ({"OMP_NUM_THREADS": str(entry.threads)} if entry.threads else {})
    with Conversation([str(entry.python), str(HERE / "worker.py"), *command], environment, log) as process:
        yield process


def asked(process: Conversation, request: dict[str, Any], log: Path) -> dict[str, Any]:
    """The answer. Raises LeftOut, with the last line that the process wrote, where it ended."""
    try:
        answer: dict[str, Any] = process.ask(request)
        return answer
    except Ended as ended:
        lines = log.read_text(encoding="utf-8", errors="replace")[-CAPTURED:].strip().splitlines()
        raise LeftOut(lines[-1] if lines else f"its process ended {ended}") from None
