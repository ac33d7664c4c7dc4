"""Generated source as compiled functions, kept on disk from one process to the next.

numba keys its cache by file, so a source gets a file of its own, named by its content and this
package's, in the user's cache folder. Where no such folder can be made, functions are compiled in each process.
Triton reads a kernel's text from its file, and keeps what it compiled in a cache of its own.
"""

from __future__ import annotations

import hashlib
import linecache
import os
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

CACHING = "cache=True"


@cache
def folder() -> Path | None:
    """Where generated sources live; None where nothing can be written or others could write too."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    place = Path(base) / "neuroport" / "kernels"
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        mine = not hasattr(os, "getuid") or (place.stat().st_uid == os.getuid() and not place.stat().st_mode & 0o022)
        return place if mine and os.access(place, os.W_OK) else None
    except OSError:
        return None


@cache
def package() -> str:
    """This package's name and a digest of its files: what is kept of a function holds parts of them, which numba does
    not look at again."""
    found = hashlib.blake2b(digest_size=8)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        found.update(path.read_bytes())
    return f"{__package__} {found.hexdigest()}"


@cache
def load(source: str, name: str) -> Callable[..., Any]:
    """The function ``name`` that a source defines. One object for equal sources."""
    place = folder()
    if place is None:
        source = source.replace(CACHING, "cache=False")
    digest = hashlib.blake2b(f"{package()}\n{source}".encode(), digest_size=12).hexdigest()
    file = f"<neuroport {name} {digest}>" if place is None else str(place / f"{name}_{digest}.py")
    if place is None:
        linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    elif not os.path.exists(file):
        draft = f"{file}.{os.getpid()}.{threading.get_ident()}"
        Path(draft).write_text(source, encoding="utf-8")
        os.replace(draft, file)  # numba's cache looks at the file's time: it is written once, whole
    module = ModuleType(f"{__package__}.generated_{digest}")
    module.__file__ = file
    sys.modules[module.__name__] = module  # what numba has cached asks for its module by name
    exec(compile(source, file, "exec"), module.__dict__)
    return module.__dict__[name]  # type: ignore[no-any-return]
