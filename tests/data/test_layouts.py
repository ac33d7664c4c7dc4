"""Bits, counts, floats, and input that is constant over time: nothing is lost, and nothing is held twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neuroport.data import Packed, Splits, split, splits, stage, unpack
from neuroport.data.packing import targets_of
from neuroport.errors import InvalidData

LABELS = np.arange(3)
shapes = st.tuples(st.integers(1, 4), st.integers(1, 35), st.integers(1, 3), st.integers(1, 3))
elements = {"bits": st.integers(0, 1), "counts": st.integers(0, 255),
            "floats": st.floats(-(2.0**100), 2.0**100, width=32)}


@settings(max_examples=80, deadline=None)
@given(st.data(), shapes, st.sampled_from(["bits", "counts", "floats"]))
def test_every_layout_gives_back_what_was_staged(data, shape, layout):
    dtype = np.float32 if layout == "floats" else np.uint8
    x = data.draw(arrays(dtype, shape, elements=elements[layout]))
    packed = stage(x, np.zeros(len(x), int), layout=layout)
    samples = np.arange(len(x))[::-1]
    assert packed.layout == layout and packed.steps == shape[1] and packed.shape == shape[2:]
    assert np.array_equal(unpack(packed, samples), np.moveaxis(x[samples], 0, 1))


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 4), st.integers(1, 50), st.sampled_from(["counts", "floats"]))
def test_constant_input_is_held_once_and_comes_out_in_every_step(data, count, steps, layout):
    dtype = np.float32 if layout == "floats" else np.uint8
    x = data.draw(arrays(dtype, (count, 1, 2), elements=elements[layout]))
    packed = stage(x, np.zeros(count, int), layout=layout, steps=steps)
    assert packed.values.nbytes == x.nbytes and packed.steps == steps and packed.constant == (steps > 1)
    found = unpack(packed, np.arange(count))
    assert found.shape == (steps, count, 2) and all(np.array_equal(step, x[:, 0]) for step in found)


def test_a_single_step_of_bits_is_not_taken_for_constant():
    packed = stage(np.ones((3, 8, 2)), LABELS)  # eight steps in one byte
    assert packed.values.shape[1] == 1 and packed.binary and not packed.constant


def test_a_mapped_file_serves_as_values(tmp_path):
    x = (np.random.default_rng(0).random((3, 20, 4)) < 0.3).astype(np.uint8)
    packed = stage(x, LABELS)
    np.save(tmp_path / "values.npy", packed.values)
    mapped = Packed(np.load(tmp_path / "values.npy", mmap_mode="r"), 20, packed.labels)
    assert np.array_equal(unpack(mapped, np.array([2, 0])), unpack(packed, np.array([2, 0])))


@pytest.mark.parametrize(("x", "options", "said"), [
    (np.full((3, 4, 1), np.inf), {"layout": "floats"}, "NaN or infinite in float32"),
    (np.full((3, 4, 1), 1e300), {"layout": "floats"}, "NaN or infinite in float32"),
    (np.full((3, 4, 1), 2), {"layout": "bits"}, r"no whole numbers in 0..1"),
    (np.full((3, 4, 1), 0.5), {}, 'layout="floats"'),
    (np.ones((3, 4, 1)), {"layout": "floats", "steps": 9}, "not constant over 9 steps"),
    (np.ones((3, 1, 1)), {"layout": "bits", "steps": 9}, "not constant over 9 steps"),
    (np.ones((3, 1, 1)), {"layout": "floats", "steps": 0}, "not constant over 0 steps"),
    (np.array([["a"]] * 3), {}, "give numbers"),
])
def test_what_a_layout_cannot_hold_is_refused_in_words(x, options, said):
    with pytest.raises(InvalidData, match=said):
        stage(x, LABELS, **options)


def test_traces_may_accompany_every_layout():
    traces = np.random.default_rng(0).random((3, 20, 5))
    for layout, x in (("bits", np.ones((3, 20, 2))), ("floats", np.random.default_rng(1).random((3, 20, 2)))):
        packed = stage(x, traces, layout=layout)
        assert not packed.has_classes
        assert np.array_equal(targets_of(packed, LABELS), np.moveaxis(traces.astype(np.float32), 0, 1))
    with pytest.raises(InvalidData, match="y has 20 steps, x has 9|has 20 steps, x has 9"):
        stage(np.ones((3, 1, 2)), traces, layout="floats", steps=9)


def test_floats_go_through_splits_with_a_hash_of_their_own():
    x, y = np.random.default_rng(0).random((30, 5, 2)), np.arange(30) % 3
    found = split(x, y, layout="floats")
    assert isinstance(found, Splits) and found.train.layout == "floats"
    counts = splits((np.ones((3, 4, 1)) * 2, LABELS), (np.ones((3, 4, 1)) * 2, LABELS))
    floats = splits((np.ones((3, 4, 1)) * 2, LABELS), (np.ones((3, 4, 1)) * 2, LABELS), layout="floats")
    assert counts.content_hash != floats.content_hash
    assert found.with_shuffled_labels(0).train.layout == "floats"
