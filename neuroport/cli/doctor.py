"""``neuroport doctor``: what works here, what does not, and the mend."""

from __future__ import annotations

from neuroport.cli.options import Json
from neuroport.cli.output import nothing_else, print_json


def doctor(as_json: Json = False) -> None:
    """The environment, broken plugins, and what to install."""
    from neuroport.doctor import described, examine

    with nothing_else():
        report = examine()
    if as_json:
        print_json(report.to_data())
    else:
        print(described(report))
