"""``neuroport engines``: what is installed."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from neuroport.cli.options import Json
from neuroport.cli.output import console, nothing_else, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from neuroport.api import EngineRecord


def engines(as_json: Json = False) -> None:
    """Installed engines, their versions, devices and state."""
    from neuroport.api import engines as listing

    with nothing_else():
        found = listing()
    if as_json:
        print_json([asdict(one) for one in found])
    elif found:
        console().print(engine_table(found))
    else:
        print("no engine is registered")


def engine_table(found: list[EngineRecord]) -> Table:
    """An engine a row; the reason where one is not ready."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("engine", "state", "devices", "computes with", "comes from"):
        table.add_column(heading, overflow="fold")
    for one in found:
        style = {"ready": "green", "unavailable": "yellow"}.get(one.state, "red")
        versions = ", ".join(f"{name} {version}" for name, version in one.versions.items())
        reason = " ".join(part.strip() for part in one.reason.splitlines())
        table.add_row(
            escape(one.name) + (" [dim](default)[/dim]" if one.default else ""), f"[{style}]{one.state}[/{style}]",
            escape(", ".join(one.devices)), escape(versions or reason),
            escape(f"{one.distribution} {one.version}".strip()),
        )
    return table
