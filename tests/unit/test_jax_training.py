"""The jax engine's training: optax underneath, checkpoints to the bit, accumulation, truncation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import optax  # noqa: E402
import safetensors.numpy  # noqa: E402
from neuroport_jax import training as batches  # noqa: E402
from neuroport_jax.engine import JaxEngine, JaxExecutable  # noqa: E402
from neuroport_reference.engine import ReferenceEngine  # noqa: E402

from neuroport.data.packing import Packed  # noqa: E402
from neuroport.data.staging import stage  # noqa: E402
from neuroport.engine.base import Metrics, Noise, Options, Trainable  # noqa: E402
from neuroport.errors import InvalidData  # noqa: E402
from neuroport.model.graph import Edge, Model  # noqa: E402
from neuroport.model.layers import Dropout, Linear  # noqa: E402
from neuroport.model.losses import TraceMSE  # noqa: E402
from neuroport.model.metrics import TopK  # noqa: E402
from neuroport.model.neurons import LI, LIF  # noqa: E402
from neuroport.model.nodes import Input, Output  # noqa: E402
from neuroport.model.optimizers import SGD, Adam, AdamW, Lion, Optimizer, RMSprop  # noqa: E402
from neuroport.model.regularizers import RateL2, WeightL2  # noqa: E402
from neuroport.model.training import Training  # noqa: E402
from neuroport.model.values import Normal, Parameter, Uniform  # noqa: E402
from neuroport.program.initialize import init  # noqa: E402
from neuroport.program.lower import lower  # noqa: E402
from neuroport.testing.clear import search, watching  # noqa: E402
from neuroport.testing.tiers import LOSSES, PARAMETERS, near  # noqa: E402

DT = 2.0**-10
T, B, N = 16, 4, 12
MARGIN = 2e-5  # of thresholds, which are 1
STRONG = Normal(mean=0.5, std=1.5)
OPTIMIZERS: dict[str, Optimizer] = {
    "SGD": SGD(learning_rate=0.05, momentum=0.9, weight_decay=0.01),
    "Adam": Adam(learning_rate=0.01, eps=1e-6),
    "AdamW": AdamW(learning_rate=0.01, eps=1e-6, weight_decay=0.1),
    "Lion": Lion(learning_rate=0.003, weight_decay=0.1),
    "RMSprop": RMSprop(learning_rate=0.001, eps=1e-4, momentum=0.9),
}
STATES = {
    "SGD": optax.TraceState, "Adam": optax.ScaleByAdamState, "AdamW": optax.ScaleByAdamState,
    "Lion": optax.ScaleByLionState, "RMSprop": optax.ScaleByRmsState,
}


def trainable_tau() -> Model:
    """6 inputs, 8 neurons of which each learns its tau, 3 sums."""
    neuron = LIF(tau=Parameter(value=Uniform(low=6 * DT, high=12 * DT)), r=Parameter(value=1.1, trainable=False))
    return Model.sequential(6, DT, {
        "first": Linear(8, weight_init=STRONG), "hidden": neuron, "drop": Dropout(p=0.3),
        "second": Linear(3, weight_init=Normal(std=1.0)),
    })


def looped() -> Model:
    """A cycle through a delay of two and dropout, a delay of three ahead, one of nine beside."""
    nodes = {
        "input": Input(shape=(6,)), "first": Linear(8, weight_init=STRONG), "a": LIF(tau=6 * DT),
        "drop": Dropout(p=0.2), "back": Linear(8, weight_init=Normal(std=0.7)),
        "second": Linear(3, weight_init=Normal(std=1.0)), "readout": LI(tau=10 * DT), "output": Output(),
    }
    edges = [
        Edge("input", "first"), Edge("first", "a", 3), Edge("a", "drop"), Edge("drop", "back", 2), Edge("back", "a"),
        Edge("a", "second"), Edge("drop", "second", 9), Edge("second", "readout"), Edge("readout", "output"),
    ]
    return Model(nodes=nodes, edges=edges, dt=DT)


def compiled(model: Model, training: Training) -> JaxExecutable:
    return JaxEngine().compile(lower(model), Options(device="cpu", training=training))


def reference(model: Model, training: Training) -> Trainable:
    return ReferenceEngine().compile(lower(model), Options(training=training))


def samples(seed: int = 0, traces: bool = False) -> Packed:
    random = np.random.default_rng(seed)
    y = random.normal(size=(N, T, 3)) if traces else random.integers(0, 3, N)
    return stage(random.integers(0, 2, (N, T, 6)), y)


def order_of(count: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.stack([random.permutation(N)[:B] for _ in range(count)])


def taught(
    executable: Trainable, training: Any, data: Any, order: np.ndarray, epoch: int = 0,
    mask: np.ndarray | None = None, groups: int | None = None,
) -> tuple[Any, Metrics]:
    """Some batches further, at learning rates that change from step to step."""
    factors = np.linspace(1.0, 0.5, len(order) if groups is None else groups)
    mask = np.ones(order.shape) if mask is None else mask
    return executable.train_segment(training, data, order, mask, factors, (7, epoch))


def reached(executable: Trainable, training: Any) -> dict[str, np.ndarray]:
    return executable.export(executable.current(training))


def start(executable: Trainable, seed: int = 0) -> Any:
    return executable.init_training(executable.load(init(executable.program.model, seed)))


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(
        a[name].dtype == b[name].dtype and a[name].tobytes() == b[name].tobytes() for name in a
    )


# --- the optimizer ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_state_of_a_training_is_optax_own(name: str) -> None:
    executable = compiled(trainable_tau(), Training(optimizer=OPTIMIZERS[name]))
    state = start(executable).optimizer
    parts = jax.tree.leaves(state, is_leaf=lambda part: isinstance(part, STATES[name]))
    assert any(isinstance(part, STATES[name]) for part in parts)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_moves_as_the_definition_does(name: str) -> None:
    training = Training(
        optimizer=OPTIMIZERS[name], clip_norm=0.5, learning_rates={"*.tau": 0.2, "second.*": 3.0},
        regularizers=(RateL2(strength=0.1), WeightL2(strength=1e-3)),
    )
    agree_with_the_reference(trainable_tau(), training, batches_=10)


def test_a_learning_rate_of_zero_leaves_a_parameter_to_the_bit() -> None:
    executable = compiled(trainable_tau(), Training(learning_rates={"first.*": 0.0}))
    before = init(executable.program.model, 0)
    after = reached(executable, taught(executable, start(executable), executable.stage(samples()), order_of(3))[0])
    assert before["first.weight"].tobytes() == after["first.weight"].tobytes()
    assert (before["second.weight"] != after["second.weight"]).any()


# --- snapshots -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_training_restored_from_a_file_goes_on_to_equal_bits(name: str) -> None:
    training = Training(optimizer=OPTIMIZERS[name], clip_norm=0.5)
    executable, order = compiled(trainable_tau(), training), order_of(6)
    data = executable.stage(samples())
    halfway, _ = taught(executable, start(executable), data, order[:3], epoch=0)
    file = safetensors.numpy.save(executable.snapshot(halfway))
    after, metrics = taught(executable, halfway, data, order[3:], epoch=1)

    another = compiled(trainable_tau(), training)
    restored = another.restore(safetensors.numpy.load(file))
    again, others = taught(another, restored, another.stage(samples()), order[3:], epoch=1)
    assert metrics.loss.tobytes() == others.loss.tobytes()
    assert same(executable.snapshot(after), another.snapshot(again))
    assert same(reached(executable, after), reached(another, again))


def test_what_was_restored_from_may_be_used_for_something_else() -> None:
    executable = compiled(trainable_tau(), Training())
    data, snapshot = executable.stage(samples()), executable.snapshot(start(executable))
    expected = taught(executable, executable.restore(snapshot), data, order_of(3))[1].loss
    lent = {name: aligned(value) for name, value in snapshot.items()}  # memory that jax would share
    restored = executable.restore(lent)
    for value in lent.values():
        value[...] = 0
    assert taught(executable, restored, data, order_of(3))[1].loss.tobytes() == expected.tobytes()


def test_a_snapshot_of_another_training_is_refused_name_by_name() -> None:
    adam, sgd = (compiled(trainable_tau(), Training(optimizer=OPTIMIZERS[name])) for name in ("Adam", "SGD"))
    arrays = adam.snapshot(start(adam))
    arrays["free/first.weight"] = arrays["free/first.weight"].T
    with pytest.raises(InvalidData) as refused:
        sgd.restore(arrays)
    words = str(refused.value)
    assert "optimizer[0].mu['first.weight']: belongs to another training" in words
    assert "trace['first.weight']: is missing" in words
    assert "free/first.weight: is float32 of shape (6, 8), expected float32 of shape (8, 6)" in words


# --- batches ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip_norm", [None, 0.05])
def test_three_batches_accumulated_are_one_three_times_as_large(clip_norm: float | None) -> None:
    small = compiled(trainable_tau(), Training(accumulate=3, clip_norm=clip_norm))
    large = compiled(trainable_tau(), Training(clip_norm=clip_norm))
    order, data = np.stack([np.random.default_rng(seed).permutation(N) for seed in range(2)]), samples()
    mask = np.ones(order.shape)
    mask[1, 7:] = 0  # the second group: a whole batch, three samples, one that is all padding
    one, losses = taught(
        small, start(small), small.stage(data), order.reshape(6, B), mask=mask.reshape(6, B), groups=2
    )
    other, of_large = taught(large, start(large), large.stage(data), order, mask=mask)
    near(reached(small, one), reached(large, other), 1e-5, "parameters")
    assert losses.count.tolist() == [4, 4, 4, 4, 3, 0]
    shares = mask.reshape(2, 3, B).sum(2) / mask.sum(1)[:, None]
    np.testing.assert_allclose((losses.loss.reshape(2, 3) * shares).sum(1), of_large.loss, atol=LOSSES)


def test_accumulation_with_penalties_agrees_with_the_reference() -> None:
    training = Training(optimizer=SGD(learning_rate=0.1), accumulate=5, regularizers=(RateL2(), WeightL2()))
    agree_with_the_reference(trainable_tau(), training, batches_=10)


@pytest.mark.parametrize(("accumulate", "deep"), [(1, 2), (2, 3)])
def test_one_batch_a_step_has_no_loop_over_batches(accumulate: int, deep: int) -> None:
    executable = compiled(trainable_tau(), Training(accumulate=accumulate))
    (data, steps, binary), state = executable.stage(samples()), start(executable)
    groups = 4 // accumulate
    traced = jax.make_jaxpr(lambda state: batches.train_batches(
        executable.program, executable.training, executable._optimizer, steps, binary, state, data,
        batches.Batches(*(jax.numpy.asarray(part) for part in (order_of(4), np.ones((4, B)), order_of(4))), None),
        jax.numpy.ones(groups), 7,
        jax.numpy.zeros(1, jax.numpy.uint32),
    ))(state)
    assert depth(traced.jaxpr) == deep  # over steps of the optimizer, and over time


def test_traces_are_learned_and_judged_without_decisions() -> None:
    training = Training(loss=TraceMSE(), optimizer=SGD(learning_rate=0.1))
    agree_with_the_reference(looped(), training, batches_=4, traces=True)


def test_an_evaluation_gives_decisions_and_every_metric() -> None:
    training = Training(metrics=(TopK(k=2), TopK(name="first", k=1)), regularizers=(WeightL2(strength=1e-2),))
    agree_with_the_reference(looped(), training, batches_=2)


# --- truncation ------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 5, 8])  # with a shorter stretch at the end, and without
def test_a_truncated_training_agrees_with_the_reference_through_cycles_and_delays(length: int) -> None:
    agree_with_the_reference(looped(), Training(optimizer=SGD(learning_rate=0.1), truncate=length), batches_=4)


def test_a_stretch_as_long_as_the_run_cuts_nothing_and_a_shorter_one_does() -> None:
    found = {length: gradients(looped(), Training(truncate=length)) for length in (None, T, T + 1, 5)}
    assert same(found[T], found[None]) and same(found[T + 1], found[None])
    assert not np.allclose(found[5]["back.weight"], found[None]["back.weight"])


def test_more_stretches_make_no_larger_program() -> None:
    executable = compiled(looped(), Training(truncate=5))

    def size(steps: int) -> int:
        x = {"input": np.zeros((steps, B, 6), np.float32)}
        program, training, handle = executable.program, executable.training, executable.load(init(looped(), 0))
        traced = jax.make_jaxpr(jax.grad(lambda handle: batches.loss_and_scores(
            program, training, handle, executable.init_state(B), x, jax.numpy.zeros(B, int),
            jax.numpy.full(B, 1 / B), None)[0]))(handle)
        return sum(1 for _ in equations(traced.jaxpr))

    assert size(17) == size(507)


# --- waiting ---------------------------------------------------------------------------------------


def test_waiting_is_for_everything_asked_for() -> None:
    executable = compiled(looped(), Training())
    handle, state = executable.load(init(looped(), 0)), executable.init_state(B)
    x = {"input": np.ones((100_000, B, 6), np.float32)}
    executable.run(handle, state, x)  # compiles
    executable.wait()
    results = [executable.run(handle, state, x) for _ in range(3)]
    executable.wait()
    assert all(value.is_ready() for result in results for value in result.outputs.values())


# --- what the tests share --------------------------------------------------------------------------


def gradients(model: Model, training: Training) -> dict[str, np.ndarray]:
    executable, random = compiled(model, training), np.random.default_rng(0)
    x = random.integers(0, 2, (T, B, 6)).astype(np.float32)
    return executable.gradients(
        executable.load(init(model, 0)), executable.init_state(B), {"input": x}, np.arange(B) % 3, None,
        Noise(7, 0, np.arange(B)),
    ).parameters


def agree_with_the_reference(model: Model, training: Training, batches_: int, traces: bool = False) -> None:
    """Losses, parameters and the evaluation after them, on data for which no membrane comes near its threshold."""
    plain, executable = reference(model, training), compiled(model, training)
    order, groups = order_of(batches_), batches_ // training.accumulate
    mask = np.ones(order.shape)
    mask[-1, 2:] = 0

    def learn(engine: Trainable, seed: int) -> tuple[dict[str, np.ndarray], Metrics, Metrics]:
        data = engine.stage(samples(seed, traces))
        after, metrics = taught(engine, start(engine, seed), data, order, 0, mask, groups)
        return reached(engine, after), metrics, engine.evaluate(engine.current(after), data, order, mask)

    def attempt(seed: int) -> Any:
        with watching(MARGIN) as close:
            found = learn(plain, seed)
        return None if any(close) else found

    (parameters, metrics, judged), seed = search(attempt, "training")
    found, of_batches, evaluation = learn(executable, seed)
    near(found, parameters, PARAMETERS, "parameters")
    np.testing.assert_allclose(of_batches.loss, metrics.loss, rtol=0, atol=LOSSES)
    np.testing.assert_allclose(evaluation.loss, judged.loss, rtol=0, atol=LOSSES)
    np.testing.assert_array_equal(evaluation.correct, judged.correct)
    assert (evaluation.decisions is None) == traces
    if not traces:
        np.testing.assert_array_equal(evaluation.decisions, judged.decisions)
    assert list(evaluation.extra) == [metric.label for metric in training.metrics]
    near(dict(evaluation.extra), dict(judged.extra), 1e-6, "metrics")
    near(dict(evaluation.rates), dict(judged.rates), 1e-6, "rates")


def aligned(value: np.ndarray) -> np.ndarray:
    """A copy that begins at a multiple of 64 bytes."""
    raw = np.zeros(value.nbytes + 64, np.uint8)
    first = -raw.ctypes.data % 64
    found = raw[first : first + value.nbytes].view(value.dtype).reshape(value.shape)
    found[...] = value
    return found


def inner(equation: Any) -> Iterator[Any]:
    """The jaxprs inside an equation."""
    for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda leaf: hasattr(leaf, "eqns")):
        if hasattr(value, "eqns"):
            yield getattr(value, "jaxpr", value)


def depth(jaxpr: Any) -> int:
    """How deep loops stand in one another."""
    return max(((equation.primitive.name == "scan") + max(map(depth, inner(equation)), default=0)
                for equation in jaxpr.eqns), default=0)


def equations(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield equation
        for part in inner(equation):
            yield from equations(part)
