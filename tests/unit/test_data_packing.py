"""Packing loses nothing and says what it cannot hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neuroport.data import stage, unpack
from neuroport.data.packing import targets_of
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


@settings(max_examples=40, deadline=None)
@given(shapes, st.sampled_from([(), (1,), (2, 3)]), st.integers(0, 2**32 - 1))
def test_traces_come_back_time_major_with_their_neuron_axes_as_one(shape, axes, seed):
    random = np.random.default_rng(seed)
    count, steps, _ = shape
    traces = random.normal(size=(count, steps, *(axes or (4,)))).astype(np.float32)
    packed = stage(np.zeros(shape), traces)
    assert not packed.has_classes and packed.labels.dtype == np.float32
    samples = random.permutation(count)
    found = targets_of(packed, samples)
    assert found.shape == (steps, count, int(np.prod(axes or (4,))))
    for place, sample in enumerate(samples):
        np.testing.assert_array_equal(found[:, place], traces[sample].reshape(steps, -1))


def test_classes_come_back_as_they_are():
    packed = stage(np.zeros((3, 4, 1)), np.array([2, 0, 1]))
    assert packed.has_classes and packed.labels.dtype == np.int32
    assert targets_of(packed, np.array([1, 1, 0])).tolist() == [0, 0, 2]


def test_spike_trains_may_be_traces():
    spikes = np.random.default_rng(0).random((2, 9, 3)) < 0.5  # booleans
    np.testing.assert_array_equal(targets_of(stage(spikes, spikes), np.arange(2)), np.moveaxis(spikes, 0, 1))


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
    (np.full((2, 4, 1), np.nan), np.zeros(2, int), r"NaN or infinity, the first at \(0, 0, 0\)"),
    (np.full((2, 4, 1), 256), np.zeros(2, int), "no whole numbers"),
    (np.zeros((2, 4)), np.zeros(2, int), r"give \(samples, steps"),
    (np.zeros((2, 4, 1)), np.zeros(3, int), "3 labels for 2 samples"),
    (np.zeros((2, 4, 1)), np.zeros(2), "give class indices, integers"),
    (np.zeros((2, 4, 1)), np.zeros((2, 4)), r"or traces \(samples, steps, \*shape\)"),
    (np.zeros((2, 4, 1)), np.full((2, 4, 1), "high"), "give class indices"),
    (np.zeros((2, 4, 1)), np.zeros((3, 4, 1)), "3 labels for 2 samples"),
    (np.zeros((2, 4, 1)), np.zeros((2, 5, 1)), "has 5 steps, x has 4"),
    (np.zeros((2, 4, 1)), np.full((2, 4, 1), np.inf), "NaN or infinite"),
    (np.zeros((2, 4, 1)), np.array([0, -1]), "count classes from 0"),
])
def test_what_cannot_be_packed_is_refused_in_words(x, y, said):
    with pytest.raises(InvalidData, match=said):
        stage(x, y)
