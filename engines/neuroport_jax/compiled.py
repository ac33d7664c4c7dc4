"""Functions compiled for the shapes they are called with, and kept on disk from one process to the next.

jax has a cache on disk of its own, behind global settings. Here it is switched on while one of our
programs compiles and off again, so that nothing else is kept, and nothing stays changed. Where the user
has named a folder for it (``jax_compilation_cache_dir``), that one is used as it is; where the user has
switched it off (``jax_enable_compilation_cache``), nothing is kept.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from neuroport.data.disk import cache_folder
from neuroport.errors import UnusableFolder

LARGEST = 2**29  # bytes of all that is kept; the oldest make room
SHORTEST = 0.2  # s: what compiles faster is not worth a file
SETTINGS = {
    "jax_persistent_cache_min_compile_time_secs": SHORTEST,
    "jax_persistent_cache_min_entry_size_bytes": -1,
    "jax_raise_persistent_cache_errors": True,  # they are dealt with here
}

_one_at_a_time = threading.Lock()  # the settings are the whole process's


class Compiled:
    """A function that compiles once for each signature: its static arguments, and the outline of all others.

    seconds: what tracing and compiling took so far, in all.
    """

    def __init__(self, function: Callable[..., Any], static: tuple[int, ...] = (), donate: tuple[int, ...] = ()):
        self._traced = jax.jit(function, static_argnums=static, donate_argnums=donate)
        self._static = static
        self._known: dict[Any, Any] = {}
        self.seconds = 0.0

    def lower(self, *arguments: Any) -> Any:
        """What the compiler is given."""
        return self._traced.lower(*arguments)

    def __call__(self, *arguments: Any) -> Any:
        given = [value for place, value in enumerate(arguments) if place not in self._static]
        leaves, tree = jax.tree.flatten(given)
        outlines = tuple((leaf.shape, leaf.dtype, leaf.weak_type, leaf.sharding) for leaf in leaves)
        key = (*(arguments[place] for place in self._static), tree, outlines)
        if key not in self._known:
            began = time.perf_counter()
            self._known[key] = compiled(self.lower(*arguments))
            self.seconds += time.perf_counter() - began
        return self._known[key](*given)


def compiled(lowered: Any) -> Any:
    """A lowered function as an executable, from disk where it has been compiled before."""
    place = folder()
    if place is None or jax.config.jax_compilation_cache_dir or not jax.config.jax_enable_compilation_cache:
        return lowered.compile()
    try:
        with kept_in(place):
            found = lowered.compile()
    except Exception:  # an entry that another process left unfinished, a full disk; or the program's own, raised again
        found = lowered.compile()
        clear(place)
        return found
    clear(place, LARGEST)
    return found


def folder() -> Path | None:
    """Where executables are kept; None where nothing can be, or where others could put theirs in the place of ours."""
    try:
        place = cache_folder() / "compiled" / f"jax-{jax.__version__}"
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        owned = not hasattr(os, "getuid") or (place.stat().st_uid == os.getuid() and not place.stat().st_mode & 0o022)
    except (OSError, UnusableFolder):
        return None
    return place if owned and os.access(place, os.W_OK) else None


@contextmanager
def kept_in(place: Path) -> Iterator[None]:
    """While the block runs, jax keeps there what it compiles."""
    settings = {**SETTINGS, "jax_compilation_cache_dir": str(place)}
    with _one_at_a_time:
        before = {name: getattr(jax.config, name) for name in settings}
        reset_cache()  # it looks for its folder once
        try:
            for name, value in settings.items():
                jax.config.update(name, value)
            yield
        finally:
            for name, value in before.items():
                jax.config.update(name, value)
            reset_cache()


def clear(place: Path, largest: int = 0) -> None:
    """Remove the oldest entries until the rest is at most this large, in bytes."""
    entries = []
    for path in place.glob("*-cache"):
        try:
            about = path.stat()
            entries.append((about.st_mtime, about.st_size, path))
        except FileNotFoundError:  # another process has made room
            continue
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= largest:
            break
        path.unlink(missing_ok=True)
        total -= size
