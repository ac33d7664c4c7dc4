"""The hooks of neuroport: what a plugin may implement. Built-in engines and sources use the same ones.

A plugin is a module named by an entry point of the group ``neuroport``; it holds functions marked
``@hookimpl`` with the names below. It is imported whenever plugins are listed, so it must import
nothing heavy: what it returns names its factories by text, ``"package.module:Class"``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from neuroport.data.source import SourceInfo
    from neuroport.engine.base import EngineInfo

PROJECT = "neuroport"  # also the group of the entry points

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def neuroport_engines() -> list[EngineInfo]:  # type: ignore[empty-body]
    """The engines of this plugin.

    Returns an ``EngineInfo`` for each: its name, the factory to import when it is first used, the
    modules that factory needs and the pip line that brings them.
    """


@hookspec
def neuroport_sources() -> list[SourceInfo]:  # type: ignore[empty-body]
    """The data sources of this plugin.

    Returns a ``SourceInfo`` for each: the name that experiments use (``data: {source: NAME}``), the
    factory that is called with the experiment's options and returns ``Splits``, or a ``Plan`` of how they are
    staged, which the cache then keeps, and a line for people. Options are checked against the factory's annotations.
    """
