"""Every block of code on every page runs as it is written."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from docs.pages import CARRIED, DOCS, PEERS, blocks, pages, run

import neuroport as npt

# how-to/carry-to-another-library.md runs in nir/test_peers.py, which looks at what it leaves
PAGES = [page for page in pages() if page != CARRIED and any(
    block.language in ("python", "console") for block in blocks(page))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).with_suffix("").as_posix())
def test_the_code_of_a_page_runs_top_to_bottom(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for engine in ("jax", "torch"):
        pytest.importorskip(engine, reason=f"the pages run both engines, {engine} is not installed")
    monkeypatch.chdir(tmp_path)
    run(page, tmp_path)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(DOCS).with_suffix("").as_posix())
def test_no_code_of_a_page_escapes_the_tests(page: Path) -> None:
    fences = re.findall(r"^[ >]*```.+$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(fences) == sum(bool(block.language) for block in blocks(page)), "a block is indented or oddly fenced"
    for block in blocks(page):
        assert block.language in ("", "python", "console", "yaml", "toml", "text"), f"line {block.line}"
        assert "." in block.title or block.title in ("", "neuroport", *PEERS), f"line {block.line}"


def test_descriptions_on_the_pages_are_valid() -> None:
    found = [block for page in pages() for block in blocks(page) if block.language in ("yaml", "toml")]
    assert len(found) >= 3
    for block in found:
        if block.language == "toml":
            assert tomllib.loads(block.text)
            continue
        part = yaml.safe_load(block.text)
        if "model" in part:
            assert npt.Experiment.from_yaml(block.text).to_data()
        for name, kind in (("training", npt.Training), ("data", npt.Data)):
            if name in part and "model" not in part:
                assert kind.from_yaml(yaml.dump(part[name])).to_data()
