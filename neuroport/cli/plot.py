"""``neuroport plot``: pictures of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuroport.cli.options import Device, EngineOfRun, Imports, Json, RunFolder, any_files
from neuroport.cli.output import nothing_else, print_json
from neuroport.runtime.imports import import_first


def plot(
    run: RunFolder,
    out: Annotated[Path | None, typer.Option(
        help="Folder for the pictures; if left out, RUN/pictures.", autocompletion=any_files)] = None,
    format: Annotated[str, typer.Option(help="png, svg or pdf.")] = "png",
    part: Annotated[str | None, typer.Option(
        help="The part of the data for decisions, rates and the sample; if left out, test or else validation.")] = None,
    sample: Annotated[int, typer.Option(help="Whose spikes and potentials are shown.")] = 0,
    engine: EngineOfRun = None,
    device: Device = None,
    imports: Imports = None,
    as_json: Json = False,
) -> None:
    """Pictures of a run: training curves, confusions, raster, potentials, weights, rates, the graph."""
    from neuroport.pictures.of_run import plot as drawn

    with nothing_else():
        import_first(imports)
        paths = drawn(run, out, format, part, sample, engine, device)
    if as_json:
        print_json({"pictures": [str(path) for path in paths]})
    else:
        print("\n".join(map(str, paths)))
