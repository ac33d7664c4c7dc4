"""``neuroport evaluate``: what trained parameters do on a part of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from neuroport.cli.options import Device, EngineOfRun, Imports, Json, Precision, RunFolder
from neuroport.cli.output import console, nothing_else, print_json
from neuroport.runtime.imports import import_first

if TYPE_CHECKING:
    from rich.table import Table

    from neuroport.runtime.evaluate import Evaluation

MATRIX = 16  # classes whose confusions fit on a screen


def evaluate(
    run: RunFolder,
    engine: EngineOfRun = None,
    device: Device = None,
    part: Annotated[str, typer.Option(help="Which part of the data: train, validation or test.")] = "test",
    precision: Precision = None,
    imports: Imports = None,
    as_json: Json = False,
) -> None:
    """Judge a run's best parameters on a part of its data, on any engine.

    Accuracy, which classes are taken for which, and how the neurons spike.
    """
    from neuroport.runtime.evaluate import evaluate as evaluated
    from neuroport.runtime.run import Run

    with nothing_else():
        import_first(imports)
        loaded = Run.load(run)
        found = evaluated(loaded, part, engine, device, precision=precision)
    if as_json:
        print_json(found.to_data())
        return
    screen = console()
    screen.print(_head(found))
    if found.confusion is not None:
        screen.print(class_table(found))
    if found.rates:
        screen.print(rate_table(found, loaded.model.dt))


def _head(found: Evaluation) -> str:
    about = f"{found.samples} {found.part} samples on {found.engine} ({found.device})"
    measures = [f"loss {found.loss:.4g}"]
    measures += [f"{label} {'no number' if value is None else f'{value:.4g}'}"
                 for label, value in found.metrics.items()]
    right = "" if found.accuracy is None else f"accuracy [b]{found.accuracy:.2%}[/b], "
    return f"{about}: {right}{', '.join(measures)}"


def class_table(found: Evaluation) -> Table:
    """A true class a row, decided classes as columns where they fit, and the share decided rightly."""
    from rich import box
    from rich.table import Table

    assert found.confusion is not None and found.per_class is not None
    whole = len(found.confusion) <= MATRIX
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("true class" + (" ╲ decided" if whole else ""), justify="right")
    for label in range(len(found.confusion)) if whole else ():
        table.add_column(str(label), justify="right")
    table.add_column("right", justify="right")
    table.add_column("of", justify="right")
    if not whole:
        table.add_column("most often taken for")
    for label, counts in enumerate(found.confusion):
        row = [str(label)]
        if whole:
            row += [f"[b]{count}[/b]" if column == label else (str(count) if count else "[dim]·[/dim]")
                    for column, count in enumerate(counts)]
        total = int(counts.sum())
        row += [f"{found.per_class[label]:.1%}" if total else "", str(total)]
        if not whole:
            others = sorted(((int(count), other) for other, count in enumerate(counts) if other != label and count),
                            reverse=True)[:3]
            row.append(", ".join(f"{other} ({count}×)" for count, other in others))
        table.add_row(*row)
    return table


def rate_table(found: Evaluation, dt: float) -> Table:
    """How often the neurons of each population spike."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("population")
    for heading in ("neurons", "spikes/s each", "spikes a step", "silent", "saturated"):
        table.add_column(heading, justify="right")
    for name, rate in found.rates.items():
        mean = float(rate.mean())
        table.add_row(escape(name), str(rate.size), f"{mean / dt:.3g}", f"{mean:.3g}",
                      str(found.silent[name]), str(found.saturated[name]))
    return table
