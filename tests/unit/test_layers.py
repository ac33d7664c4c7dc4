"""Layers by hand-computed values, and against torch's functions of the same name."""

import numpy as np
import pytest

import neuroport as npt


def through(layer, x, parameters=None):
    """A layer on one sample in one step, on the reference in float64."""
    x = np.asarray(x, float)
    model = npt.Model.sequential(x.shape, 1e-3, {"layer": layer})
    held = {**npt.init(model), **{f"layer.{name}": value for name, value in (parameters or {}).items()}}
    return npt.run(model, held, x[None, None], engine="reference").outputs[0, 0]


def drawn(layer, shape):
    random = np.random.default_rng(0)
    return {name: random.normal(size=spec.shape) for name, spec in layer.arrays(shape).items()}


def test_conv1d_slides_its_kernel_along_the_last_axis():
    layer = npt.Conv1d(1, 2, bias=False)
    assert through(layer, [[1, 2, 3, 5]], {"weight": np.array([[[1.0, 10.0]]])}).tolist() == [[21, 32, 53]]


@pytest.mark.parametrize("fields", [
    {}, {"stride": 2, "padding": 1}, {"dilation": 3}, {"groups": 2}, {"padding": "same"}, {"padding": "valid"},
    {"padding": "same", "dilation": 2, "groups": 2}, {"bias": False, "stride": 3},
], ids=str)
def test_conv1d_is_torchs(fields):
    torch = pytest.importorskip("torch")
    layer, shape = npt.Conv1d(4, 3, **fields), (2, 11)
    of, x = drawn(layer, shape), np.random.default_rng(1).normal(size=shape)
    rest = {name: value for name, value in fields.items() if name != "bias"}
    held = {name: torch.tensor(value) for name, value in of.items()}
    expected = torch.nn.functional.conv1d(torch.tensor(x)[None], held["weight"], held.get("bias"), **rest)[0].numpy()
    np.testing.assert_allclose(through(layer, x, of), expected, rtol=1e-12, atol=1e-12)


def test_conv1d_is_a_conv2d_of_height_one():
    x, weight = np.random.default_rng(0).normal(size=(2, 7)), np.random.default_rng(1).normal(size=(3, 2, 3))
    flat = through(npt.Conv1d(3, 3, stride=2, padding="same", bias=False), x, {"weight": weight})
    tall = through(npt.Conv2d(3, (1, 3), stride=(1, 2), padding="same", bias=False), x[:, None],
                   {"weight": weight[:, :, None]})
    assert np.array_equal(flat, tall[:, 0])


@pytest.mark.parametrize(("size", "kernel", "stride", "dilation"), [
    (7, 3, 2, 1), (8, 3, 2, 1), (8, 2, 3, 1), (5, 1, 3, 1), (9, 3, 4, 2), (3, 5, 2, 3), (1, 3, 2, 1),
])
def test_same_padding_gives_the_size_over_the_stride_rounded_up(size, kernel, stride, dilation):
    layer = npt.Conv1d(1, kernel, stride=stride, padding="same", dilation=dilation)
    assert layer.output_shape((1, size)) == (1, -(-size // stride))


def test_same_padding_with_stride_pads_as_little_as_it_can_and_the_odd_zero_after():
    # 6 samples, 3 windows of 3 in steps of 2 reach over 7: one zero, after the last
    layer = npt.Conv1d(1, 3, stride=2, padding="same", bias=False)
    assert layer.pads((1, 6)) == ((0, 1),)
    assert through(layer, [[1, 2, 3, 4, 5, 6]], {"weight": np.ones((1, 1, 3))}).tolist() == [[6, 12, 11]]


@pytest.mark.parametrize(("shape", "stride", "dilation"), [((2, 7, 8), (2, 3), (1, 1)), ((2, 8, 5), (3, 1), (2, 2))])
def test_same_padding_with_stride_is_that_of_xla(shape, stride, dilation):
    lax = pytest.importorskip("jax").lax
    layer = npt.Conv2d(3, (3, 2), stride=stride, padding="same", dilation=dilation, bias=False)
    of, x = drawn(layer, shape), np.random.default_rng(1).normal(size=shape)
    expected = lax.conv_general_dilated(
        x[None].astype(np.float32), of["weight"].astype(np.float32), stride, "SAME", rhs_dilation=dilation)[0]
    np.testing.assert_allclose(through(layer, x, of), expected, rtol=1e-5, atol=1e-5)


def test_flatten_takes_all_axes_as_one_where_not_said_otherwise():
    assert npt.Flatten().output_shape((2, 3, 4)) == (24,)


@pytest.mark.parametrize(("dims", "shape"), [
    ((1, -1), (2, 12)), ((0, 1), (6, 4)), ((1, 1), (2, 3, 4)), ((-2, -1), (2, 12)), ((0, 2), (24,)),
])
def test_flatten_keeps_the_axes_outside_its_range(dims, shape):
    x = np.arange(24.0).reshape(2, 3, 4)
    assert np.array_equal(through(npt.Flatten(*dims), x), x.reshape(shape))


def test_new_layers_survive_json_and_yaml():
    layers = [npt.Conv1d(4, 3, stride=2, padding="same", dilation=2, groups=2), npt.Threshold([0.5, 0.25, 1.0, 2.0]),
              npt.Flatten(0, 1), npt.I(2.0)]
    model = npt.Model.sequential((2, 9), 1e-3, layers)
    assert npt.Model.from_json(model.to_json()) == model == npt.Model.from_yaml(model.to_yaml())


@pytest.mark.parametrize("numerics", [
    {}, {"reset": "hard"}, {"reset_delay": 1}, {"reset_rule": "snntorch"}, {"multi_spike": True}, {"output_delay": 1},
], ids=str)
def test_threshold_is_the_step_function_whatever_the_numerics(numerics):
    model = npt.Model.sequential(3, 1e-3, [npt.Threshold([0.5, 1.0, 2.0])], npt.Numerics(**numerics))
    x = np.array([[0.6, 1.0, 9.0], [0.5, 1.1, 0.0], [0.6, 1.1, 9.0]])[:, None]
    found = npt.run(model, npt.init(model), x, engine="reference").outputs[:, 0]
    assert found.tolist() == [[1, 0, 1], [0, 1, 0], [1, 1, 1]]


def test_threshold_spikes_on_the_threshold_itself_where_the_comparison_is_ge():
    model = npt.Model.sequential(1, 1e-3, [npt.Threshold(1.0)], npt.Numerics(comparison="ge"))
    assert npt.run(model, npt.init(model), np.ones((1, 1, 1)), engine="reference").outputs.item() == 1


def test_threshold_passes_the_surrogates_gradient():
    surrogate = npt.SuperSpike(slope=4.0)
    layers = {"first": npt.Linear(1, bias=False), "step": npt.Threshold(1.0, surrogate=surrogate)}
    model, one = npt.Model.sequential(1, 1e-3, layers), np.ones((1, 1, 1))
    held = {**npt.init(model), "first.weight": np.array([[1.3]])}
    found = npt.gradients(model, held, one, one * 0, loss=npt.TraceMSE(), engine="reference").parameters
    # of (z - 0)^2 at z = 1
    assert found["first.weight"].item() == pytest.approx(2 * float(surrogate.derivative(np.asarray(0.3))))


def test_threshold_may_not_be_given_what_is_fixed():
    with pytest.raises(npt.InvalidModel, match=r"numerics.reset: is 'none' for every Threshold \(got 'soft'\)"):
        npt.Threshold(1.0, numerics=npt.Numerics(reset="soft"))


def test_integrator_adds_up_its_input_without_leak_or_threshold():
    model = npt.Model.sequential(2, 1e-3, [npt.I([2.0, 0.5])])
    x = np.array([[1.0, 1.0], [0.0, 4.0], [3.0, -2.0]])[:, None]
    found = npt.run(model, npt.init(model), x, engine="reference").outputs[:, 0]
    assert found.tolist() == [[2, 0.5], [2, 2.5], [8, 1.5]]
