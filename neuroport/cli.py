"""The command ``neuroport``. Each command is a small function; what is heavy is imported within."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from neuroport.errors import NeuroportError

app = typer.Typer(
    name="neuroport", help="Spiking neural networks, described once and run on any engine.",
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, nothing else.")]


@app.command()
def engines(as_json: Json = False) -> None:
    """Installed engines, their versions, devices and state."""
    from neuroport.api import engines as listing
    from neuroport.doctor import engine_lines

    with redirect_stdout(sys.stderr):  # a stranger's engine may print while it is imported
        found = listing()
    if as_json:
        _print_json([asdict(one) for one in found])
        return
    lines = [line.removeprefix("  ") for one in found for line in engine_lines(one)]
    print("\n".join(lines or ["no engine is registered"]))


@app.command()
def doctor(as_json: Json = False) -> None:
    """The environment, broken plugins, and what to install."""
    from neuroport.doctor import described, examine

    with redirect_stdout(sys.stderr):
        report = examine()
    if as_json:
        _print_json(report.to_data())
    else:
        print(described(report))


@app.command()
def train(
    experiment: Annotated[Path, typer.Argument(help="The experiment, a .yaml or .json file.")],
    engine: Annotated[str | None, typer.Option(help="Which engine; the first that can, if left out.")] = None,
    device: Annotated[str | None, typer.Option(help="One of the engine's devices.")] = None,
    epochs: Annotated[int | None, typer.Option(help="In place of the experiment's.")] = None,
    seed: Annotated[int | None, typer.Option(help="In place of the experiment's.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="In place of the experiment's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the run; runs/NAME-ENGINE, if left out.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    as_json: Json = False,
) -> None:
    """Train, and write the run to a folder."""
    from rich.console import Console

    from neuroport.model.training import Experiment
    from neuroport.runtime.fit import fit
    from neuroport.runtime.folder import unused
    from neuroport.runtime.overrides import overridden
    from neuroport.runtime.progress import LiveProgress, report, warnings_on

    described = overridden(Experiment.load(experiment), epochs, seed, batch_size)
    if out is None:
        out = unused(Path("runs") / "-".join(filter(None, [described.name or experiment.stem, engine])))
    console = Console(stderr=True)
    with warnings_on(console):
        run = fit(described, engine, out, [] if quiet else [LiveProgress(console)], device)
    if as_json:
        _print_json(run.summary)
    else:
        print(report(run))


def _print_json(data: Any) -> None:
    json.dump(data, sys.stdout, indent=2)
    print()


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 the work failed, 2 the request was wrong."""
    try:
        app()
    except NeuroportError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
