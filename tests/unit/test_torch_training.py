"""Training on torch: the reference's results, torch.optim underneath, snapshots, accumulation, truncation, buffers."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from neuroport_torch import lion  # noqa: E402
from neuroport_torch.arena import Arena, Fresh  # noqa: E402
from neuroport_torch.staging import Staged, unpack  # noqa: E402
from safetensors import numpy as safetensors  # noqa: E402

import neuroport as npt  # noqa: E402
from neuroport.data.packing import targets_of  # noqa: E402
from neuroport.data.packing import unpack as numpys_unpack  # noqa: E402
from neuroport.data.staging import stage  # noqa: E402
from neuroport.dynamics import ops  # noqa: E402
from neuroport.model.graph import Model, Recurrent  # noqa: E402
from neuroport.model.layers import Dropout, Linear  # noqa: E402
from neuroport.model.losses import (  # noqa: E402
    TET,
    CrossEntropy,
    RateMSE,
    SpikeCountMSE,
    TemporalCrossEntropy,
    TraceMSE,
    VanRossum,
)
from neuroport.model.metrics import TopK  # noqa: E402
from neuroport.model.neurons import LI, LIF  # noqa: E402
from neuroport.model.optimizers import SGD, Adam, AdamW, Lion, RMSprop  # noqa: E402
from neuroport.model.regularizers import RateBounds, RateL1, RateL2, WeightL1, WeightL2  # noqa: E402
from neuroport.model.schedules import Exponential  # noqa: E402
from neuroport.model.training import Training  # noqa: E402
from neuroport.model.values import Parameter, Uniform  # noqa: E402
from neuroport.program.initialize import init  # noqa: E402

T, B, BATCHES, CLASSES = 12, 4, 6, 3
HIDDEN = [Linear(9), LIF(tau=Parameter(value=Uniform(low=3e-3, high=9e-3)), r=4.0), Dropout(0.2),
          Recurrent(Linear(9), LIF.from_decay(Parameter(value=0.7), r=1.5)), Linear(CLASSES)]
READOUT = Model.sequential(input=6, dt=1e-3, layers=[*HIDDEN, LI(tau=5e-3)])
SPIKING = Model.sequential(input=6, dt=1e-3, layers=[*HIDDEN, LIF(tau=5e-3, r=6.0)])
PLAIN = SGD(learning_rate=0.1)
OPTIMIZERS = {
    "SGD": SGD(learning_rate=0.1, momentum=0.9, weight_decay=0.01), "Adam": Adam(learning_rate=0.01, beta2=0.99),
    "AdamW": AdamW(learning_rate=0.01, weight_decay=0.1), "Lion": Lion(learning_rate=0.01, weight_decay=0.1),
    "RMSprop": RMSprop(learning_rate=0.01, decay=0.9, momentum=0.5, eps=1e-4),
}
UNDERNEATH = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW, "Lion": lion.Lion,
              "RMSprop": torch.optim.RMSprop}
LESSONS = {
    **{name: (READOUT, Training(optimizer=one, schedule=Exponential(gamma=0.5))) for name, one in OPTIMIZERS.items()},
    "plain RMSprop": (READOUT, Training(optimizer=RMSprop(eps=1e-4))),
    **{f"over {over}": (READOUT, Training(optimizer=PLAIN, loss=CrossEntropy(over=over)))
       for over in ("sum", "mean", "max", "last")},
    "over first spikes": (SPIKING, Training(optimizer=PLAIN, loss=CrossEntropy(over="first_spike"))),
    "smoothed": (READOUT, Training(optimizer=PLAIN, loss=CrossEntropy(label_smoothing=0.2))),
    "SpikeCountMSE": (SPIKING, Training(optimizer=SGD(learning_rate=1e-2), loss=SpikeCountMSE(correct=6.0))),
    "RateMSE": (SPIKING, Training(optimizer=PLAIN, loss=RateMSE())),
    "TraceMSE": (READOUT, Training(optimizer=PLAIN, loss=TraceMSE())),
    "VanRossum": (SPIKING, Training(optimizer=SGD(learning_rate=1e-2), loss=VanRossum(tau=3e-3))),
    "TemporalCrossEntropy": (SPIKING, Training(
        optimizer=SGD(learning_rate=1e-2), loss=TemporalCrossEntropy(early_strength=0.1, early_tau=20e-3))),
    "TET": (READOUT, Training(optimizer=PLAIN, loss=TET())),
    "RateBounds": (READOUT, Training(optimizer=PLAIN, regularizers=[
        RateBounds(lower=0.2, upper=0.25), RateBounds(lower=0.3, per="layer", nodes=("1_lif",))])),
    "RateL1, RateL2": (READOUT, Training(optimizer=PLAIN, regularizers=[
        RateL1(strength=0.5), RateL2(strength=0.3, nodes=("1_lif",))])),
    "WeightL1, WeightL2": (READOUT, Training(optimizer=PLAIN, regularizers=[
        WeightL1(strength=1e-2), WeightL2(strength=1e-2), WeightL2(strength=3.0, parameters=("*.tau",))])),
    "clipped": (READOUT, Training(optimizer=SGD(learning_rate=1.0), clip_norm=0.05)),
    "rates": (READOUT, Training(optimizer=AdamW(learning_rate=0.02), learning_rates={
        "*.tau": 0.1, "4_linear.*": 3.0, "0_linear.bias": 0.0})),
    "some at rest, clipped": (READOUT, Training(
        optimizer=SGD(learning_rate=1.0), clip_norm=0.05, learning_rates={"*.tau": 0.0, "*_lif.*decay": 0.0})),
    "accumulated": (READOUT, Training(optimizer=PLAIN, accumulate=2)),
    "accumulated with penalties": (READOUT, Training(optimizer=Adam(learning_rate=0.02), accumulate=3, regularizers=[
        RateBounds(lower=0.2, upper=0.25), WeightL2(strength=1e-2)])),
    "truncated": (READOUT, Training(optimizer=PLAIN, truncate=5)),
    "all at once": (SPIKING, Training(
        optimizer=Lion(learning_rate=0.01), loss=RateMSE(), truncate=4, accumulate=2, clip_norm=0.1,
        learning_rates={"*.tau": 0.5}, schedule=Exponential(gamma=0.5))),
}


def data(training, seed=0, high=2):
    random = np.random.default_rng(seed)
    x = random.integers(0, high, (BATCHES * B, T, 6))
    traces = random.integers(0, 2, (BATCHES * B, T, CLASSES)).astype(np.float32)
    return stage(x, traces if training.loss.targets == "traces" else random.integers(0, CLASSES, BATCHES * B))


def batches():
    """order, mask (batches, B): a batch partly of padding, and one of nothing else."""
    mask = np.ones((BATCHES, B))
    mask[-2, 1:] = 0
    return np.random.default_rng(5).permutation(BATCHES * B).reshape(BATCHES, B), mask


def factors(training):
    return training.schedule.factors(BATCHES // training.accumulate, 1)


def compiled(model, training, engine="torch", precision="float64"):
    return npt.compile(model, engine, device="cpu", precision=precision, training=training)


def learn(model, training, engine="torch", precision="float64", prepare=lambda executable, state: None):
    """Parameters after all batches, and the metrics on the way."""
    executable, (order, mask) = compiled(model, training, engine, precision), batches()
    if training.accumulate > 1:
        mask[-1] = 0
    state = executable.init_training(executable.load(init(model, 2)))
    prepare(executable, state)
    state, metrics = executable.train_segment(
        state, executable.stage(data(training)), order, mask, factors(training), (7, 3))
    return executable.export(executable.current(state)), metrics


@pytest.mark.parametrize("name", LESSONS)
def test_training_is_the_references(name):
    model, training = LESSONS[name]
    expected, plain = learn(model, training, "reference")
    got, metrics = learn(model, training)
    start = init(model, 2)
    np.testing.assert_allclose(metrics.loss, plain.loss, rtol=1e-9)
    np.testing.assert_array_equal(metrics.count, plain.count)
    for key, value in expected.items():
        np.testing.assert_allclose(got[key], value, rtol=1e-7, atol=1e-9, err_msg=key)
    assert any(np.abs(got[key] - start[key]).max() > 1e-4 for key in got)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_torch_optim_is_underneath_and_steps_once_a_group_of_batches(name):
    training = Training(optimizer=OPTIMIZERS[name], accumulate=2, learning_rates={"*.weight": 0.5})
    seen = []

    def watch(executable, state):
        assert type(state.optimizer) is UNDERNEATH[name] and isinstance(state.optimizer, torch.optim.Optimizer)
        state.optimizer.register_step_post_hook(
            lambda optimizer, *_: seen.append([group["lr"] for group in optimizer.param_groups]))

    learn(READOUT, training.model_copy(update={"schedule": Exponential(gamma=0.5)}), prepare=watch)
    rate = training.optimizer.learning_rate
    np.testing.assert_allclose(seen, [[rate * f * 0.5 ** (step / 3) for f in (0.5, 1.0)] for step in range(3)])


@pytest.mark.parametrize("clip_norm", [None, 0.05])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_parameter_of_rate_zero_stays_put_bit_by_bit(name, clip_norm):
    still = ("0_linear.weight", "1_lif.tau", "3_lif.decay")
    training = Training(optimizer=OPTIMIZERS[name], clip_norm=clip_norm, learning_rates=dict.fromkeys(still, 0.0))
    got, _ = learn(READOUT, training, precision="float32")
    for key, value in init(READOUT, 2).items():
        assert np.array_equal(got[key], value) == (key in still), key


# --- snapshots -----------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_training_goes_on_from_a_file_as_if_nothing_had_happened(name, precision, tmp_path):
    training = Training(optimizer=OPTIMIZERS[name], clip_norm=1.0, learning_rates={"*.bias": 0.5, "*.tau": 0.0})
    packed, (order, mask), steps = data(training), batches(), np.linspace(1.0, 0.5, BATCHES)
    executable = compiled(READOUT, training, precision=precision)
    staged = executable.stage(packed)
    half, rest = slice(0, BATCHES // 2), slice(BATCHES // 2, None)

    def go_on(found, state, part):
        return found.train_segment(state, staged, order[part], mask[part], steps[part], (7, 3))

    state, _ = go_on(executable, executable.init_training(executable.load(init(READOUT, 2))), half)
    safetensors.save_file(executable.snapshot(state), tmp_path / "taken.safetensors")
    once, whole = go_on(executable, state, rest)
    other = compiled(READOUT, training, precision=precision)
    again, continued = go_on(other, other.restore(safetensors.load_file(tmp_path / "taken.safetensors")), rest)
    np.testing.assert_array_equal(continued.loss, whole.loss)
    one, two = executable.snapshot(once), other.snapshot(again)
    assert set(one) == set(two) and any(key.startswith("optimizer/") for key in one)
    for key, value in one.items():
        assert value.dtype == two[key].dtype
        np.testing.assert_array_equal(two[key], value, err_msg=key)


def test_a_snapshot_does_not_move_with_the_training():
    training = Training()
    executable, (order, mask) = compiled(READOUT, training), batches()
    state = executable.init_training(executable.load(init(READOUT, 2)))
    first = executable.snapshot(state)
    kept = {name: value.copy() for name, value in first.items()}
    restored = executable.restore(first)
    executable.train_segment(restored, executable.stage(data(training)), order, mask, np.ones(BATCHES), (0, 0))
    executable.train_segment(state, executable.stage(data(training)), order, mask, np.ones(BATCHES), (0, 0))
    for name, value in kept.items():
        np.testing.assert_array_equal(first[name], value, err_msg=name)


def test_training_in_two_pieces_equals_one_and_a_state_is_not_the_handle():
    executable = compiled(READOUT, Training(optimizer=OPTIMIZERS["Adam"]), precision="float32")
    handle, (order, mask) = executable.load(init(READOUT, 2)), batches()
    staged = executable.stage(data(executable.training))
    once, _ = executable.train_segment(executable.init_training(handle), staged, order, mask, np.ones(BATCHES), (0, 0))
    twice = executable.init_training(handle)
    for piece in (slice(0, 1), slice(1, BATCHES)):
        steps = np.ones(len(order[piece]))
        twice, _ = executable.train_segment(twice, staged, order[piece], mask[piece], steps, (0, 0))
    start = init(READOUT, 2)
    for name, value in executable.export(executable.current(once)).items():
        np.testing.assert_array_equal(value, executable.export(executable.current(twice))[name], err_msg=name)
        np.testing.assert_array_equal(executable.export(handle)[name], start[name])


# --- accumulation and truncation -----------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_batches_accumulated_equal_one_batch_of_all_their_samples(name):
    order, mask = batches()
    reached = []
    for size in (1, 2, 3):
        training = Training(optimizer=OPTIMIZERS[name], accumulate=size, clip_norm=0.2)
        executable = compiled(READOUT, training)
        joined = (part.reshape(BATCHES // 6 * size * 2, -1) for part in (order, mask))  # two steps of three batches
        state = executable.init_training(executable.load(init(READOUT, 2)))
        state, metrics = executable.train_segment(
            state, executable.stage(data(training)), *joined, np.ones(2), (7, 3))
        assert len(metrics.loss) == 2 * size
        reached.append(executable.export(executable.current(state)))
    for other in reached[1:]:
        for key, value in reached[0].items():
            np.testing.assert_allclose(other[key], value, rtol=1e-9, atol=1e-11, err_msg=key)


def test_a_batch_of_padding_alone_has_no_influence():
    training = Training(optimizer=PLAIN, accumulate=2, loss=TraceMSE(), clip_norm=0.5)
    executable, (order, _) = compiled(READOUT, training), batches()
    mask = np.repeat([[1.0], [0.0]], B, 1)
    reached = []
    for padding in (order[1], order[2]):
        state = executable.init_training(executable.load(init(READOUT, 2)))
        state, metrics = executable.train_segment(
            state, executable.stage(data(training)), np.stack([order[0], padding]), mask, np.ones(1), (7, 3))
        assert metrics.loss[1] == 0 and metrics.count.tolist() == [B, 0]
        reached.append(executable.export(executable.current(state)))
    for key, value in reached[0].items():
        assert np.isfinite(value).all()
        np.testing.assert_array_equal(reached[1][key], value, err_msg=key)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_truncation_to_the_whole_run_is_none(precision):
    for length in (T, T + 5):
        got, metrics = learn(READOUT, Training(optimizer=PLAIN, truncate=length), precision=precision)
        expected, plain = learn(READOUT, Training(optimizer=PLAIN), precision=precision)
        np.testing.assert_array_equal(metrics.loss, plain.loss)
        for key, value in expected.items():
            np.testing.assert_array_equal(got[key], value, err_msg=key)
    cut, metrics = learn(READOUT, Training(optimizer=PLAIN, truncate=T - 1), precision=precision)
    assert metrics.loss[0] == pytest.approx(plain.loss[0], rel=1e-6)  # values are those of the whole run
    assert not np.array_equal(cut["1_lif.tau"], expected["1_lif.tau"])


# --- buffers -------------------------------------------------------------------------------------


class Poisoned(Arena):
    """Every buffer holds NaN when it is handed out, and whenever it is free again."""

    def empty(self, shape, dtype, device):
        return poison(super().empty(shape, dtype, device))

    def reset(self):
        for buffers in self._used.values():
            for buffer in buffers:
                poison(buffer.tensor)
        super().reset()


def poison(tensor):
    return tensor.fill_(torch.nan if tensor.dtype.is_floating_point else -1)


@pytest.mark.parametrize("name", ["Adam", "accumulated", "accumulated with penalties", "truncated", "all at once"])
def test_nothing_is_read_from_a_buffer_that_was_not_written_in_the_same_batch(name, monkeypatch):
    monkeypatch.setattr("neuroport_torch.products.LARGE", 0)  # also small products use buffers
    model, training = LESSONS[name]

    def place(arena):
        def prepare(executable, state):
            state.arena = arena()
        return prepare

    got, metrics = learn(model, training, precision="float32", prepare=place(Poisoned))
    expected, plain = learn(model, training, precision="float32", prepare=place(Fresh))
    np.testing.assert_array_equal(metrics.loss, plain.loss)
    for key, value in expected.items():
        assert np.isfinite(value).all()
        np.testing.assert_array_equal(got[key], value, err_msg=key)


# --- evaluation and staging ----------------------------------------------------------------------


@pytest.mark.parametrize("loss", [CrossEntropy(), TraceMSE()], ids=["classes", "traces"])
def test_evaluation_is_the_references(loss):
    class Most(npt.Metric):
        def per_sample(self, outputs, targets, step):
            return ops.max(ops.max(outputs, 0), 1)

    metrics = [Most(), *([TopK(k=2)] if loss.targets == "classes" else [])]
    training = Training(loss=loss, metrics=metrics, regularizers=[WeightL2(strength=5.0)], truncate=5)
    packed, (order, mask) = data(training), batches()
    mask[-1] = 0
    got, expected = (
        executable.evaluate(executable.load(init(READOUT, 2)), executable.stage(packed), order, mask)
        for executable in (compiled(READOUT, training, engine) for engine in ("torch", "reference")))
    for mine, plain in zip(got[:3], expected[:3], strict=True):
        np.testing.assert_allclose(mine, plain, rtol=1e-12)
    assert set(got.rates) == set(expected.rates) and set(got.extra) == {metric.label for metric in metrics}
    for name, value in {**expected.rates, **expected.extra}.items():
        np.testing.assert_allclose({**got.rates, **got.extra}[name], value, rtol=1e-12, err_msg=name)
    if loss.targets == "traces":
        assert got.decisions is None
    else:
        np.testing.assert_array_equal(got.decisions, expected.decisions)


def test_right_decisions_are_counted_on_the_way():
    model = Model.sequential(input=6, dt=1e-3, layers=[layer for layer in HIDDEN if not isinstance(layer, Dropout)])
    training = Training(optimizer=SGD(learning_rate=1e-30))
    executable, (order, mask) = compiled(model, training), batches()
    handle, staged = executable.load(init(model, 2)), executable.stage(data(training))
    _, metrics = executable.train_segment(
        executable.init_training(handle), staged, order, mask, np.ones(BATCHES), (0, 0))
    expected = executable.evaluate(handle, staged, order, mask)
    np.testing.assert_array_equal(metrics.correct, expected.correct)
    assert 0 < metrics.correct.sum() < mask.sum()


@pytest.mark.parametrize("layout", ["bits", "counts", "floats", "constant"])
def test_batches_on_the_device_are_numpys(layout):
    random = np.random.default_rng(0)
    x = random.integers(0, 2 if layout == "bits" else 9, (6, 13, 2, 3))
    packed = {
        "bits": lambda y: stage(x, y), "counts": lambda y: stage(x, y),
        "floats": lambda y: stage(x / 7, y, layout="floats"),
        "constant": lambda y: stage(x[:, :1] / 7, y, layout="floats", steps=13),
    }[layout](random.normal(size=(6, 13, 2, 2)))
    rows = np.array([4, 0, 4])
    staged = Staged.of(packed, torch.float64, torch.device("cpu"))
    got = unpack(staged, torch.tensor(rows), torch.float64, Arena())
    np.testing.assert_array_equal(got.numpy(), numpys_unpack(packed, rows))
    np.testing.assert_array_equal(staged.targets(torch.tensor(rows)).numpy(), targets_of(packed, rows))
    assert got.is_contiguous() and staged.targets(torch.tensor(rows)).dtype == torch.float64
