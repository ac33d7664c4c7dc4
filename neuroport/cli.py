"""The command ``neuroport``. Each command is a small function; what is heavy is imported within."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
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

    found = listing()
    if as_json:
        _print_json([asdict(one) for one in found])
        return
    print("\n".join(line.removeprefix("  ") for one in found for line in engine_lines(one)) or "no engine is registered")


@app.command()
def doctor(as_json: Json = False) -> None:
    """The environment, broken plugins, and what to install."""
    from neuroport.doctor import described, examine

    report = examine()
    if as_json:
        _print_json(report.to_data())
    else:
        print(described(report))


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
