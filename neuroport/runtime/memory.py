"""How much memory is free for data: measured, not guessed."""

from __future__ import annotations

from pathlib import Path

from neuroport.engine.base import Executable

MEMINFO = Path("/proc/meminfo")  # Linux; elsewhere the host's free memory is not known


def host_memory() -> int | None:
    """Bytes that the host can give without swapping; None where it does not say."""
    try:
        lines = MEMINFO.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = {line.split(":")[0]: line.split()[1] for line in lines if len(line.split()) > 1}
    return 1024 * int(found["MemAvailable"]) if "MemAvailable" in found else None


def budget_for(executable: Executable, share: float) -> int | None:
    """That share of the memory that is free on an executable's device, in bytes; None where it is not known."""
    free = executable.free_memory()
    free = host_memory() if free is None else free
    return None if free is None else int(share * free)
