"""docs/benchmark.svg: each workload's contestants as bars, from the .json files that the suite wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import machine
from report import KINDS, TITLES, read, sizes_in_words
from workload import Workload

from neuroport.bench.timing import number
from neuroport.pictures.palette import BLUE, FINE, SMALL, canvas

PATH = machine.ROOT / "docs" / "benchmark.svg"
PEER, FLOOR, INK = "#A8ADB3", "#DFE2E6", "#1F2328"  # on white: the same in a light page and in a dark one
COLORS = {"ours": BLUE, "peer": PEER, "floor": FLOOR}
COLUMNS = 2
LONGEST = 4.0  # a bar is cut off at so many times the median one: the short ones would not be seen beside it
WIDTH, LINE = 9.5, 0.19  # inches
WORDS = (
    "CPU time of one step, all cores, in ms: lower is better", "",
    "blue: neuroport; gray: other libraries, the fastest of",
    "the ways tried of each; pale: products without neurons", "",
    "who computes the same network was held to the",
    "reference before it was timed",
)


def write(folder: Path, path: Path = PATH) -> None:
    """Draw what was measured on the CPU; nothing where nothing was."""
    import matplotlib

    reports = [found for kind in KINDS if (found := read(folder, f"{kind}_cpu")) is not None]
    if reports:
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "neuroport"}):
            draw(reports).savefig(path, facecolor="white", metadata={"Date": None})


def bars(report: Mapping[str, Any]) -> list[tuple[str, float, str]]:
    """(contestant, CPU-ms of a step, kind), the fastest first; of a peer's ways the fastest."""
    rows = sorted(((name, row["cpu_ms"]["median"], row["kind"]) for name, row in report["results"].items()),
                  key=lambda row: row[1])
    shown, libraries = [], set()
    for name, value, kind in rows:
        library = name.split()[0] if kind == "peer" else name
        if library not in libraries:
            libraries.add(library)
            shown.append((name, value, kind))
    return shown


def draw(reports: Sequence[Mapping[str, Any]]) -> Any:
    """A matplotlib Figure with a panel for each workload, and what the bars are in the last place."""
    lines = -(-(len(reports) + 1) // COLUMNS)
    tallest = max(len(bars(report)) for report in reports)
    figure = canvas(None, WIDTH, lines * LINE * (tallest + 2.5))
    panels = figure.subplots(lines, COLUMNS, squeeze=False).ravel()
    for axis, report in zip(panels, reports, strict=False):
        _panel(axis, report)
    for axis in panels[len(reports) :]:
        axis.axis("off")
    panels[-1].text(0.0, 0.5, "\n".join(WORDS), va="center", fontsize=FINE, color=INK, linespacing=1.5,
                    transform=panels[-1].transAxes)
    return figure


def _panel(axis: Any, report: Mapping[str, Any]) -> None:
    rows, work = bars(report), Workload.from_dict(report["workload"])
    edge = LONGEST * sorted(value for _, value, _ in rows)[len(rows) // 2]
    shown = [min(value, edge) for _, value, _ in rows]
    axis.barh(range(len(rows)), shown, color=[COLORS[kind] for _, _, kind in rows], height=0.72)
    reach = max(shown)
    for index, (_, value, kind) in enumerate(rows):
        words = f"{number(value)}{' (cut off)' if value > edge else ''}"
        axis.text(shown[index] + 0.01 * reach, index, words, va="center", fontsize=FINE, color=INK,
                  fontweight="bold" if kind == "ours" else "normal")
    axis.set_yticks(range(len(rows)), [name for name, _, _ in rows], fontsize=FINE, color=INK)
    for label, (_, _, kind) in zip(axis.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if kind == "ours" else "normal")
    axis.invert_yaxis()
    axis.set_xlim(0, 1.15 * reach)
    axis.set_xticks([])
    axis.spines[["top", "right", "bottom"]].set_visible(False)
    axis.tick_params(length=0)
    axis.set_title(f"{TITLES[work.kind]}\n", loc="left", fontsize=SMALL, color=INK, fontweight="bold")
    axis.text(0.0, 1.02, sizes_in_words(work), transform=axis.transAxes, fontsize=FINE, color=INK)


if __name__ == "__main__":
    write(Path(__file__).resolve().parent / "results")
