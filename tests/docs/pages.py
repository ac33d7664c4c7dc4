"""The pages of the documentation as what runs in them: fenced blocks, in order.

A block titled with a file's name is that file. A block titled with another library's name is that library's
code and runs in its own environment (see ``run_in``).
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from neuroport.cli import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CARRIED = DOCS / "how-to" / "carry-to-another-library.md"
PEERS = ("snnTorch", "Spyx", "Norse")

OPENING = r"^```(?P<language>\w*)(?: title=\"(?P<title>[^\"]*)\")?\n"
FENCE = re.compile(OPENING + r"(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its title, its text, the line its text starts at (from 1), its section."""

    language: str
    title: str
    text: str
    line: int
    section: str


def pages() -> list[Path]:
    """Every page, the tutorial's too; the generated reference holds no code of its own."""
    return sorted(path for path in DOCS.rglob("*.md") if "reference" not in path.parts)


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        headings = re.findall(r"^#+ (.*)$", text[: match.start()], re.MULTILINE)
        line = text.count("\n", 0, match.start("text")) + 1
        section = headings[-1] if headings else ""
        found.append(Block(match["language"], match["title"] or "", match["text"], line, section))
    return found


def run(page: Path, folder: Path) -> dict[str, Any]:
    """Run everything of a page that runs here, top to bottom, in ``folder``; returns the names it leaves.

    The caller has made ``folder`` the working directory.
    """
    shutil.copytree(ROOT / "examples", folder / "examples")
    names: dict[str, Any] = {"__name__": f"page_{page.stem.replace('-', '_')}"}
    for block in blocks(page):
        if block.title in PEERS:
            continue
        if "." in block.title:
            (folder / block.title).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.title).write_text(block.text, encoding="utf-8")
        if block.language == "python":
            execute(block, page, names)
        elif block.language == "console":
            for line in block.text.splitlines():
                if line.startswith("$ neuroport"):
                    command_line(line.removeprefix("$ "), page, block)
    return names


def execute(block: Block, page: Path, names: dict[str, Any]) -> None:
    """Run a block of Python; a traceback points at the page's own lines."""
    exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec", dont_inherit=True), names)


def run_in(peer: str, snippets: Sequence[tuple[str, str]], folder: Path) -> dict[str, np.ndarray]:
    """What (section, code) pairs leave under the names of peer.py, run in ``folder`` by a peer's own interpreter.

    The test that asks is skipped where the peer is not installed.
    """
    python = ROOT / ".peers" / peer.lower() / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{peer} is not installed: bash benchmarks/make_peers.sh {peer.lower()}")
    asked, answer = folder / "snippets.json", folder / "found.npz"
    asked.write_text(json.dumps(snippets), encoding="utf-8")
    command = [str(python), str(Path(__file__).with_name("peer.py")), str(asked), str(answer)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # two make steps as small as these ten times slower
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, env=one_thread)
    assert done.returncode == 0, done.stderr
    with np.load(answer) as found:
        return dict(found)


def command_line(line: str, page: Path, block: Block) -> None:
    """Run a command of neuroport's. Anything but exit code 0 is an error."""
    done = CliRunner().invoke(app, shlex.split(line, comments=True)[1:])
    assert done.exit_code == 0, f"{page.name}, line {block.line}: {line}\n{done.output}\n{done.exception!r}"
