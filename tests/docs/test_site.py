"""The site builds without a warning, without the network, and every page is in its navigation."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from docs.pages import DOCS, ROOT

pytest.importorskip("mkdocs", reason="mkdocs-material is not installed: pip install 'neuroport[docs]'")


class _Loader(yaml.SafeLoader):
    """Reads mkdocs.yml; what names Python objects in it stays text."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # advertising of the theme's, not about these pages
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=quiet)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_of_the_navigation_is_built(site: Path) -> None:
    navigation = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), _Loader)["nav"]
    listed = set(_leaves(navigation))
    assert listed == {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    for name in listed:
        assert (site / name).with_suffix(".html").is_file(), name


def test_the_pages_load_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|link)\b[^>]*(?:src|href)=\"?(https?:[^\" >]+)", text)
        assert not loaded, f"{page.relative_to(site)} loads {loaded}"


def test_the_reference_names_everything_that_users_import(site: Path) -> None:
    import neuroport as npt

    text = "".join(page.read_text(encoding="utf-8") for page in (site / "reference").glob("*.html"))
    anchors = {anchor.rpartition(".")[2] for anchor in re.findall(r' id="(neuroport\.[\w.]+)"', text)}
    modules = {name for name in npt.__all__ if isinstance(getattr(npt, name), ModuleType)}
    in_prose = {"Time", "Value", "__version__"}
    missing = sorted(set(npt.__all__) - anchors - modules - in_prose)
    assert not missing


def _leaves(navigation: Any) -> list[str]:
    if isinstance(navigation, str):
        return [navigation]
    values = navigation.values() if isinstance(navigation, dict) else navigation
    return [leaf for value in values for leaf in _leaves(value)]
