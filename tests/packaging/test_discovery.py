"""Discovery is guarded: a broken plugin and a duplicate engine are isolated and reported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from neuroport.engine.base import EngineInfo
from neuroport.errors import DuplicateEngine, EngineUnavailable, InvalidExperiment, UnknownEngine
from neuroport.hookspecs import hookimpl
from neuroport.registry import Registry

REFERENCE = "neuroport_reference.engine:ReferenceEngine"


class Plugin:
    """A plugin that offers the given engines."""

    def __init__(self, *infos: object, name: str = "plugin"):
        self.infos, self.__name__ = list(infos), name

    @hookimpl
    def neuroport_engines(self) -> list:
        return self.infos


class Raising:
    @hookimpl
    def neuroport_engines(self) -> list:
        raise RuntimeError("no such\nlibrary")


class Misspelt:
    @hookimpl
    def neuroport_engine(self) -> list:
        return []


class WrongArguments:
    @hookimpl
    def neuroport_engines(self, everything: object) -> list:
        return []


def good(name: str = "good", **fields: object) -> EngineInfo:
    return EngineInfo(name, fields.pop("factory", REFERENCE), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("plugin", "says"),
    [
        (Raising(), "RuntimeError: no such library"),
        (Misspelt(), "neuroport_engine"),
        (WrongArguments(), "everything"),
        (object(), "implements no hook"),
        (Plugin("text"), "not an instance of EngineInfo"),
        (Plugin(good(name="")), "name is no text"),
        (Plugin(good(factory="neuroport_reference.engine")), "package.module:Name"),
        (Plugin(good(requires="numpy")), "tuple of module names"),
    ],
)
def test_a_broken_plugin_is_reported_and_the_others_work(plugin: object, says: str) -> None:
    registry = Registry([plugin, Plugin(good())])
    assert registry.names == ("good",)
    (broken,) = registry.broken
    assert says in broken.error and "\n" not in broken.error and broken.mend
    assert registry.engine("good").devices() == ["cpu"]


def test_a_duplicate_engine_is_an_error_when_it_is_asked_for_alone() -> None:
    registry = Registry([Plugin(good("twin"), name="first"), Plugin(good("twin"), good("only"), name="second")])
    assert registry.engine("only") and registry.default_engine() == "only"
    with pytest.raises(DuplicateEngine, match="(?s)'first'.*'second'"):
        registry.engine("twin")


def test_an_unknown_engine_lists_those_there_are_and_a_close_one() -> None:
    registry = Registry([Plugin(good("loihi"), good("spinnaker")), Raising()])
    with pytest.raises(UnknownEngine, match="(?s)did you mean 'loihi'.*loihi, spinnaker.*Raising"):
        registry.engine("lohi")


def test_a_missing_module_is_named_with_the_pip_line_and_nothing_is_imported() -> None:
    info = good(factory="never.imported:Engine", requires=("no_such_module", "sys"), install="pip install it")
    registry = Registry([Plugin(info)])
    with pytest.raises(EngineUnavailable, match="(?s)no_such_module is missing.*pip install it"):
        registry.engine("good")
    with pytest.raises(EngineUnavailable, match="doctor"):
        registry.default_engine()


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        ("no_such_module:Engine", "no_such_module"),
        ("neuroport_reference.engine:NoSuchClass", "NoSuchClass"),
        ("builtins:dict", "gives a dict, no Engine"),
        ("builtins:print", "gives a NoneType, no Engine"),
        ("math:sqrt", "TypeError"),
    ],
)
def test_a_factory_that_fails_is_unavailable_with_the_reason(factory: str, says: str) -> None:
    with pytest.raises(EngineUnavailable, match=says):
        Registry([Plugin(good(factory=factory))]).engine("good")


@pytest.mark.parametrize(("version", "upgrade"), [(0, "given directly"), (99, "neuroport")])
def test_another_version_of_the_interface_is_refused_with_what_to_upgrade(version: int, upgrade: str) -> None:
    with pytest.raises(EngineUnavailable, match=f"(?s)version {version} .*--upgrade {upgrade}"):
        Registry([Plugin(good(interface=version))]).engine("good")


def test_the_default_order_is_by_priority_then_name() -> None:
    infos = [good("b"), good("a"), good("last", priority=-1), good("first", priority=5, requires=("no_such_module",))]
    registry = Registry([Plugin(*infos)])
    assert registry.names == ("first", "a", "b", "last")
    assert registry.default_engine() == "a"


def test_an_engine_is_made_once() -> None:
    registry = Registry([Plugin(good())])
    assert registry.engine("good") is registry.engine("good")


def test_an_unknown_source_lists_those_there_are() -> None:
    with pytest.raises(InvalidExperiment, match="no data source 'brai'"):
        Registry([Plugin(good())]).load_data("brai", {})


# --- the same with distributions on disk, as they are installed --------------------------------------


def _distribution(folder: Path, name: str, module: str, code: str) -> None:
    """An installed distribution, as far as importlib.metadata looks."""
    (folder / f"{module}.py").write_text(dedent(code))
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[neuroport]\n{module} = {module}\n")


_OFFER = """
    from neuroport.engine.base import EngineInfo
    from neuroport.hookspecs import hookimpl

    @hookimpl
    def neuroport_engines():
        return [EngineInfo("twin", "neuroport_reference.engine:ReferenceEngine")]
"""


@pytest.fixture
def doctored(tmp_path: Path) -> dict:
    """What doctor says with three strange distributions installed beside neuroport."""
    _distribution(tmp_path, "broken-one", "broken_plugin", "import a_library_that_is_not_there")
    _distribution(tmp_path, "exiting-one", "exiting_plugin", "import sys; print('noise'); sys.exit(3)")
    _distribution(tmp_path, "twin-one", "twin_one", _OFFER)
    _distribution(tmp_path, "twin-two", "twin_two", _OFFER)
    code = "import sys; sys.path.insert(0, sys.argv[1]); from neuroport.cli import app; app(['doctor', '--json'])"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_doctor_names_broken_plugins_and_duplicates_and_the_rest_works(doctored: dict) -> None:
    broken = {one["origin"]["distribution"]: one for one in doctored["broken"]}
    assert "a_library_that_is_not_there" in broken["broken-one"]["error"]
    assert "SystemExit" in broken["exiting-one"]["error"]
    assert "pip uninstall broken-one" in broken["broken-one"]["mend"]
    assert doctored["duplicates"] == {"twin": ["twin-one 1.0", "twin-two 1.0"]}
    assert not doctored["healthy"]
    states = {one["name"]: one["state"] for one in doctored["engines"]}
    assert states["twin"] == "duplicate" and states["reference"] == "ready"
