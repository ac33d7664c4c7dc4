"""What ``neuroport doctor`` finds: the environment, the engines, and what is broken with its mend."""

from __future__ import annotations

import platform
import re
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from neuroport.api import EngineRecord, engines
from neuroport.registry import Broken, registry

_OWN = "neuroport"


@dataclass(frozen=True)
class Report:
    """environment: what runs. packages: version of each dependency, None where it is not installed.

    extras: the extra that brings a dependency, where it is no core one. duplicates: who claims a name.
    """

    environment: dict[str, str]
    packages: dict[str, str | None]
    extras: dict[str, str]
    engines: list[EngineRecord]
    sources: dict[str, str]
    broken: list[Broken]
    duplicates: dict[str, list[str]]

    @property
    def healthy(self) -> bool:
        """Whether nothing needs a mend: an engine runs, no plugin is broken, no name is claimed twice."""
        return not self.broken and not self.duplicates and any(one.state == "ready" for one in self.engines)

    def to_data(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return {**asdict(self), "healthy": self.healthy}


def examine() -> Report:
    """Look at everything; imports the engines that are usable."""
    known = registry()
    packages, extras = _dependencies()
    return Report(
        environment={
            "python": platform.python_version(), "platform": platform.platform(), _OWN: _version(_OWN) or "source",
        },
        packages=packages,
        extras=extras,
        engines=engines(),
        sources={name: one.info.summary for name, one in known.sources.items()},
        broken=list(known.broken),
        duplicates={name: [str(one.origin) for one in those] for name, those in known.duplicates.items()},
    )


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _dependencies() -> tuple[dict[str, str | None], dict[str, str]]:
    """Installed versions of what neuroport itself declares, and the extras they belong to; not the tests'."""
    packages: dict[str, str | None] = {}
    extras: dict[str, str] = {}
    try:
        declared = metadata.requires(_OWN) or []
    except metadata.PackageNotFoundError:
        declared = []
    for requirement in declared:
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        extra = re.search(r"extra == ['\"]([^'\"]+)", requirement)
        if name == _OWN or (extra and extra[1] in ("test", "all")):
            continue
        packages[name] = _version(name)
        if extra:
            extras[name] = extra[1]
    return packages, extras


def described(report: Report) -> str:
    """A report in words."""
    lines = ["environment", *(f"  {name:<12} {value}" for name, value in report.environment.items()), "", "packages"]
    for name, version in report.packages.items():
        extra = report.extras.get(name)
        missing = f"not installed: pip install '{_OWN}[{extra}]'" if extra else f"missing: pip install {name}"
        lines.append(f"  {name:<12} {version or missing}")
    lines += ["", "engines", *(line for one in report.engines for line in engine_lines(one))]
    lines += ["", "data sources", *(f"  {name:<12} {summary}" for name, summary in report.sources.items())]
    for one in report.broken:
        lines += ["", f"broken plugin {one.origin.plugin!r} of {one.origin}", f"  {one.error}", f"  mend: {one.mend}"]
    for name, owners in report.duplicates.items():
        lines += ["", f"the engine {name!r} is registered by {' and by '.join(owners)}; none of them is used",
                  "  mend: uninstall one of them"]
    if not any(one.state == "ready" for one in report.engines):
        lines += ["", "no engine can be used", f"  mend: pip install '{_OWN}[all]'"]
    return "\n".join([*lines, "", "all is well" if report.healthy else "see the mends above"])


def engine_lines(one: EngineRecord) -> list[str]:
    """An engine in one line, and its reason under it where it is not ready."""
    versions = ", ".join(f"{name} {version}" for name, version in one.versions.items())
    about = [one.state, ", ".join(one.devices), versions, f"{one.distribution} {one.version}".strip()]
    line = f"  {one.name:<12} " + "  ".join(part for part in about if part) + ("  (default)" if one.default else "")
    return [line, *(f"    {part.strip()}" for part in one.reason.splitlines())]

