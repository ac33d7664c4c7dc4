"""A data set larger than the memory given to it is streamed, and nothing about the training changes."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from runtime_case import small_data, small_experiment

import neuroport as npt
from neuroport.data.order import batches, epoch_order, epoch_partners
from neuroport.data.packing import unpack
from neuroport.data.staging import stage
from neuroport.model.augmentation import Mix, SpikeDropout
from neuroport.runtime.placement import Rows, place


def executable(**training):
    experiment = small_experiment(**training)
    return npt.compile(experiment.model, "reference", training=experiment.training)


def many(count=64, labels=2):
    random = np.random.default_rng(0)
    return stage((random.random((count, 13, 4)) < 0.3).astype(np.uint8), random.integers(0, labels, count))


def test_a_set_four_times_the_memory_streams_to_equal_batches():
    packed = many()
    whole = place(executable(), packed, 4)
    small = place(executable(), packed, 4, (packed.values.nbytes + packed.labels.nbytes) // 4)
    assert small.streamed and not whole.streamed
    order, mask = batches(epoch_order(64, 3, 1), 4)
    partners = epoch_partners(packed.labels, 3, 1)[order]
    wanted = [Rows(order[first : first + small.longest], partners[first : first + small.longest])
              for first in range(0, len(order), small.longest)]
    assert len(wanted) > 4
    for placed in (whole, small):
        seen = 0
        for piece, rows in zip(placed.pieces(wanted), wanted, strict=True):
            for position in range(len(rows.order)):
                for found, expected in ((piece.rows.order, rows.order), (piece.rows.partners, rows.partners)):
                    assert np.array_equal(unpack(piece.staged, found[position]), unpack(packed, expected[position]))
                    assert np.array_equal(piece.staged.labels[found[position]], packed.labels[expected[position]])
            assert np.array_equal(piece.identities, rows.order)
            seen += len(rows.order)
        assert seen == len(order) == len(mask)


def test_no_more_than_two_pieces_lie_on_the_device_at_a_time():
    packed = many()
    given = (packed.values.nbytes + packed.labels.nbytes) // 4
    placed = place(executable(), packed, 4, given)
    order, _ = batches(np.arange(64), 4)
    pieces = placed.pieces([Rows(order[:placed.longest])])
    (piece,) = pieces
    assert 2 * (piece.staged.values.nbytes + piece.staged.labels.nbytes) <= given


def test_pieces_of_one_length_have_one_shape_whatever_their_partners():
    packed = many(60, labels=7)
    placed = place(executable(), packed, 4, packed.values.nbytes // 2, mixing=True)
    order, _ = batches(epoch_order(60, 0, 0), 4)
    partners = epoch_partners(packed.labels, 0, 0)[order]
    size = placed.longest
    wanted = [Rows(order[a : a + size], partners[a : a + size]) for a in range(0, len(order) - size, size)]
    assert len({piece.staged.values.shape for piece in placed.pieces(wanted)}) == 1


def test_the_next_piece_is_asked_for_before_the_batches_of_this_one_are_worked_on(monkeypatch):
    ours, packed = executable(), many()
    asked, by = [threading.Event() for _ in range(9)], []
    plain = type(ours).stage

    def stage_and_tell(self, chunk):
        asked[len(by)].set()
        by.append(threading.current_thread().name)
        return plain(self, chunk)

    monkeypatch.setattr(type(ours), "stage", stage_and_tell)
    placed = place(ours, packed, 4, (packed.values.nbytes + packed.labels.nbytes) // 4)
    order, _ = batches(epoch_order(64, 3, 1), 4)
    wanted = [Rows(order[first : first + placed.longest]) for first in range(0, len(order), placed.longest)]
    for index, _ in enumerate(placed.pieces(wanted)):  # here the device would compute on this piece
        if index + 1 < len(wanted):
            assert asked[index + 1].wait(60), "nothing was brought meanwhile"
    assert len(by) == len(wanted) > 4 and threading.current_thread().name not in by


@pytest.mark.parametrize("engine", ["reference", "jax", "torch"])
def test_a_streamed_training_ends_in_the_same_parameters_bit_by_bit(engine):
    if engine != "reference":
        pytest.importorskip(engine, reason=f"{engine} is not installed")
    data = small_data(48)
    augmented = {"augmentation": (SpikeDropout(p=0.2), Mix(share=0.3)), "accumulate": 2, "batch_size": 3, "epochs": 3}
    size = data.train.values.nbytes + data.train.labels.nbytes
    whole, streamed = (npt.fit(small_experiment(**augmented), engine=engine, data=data, memory=memory)
                       for memory in (None, size // 2))
    for name, value in whole.last.items():
        assert np.array_equal(value, streamed.last[name]), name
    for one, other in zip(whole.history, streamed.history, strict=True):
        assert one["validation_accuracy"] == other["validation_accuracy"]
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-6)


def test_memory_for_less_than_two_batches_is_refused_with_a_mend():
    with pytest.raises(npt.InvalidExperiment, match=r"memory: 10 bytes are less than .*two pieces") as raised:
        npt.fit(small_experiment(), engine="reference", data=small_data(), memory=10)
    assert "batch_size" in str(raised.value)


def test_partners_are_of_the_same_class_and_drawn_anew_each_epoch():
    labels = np.random.default_rng(1).integers(0, 5, 200)
    first, second = (epoch_partners(labels, 4, epoch) for epoch in (0, 1))
    for partners in (first, second):
        assert np.array_equal(labels[partners], labels)
        assert sorted(partners) == list(range(200))  # each is a partner once
        assert (partners != np.arange(200)).all()
    assert (first != second).mean() > 0.8
    assert epoch_partners(np.array([0, 1, 1]), 0, 0)[0] == 0  # alone in its class


def test_an_interrupted_epoch_goes_on_where_it_stood_whatever_memory_there_is(tmp_path):
    data = small_data(48)
    experiment = small_experiment(batch_size=2, epochs=2)
    whole = npt.fit(experiment, engine="reference", data=data)

    class Stop(npt.callbacks.Callback):
        def on_piece(self, piece):
            if piece.epoch == 2 and piece.done >= 24:
                raise KeyboardInterrupt

    often = npt.Checkpoints(every_epochs=None, every_minutes=1e-9)
    with pytest.raises(KeyboardInterrupt):
        npt.fit(experiment, "reference", tmp_path / "run", [Stop()], data=data, checkpoint=often)
    size = data.train.values.nbytes + data.train.labels.nbytes
    resumed = npt.fit(experiment, "reference", tmp_path / "run", data=data, resume=True, memory=size // 2)
    assert all(np.array_equal(whole.last[name], resumed.last[name]) for name in whole.last)
