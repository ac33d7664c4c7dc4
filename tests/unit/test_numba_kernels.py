"""numba's kernels beside the plain loop: any size, strides and state, buffers that hold NaN, time in pieces."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba", reason="without it loops run step by step")

from unit.test_torch_gradients import GAIN, TAU, Resonator, executable, spread  # noqa: E402
from unit.test_torch_training import Poisoned  # noqa: E402

from neuroport.model.graph import Model, Recurrent  # noqa: E402
from neuroport.model.layers import Linear  # noqa: E402
from neuroport.model.neurons import ALIF, LIF  # noqa: E402
from neuroport.model.surrogates import Boxcar  # noqa: E402
from neuroport.program.initialize import init  # noqa: E402

WIDTH = 5
NEURONS = {
    "own neuron, trained": Resonator(tau=spread(3e-3, 9e-3), pull=spread(1.0, 2.0)),
    "trained ALIF": ALIF(tau=spread(3e-3, 9e-3), tau_adapt=spread(5e-3, 9e-3), beta=spread(0.1, 0.3), r=GAIN),
    "bits": LIF(tau=TAU, r=GAIN, v_threshold=spread(0.5, 1.0), surrogate=Boxcar()),
}
MODELS = {name: Model.sequential(input=WIDTH, dt=1e-3, layers=[neuron]) for name, neuron in NEURONS.items()}
MODELS |= {f"{name}, recurrent": Model.sequential(input=WIDTH, dt=1e-3, layers=[Recurrent(Linear(WIDTH), neuron)])
           for name, neuron in NEURONS.items()}


def lying(kind, steps, batch, random):
    """Numbers (T, B, WIDTH) that lie in memory in one of several ways."""
    def draw(*size):
        return torch.as_tensor(random.normal(0.5, 0.5, size))

    return {
        "dense": lambda: draw(steps, batch, WIDTH),
        "batch first": lambda: draw(batch, steps, WIDTH).transpose(0, 1),
        "neuron first": lambda: draw(WIDTH, steps, batch).movedim(0, 2),
        "every second": lambda: draw(2 * steps, batch, 2 * WIDTH)[::2, :, ::2],
        "one for all steps": lambda: draw(1, batch, WIDTH).expand(steps, batch, WIDTH),
    }[kind]()


def task(name, kind, steps, batch):
    """The model's arrays, a state that is not zero, an input, and cotangents of the output and of the state after."""
    random, found = np.random.default_rng(steps * 100 + batch), executable(MODELS[name], True)
    parameters = {key: torch.as_tensor(value.astype(np.float64)) for key, value in init(found.program.model, 1).items()}
    state = {key: torch.as_tensor(random.normal(0, 0.4, shape))
             for key, shape in found.program.state_shapes(batch).items()}
    after = {key: torch.as_tensor(random.normal(0, 1, value.shape)) for key, value in state.items()}
    return parameters, state, *(lying(kind, steps, batch, random) for _ in range(2)), after


def run(name, fused, parameters, state, x, g, of_after, cuts=()):
    """Output, state after, and all gradients by name. cuts: where the run is cut into pieces."""
    compiled = executable(MODELS[name], fused).compiled
    leaves = {key: value.detach().requires_grad_() for key, value in {**parameters, **state, "x": x}.items()}
    arena, carry, parts = Poisoned(), {key: leaves[key] for key in state}, []
    for first, last in zip((0, *cuts), (*cuts, len(x)), strict=True):
        now = {"input": leaves["x"][first:last]}
        ran = compiled.run({key: leaves[key] for key in parameters}, carry, now, arena)
        parts.append(ran.values["output"])
        carry = ran.state
    out = torch.cat(parts) if len(parts) > 1 else parts[0]
    results, cotangents = [out, *carry.values()], [g, *(of_after[key] for key in carry)]
    grads = torch.autograd.grad(results, list(leaves.values()), cotangents, materialize_grads=True)
    found = {"output": out.detach().clone(), **{f"after {key}": value.detach() for key, value in carry.items()}}
    return found | {f"gradient {key}": value for key, value in zip(leaves, grads, strict=True)}


def compare(got, expected):
    assert set(got) == set(expected)
    for key, value in expected.items():
        close = {"rtol": 1e-11, "atol": 1e-11 * max(1.0, float(value.abs().max()))}
        np.testing.assert_allclose(got[key].numpy(), value.numpy(), **close, err_msg=key)


@pytest.mark.parametrize("kind", ["dense", "batch first", "neuron first", "every second", "one for all steps"])
@pytest.mark.parametrize("steps,batch", [(1, 1), (1, 7), (4, 1), (35, 11)])
@pytest.mark.parametrize("name", MODELS)
def test_any_size_and_any_strides(name, steps, batch, kind):
    given = task(name, kind, steps, batch)
    compare(run(name, True, *given), run(name, False, *given))


@pytest.mark.parametrize("kind", ["batch first", "neuron first", "every second", "one for all steps"])
def test_a_population_reads_its_input_where_it_lies(kind):
    compiled = executable(MODELS["bits"], True).compiled
    (loop,) = compiled.loops.values()
    x = lying(kind, 4, 3, np.random.default_rng(0))
    (read,), strided = loop._as_read(x)
    assert strided and read.data_ptr() == x.data_ptr()


@pytest.mark.parametrize("batch", [103, 205])
def test_more_lanes_than_a_block_holds(batch):
    given = task("own neuron, trained", "dense", 3, batch)
    compare(run("own neuron, trained", True, *given), run("own neuron, trained", False, *given))


@pytest.mark.parametrize("cuts", [(1,), (17, 34), (32, 33)])
@pytest.mark.parametrize("name", MODELS)
def test_time_in_pieces_gives_what_the_whole_gives(name, cuts):
    given = task(name, "dense", 35, 3)
    whole, pieces = run(name, True, *given), run(name, True, *given, cuts=cuts)
    compare(pieces, whole)
    for key in (key for key in whole if not key.startswith("gradient ") or key == "gradient x"):  # no sum over time
        torch.testing.assert_close(pieces[key], whole[key], rtol=0, atol=0)
