"""Which engines and data sources are installed. Discovery is guarded and lazy.

Plugins are entry points of the group ``neuroport``. Each is loaded by itself: one that fails is kept
with its error, for ``neuroport doctor``, and the others work. Listing imports the plugins' small
modules alone; an engine's factory is imported when that engine is first used.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from typing import Any

import pluggy

from neuroport import hookspecs
from neuroport.data.plan import Plan, Progress
from neuroport.data.source import SourceInfo, load, prepared
from neuroport.data.splits import Splits
from neuroport.engine.base import INTERFACE, Engine, EngineInfo
from neuroport.errors import (
    DuplicateEngine,
    EngineUnavailable,
    InvalidExperiment,
    NeuroportError,
    Problem,
    UnknownEngine,
    listed,
)

_KINDS = {"neuroport_engines": EngineInfo, "neuroport_sources": SourceInfo}


@dataclass(frozen=True)
class Origin:
    """Where a plugin comes from: its own name, its distribution and that one's version."""

    plugin: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".strip()


@dataclass(frozen=True)
class Broken:
    """A plugin that could not be loaded: what went wrong, and how to mend it."""

    origin: Origin
    error: str
    mend: str


@dataclass(frozen=True)
class Registered:
    """One engine or source as a plugin offers it, and who does."""

    info: Any
    origin: Origin


@dataclass(frozen=True)
class _Candidate:
    """A plugin not loaded yet: ``load()`` gives the object that implements the hooks."""

    origin: Origin
    load: Any


class Registry:
    """The engines and sources of a set of plugins.

    plugins: objects that implement the hooks (modules, instances); None: those that are installed.
    """

    def __init__(self, plugins: Sequence[Any] | None = None):
        self._given = plugins
        self._made: dict[str, Engine] = {}

    @cached_property
    def _offers(self) -> tuple[dict[str, list[Registered]], tuple[Broken, ...]]:
        """What every plugin offers, by hook, and the plugins that are broken."""
        offers: dict[str, list[Registered]] = {hook: [] for hook in _KINDS}
        broken = []
        for candidate in _installed() if self._given is None else _explicit(self._given):
            try:
                offered = _ask(candidate.load())
            except (Exception, SystemExit) as error:  # a stranger's code: whatever it does stays its own
                broken.append(Broken(candidate.origin, _in_one_line(error), _mend(error, candidate.origin)))
                continue
            for hook, infos in offered.items():
                offers[hook] += [Registered(info, candidate.origin) for info in infos]
        return offers, tuple(broken)

    @property
    def broken(self) -> tuple[Broken, ...]:
        """Plugins that failed to load."""
        return self._offers[1]

    @cached_property
    def engines(self) -> tuple[Registered, ...]:
        """Every engine offered, in the default order: highest priority first, then by name."""
        return tuple(sorted(self._offers[0]["neuroport_engines"], key=lambda one: (-one.info.priority, one.info.name)))

    @cached_property
    def duplicates(self) -> dict[str, tuple[Registered, ...]]:
        """Names that several engines claim, and who claims them."""
        claims: dict[str, list[Registered]] = {}
        for one in self.engines:
            claims.setdefault(one.info.name, []).append(one)
        return {name: tuple(those) for name, those in claims.items() if len(those) > 1}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all engines in the default order, each once."""
        return tuple(dict.fromkeys(one.info.name for one in self.engines))

    def registered(self, name: str) -> Registered:
        """The one engine of that name. Raises UnknownEngine or DuplicateEngine."""
        if not isinstance(name, str) or name not in self.names:
            raise UnknownEngine(self._unknown(name))
        if name in self.duplicates:
            owners = " and ".join(f"{one.origin} (plugin {one.origin.plugin!r})" for one in self.duplicates[name])
            raise DuplicateEngine(
                f'the engine "{name}" is registered by {owners}, so none of them is used\n'
                "  mend: uninstall one of them (pip uninstall NAME), or name another engine"
            )
        return next(one for one in self.engines if one.info.name == name)

    def obstacle(self, name: str) -> str:
        """Why an engine cannot be used, without importing it; "" where nothing speaks against it."""
        one = self.registered(name)
        if one.info.interface != INTERFACE:
            older = one.origin.distribution if one.info.interface < INTERFACE else "neuroport"
            return (f"it is written for version {one.info.interface} of the engine interface, this neuroport has "
                    f"version {INTERFACE}\n  mend: pip install --upgrade {older}")
        missing = [module for module in one.info.requires if not _present(module)]
        if missing:
            line = one.info.install or f"pip install {' '.join(missing)}"
            return f"the module {listed(missing)} is missing\n  mend: {line}"
        return ""

    def engine(self, name: str) -> Engine:
        """An engine, ready to use; made once.

        Raises UnknownEngine, DuplicateEngine, or EngineUnavailable with what is missing and the pip line.
        """
        if name not in self._made:
            obstacle = self.obstacle(name)
            if obstacle:
                raise EngineUnavailable(f'the engine "{name}" cannot be used: {obstacle}')
            self._made[name] = _make(self.registered(name))
        return self._made[name]

    def usable(self) -> Iterator[tuple[str, Engine]]:
        """Every engine that can be used, in the default order; imports each when it is reached."""
        for name in self.names:
            try:
                yield name, self.engine(name)
            except NeuroportError:
                continue

    def default_engine(self) -> str:
        """The name of the first usable engine of the default order. Raises EngineUnavailable."""
        for name, _ in self.usable():
            return name
        raise EngineUnavailable(
            f"no engine can be used (registered: {listed(self.names)})\n"
            "  mend: `neuroport doctor` says what each of them lacks"
        )

    def reference_engine(self) -> Engine:
        """The engine that all others are held to. Raises EngineUnavailable."""
        names = [one.info.name for one in self.engines if one.info.is_reference]
        if len(names) == 1:
            return self.engine(names[0])
        raise EngineUnavailable(
            f"one engine must be the reference, registered as such are: {listed(names)}\n"
            "  mend: `neuroport doctor` names broken plugins; uninstall a plugin that claims to be the reference"
        )

    @cached_property
    def sources(self) -> dict[str, Registered]:
        """Every data source by name; of two of one name neither."""
        found: dict[str, list[Registered]] = {}
        for one in self._offers[0]["neuroport_sources"]:
            found.setdefault(one.info.name, []).append(one)
        return {name: those[0] for name, those in found.items() if len(those) == 1}

    def source(self, name: str) -> tuple[SourceInfo, str]:
        """A named source, and which member of it where it is a family ("tonic:NMNIST"). Raises InvalidExperiment."""
        family, _, member = str(name).partition(":")
        for key, which in ((name, ""), (family, member)):
            found = self.sources.get(key)
            if found is not None and bool(found.info.member) == bool(which):
                return found.info, which
        titles = [one.info.title for one in self.sources.values()]
        close = difflib.get_close_matches(str(name), titles, 1) or difflib.get_close_matches(family, titles, 1)
        mend = (f"did you mean {close[0]!r}? " if close else "") + f"The sources are: {listed(titles)}"
        raise InvalidExperiment([Problem("data.source", f"there is no data source {name!r}", mend)])

    def prepared(self, source: str, options: Mapping[str, Any]) -> Splits | Plan:
        """A named source's splits, or the plan of how they are staged. Raises InvalidExperiment or InvalidData."""
        info, member = self.source(source)
        return prepared(info, options, member)

    def load_data(self, source: str, options: Mapping[str, Any], progress: Progress | None = None) -> Splits:
        """The splits of a named source. progress: see ``data.plan``. Raises InvalidExperiment or InvalidData."""
        info, member = self.source(source)
        return load(info, options, member, progress)

    def _unknown(self, name: Any) -> str:
        close = difflib.get_close_matches(str(name), self.names, 1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        lines = [f'there is no engine {name!r}', f"  mend: {hint}The registered engines are: {listed(self.names)}"]
        if self.broken:
            plugins = listed(f"{one.origin.plugin} ({one.origin})" for one in self.broken)
            lines.append(f"  broken plugins, which `neuroport doctor` explains: {plugins}")
        return "\n".join(lines)


# --- loading plugins ----------------------------------------------------------------------------


def _installed() -> Iterable[_Candidate]:
    for point in metadata.entry_points(group=hookspecs.PROJECT):
        dist = point.dist
        origin = Origin(point.name, dist.name if dist else "unknown", dist.version if dist else "")
        yield _Candidate(origin, point.load)


def _explicit(plugins: Sequence[Any]) -> Iterable[_Candidate]:
    for plugin in plugins:
        name = getattr(plugin, "__name__", type(plugin).__name__)
        yield _Candidate(Origin(name, "given directly", ""), lambda plugin=plugin: plugin)


def _ask(plugin: Any) -> dict[str, list[Any]]:
    """What one plugin offers, by hook, checked. Raises whatever goes wrong."""
    # a manager of its own: pluggy gives up on all plugins where one is broken
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin)
    manager.check_pending()
    if not manager.get_hookcallers(plugin):
        raise TypeError("it implements no hook of neuroport; mark its functions with @hookimpl")
    offered = {hook: [info for infos in getattr(manager.hook, hook)() for info in infos] for hook in _KINDS}
    for hook, infos in offered.items():
        for info in infos:
            fault = _fault(info, _KINDS[hook])
            if fault:
                raise TypeError(f"{hook} returns {info!r:.80}: {fault}")
    return offered


def _fault(info: Any, kind: type[Any]) -> str:
    if not isinstance(info, kind):
        return f"not an instance of {kind.__name__}"
    if not isinstance(info.name, str) or not info.name:
        return "its name is no text"
    module, _, attribute = str(info.factory).partition(":")
    if not module or not attribute:
        return 'its factory is not of the form "package.module:Name"'
    if isinstance(info, EngineInfo) and isinstance(info.requires, str):
        return "requires is one text; give a tuple of module names"
    return ""


def _in_one_line(error: BaseException) -> str:
    """``ImportError: ... (file.py, line 3)``: what a reader needs of a traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "importlib" not in frame.filename and frame.filename != __file__]
    place = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}{place}"


def _mend(error: BaseException, origin: Origin) -> str:
    remove = f"pip uninstall {origin.distribution}" if origin.version else "leave it out"
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"install what brings the module {error.name!r}, or: {remove}"
    return f"update or mend the plugin, or: {remove}"


def _present(module: str) -> bool:
    """Whether a module can be imported, judged by its top package alone: nothing is imported."""
    top = module.partition(".")[0]
    try:
        return top in sys.modules or importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        return False


def _make(one: Registered) -> Engine:
    """Import an engine's factory and call it. Raises EngineUnavailable with the reason."""
    info: EngineInfo = one.info
    module, _, attribute = info.factory.partition(":")
    try:
        engine = getattr(importlib.import_module(module), attribute)()
    except ImportError as error:
        mend = info.install or f"install what {one.origin} needs"
        what = f"the module {error.name!r} is missing or unusable ({error})" if error.name else str(error)
        raise EngineUnavailable(f'the engine "{info.name}" cannot be used: {what}\n  mend: {mend}') from error
    except Exception as error:
        raise EngineUnavailable(
            f'the engine "{info.name}" cannot be used: {_in_one_line(error)}\n  mend: update or mend {one.origin}'
        ) from error
    if not isinstance(engine, Engine):
        raise EngineUnavailable(
            f'the engine "{info.name}" cannot be used: {info.factory} gives a {type(engine).__name__}, no Engine\n'
            f"  mend: update or mend {one.origin}"
        )
    return engine


# --- the registry of this process ---------------------------------------------------------------

_current: list[Registry] = []


def registry() -> Registry:
    """The registry of this process, of everything installed; built when it is first asked for."""
    if not _current:
        _current.append(Registry())
    return _current[-1]


@contextmanager
def using(other: Registry) -> Iterator[Registry]:
    """Another registry in place of this process's own, within a ``with`` block: for tests."""
    _current.append(other)
    try:
        yield other
    finally:
        _current.remove(other)


def engine(name: str) -> Engine:
    """See ``Registry.engine``."""
    return registry().engine(name)


def reference_engine() -> Engine:
    """See ``Registry.reference_engine``."""
    return registry().reference_engine()


def announce(name: str) -> None:
    """Say which engine was chosen where none was named; once for each in a process."""
    if name not in _announced:
        _announced.add(name)
        print(f'neuroport: no engine named, taking "{name}"', file=sys.stderr)


_announced: set[str] = set()


def load_data(source: str, options: Mapping[str, Any]) -> Splits:
    """See ``Registry.load_data``."""
    return registry().load_data(source, options)
