"""A screen of letters as a picture: .svg, or .png and .pdf."""

from __future__ import annotations

import re
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from neuroport.compare.screen import WIDTH
from neuroport.errors import Invalid, NotWritten, Problem

SUFFIXES = (".svg", ".png", ".pdf")
FACES = "Consolas, Menlo, 'DejaVu Sans Mono', 'Liberation Mono'"
POINTS = 9.0
COLUMN, LINE = 0.602 * POINTS / 72, 1.35 * POINTS / 72  # inches


def check_picture(path: Path) -> None:
    """Raises Invalid where a picture cannot be written under that name."""
    if path.suffix.lower() not in SUFFIXES:
        mend = f"end it in {', '.join(SUFFIXES)}"
        raise Invalid([Problem("--picture", f"{path} has no known ending", mend)], "request")
    if not path.parent.is_dir():
        raise Invalid([Problem("--picture", f"there is no folder {path.parent}", "make it first")], "request")


def write_picture(shown: RenderableType, path: Path, title: str) -> None:
    """Draw what a console would show into a file. title: the line above it, such as the command. Raises NotWritten."""
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True, color_system="truecolor")
    try:
        if path.suffix.lower() == ".svg":
            path.write_text(_svg(console, shown, title), encoding="utf-8")
        else:
            _figure(console, shown, title).savefig(path)
    except OSError as error:
        raise NotWritten(f"{path} cannot be written: {error.strerror or error}\n  mend: make room there") from None


def _svg(console: Console, shown: RenderableType, title: str) -> str:
    console.print(shown)
    svg = console.export_svg(title=title)
    # fonts from the net would not load inside a README; the file fixes the width of each line anyway
    return re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code", FACES)


def _figure(console: Console, shown: RenderableType, title: str) -> Any:
    """The same letters in a matplotlib Figure: a column is 0.602 of the height of its font."""
    from matplotlib.figure import Figure
    from rich.terminal_theme import SVG_EXPORT_THEME as THEME

    lines = console.render_lines(shown, pad=False)
    width, height = (WIDTH + 4) * COLUMN, (len(lines) + 4) * LINE
    figure = Figure(figsize=(width, height), dpi=150, facecolor=_hex(THEME.background_color))
    letters: dict[str, Any] = {"family": "DejaVu Sans Mono", "fontsize": POINTS, "va": "top"}
    figure.text(0.5, 1 - LINE / height, title, ha="center", color=_hex(THEME.foreground_color), **letters)
    for row, line in enumerate(lines):
        column = 2
        for segment in line:
            style = segment.style
            color = THEME.foreground_color if style is None or style.color is None else style.color.get_truecolor(THEME)
            weight = "bold" if style is not None and style.bold else "normal"
            alpha = 0.6 if style is not None and style.dim else 1.0
            figure.text(column * COLUMN / width, 1 - (row + 3) * LINE / height, segment.text, color=_hex(color),
                        weight=weight, alpha=alpha, parse_math=False, **letters)
            column += segment.cell_length
    return figure


def _hex(color: Iterable[int]) -> str:
    return "#" + "".join(f"{part:02x}" for part in color)
