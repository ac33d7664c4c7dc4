"""The pairs of snippets on the migration pages compute the same, each in its own library's environment."""

from pathlib import Path

import numpy as np
import pytest
from docs.pages import DOCS, blocks, run_in
from docs.peer import leavings

PAGES = {"snnTorch": "moving-from-snntorch.md", "Spyx": "moving-from-spyx.md"}


@pytest.mark.parametrize("peer", PAGES)
def test_both_sides_of_every_pair_compute_the_same(
    peer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, ours = pairs(peer)
    found = run_in(peer, theirs, tmp_path)
    monkeypatch.chdir(tmp_path)
    own = leavings(ours, PAGES[peer])
    shared = [key for key in own if key in found]
    assert {key.partition(": ")[0] for key in shared} == {section for section, _ in ours[1:]}, "a pair compares nothing"
    for key in shared:
        value = found[key]
        if key.endswith((": spikes", ": decisions")):
            assert 0.01 < value.mean() < 0.99 or key.endswith("decisions"), f"{key}: hardly anything is compared"
            np.testing.assert_array_equal(own[key], value, key)
        else:
            assert value.std() > 0 or value.ndim == 0, key
            most = max(1.0, float(np.abs(value).max()))
            np.testing.assert_allclose(own[key], value, rtol=0, atol=1e-5 * most, err_msg=key)


@pytest.mark.parametrize("peer", PAGES)
def test_each_snippet_of_a_peer_has_one_of_ours(peer: str) -> None:
    theirs, ours = pairs(peer)
    assert [section for section, _ in theirs] == [section for section, _ in ours] and len(ours) > 5


def pairs(peer: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(section, code) of the peer's blocks, and of ours."""
    found = blocks(DOCS / "tutorial" / PAGES[peer])
    sides = ([(block.section, block.text) for block in found if block.title == title] for title in (peer, "neuroport"))
    theirs, ours = sides
    return theirs, ours
