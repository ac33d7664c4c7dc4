"""Packing loses nothing and says what it cannot hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neuroport.data import stage, unpack
from neuroport.errors import InvalidData

shapes = st.tuples(st.integers(1, 5), st.integers(1, 40), st.integers(1, 4))


@settings(max_examples=60, deadline=None)
@given(st.data(), shapes, st.sampled_from([1, 255]))
def test_unpacking_gives_back_what_was_packed(data, shape, top):
    x = data.draw(arrays(np.uint8, shape, elements=st.integers(0, top)))
    packed = stage(x, np.zeros(len(x), int))
    samples = np.arange(len(x))[::-1]
    assert np.array_equal(unpack(packed, samples), np.moveaxis(x[samples], 0, 1))
    assert unpack(packed, samples).dtype == np.float32


def test_bits_take_an_eighth_of_the_bytes_and_counts_are_kept():
    x = np.ones((2, 256, 12), np.uint8)
    assert stage(x, np.zeros(2, int)).values.nbytes * 8 == x.nbytes
    assert not stage(2 * x, np.zeros(2, int)).binary


def test_step_8j_plus_k_lies_in_bit_k_of_byte_j():
    x = np.zeros((1, 20, 1), np.uint8)
    x[0, 8 * 1 + 3] = 1
    assert stage(x, np.zeros(1, int)).values[0, :, 0].tolist() == [0, 1 << 3, 0]


@pytest.mark.parametrize(("x", "y", "said"), [
    (np.full((2, 4, 1), 0.5), np.zeros(2, int), "no whole numbers"),
    (np.full((2, 4, 1), -1), np.zeros(2, int), "no whole numbers"),
    (np.full((2, 4, 1), np.nan), np.zeros(2, int), "no whole numbers"),
    (np.full((2, 4, 1), 256), np.zeros(2, int), "no whole numbers"),
    (np.zeros((2, 4)), np.zeros(2, int), r"give \(samples, steps"),
    (np.zeros((2, 4, 1)), np.zeros(3, int), "3 labels for 2 samples"),
    (np.zeros((2, 4, 1)), np.zeros(2), "give integers"),
    (np.zeros((2, 4, 1)), np.array([0, -1]), "count classes from 0"),
])
def test_what_cannot_be_packed_is_refused_in_words(x, y, said):
    with pytest.raises(InvalidData, match=said):
        stage(x, y)
