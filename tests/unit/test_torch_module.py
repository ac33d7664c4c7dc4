"""A compiled model as a layer in other people's torch code."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402
from unit.test_torch_gradients import Plain  # noqa: E402

import neuroport as npt  # noqa: E402
from neuroport.data.order import batches, epoch_order  # noqa: E402
from neuroport.errors import InvalidData, InvalidModel, NoSuchView  # noqa: E402
from neuroport.program.bounds import free_slope  # noqa: E402
from neuroport.program.execute import execute  # noqa: E402
from neuroport.program.lower import lower  # noqa: E402
from neuroport.testing.networks import TRAINABLE, delayed, forked, network, recurrent, silenced  # noqa: E402

DT = 2.0**-10
T, B = 10, 3
BOUNDED = TRAINABLE["CubaLIF"](DT, "neuron")
MODELS = {"recurrent": recurrent(DT), "delayed": delayed(DT), "bounded": network(BOUNDED, DT),
          "decay": network(TRAINABLE["LIF by decay"](DT, "layer"), DT)}


def module(model: npt.Model, precision: str | None = None, **given: Any) -> Any:
    return npt.compile(model, engine="torch", device="cpu", precision=precision).module(**given)


def spikes(size: int = 6, steps: int = T, seed: int = 0, dtype: Any = torch.float32) -> Any:
    return (torch.rand((steps, B, size), generator=torch.Generator().manual_seed(seed)) < 0.5).to(dtype)


def drawn(net: Any, seed: int = 0) -> dict[str, Any]:
    """A state as it might be in the middle of a run, asking for gradients."""
    random = torch.Generator().manual_seed(seed)
    state = {name: torch.rand(value.shape, generator=random, dtype=value.dtype) * 0.6
             for name, value in net.zero_state(B).items()}
    return {name: value.requires_grad_() for name, value in state.items()}


def same(found: dict[str, Any], expected: dict[str, Any], rtol: float = 1e-9) -> None:
    assert set(found) == set(expected)
    for name, value in expected.items():
        value = np.asarray(value)
        np.testing.assert_allclose(found[name], value, rtol, rtol * max(1.0, np.abs(value).max()), err_msg=name)


def numbers(tensors: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy() for name, value in tensors.items()}


# --- running --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_it_gives_what_a_run_gives_and_goes_on_from_its_state(name: str) -> None:
    model, x = MODELS[name], spikes()
    net = module(model, seed=1)
    expected = npt.run(model, npt.init(model, 1), x.numpy(), engine="torch", device="cpu")
    same({"y": net(x).detach()}, {"y": expected.outputs}, 1e-5)
    outputs, state = net(x, net.zero_state(B))
    first, middle = net(x[:4], net.zero_state(B))
    second, last = net(x[4:], middle)
    assert torch.equal(torch.cat([first, second]), outputs)
    same(numbers(state), expected.state, 1e-5)
    same(numbers(last), expected.state, 1e-5)


def test_records_come_third_and_those_of_spikes_are_differentiable() -> None:
    model, x = recurrent(DT), spikes()
    net, asked = module(model), ["hidden.v", "hidden.v_pre", "spikes"]
    expected = npt.run(model, npt.init(model), x.numpy(), engine="torch", device="cpu", record=asked)
    outputs, _, records = net(x, record=asked)
    assert {node: set(of) for node, of in records.items()} == {"hidden": {"v", "v_pre", "spikes"}}
    same(numbers(records["hidden"]), expected.records["hidden"], 1e-5)
    assert records["hidden"]["spikes"].requires_grad and not records["hidden"]["v"].requires_grad
    rate = torch.autograd.grad(records["hidden"]["spikes"].mean(), net.get_parameter("first.weight"))[0]
    assert rate.any() and outputs.requires_grad


def test_several_inputs_and_outputs_are_dicts_by_name() -> None:
    model = forked(DT)
    inputs = {"left": spikes(6), "right": spikes(4)}
    expected = npt.run(model, npt.init(model), {name: x.numpy() for name, x in inputs.items()}, engine="torch")
    same(numbers(module(model)(inputs)), expected.outputs, 1e-5)


def test_spikes_of_any_kind_of_number_are_taken() -> None:
    net, x = module(recurrent(DT)), spikes()
    for kind in (torch.uint8, torch.bool, torch.float64, torch.float16):
        assert torch.equal(net(x.to(kind)), net(x))


def test_without_gradients_nothing_is_kept_for_a_reverse() -> None:
    net, x = module(recurrent(DT)), spikes()
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            outputs = net(x)
        assert not outputs.requires_grad and torch.equal(outputs, net(x))


def test_autocast_around_it_changes_nothing_within() -> None:
    net, x = module(recurrent(DT)), spikes()
    with torch.autocast("cpu", torch.bfloat16):
        found = net(x)
    assert found.dtype == torch.float32 and torch.equal(found, net(x))


# --- gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_its_gradients_are_the_engines_on_the_axis_that_optimizers_see(name: str) -> None:
    model, x, classes = MODELS[name], spikes(), np.arange(B) % 3
    net, program = module(model, "float64"), lower(model)
    loss = functional.cross_entropy(net(x).mean(0), torch.from_numpy(classes))
    loss.backward()
    expected = npt.gradients(model, net.export(), x.numpy(), classes, npt.CrossEntropy(over="mean"), "torch",
                             precision="float64")
    assert loss.item() == pytest.approx(expected.loss, rel=1e-9)
    found = {held.replace("free_", ""): value.grad for held, value in net.named_parameters()}
    same(found, {key: g * free_slope(program, key, net.export()[key]) for key, g in expected.parameters.items()})
    assert sum(bool(g.any()) for g in found.values()) >= len(found) - 1


def of_autograd(net: Any, x: Any, state: Any) -> tuple[Any, Any]:
    """Outputs and the state after, with autograd through every operation of every step."""
    compiled = net.compiled
    ran = execute(compiled.program, Plain(compiled, None, {}, {}), net._valid(), state, {"input": x})
    return ran.values["output"], ran.state


@pytest.mark.parametrize("name", MODELS)
def test_inputs_and_states_have_gradients_too(name: str) -> None:
    net, x = module(MODELS[name], "float64"), spikes(dtype=torch.float64).requires_grad_()
    state = drawn(net)
    found = []
    for run in (net, lambda x, state: of_autograd(net, x, state)):
        outputs, after = run(x, state)
        weighed = sum((value * torch.cos(torch.arange(value.numel())).view(value.shape)).sum()
                      for value in (outputs, *after.values()))
        wanted = {"x": x, **state, **dict(net.named_parameters())}
        found.append(dict(zip(wanted, torch.autograd.grad(weighed, list(wanted.values())), strict=True)))
    same(*found)
    assert found[0]["x"].any() and all(found[0][name].any() for name in state)


@pytest.mark.parametrize("name", MODELS)
def test_the_gradient_of_chunks_that_hand_on_their_state_is_that_of_the_whole(name: str) -> None:
    net, x = module(MODELS[name], "float64"), spikes()
    whole = torch.autograd.grad(net(x).square().sum(), list(net.parameters()))
    first, state = net(x[:4], net.zero_state(B))
    second, _ = net(x[4:], state)
    chunks = torch.autograd.grad(torch.cat([first, second]).square().sum(), list(net.parameters()))
    same(*({str(place): g for place, g in enumerate(found)} for found in (chunks, whole)))
    second, _ = net(x[4:], {name: value.detach() for name, value in state.items()})
    cut = torch.autograd.grad(second.square().sum(), list(net.parameters()))
    assert any(not torch.allclose(g, other) for g, other in zip(cut, whole, strict=True))


def test_two_runs_before_a_backward_pass_do_not_touch_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuroport_torch.products.LARGE", 0)  # also small products use buffers
    net, inputs = module(delayed(DT), "float64"), [spikes(seed=seed) for seed in range(2)]
    apart = []
    for x in inputs:
        apart.append(torch.autograd.grad(net(x).square().sum(), list(net.parameters())))
    results = [net(x) for x in inputs]
    copies = [outputs.detach().clone() for outputs in results]
    together = torch.autograd.grad(sum(outputs.square().sum() for outputs in results), list(net.parameters()))
    assert all(map(torch.equal, results, copies)) and not torch.equal(*copies)
    for g, *parts in zip(together, *apart, strict=True):
        torch.testing.assert_close(g, sum(parts), rtol=1e-9, atol=1e-9)


def test_a_second_backward_pass_is_torchs_usual_error_unless_the_graph_is_retained() -> None:
    net, x = module(recurrent(DT)), spikes()
    loss = net(x).square().sum()
    loss.backward(retain_graph=True)
    once = [value.grad.clone() for value in net.parameters()]
    loss.backward()
    assert all(torch.equal(2 * g, value.grad) for g, value in zip(once, net.parameters(), strict=True))
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward()


def test_results_may_be_written_over() -> None:
    net, x = module(recurrent(DT)), spikes()
    expected = torch.autograd.grad(functional.relu(net(x)).sum(), list(net.parameters()))
    found = torch.autograd.grad(functional.relu(net(x), inplace=True).sum(), list(net.parameters()))
    assert all(map(torch.equal, found, expected))


# --- parameters -----------------------------------------------------------------------------------


def test_parameters_are_the_models_by_node_and_field() -> None:
    tau = npt.Parameter(value=5e-3, trainable=False)
    model = npt.Model.sequential(6, DT, [npt.Linear(4), npt.LIF(tau=npt.Parameter(value=8e-3)), npt.LI(tau=tau)])
    net = module(model, seed=3)
    assert list(dict(net.named_parameters())) == ["0_linear.weight", "0_linear.bias", "1_lif.free_tau"]
    assert list(net.state_dict()) == ["0_linear.weight", "0_linear.bias", "1_lif.free_tau", "2_li.tau"]
    same(net.export(), npt.init(model, 3), 1e-6)
    assert {name: value.dtype for name, value in net.export().items()} == dict.fromkeys(net.export(), np.float32)


def test_parameters_are_given_or_drawn_from_a_seed_and_not_both() -> None:
    model = recurrent(DT)
    same(module(model, parameters=npt.init(model, 5)).export(), module(model, seed=5).export(), 0)
    with pytest.raises(InvalidData, match="give one of the two"):
        module(model, parameters=npt.init(model, 5), seed=5)
    with pytest.raises(InvalidData, match="parameters.first.weight: is missing"):
        module(model, parameters={name: value for name, value in npt.init(model).items() if name != "first.weight"})
    with pytest.raises(npt.InvalidExperiment, match="is no seed"):
        module(model, seed=-1)


def test_a_state_dict_goes_to_a_file_and_back_to_the_same_bits() -> None:
    model, x, file = MODELS["bounded"], spikes(), io.BytesIO()
    net, other = module(model, seed=1), module(model, seed=2)
    torch.save(net.state_dict(), file)
    file.seek(0)
    assert not torch.equal(net(x), other(x))
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(net(x), other(x))
    with pytest.raises(RuntimeError, match=r"Missing key\(s\) in state_dict: .*\"hidden.free_tau_syn\""):
        other.load_state_dict({"hidden.tau_syn": torch.ones(8)})


@pytest.mark.parametrize("name", ["bounded", "decay"])
def test_whatever_an_optimizer_does_time_constants_and_decays_stay_valid(name: str) -> None:
    net, x = module(MODELS[name]), spikes()
    start = net.export()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    for direction in (40.0, -80.0):
        for value in net.parameters():
            value.grad = torch.full_like(value, direction)
        optimizer.step()
        found = net.export()
        for key in ("hidden.tau_syn", "hidden.tau_mem") if name == "bounded" else ("hidden.decay",):
            assert (found[key] > 0).all() and not np.allclose(found[key], start[key])
            assert name == "bounded" or (found[key] <= 1).all()
            assert net.state_dict()[f"hidden.free_{key.split('.')[1]}"].abs().min() > 20
        assert net(x).shape == (T, B, 3)


def test_nodes_with_dots_in_their_names_are_modules_within_modules() -> None:
    model = npt.Model.sequential(6, DT, {"net.first": npt.Linear(4), "net": npt.Linear(4), "net.lif": npt.LIF(tau=DT)})
    net = module(model)
    assert list(net.state_dict()) == ["net.weight", "net.bias", "net.first.weight", "net.first.bias"]
    same(net.export(), npt.init(model), 0)
    assert net(spikes()).shape == (T, B, 4)


@pytest.mark.parametrize("taken", ["forward", "double", "a..b", "net.weight"])
def test_a_node_whose_name_no_module_can_have_is_refused(taken: str) -> None:
    model = npt.Model.sequential(6, DT, {"net": npt.Linear(4), taken: npt.Linear(3)})
    with pytest.raises(InvalidModel, match="cannot name a part of a torch.nn.Module.*\n.*mend: rename the node"):
        module(model)


# --- in torch's company ---------------------------------------------------------------------------


def data(count: int = 20) -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    return random.integers(0, 2, (count, T, 6)), random.integers(0, 3, count)


@pytest.mark.parametrize("name", ["recurrent", "bounded"])
def test_a_loop_of_ones_own_reaches_what_fit_reaches_on_the_same_batches(name: str) -> None:
    model, (x, y), epochs, size = MODELS[name], data(), 3, 8
    training = npt.Training(optimizer=npt.Adam(learning_rate=0.01), loss=npt.CrossEntropy(over="mean"), epochs=epochs,
                            batch_size=size)
    run = npt.fit(npt.Experiment(model=model, training=training, seed=4), engine="torch",
                  data=npt.data.splits(train=(x, y), validation=(x, y)))
    net = module(model, seed=4)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for epoch in range(epochs):
        for rows, valid in zip(*batches(epoch_order(len(x), 4, epoch), size), strict=True):
            rows = rows[valid > 0]
            outputs = net(torch.as_tensor(x[rows]).movedim(1, 0))
            optimizer.zero_grad()
            functional.cross_entropy(outputs.mean(0), torch.as_tensor(y[rows])).backward()
            optimizer.step()
    same(net.export(), run.last, 1e-5)
    assert all(not np.allclose(value, npt.init(model, 4)[key], 1e-3) for key, value in run.last.items())


class TimeFirst(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.movedim(1, 0)


class Mean(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.mean(0)


def stack() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(TimeFirst(), nn.Linear(6, 6), module(recurrent(DT)), nn.Linear(3, 5), Mean(), nn.Linear(5, 3))


def test_it_learns_between_torchs_own_layers_from_a_data_loader() -> None:
    stacked, (x, y) = stack(), data()
    x[np.arange(len(x)), :, 2 * y] = 1
    loader = DataLoader(TensorDataset(torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(y)), batch_size=5)
    optimizer = torch.optim.AdamW(stacked.parameters(), lr=0.02)
    seen = []
    for _ in range(12):
        seen.append(0.0)
        for inputs, classes in loader:
            optimizer.zero_grad()
            loss = functional.cross_entropy(stacked(inputs), classes)
            loss.backward()
            optimizer.step()
            seen[-1] += loss.item() / len(loader)
    assert seen[-1] < 0.7 * seen[0]


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch.compile looks at it
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_torch_compile_goes_around_it(backend: str) -> None:
    torch._dynamo.reset()
    stacked, x = stack(), torch.as_tensor(data(B)[0], dtype=torch.float32)
    expected = torch.autograd.grad(stacked(x).square().sum(), list(stacked.parameters()))
    compiled = torch.compile(stacked, backend=backend)
    found = torch.autograd.grad(compiled(x).square().sum(), list(stacked.parameters()))
    torch.testing.assert_close(compiled(x), stacked(x))
    torch.testing.assert_close(found, expected)
    net = module(recurrent(DT))
    torch.testing.assert_close(torch.compile(net, backend=backend)(spikes()), net(spikes()))


def test_other_parameters_can_stand_in_for_a_call() -> None:
    net, x = module(recurrent(DT)), spikes()
    other = module(recurrent(DT), seed=1)
    assert torch.equal(torch.func.functional_call(net, dict(other.named_parameters()), (x,)), other(x))


@pytest.mark.parametrize("inside", [False, True])
def test_dropout_acts_in_train_and_not_in_eval(inside: bool) -> None:
    net, x = module(silenced(DT, inside)), spikes()
    without = net.eval()(x)
    assert torch.equal(net(x), without)
    torch.manual_seed(1)
    first = net.train()(x)
    second = net(x)
    torch.manual_seed(1)
    assert torch.equal(net(x), first) and not torch.equal(first, second) and not torch.equal(first, without)


def test_a_mask_of_dropout_holds_for_all_steps_and_units_that_stay_grow() -> None:
    model = npt.Model.sequential(6, DT, [npt.Dropout(0.5)])
    found = module(model)(torch.ones(T, B, 6))
    assert set(found.unique().tolist()) == {0.0, 2.0} and (found == found[0]).all()


# --- copies and moves -----------------------------------------------------------------------------


def test_copies_run_alike_and_have_parameters_of_their_own() -> None:
    net, x = module(MODELS["bounded"]), spikes()
    expected = net(x)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(other(x), expected)
        with torch.no_grad():
            other.get_parameter("first.weight").zero_()
        assert not torch.equal(other(x), expected)
    assert torch.equal(net(x), expected)


def test_double_computes_in_float64_and_float_comes_back() -> None:
    model, x = recurrent(DT), spikes()
    net = module(model)
    expected = npt.run(model, npt.init(model), x.numpy(), engine="torch", precision="float64")
    found = net.double()(x)
    assert found.dtype == torch.float64
    same({"y": found.detach()}, {"y": expected.outputs})
    assert net.float()(x).dtype == torch.float32 and net.to("cpu") is net


def test_products_are_rounded_to_bfloat16_where_it_was_compiled_so() -> None:
    model, x = recurrent(DT), spikes()
    net = module(model, "bfloat16")
    expected = npt.run(model, npt.init(model), x.numpy(), engine="torch", precision="bfloat16")
    same({"y": net(x).detach()}, {"y": expected.outputs}, 1e-5)
    assert not torch.equal(net(x), module(model)(x)) and torch.equal(copy.deepcopy(net)(x), net(x))
    assert torch.equal(net.double()(x), module(model, "float64", parameters=net.export())(x))


@pytest.mark.parametrize("move", [
    lambda net: net.half(), lambda net: net.bfloat16(), lambda net: net.to(torch.float16), lambda net: net.to("meta"),
])
def test_where_it_cannot_compute_it_does_not_move(move: Any) -> None:
    net, x = module(recurrent(DT)), spikes()
    expected = net(x)
    with pytest.raises(InvalidData, match=r"module: is to .* alone\n.*mend: use \."):
        move(net)
    assert torch.equal(net(x), expected)


# --- what does not fit ----------------------------------------------------------------------------


def test_what_does_not_fit_is_refused_by_name() -> None:
    net = module(recurrent(DT))
    with pytest.raises(InvalidData) as refused:
        net(spikes(size=5), {"hidden.u": torch.zeros(B, 8)}, record=["hidden.u"])
    words = str(refused.value)
    assert "has shape (10, 3, 5), expected (T, B, 6)" in words and "state.hidden.v: is missing" in words
    assert "record: 'hidden.u' is nothing that the model has" in words
    with pytest.raises(InvalidData, match="is no dict of arrays"):
        net(spikes(), torch.zeros(B, 8))
    with pytest.raises(InvalidData, match="is a ndarray\n.*torch.as_tensor"):
        net(spikes().numpy())
    with pytest.raises(InvalidData, match="is torch.complex64"):
        net(spikes().to(torch.complex64))
    with pytest.raises(InvalidData, match=r"lies on meta, the module on cpu\n.*x.to\('cpu'\)"):
        net(spikes().to("meta"))
    with pytest.raises(InvalidData, match="is one array, the model has 2 inputs"):
        module(forked(DT))(spikes())


@pytest.mark.parametrize(("engine", "view", "instead"), [
    ("torch", "function", r"use \.module\(\) here"), ("jax", "module", r"use \.function\(\) here"),
    ("reference", "module", r"use run\(\)"), ("reference", "function", r"use run\(\)"),
])
def test_a_view_that_an_engine_does_not_give_is_told_with_the_one_it_gives(
    engine: str, view: str, instead: str
) -> None:
    if engine == "jax":
        pytest.importorskip("jax")
    executable = npt.compile(recurrent(DT), engine=engine)
    with pytest.raises(NoSuchView, match=rf"gives no \.{view}\(\)(.|\n)*{instead}.*npt\.compile"):
        getattr(executable, view)()
