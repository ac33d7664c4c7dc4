"""Where and when a measurement was made: processor, load, code version. Standard library only."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def describe() -> dict[str, Any]:
    """What a reader needs to judge the numbers; load is the one-minute average of runnable processes."""
    return {
        "device": "cpu",
        "cpu_model": cpu_model(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **commit(),
    }


def conditions(where: Mapping[str, Any]) -> str:
    """What ``describe`` found, in a line under a table."""
    return (f"{where['cpu_model']}, {where['cpus']} cores, load {where['load']} before; {where['date']}; commit "
            f"{where['commit'] or 'none yet'}{' (modified)' if where['modified'] else ''}.")


def cpu_model() -> str:
    """The processor's name, with family and model where the name alone says little."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = fields.get("model name", platform.machine())
    return f"{name} (family {fields['cpu family']}, model {fields['model']})" if "cpu family" in fields else name


def commit() -> dict[str, Any]:
    """The checked-out commit, None before the first one, and whether tracked files differ from it."""
    head = _git("rev-parse", "--verify", "HEAD")
    return {"commit": head or None, "modified": bool(_git("status", "--porcelain", "--untracked-files=no"))}


def _git(*arguments: str) -> str:
    """Standard output of a git command in the repository; empty if it fails."""
    result = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else ""
