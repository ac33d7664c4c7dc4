"""All commands together. Exit codes: 0 done, 1 the work failed, 2 the request was wrong, 130 stopped by the user."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from neuroport.cli.bench import bench
from neuroport.cli.compare import compare
from neuroport.cli.data import data
from neuroport.cli.doctor import doctor
from neuroport.cli.engines import engines
from neuroport.cli.evaluate import evaluate
from neuroport.cli.nir import nir
from neuroport.cli.options import examples
from neuroport.cli.output import plain_warnings
from neuroport.cli.plot import plot
from neuroport.cli.simulate import simulate
from neuroport.cli.train import train
from neuroport.errors import NeuroportError
from neuroport.runtime.imports import failed_in_own
from neuroport.version import __version__

app = typer.Typer(
    name="neuroport", no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog=examples(
        "neuroport train examples/braille.yaml --engine torch --out runs/first",
        "neuroport evaluate runs/first",
        "neuroport plot runs/first",
        "neuroport COMMAND --help",
        "neuroport --install-completion      # then the Tab key completes commands, engines and files",
    ),
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"neuroport {__version__}")
        raise typer.Exit


@app.callback()
def neuroport(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", callback=_version,
                                          is_eager=True)] = False,
) -> None:
    """Spiking neural networks, described once and run on any engine."""


app.command(epilog=examples(
    "neuroport train examples/braille.yaml --engine jax",
    "neuroport train mine.yaml --import my_neurons.py --epochs 20 --seed 3 --out runs/mine",
    "neuroport train mine.yaml --out runs/mine --resume      # goes on where it was stopped",
))(train)
app.command(epilog=examples(
    "neuroport evaluate runs/first",
    "neuroport evaluate runs/first --engine reference --part validation",
    "neuroport evaluate runs/first --json",
))(evaluate)
app.command(epilog=examples(
    "neuroport compare examples/braille.yaml --engines jax,torch,reference",
    "neuroport compare mine.yaml --engines torch --seeds 5 --epochs 20 --out compared",
    "neuroport compare mine.yaml --engines jax,torch --picture compared.svg",
))(compare)
app.command(epilog=examples(
    "neuroport bench",
    "neuroport bench --size recurrent --engines jax,torch --precision float32,bfloat16",
    "neuroport bench mine.yaml --rounds 20 --json",
))(bench)
app.command(epilog=examples(
    "neuroport simulate runs/first --sample 3 --plot raster.png",
    "neuroport simulate model.yaml --poisson 40 --steps 500 --record spikes --record v --out traces.npz",
    "neuroport simulate model.yaml --parameters trained.safetensors --input spikes.npy --engine torch",
))(simulate)
app.command(epilog=examples(
    "neuroport plot runs/first",
    "neuroport plot runs/first --out pictures --format pdf",
))(plot)
app.add_typer(data, name="data")
app.add_typer(nir, name="nir")
app.command(epilog=examples("neuroport engines", "neuroport engines --json"))(engines)
app.command(epilog=examples("neuroport doctor", "neuroport doctor --json"))(doctor)


def main() -> None:
    """Run the command line."""
    plain_warnings()
    try:
        app()
    except NeuroportError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130)  # at once: a compiler that still works in another thread would crash in an orderly exit
    except BrokenPipeError:  # whoever read our output has had enough, such as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        said = failed_in_own(error)
        if not said:
            raise
        print(f"error: your own code failed: {said}", file=sys.stderr)
        sys.exit(1)
