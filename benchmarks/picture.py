"""docs/benchmark.svg: a bar for each contestant of each workload, from the .json files that the suite wrote."""

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
PEER, FLOOR, INK = "#A8ADB3", "#E3E5E8", "#1F2328"  # on white: the same in a light page and in a dark one
COLORS = {"ours": BLUE, "peer": PEER, "floor": FLOOR}
LONGEST = 6.0  # a bar is cut off at so many times the median one: the short ones would not be seen beside it
LINE = 0.21  # inches


def write(folder: Path, path: Path = PATH) -> None:
    """Draw what was measured on the CPU; nothing where nothing was."""
    reports = [found for kind in KINDS if (found := read(folder, f"{kind}_cpu")) is not None]
    if reports:
        draw(reports).savefig(path, facecolor="white", metadata={"Date": None})


def bars(report: Mapping[str, Any]) -> list[tuple[str, float, str]]:
    """(contestant, CPU-ms of a step, kind), the fastest first."""
    rows = [(name, row["cpu_ms"]["median"], row["kind"]) for name, row in report["results"].items()]
    return sorted(rows, key=lambda row: row[1])


def draw(reports: Sequence[Mapping[str, Any]]) -> Any:
    """A matplotlib Figure with a panel for each workload."""
    import matplotlib

    heights = [len(report["results"]) + 2.2 for report in reports]
    figure = canvas(None, 8.0, LINE * sum(heights) + 0.7)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "neuroport"}):
        panels = figure.subplots(len(reports), 1, height_ratios=heights, squeeze=False)[:, 0]
        for axis, report in zip(panels, reports, strict=True):
            _panel(axis, report)
        figure.suptitle("CPU time of one step in ms, lower is better", x=0.01, ha="left", fontsize=SMALL,
                        fontweight="bold", color=INK)
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
    axis.set_xlim(0, 1.12 * reach)
    axis.set_xticks([])
    axis.spines[["top", "right", "bottom"]].set_visible(False)
    axis.tick_params(length=0)
    axis.set_title(f"{TITLES[work.kind]}: {sizes_in_words(work)}", loc="left", fontsize=FINE, color=INK)


if __name__ == "__main__":
    write(Path(__file__).resolve().parent / "results")
