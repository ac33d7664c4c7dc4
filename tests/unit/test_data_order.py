"""The order of samples and their batches, shared by all engines."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroport.data.order import batches, epoch_order


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 300), st.integers(0, 2**32 - 1), st.integers(0, 1000))
def test_each_sample_comes_once_an_epoch(count, seed, epoch):
    assert np.array_equal(np.sort(epoch_order(count, seed, epoch)), np.arange(count))


def test_the_order_differs_between_epochs_and_seeds_and_repeats_for_the_same():
    first = epoch_order(500, 3, 0)
    assert np.array_equal(first, epoch_order(500, 3, 0))
    assert not np.array_equal(first, epoch_order(500, 3, 1))
    assert not np.array_equal(first, epoch_order(500, 4, 0))


def test_the_order_is_pinned_for_all_time():
    assert epoch_order(8, 0, 0).tolist() == [0, 2, 1, 5, 4, 3, 6, 7]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 200), st.integers(1, 64))
def test_the_mask_counts_each_sample_once_and_padding_never(count, size):
    order, mask = batches(epoch_order(count, 1, 0), size)
    assert order.shape == mask.shape and order.shape[1] == min(size, count)
    assert np.array_equal(np.sort(order[mask == 1]), np.arange(count))
    assert set(np.unique(mask)) <= {0.0, 1.0}
    assert order.min() >= 0 and order.max() < count  # padding is a valid index
    assert np.all(mask.sum(1) >= 1)  # no batch is padding alone
