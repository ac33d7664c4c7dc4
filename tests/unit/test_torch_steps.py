"""A training step on torch as a whole: it never waits for the device, and a graph of it gives the same bits."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from neuroport_torch import graphs, runner, training  # noqa: E402
from neuroport_torch.engine import TorchExecutable  # noqa: E402
from neuroport_torch.graphs import GRAPH, SWITCH, CudaGraphs, Replayed, way_of_step  # noqa: E402
from neuroport_torch.runner import Compiled  # noqa: E402
from neuroport_torch.staging import Staged  # noqa: E402
from neuroport_torch.training import train_batches  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402
from unit.test_torch_training import (  # noqa: E402
    BATCHES,
    LESSONS,
    OPTIMIZERS,
    READOUT,
    B,
    batches,
    compiled,
    data,
    factors,
)

import neuroport as npt  # noqa: E402
from neuroport.engine.base import Options  # noqa: E402
from neuroport.model.losses import CrossEntropy  # noqa: E402
from neuroport.model.optimizers import Adam  # noqa: E402
from neuroport.model.training import Training  # noqa: E402
from neuroport.program.initialize import init  # noqa: E402
from neuroport.program.lower import lower  # noqa: E402
from neuroport.testing.networks import image, waiting  # noqa: E402

AUGMENTED = Training(augmentation=[
    npt.SpikeDropout(p=0.2), npt.NoiseSpikes(rate=30.0), npt.TimeJitter(reach=2e-3), npt.TimeShift(reach=2e-3),
    npt.Mix(share=0.3), npt.ChannelShift(reach=1), npt.TimeStretch(most=1.3), npt.Thinning(most=0.4),
    npt.Crop(duration=8e-3),
])
STEPS = {**LESSONS, "augmented": (READOUT, AUGMENTED), "checkpoints": (READOUT, Training(checkpoint_steps="sqrt")),
         "delays": (waiting(1e-3), Training(optimizer=OPTIMIZERS["Lion"]))}


class Recorded:
    """Work that is done on each replay, as if its Python had run once: its results stay where they are."""

    def __init__(self, work):
        self.work, self.results = work, ()

    def replay(self):
        found = self.work()
        if not self.results:
            self.results = found
        for into, value in zip(self.results, found, strict=True):
            into.copy_(value)


class Graphs:
    """``graphs.Graphs`` without a device: what is recorded runs with the tensors and numbers it was recorded with."""

    def __init__(self, capturable=False):
        self.capturable = capturable

    def aside(self, work):
        return work()

    def record(self, work):
        return Recorded(work)


@pytest.fixture(autouse=True)
def one_step_warms_up(monkeypatch):
    monkeypatch.setattr(graphs, "WARM", 1)


def learned(model, lesson, recorded, batch=None, precision="float32"):
    """Parameters, losses and the state after two epochs of unequal noise and rates; recorded: in graphs or not."""
    executable = compiled(model, lesson, precision=precision)
    executable.graphs = Graphs() if recorded else None
    state = executable.init_training(executable.load(init(model, 2)))
    staged, (order, mask) = executable.stage(data(lesson)), batches()
    if lesson.accumulate > 1:
        mask[-1] = 0
    partners = order[::-1].copy()
    losses = []
    for epoch in range(2):
        rates = factors(lesson) / (1 + epoch)
        state, metrics = executable.train_segment(
            state, staged, order[:, :batch], mask[:, :batch], rates, (7, epoch), partners=partners[:, :batch])
        losses += [metrics.loss, metrics.correct]
    return executable.export(executable.current(state)), np.concatenate(losses), state


@pytest.mark.parametrize("name", STEPS)
def test_steps_from_a_graph_are_the_plain_ones_to_the_bit(name):
    model, lesson = STEPS[name]
    expected, losses, state = learned(model, lesson, recorded=False)
    assert state.replayed is None
    got, found, state = learned(model, lesson, recorded=True)
    assert state.replayed.recorded == 1
    np.testing.assert_array_equal(found, losses)
    for key, value in expected.items():
        np.testing.assert_array_equal(got[key], value, err_msg=key)


# --- when a graph is made anew ---------------------------------------------------------------------


def segments(*pieces):
    """How often steps were recorded after each piece, and whether all gave what plain ones give.

    A piece: (batch size, which data, seed).
    """
    counts, ends = [], []
    for recorded in (True, False):
        executable = compiled(READOUT, Training(optimizer=Adam(learning_rate=0.01)), precision="float32")
        executable.graphs = Graphs() if recorded else None
        state = executable.init_training(executable.load(init(READOUT, 2)))
        staged = [executable.stage(data(executable.training, seed)) for seed in range(2)]
        order, mask = batches()
        for batch, which, seed in pieces:
            state, metrics = executable.train_segment(
                state, staged[which], order[:, :batch], mask[:, :batch], np.ones(BATCHES), (seed, 0))
            if recorded:
                counts.append(state.replayed.recorded)
            ends.append(metrics.loss)
        ends.append(executable.export(executable.current(state))["0_linear.weight"])
    half = len(ends) // 2
    return counts, all(map(np.array_equal, ends[:half], ends[half:]))


@pytest.mark.parametrize(("pieces", "counts"), [
    ([(B, 0, 7), (B, 0, 7)], [1, 1]),
    ([(B, 0, 7), (2, 0, 7), (2, 0, 7), (B, 0, 7)], [1, 2, 2, 3]),
    ([(B, 0, 7), (B, 1, 7), (B, 1, 7)], [1, 2, 2]),
    ([(B, 0, 7), (B, 0, 8)], [1, 2]),
], ids=["same", "batch size", "data", "seed"])
def test_other_shapes_data_and_constants_are_recorded_anew_and_nothing_else_is(pieces, counts):
    assert segments(*pieces) == (counts, True)


def test_shapes_that_were_met_need_no_warming_up_again():
    seen = []

    class Watched(Graphs):
        def aside(self, work):
            seen.append("aside")
            return super().aside(work)

        def record(self, work):
            seen.append("record")
            return super().record(work)

    replayed, here, other = Replayed(Watched()), torch.ones(3), torch.zeros(3)
    for inputs, reads in [(3, here), (3, here), (3, other), (5, other), (5, other), (3, here)]:
        replayed(lambda inputs: (inputs[0] + 1,), (torch.ones(inputs),), [reads])
    assert seen == ["aside", "record", "record", "aside", "record", "record"]


def test_results_are_not_written_over_by_the_next_replay():
    replayed = Replayed(Graphs())
    found = [replayed(lambda inputs: (inputs[0] * 2,), (torch.full((2,), value),))[0] for value in (1.0, 2.0, 3.0, 4.0)]
    assert [one.tolist() for one in found] == [[2.0] * 2, [4.0] * 2, [6.0] * 2, [8.0] * 2]


def test_data_that_were_let_go_of_are_not_taken_for_new_ones_in_their_place():
    replayed = Replayed(Graphs())
    for _ in range(4):
        values = torch.ones(1000)  # takes the memory of the one before
        replayed(lambda inputs: (inputs[0] + 1,), (torch.ones(2),), [values])
        del values
    assert replayed.recorded == 3


def test_a_training_from_a_snapshot_goes_on_in_graphs_to_the_same_bits():
    lesson, ends = Training(optimizer=OPTIMIZERS["SGD"], learning_rates={"*.bias": 0.5}), []
    for recorded in (True, False):
        executable = compiled(READOUT, lesson, precision="float32")
        executable.graphs = Graphs() if recorded else None
        staged, (order, mask) = executable.stage(data(lesson)), batches()
        state = executable.init_training(executable.load(init(READOUT, 2)))
        for epoch in range(2):
            state, _ = executable.train_segment(state, staged, order, mask, np.ones(BATCHES), (7, epoch))
            state = executable.restore(executable.snapshot(state))
        ends.append(executable.snapshot(state))
    assert set(ends[0]) == set(ends[1])
    for key, value in ends[1].items():
        np.testing.assert_array_equal(ends[0][key], value, err_msg=key)


# --- whether there is a graph ----------------------------------------------------------------------


def on_cuda(model=READOUT, loops=runner.TimeLoop):
    """A program as if it were compiled for CUDA, every segment with a loop of this kind."""
    program = lower(model)
    kinds = {segment: object.__new__(loops) for segment in Compiled(program, torch.float32, torch.device("cpu")).loops}
    return SimpleNamespace(device=torch.device("cuda:0"), program=program, loops=kinds)


class Kernel:
    pass


class Own(CrossEntropy):
    pass


@pytest.mark.parametrize(("where", "lesson", "expected"), [
    (on_cuda(loops=Kernel), Training(), GRAPH),
    (on_cuda(loops=Kernel), Training(loss=Own()),
     "plain: Own is your own, whether it waits for the device is not known"),
    (on_cuda(loops=graphs.EagerLoop), Training(), "plain: 1_lif without a kernel, step by step"),
    (on_cuda(waiting(1e-3), Kernel), Training(), "plain: delays that differ between neurons"),
    (on_cuda(image(1e-3, npt.LIF(tau=5e-3)), Kernel), AUGMENTED, GRAPH),
])
def test_whether_steps_are_recorded_is_a_rule_and_told(where, lesson, expected, monkeypatch):
    assert way_of_step(where, lesson) == expected
    monkeypatch.setenv(SWITCH, "0")
    assert way_of_step(where, lesson) == f"plain: {SWITCH}=0"


def test_a_run_tells_how_its_training_steps_run():
    executable = compiled(READOUT, Training())
    x = {"input": np.ones((3, 1, 6), np.float32)}
    ran = executable.run(executable.load(init(READOUT, 0)), executable.init_state(1), x)
    assert ran.info["step"] == "plain: cpu has no CUDA graphs" and executable.graphs is None
    assert "step" not in npt.run(READOUT, init(READOUT, 0), x, engine="torch").info


class Cuda:
    """What ``CudaGraphs`` asks of torch.cuda, noted in order."""

    def __init__(self, fails=False):
        self.seen, self.fails, here = [], fails, self

        class Stream:
            def __init__(self, name="side"):
                self.name = name

            def wait_stream(self, other):
                here.seen.append(f"{self.name} waits for {other.name}")

        class CUDAGraph:
            def replay(self):
                here.seen.append("replay")

        self.Stream, self.CUDAGraph = (lambda device: Stream()), CUDAGraph
        self.current_stream, self.device = (lambda device: Stream("here")), (lambda device: nullcontext())

    @contextmanager
    def stream(self, stream):
        self.seen.append(f"on {stream.name}")
        yield

    @contextmanager
    def graph(self, graph, stream, capture_error_mode):
        self.seen.append(f"capture on {stream.name}, {capture_error_mode}")
        yield
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing")


def test_on_cuda_steps_warm_up_and_are_captured_on_one_side_stream(monkeypatch):
    monkeypatch.setattr(torch, "cuda", cuda := Cuda())
    replayed, work = Replayed(CudaGraphs(torch.device("cuda:0"))), lambda inputs: (inputs[0] + 1,)
    for _ in range(3):
        replayed(work, (torch.ones(2),))
    assert cuda.seen == ["side waits for here", "on side", "here waits for side", "capture on side, thread_local",
                         "replay", "replay"]


def test_a_step_that_cannot_be_captured_is_told_with_the_mend(monkeypatch):
    monkeypatch.setattr(torch, "cuda", Cuda(fails=True))
    with pytest.raises(npt.NeuroportError, match=f"not permitted when stream is capturing\n  mend: .*{SWITCH}=0"):
        CudaGraphs(torch.device("cuda:0")).record(tuple)


# --- nothing waits for the device ------------------------------------------------------------------


class Watch(TorchDispatchMode):
    """Every operation that hands values to the host, or takes them from it."""

    WAITING = ("_local_scalar_dense", "item", "is_nonzero", "nonzero", "masked_select", "equal", "unique",
               "_unique2", "unique_dim", "repeat_interleave")

    def __init__(self):
        super().__init__()
        self.seen, self.count = [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        found = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        places = {one.device.type for one in tree_leaves((args, kwargs, found)) if isinstance(one, torch.Tensor)}
        if name in self.WAITING or len(places) > 1:
            self.seen.append(f"{func} {places}")
        return found


class Launches:
    """A compiled kernel of Triton's that runs nothing."""

    def __init__(self):
        self.count = 0

    def __getitem__(self, grid):
        def launch(*arguments, **options):
            self.count += 1
            assert all(one.device.type == "meta" for one in arguments if isinstance(one, torch.Tensor))

        return launch


@pytest.fixture
def meta_optimizers(monkeypatch):
    """torch.optim for tensors without values; its fused kernels, which have none for them, only look at the rates."""

    def fused(*tensors, lr, **options):
        assert isinstance(lr, torch.Tensor) and lr.device.type == "meta"

    for name in ("_fused_sgd_", "_fused_adam_", "_fused_adamw_"):
        monkeypatch.setattr(torch, name, fused)
    for name in ("sgd", "adam"):
        module = import_module(f"torch.optim.{name}")
        monkeypatch.setattr(module, "_device_dtype_check_for_fused", lambda *_, **__: None)
    monkeypatch.setattr(import_module("torch.optim.rmsprop"), "_get_capturable_supported_devices", lambda: ["meta"])


@pytest.mark.parametrize(("name", "kernels"), [
    *((name, True) for name in STEPS), ("Adam", False), ("delays", False)])
def test_nothing_in_a_run_of_batches_waits_for_the_device(name, kernels, monkeypatch, meta_optimizers):
    """Tensors on "meta" have no values: no step can look at one. What would bring values from the host is watched."""
    model, lesson = STEPS[name]
    launches = Launches()
    if kernels:
        pytest.importorskip("triton")
        from neuroport_torch.kernels import triton_bits, triton_loop, triton_population

        monkeypatch.setattr(runner, "language", lambda device: "triton")
        for module in (triton_loop, triton_population):
            monkeypatch.setattr(module, "load", lambda source, name: launches)
        for kernel in ("forward", "reverse"):
            monkeypatch.setattr(triton_bits, kernel, launches)
    meta = torch.device("meta")
    executable = TorchExecutable(lower(model), Options("meta", "float32", lesson), meta)
    assert any("Triton" in loop for loop in executable.compiled.describe().values()) == kernels
    executable.graphs = Graphs(capturable=True)
    handle = {key: torch.empty(value.shape, device=meta) for key, value in init(model, 2).items()}
    monkeypatch.setattr(training.State, "begin", begin_on_meta)
    state = executable.init_training(handle)
    staged, (order, mask) = Staged.of(data(lesson), torch.float32, meta), batches()
    rows, valid = torch.empty(order.shape, dtype=torch.int64, device=meta), torch.empty(mask.shape, device=meta)

    def segment():
        return train_batches(executable.compiled, lesson, state, staged, rows, valid, factors(lesson).tolist(), (7, 3),
                             rows, rows if lesson.augmentation else None)

    segment()  # what is brought to the device once, such as delays, has been brought
    watch, take = Watch(), training.Step.__call__

    def watched(self, group):
        with monkeypatch.context() as within, watch:
            for maker in ("tensor", "as_tensor", "from_numpy"):
                within.setattr(torch, maker, lambda *_, **__: pytest.fail("a value is brought to the device"))
            return take(self, group)

    monkeypatch.setattr(training.Step, "__call__", watched)
    losses, right = segment()
    assert losses.shape == right.shape == (len(order),) and losses.device == meta
    assert watch.count > 50 * len(factors(lesson)) and watch.seen == []
    assert not kernels or launches.count > 0


def begin_on_meta(program, lesson, handle, graphs):
    """``State.begin`` reads parameters, which have no values here."""
    from neuroport_torch.state import State

    free = {name: handle[name].clone() for name in program.trainable if lesson.rate_factor(name) > 0}
    return State.of(program, lesson, free, {name: value for name, value in handle.items() if name not in free}, graphs)
