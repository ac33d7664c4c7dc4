"""``neuroport simulate``: one run of a network, its spikes in a table, its traces in a file, a raster plot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuroport.cli.options import (
    Device,
    Engine,
    Imports,
    Json,
    any_files,
    array_files,
    described_files,
    safetensors_files,
)
from neuroport.cli.output import console, nothing_else, print_json
from neuroport.runtime.imports import import_first


def simulate(
    model: Annotated[Path, typer.Argument(
        metavar="MODEL", autocompletion=described_files,
        help="A model or an experiment, .yaml or .json, or the folder of a run.")],
    engine: Engine = None,
    device: Device = None,
    parameters: Annotated[Path | None, typer.Option(
        help="A .safetensors file or a run; if left out, the run's own, else initial values.",
        autocompletion=safetensors_files)] = None,
    input: Annotated[Path | None, typer.Option(
        help="Input from .npy or .npz, (steps, batch, ...) or (steps, ...).", autocompletion=array_files)] = None,
    poisson: Annotated[float | None, typer.Option(help="Random input: spikes a second in each channel.")] = None,
    data: Annotated[str | None, typer.Option(
        help="Input from a data source; if left out, the experiment's own.")] = None,
    part: Annotated[str | None, typer.Option(
        help="Which part of the data; if left out, test or else validation.")] = None,
    sample: Annotated[int | None, typer.Option(help="Which sample of the part; if left out, the first.")] = None,
    steps: Annotated[int | None, typer.Option(help="Time steps; if left out, all there are, 200 of --poisson.")] = None,
    seed: Annotated[int | None, typer.Option(
        help="Of initial parameters and random input; if left out, the experiment's, else 0.")] = None,
    record: Annotated[list[str] | None, typer.Option(
        help="Traces for --out: NODE, NODE.VARIABLE or VARIABLE; several times. If left out, spikes.")] = None,
    out: Annotated[Path | None, typer.Option(
        help="Write inputs, outputs and traces into this .npz file.", autocompletion=any_files)] = None,
    plot: Annotated[Path | None, typer.Option(
        help="Draw the spikes of all layers into this file, .png, .svg or .pdf.", autocompletion=any_files)] = None,
    imports: Imports = None,
    as_json: Json = False,
) -> None:
    """Run a network once: how its populations spike, traces for a file, a raster plot."""
    from neuroport.cli.described import read_described
    from neuroport.cli.simulated import draw, lines, simulated, write_traces
    from neuroport.cli.stimulus import Wanted, stimulus

    with nothing_else():
        _check_files(out, plot)
        import_first(imports)
        described = read_described(model)
        start = seed if seed is not None else described.experiment.seed if described.experiment else 0
        given = stimulus(Wanted(input, poisson, data, part, sample, steps, start), described)
        found = simulated(described, given, parameters, start, record or (), engine, device)
        if out is not None:
            write_traces(found, out)
        if plot is not None:
            draw(found, plot)
    if as_json:
        print_json({**found.to_data(), "seed": start, "traces": out and str(out), "picture": plot and str(plot)})
        return
    screen = console()
    for line in lines(found):
        screen.print(line)
    for what, path in (("traces", out), ("picture", plot)):
        if path is not None:
            screen.print(f"{what}: {path}", markup=False, soft_wrap=True)


def _check_files(out: Path | None, plot: Path | None) -> None:
    """What keeps the answer from being written is said before anything runs. Raises Invalid and MissingPackage."""
    from neuroport.errors import Invalid, Problem

    problems = []
    for option, path, endings in (("--out", out, (".npz",)), ("--plot", plot, (".png", ".svg", ".pdf"))):
        if path is not None and path.suffix.lower() not in endings:
            problems.append(Problem(option, f"{path} has no known ending", f"end it in {' or '.join(endings)}"))
        if path is not None and not path.parent.is_dir():
            problems.append(Problem(option, f"there is no folder {path.parent}", "make it first"))
    if problems:
        raise Invalid(problems, "request")
    if plot is not None:
        from neuroport.pictures.of_run import need_matplotlib

        need_matplotlib()
