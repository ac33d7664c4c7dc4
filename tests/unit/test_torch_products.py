"""Products of the torch engine: every way beside plain torch, rounding, and choices that stay."""

from __future__ import annotations

import multiprocessing

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from neuroport_reference.precision import bfloat16 as defined  # noqa: E402
from neuroport_torch import bf16_products, dense, marked, products  # noqa: E402
from neuroport_torch import training as torch_training  # noqa: E402
from neuroport_torch.arena import Arena, Fresh  # noqa: E402
from neuroport_torch.bf16_products import RoundedProduct, SplitProduct, native, pieces, split  # noqa: E402
from neuroport_torch.engine import TorchExecutable  # noqa: E402
from neuroport_torch.exact import exact_in_bfloat16  # noqa: E402
from neuroport_torch.kernels import measured  # noqa: E402
from neuroport_torch.precision import bfloat16  # noqa: E402

from neuroport.data.staging import stage  # noqa: E402
from neuroport.engine.base import Options  # noqa: E402
from neuroport.model.augmentation import SpikeDropout  # noqa: E402
from neuroport.model.graph import Edge, Model, Recurrent  # noqa: E402
from neuroport.model.layers import AvgPool2d, Conv2d, Dropout, Flatten, Linear, SumPool2d  # noqa: E402
from neuroport.model.neurons import LI, LIF  # noqa: E402
from neuroport.model.nodes import Input, Output  # noqa: E402
from neuroport.model.numerics import Numerics  # noqa: E402
from neuroport.model.training import Training  # noqa: E402
from neuroport.program.initialize import init  # noqa: E402
from neuroport.program.lower import lower  # noqa: E402

SIZES = [(1, 1, 1), (7, 64, 20), (130, 100, 64), (300, 63, 130), (257, 512, 65)]  # M, K, N
AWKWARD = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.00390625, 1.01171875, -1.00390625, 3.4e38, -3.4e38, 1e-45, 1e-40]


def numbers(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def mostly_zeros(rows, columns, dtype=torch.float32, ones=True):
    some = torch.rand(rows, columns, generator=torch.Generator().manual_seed(1)) < 0.06
    return some.to(dtype) if ones else some * numbers(rows, columns, seed=2, dtype=dtype)


def far(found, expected):
    return float((found - expected).norm() / (expected.norm() + 1e-30))


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("dtype,bound", [(torch.float32, 1e-6), (torch.float64, 1e-14)])
@pytest.mark.parametrize("ones", [True, False])
def test_products_with_events_are_those_of_the_dense_matrix(sizes, dtype, bound, ones):
    rows, terms, columns = sizes
    x, weight = mostly_zeros(rows, terms, dtype, ones), numbers(columns, terms, dtype=dtype)
    bias, dy = numbers(columns, seed=3, dtype=dtype), numbers(rows, columns, seed=4, dtype=dtype)
    events, y = products.Events.of(x, Arena()), torch.full((rows, columns), torch.nan, dtype=dtype)
    events.times(weight, bias, y)
    assert far(y, x @ weight.t() + bias) < bound
    assert far(events.outer(dy), dy.t() @ x) < bound
    assert (events.value is None) == ones or not x.any()


@pytest.mark.parametrize("count", [1, 63, 64, 65, 5000])
def test_rounding_in_one_pass_is_the_definitions(count, monkeypatch):
    x = torch.cat([numbers(count), torch.tensor(AWKWARD)])
    expected = defined(x.double().numpy())
    assert np.array_equal(products.operand(x, Fresh()).double().numpy(), expected, equal_nan=True)
    assert np.array_equal(bfloat16(x).double().numpy(), expected, equal_nan=True)


@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_a_large_product_in_bfloat16_rounds_its_operands_forward_and_in_reverse_and_no_bias(rate, monkeypatch):
    monkeypatch.setattr(products, "LARGE", 0)
    x = ((torch.rand(200, 96, generator=torch.Generator().manual_seed(5)) < rate) * numbers(200, 96)).requires_grad_()
    weight, bias = numbers(70, 96, seed=6).requires_grad_(), numbers(70, seed=7).requires_grad_()
    dy = numbers(200, 70, seed=8)
    y, way = products.linear(x, weight, bias, Fresh(), rounded=True)
    assert (way == "events") == (rate < 0.1)
    y.backward(dy)
    of_x, of_weight, of_dy = (bfloat16(value.detach()).double() for value in (x, weight, dy))
    assert far(y.detach(), of_x @ of_weight.t() + bias.detach()) < 1e-6
    assert far(x.grad, of_dy @ of_weight) < 1e-6 and far(weight.grad, of_dy.t() @ of_x) < 1e-6
    assert far(bias.grad, dy.double().sum(0)) < 1e-6


def test_every_way_of_a_dense_product_gives_the_product(monkeypatch):
    x, weight = numbers(3000, 80), numbers(50, 80, seed=1)
    for taken in dense.WAYS if dense.HAS_ONEDNN else ["torch"]:
        monkeypatch.setattr(dense, "way", lambda *given, taken=taken: taken)
        assert far(dense.dense(x, weight, Arena()), x.double() @ weight.double().t()) < 1e-6, taken
        # transposed, as the reverse asks
        assert far(dense.dense(x.t(), numbers(20, 3000, seed=2), Arena()),
                   x.t().double() @ numbers(20, 3000, seed=2).double().t()) < 1e-6, taken


def test_three_bfloat16_pieces_are_the_float32_number():
    w = torch.cat([numbers(10_000), numbers(10_000) * 1e20, numbers(10_000) * 1e-20, torch.zeros(1)])
    assert torch.equal(sum(piece.double() for piece in pieces(w)), w.double())


@pytest.mark.parametrize("largest", [1, 256])
def test_a_product_in_pieces_is_as_accurate_as_in_float32_and_two_pieces_are_not_enough(largest):
    x = torch.randint(0, largest + 1, (400, 512), generator=torch.Generator().manual_seed(0)).float()
    weight = numbers(300, 512)
    exact = x.double() @ weight.double().t()
    in_pieces = far(split(x.to(torch.bfloat16), weight).double(), exact)
    high, middle, _ = pieces(weight)
    x = x.to(torch.bfloat16)
    in_two = far((native(x, high.t()) + native(x, middle.t())).double(), exact)
    assert in_pieces < 3e-7 and in_two > 1e-6


def gradients(function, x, weight, dy):
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    y = function.apply(x, weight)
    return y.detach(), *torch.autograd.grad(y, (x, weight), dy)


def test_products_for_tensor_cores_have_the_gradients_of_their_meaning():
    x, weight, dy = mostly_zeros(200, 96), numbers(70, 96), numbers(200, 70, seed=3)
    plain = [x.double() @ weight.double().t(), dy.double() @ weight.double(), dy.double().t() @ x.double()]
    assert all(far(got, want) < 3e-7 for got, want in zip(gradients(SplitProduct, x, weight, dy), plain, strict=True))
    x = numbers(200, 96, seed=4)
    r, w, d = (bfloat16(value).double() for value in (x, weight, dy))
    found = gradients(RoundedProduct, x, weight, dy)
    assert all(far(got, want) < 1e-6 for got, want in zip(found, [r @ w.t(), d @ w, d.t() @ r], strict=True))


def test_no_way_of_tensor_cores_is_taken_off_them():
    assert bf16_products.on_cuda(numbers(64, 64), numbers(64, 64), None, True, True) is None


def exact_of(*layers, shape=(4,), numerics=None):
    return exact_in_bfloat16(lower(Model.sequential(shape, 1e-3, list(layers), numerics)))


def test_spikes_and_their_sums_are_known_to_be_exact():
    lif = LIF(tau=4e-3)
    assert "2_linear" in exact_of(Linear(3), lif, Linear(2), LI(tau=4e-3))
    image = exact_of(Conv2d(2, 3), lif, SumPool2d(2), Flatten(), Linear(2), LI(tau=4e-3), shape=(1, 8, 8))
    assert {"2_sumpool2d", "3_flatten", "4_linear"} <= image


def test_what_may_be_anything_is_not_taken_for_exact():
    lif, li = LIF(tau=4e-3), LI(tau=4e-3)
    assert "0_linear" not in exact_of(Linear(3), lif)  # the input
    assert "2_linear" not in exact_of(Linear(3), li, Linear(2), li)
    assert "3_linear" not in exact_of(Linear(3), lif, Dropout(p=0.5), Linear(2), li)
    assert "4_linear" not in exact_of(Conv2d(2, 3), lif, AvgPool2d(3), Flatten(), Linear(2), shape=(1, 8, 8))
    assert "2_linear" not in exact_of(Linear(3), lif, Linear(2), li, numerics=Numerics(multi_spike=True))
    assert "2_linear" not in exact_of(Linear(3), lif, Linear(2), li, numerics=Numerics(output_delay=1))
    assert "4_linear" not in exact_of(
        Conv2d(2, 3), lif, SumPool2d(17), Flatten(), Linear(2), shape=(1, 19, 19))  # counts up to 289


def test_what_waits_on_a_line_is_not_taken_for_exact():
    nodes = {"input": Input(shape=(4,)), "lif": LIF(tau=4e-3), "readout": Linear(2), "output": Output()}
    edges = [Edge("input", "lif"), Edge("lif", "readout", 2), Edge("readout", "output")]
    assert "readout" not in exact_in_bfloat16(lower(Model(nodes=nodes, edges=edges, dt=1e-3)))
    looped = exact_of(Linear(3), Recurrent(Linear(3), LIF(tau=4e-3)), Linear(2), LI(tau=4e-3))
    assert sum(name.endswith("linear") for name in looped) == 1, looped


@pytest.fixture
def kept(monkeypatch, tmp_path):
    """An empty place for choices."""
    monkeypatch.setattr(measured, "folder", lambda: tmp_path)
    monkeypatch.setattr(measured, "_chosen", {})
    return tmp_path


def forget(monkeypatch):
    """As in another process."""
    monkeypatch.setattr(measured, "_chosen", {})


def test_the_fastest_way_is_measured_once_and_found_again(kept, monkeypatch):
    asked = []

    def seconds(way):
        asked.append(way)
        return {"a": 2.0, "b": 1.0}[way]

    assert measured.known(["task"], ["a", "b"]) is None
    assert measured.fastest(["task"], ["a", "b"], seconds) == "b" and asked == ["a", "b"]
    forget(monkeypatch)
    assert measured.fastest(["task"], ["a", "b"], lambda way: pytest.fail("measured again")) == "b"
    assert measured.known(["task"], ["a", "b"]) == "b"
    assert measured.fastest(["another task"], ["a", "b"], seconds) == "b" and len(asked) == 4


def test_a_process_that_measured_at_the_same_time_takes_what_stands_already(kept, monkeypatch):
    def seconds(way):  # while this one measures, another writes its choice down
        forget(monkeypatch)
        monkeypatch.setattr(measured, "_turn", measured.Lock())
        assert measured.fastest(["task"], ["a", "b"], lambda way: {"a": 1.0, "b": 2.0}[way]) == "a"
        return {"a": 2.0, "b": 1.0}[way]

    first = measured.fastest(["task"], ["a", "b"], lambda way: seconds(way) if way == "b" else 2.0)
    assert first == "a" and measured.known(["task"], ["a", "b"]) == "a"


def test_a_choice_that_names_no_way_is_measured_again(kept, monkeypatch):
    measured.fastest(["task"], ["a"], lambda way: 1.0)
    (file,) = kept.iterdir()
    for text in (b"", b"c\n", b"\xff\xfe"):
        file.write_bytes(text)
        forget(monkeypatch)
        assert measured.fastest(["task"], ["a"], lambda way: 1.0) == "a" and file.read_text() == "a\n"


def test_nothing_is_measured_where_nothing_can_be_kept(monkeypatch):
    monkeypatch.setattr(measured, "folder", lambda: None)
    monkeypatch.setattr(measured, "_chosen", {})
    assert measured.fastest(["task"], ["a", "b"], lambda way: pytest.fail("measured")) is None
    x, weight = numbers(64, 128), numbers(20, 128)
    rule = "onednn" if dense.HAS_ONEDNN else "torch"
    assert dense.way(x, weight) == rule and dense.way(x[:, :8], weight[:, :8]) == "torch"
    assert dense.way(x.double(), weight.double()) == "torch"


def test_another_process_multiplies_the_same_way(kept, monkeypatch):
    x, weight = numbers(2000, 128), numbers(100, 128)
    expected = dense.dense(x, weight, Arena())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(_elsewhere, (str(kept),))
    assert np.array_equal(found, expected.numpy())


def _elsewhere(place):
    """The same product in a fresh process, whose clock must not be asked."""
    from pathlib import Path

    measured.folder = lambda: Path(place)
    dense._race = lambda *given: 1 / 0
    return dense.dense(numbers(2000, 128), numbers(100, 128), Arena()).numpy()


# --- the first product, from packed bits ------------------------------------------------------------


def trained(direct, model, training, steps, monkeypatch, precision="float32", rate=0.05):
    """Everything that a training reaches over staged bits, read directly or unpacked."""
    monkeypatch.setattr(products, "LARGE", 0)
    if not direct:
        monkeypatch.setattr(marked, "input_way", lambda *of: "unpacked: for comparison")
        monkeypatch.setattr(torch_training, "input_way", lambda *of: "unpacked: for comparison")
    executable = TorchExecutable(
        lower(model), Options("cpu", precision, training), torch.device("cpu"))
    random = np.random.default_rng(0)
    x = (random.random((11, steps, *model.nodes["input"].shape)) < rate).astype(np.uint8)
    staged = executable.stage(stage(x, random.integers(0, 3, 11)))
    state = executable.init_training(executable.load(init(model)))
    order, mask = random.integers(0, 11, (4, 6)), np.ones((4, 6), np.float32)
    mask[-1, 4:] = 0
    state, metrics = executable.train_segment(state, staged, order, mask, np.ones(4), (0, 0))
    judged = executable.evaluate(executable.current(state), staged, order, mask)
    return {**executable.snapshot(state), "loss": metrics.loss, "right": metrics.correct, "judged": judged.loss,
            **{f"rate of {name}": value for name, value in judged.rates.items()}}


def first_layer(width):
    return Model.sequential((width,), 1e-3, [Linear(70), LIF(tau=4e-3, v_threshold=0.3), Linear(3), LI(tau=4e-3)])


@pytest.mark.parametrize("width", [1, 64, 130])
@pytest.mark.parametrize("steps", [1, 8, 21])
def test_bits_read_directly_train_to_the_same_bits_as_unpacked_ones(width, steps, monkeypatch):
    asked = []
    plain = marked.marked
    with monkeypatch.context() as patch:
        patch.setattr(torch_training, "marked", lambda *of: asked.append(plain(*of)) or asked[-1])
        got = trained(True, first_layer(width), Training(), steps, patch)
    with monkeypatch.context() as patch:
        expected = trained(False, first_layer(width), Training(), steps, patch)
    assert asked and (width == 1 or all(one is not None for one in asked))
    for name, value in expected.items():
        assert np.array_equal(got[name], value), name


def test_bits_are_read_directly_in_bfloat16_too(monkeypatch):
    with monkeypatch.context() as patch:
        got = trained(True, first_layer(130), Training(), 12, patch, "bfloat16")
    with monkeypatch.context() as patch:
        expected = trained(False, first_layer(130), Training(), 12, patch, "bfloat16")
    assert all(np.array_equal(got[name], value) for name, value in expected.items())


def test_dense_bits_are_unpacked(monkeypatch):
    asked = []
    plain = marked.marked
    monkeypatch.setattr(torch_training, "marked", lambda *of: asked.append(plain(*of)) or asked[-1])
    trained(True, first_layer(64), Training(), 8, monkeypatch, rate=0.5)
    assert asked and all(one is None for one in asked)


def forked():
    nodes = {"input": Input(shape=(4,)), "a": Linear(3), "b": Linear(3), "lif": LIF(tau=4e-3), "output": Output()}
    edges = [Edge("input", "a"), Edge("input", "b"), Edge("a", "lif"), Edge("b", "lif"), Edge("lif", "output")]
    return Model(nodes=nodes, edges=edges, dt=1e-3)


@pytest.mark.parametrize("model,training,why", [
    (first_layer(4), Training(augmentation=(SpikeDropout(p=0.1),)), "augmentation"),
    (first_layer(4), Training(truncate=3), "windows"),
    (forked(), Training(), "more than one"),
    (Model.sequential((4,), 1e-3, [LIF(tau=4e-3), Linear(3), LI(tau=4e-3)]), Training(), "no Linear"),
    (Model.sequential((4,), 1e-3, [Dropout(p=0.5), Linear(3), LI(tau=4e-3)]), Training(), "no Linear"),
    (first_layer(4), None, "no training"),
])
def test_where_something_else_needs_the_input_it_is_unpacked_and_info_says_why(model, training, why):
    executable = TorchExecutable(lower(model), Options("cpu", None, training), torch.device("cpu"))
    ran = executable.run(executable.load(init(model)), executable.init_state(1), {"input": np.zeros((2, 1, 4))})
    assert ran.info["input"].startswith("unpacked: ") and why in ran.info["input"]


def test_info_says_that_bits_are_read():
    executable = TorchExecutable(lower(first_layer(4)), Options("cpu", None, Training()), torch.device("cpu"))
    ran = executable.run(
        executable.load(init(first_layer(4))), executable.init_state(1), {"input": np.zeros((2, 1, 4))})
    assert ran.info["input"] == "bits"
