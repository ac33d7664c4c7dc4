"""What all parts of the kit share: the engine under test and its listed failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import pytest

from neuroport import registry
from neuroport.engine.base import Engine
from neuroport.testing.subject import Subject


class Kit:
    """Names the engine under test; every part of the kit inherits this.

    engine_name: as registered. engine_factory: in its place, a callable that gives an engine which
    is not registered. expected_failures: "test_name" or "test_name[case]" -> the reason.
    """

    engine_name: ClassVar[str | None] = None
    engine_factory: ClassVar[Callable[[], Engine] | None] = None
    expected_failures: ClassVar[Mapping[str, str]] = {}

    @pytest.fixture
    def subject(self) -> Subject:
        """The engine under test; programs compiled for it are kept between tests of a class."""
        return _subject(type(self))

    @pytest.fixture(autouse=True)
    def _listed_failures(self, request: pytest.FixtureRequest) -> None:
        """A listed failure is expected to fail, and one that passes fails the suite."""
        plain = getattr(request.node, "originalname", request.node.name)
        for name in (plain, request.node.name):
            if name in self.expected_failures:
                request.applymarker(pytest.mark.xfail(reason=self.expected_failures[name], strict=True))

    def test_every_expected_failure_names_a_test(self) -> None:
        stale = sorted(set(self.expected_failures) - set(test_names(type(self))))
        assert not stale, f"expected_failures lists {stale}, but the kit has no such tests: remove them"


_subjects: dict[type[Kit], Subject] = {}


def _subject(kit: type[Kit]) -> Subject:
    if kit not in _subjects:
        if kit.engine_factory is not None:
            _subjects[kit] = Subject(kit.engine_factory())
        elif kit.engine_name is not None:
            _subjects[kit] = Subject(registry.engine(kit.engine_name))
        else:
            raise TypeError(f'{kit.__name__} names no engine: write engine_name = "mine" in it')
    return _subjects[kit]


def test_names(kit: type) -> Iterator[str]:
    """Every name under which pytest runs a test of a class, with and without its case."""
    for name in dir(kit):
        if name.startswith("test_"):
            yield name
            for mark in getattr(getattr(kit, name), "pytestmark", ()):
                if mark.name == "parametrize":
                    yield from (f"{name}[{_identify(mark, value)}]" for value in mark.args[1])


def _identify(mark: Any, value: Any) -> str:
    ids = mark.kwargs.get("ids", str)
    return str(ids(value))


test_names.__test__ = False  # type: ignore[attr-defined]  # for whoever imports it into a test module
