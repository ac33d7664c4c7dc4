"""Augmentation on jax: compiled into the run of batches, with the bits of the NumPy definition in every layout."""

from __future__ import annotations

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
from augmentation_cases import CASES, EVERY, IDENTITIES, SEED, Case, defined  # noqa: E402
from neuroport_jax.engine import JaxEngine  # noqa: E402
from neuroport_jax.training import Batches, entering  # noqa: E402

from neuroport.dynamics import ops  # noqa: E402
from neuroport.model.augmentation import Augmentation, Mix, NoiseSpikes, SpikeDropout, TimeJitter, TimeShift  # noqa: E402
from neuroport.model.training import Training  # noqa: E402
from neuroport.program.initialize import init  # noqa: E402

SEVERAL = (Mix(share=0.5), NoiseSpikes(rate=50.0), TimeJitter(reach=3e-3), SpikeDropout(p=0.3), TimeShift(reach=5e-3))


def found(case: Case, training: Training, epoch: int) -> np.ndarray:
    """The batch that training sees, compiled."""
    executable = JaxEngine().compile(*case.options(training))
    data, steps, binary = executable.stage(case.packed())
    rows, others, identities = (
        jnp.asarray(part, jnp.int32) for part in (case.rows(), case.partners(), case.identities()))

    @jax.jit
    def made(data: object, batch: Batches, epoch: jax.Array) -> jax.Array:
        return entering(executable.program, training, steps, binary, data, batch, SEED, epoch)

    batch = Batches(rows, jnp.ones(case.batch), identities, others)
    return np.asarray(made(data, batch, jnp.asarray([epoch], jnp.uint32)))


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("augmentation", EVERY, ids=str)
def test_every_augmentation_gives_the_bits_of_the_definition(augmentation: Augmentation, case: Case) -> None:
    training = Training(augmentation=(augmentation,))
    np.testing.assert_array_equal(found(case, training, 4), defined(case, training, 4))


def test_several_in_a_row_give_the_bits_of_the_definition() -> None:
    training = Training(augmentation=SEVERAL)
    for case in (CASES[0]._replace(steps=40), CASES[3]._replace(steps=30)):
        expected = defined(case, training, 2)
        assert expected.any() and not np.array_equal(expected, defined(case, Training(), 2))
        np.testing.assert_array_equal(found(case, training, 2), expected)


def test_a_users_own_augmentation_gives_the_bits_of_the_definition() -> None:
    class Burst(SpikeDropout):
        """Spikes in a part of the steps are doubled, and others come from the step before."""

        def apply(self, x, draw, step, partner):
            x = ops.where(draw.chance(x, self.p), x * 2.0, x)
            return ops.where(draw.choice(x, 5) * 1.0 > 3.0, ops.shift(x, 1), draw.move(x, 2, 0))

    training = Training(augmentation=(Burst(p=0.5), SpikeDropout(p=0.1)))
    for case in CASES:
        np.testing.assert_array_equal(found(case, training, 0), defined(case, training, 0))


def test_a_step_of_training_is_taken_on_the_batch_of_the_definition() -> None:
    training, case = Training(augmentation=SEVERAL), CASES[0]
    executable = JaxEngine().compile(*case.options(training))
    handle, order = executable.load(init(executable.program.model, 0)), case.rows()[None]
    expected = executable.gradients(
        handle, executable.init_state(case.batch), {"input": defined(case, training, 3)}, np.zeros(case.batch, int))
    _, metrics = executable.train_segment(
        executable.init_training(handle), executable.stage(case.packed()), order, np.ones(order.shape), np.ones(1),
        (SEED, 3), case.identities()[None], case.partners()[None])
    assert metrics.loss[0] == pytest.approx(expected.loss, rel=1e-6)
    assert max(case.identities()) == max(IDENTITIES)


def test_choices_are_stored_and_not_drawn_again_in_the_loop_that_reads_them_shifted() -> None:
    executable = JaxEngine().compile(*CASES[0].options(Training(augmentation=(TimeJitter(reach=2e-3),))))
    data, steps, binary = executable.stage(CASES[0].packed())

    def made(rows: jax.Array, epoch: jax.Array) -> jax.Array:
        batch = Batches(rows, jnp.ones(5), rows, None)
        return entering(executable.program, executable.training, steps, binary, data, batch, 0, epoch)

    compiled = jax.jit(made).lower(jnp.zeros(5, jnp.int32), jnp.zeros(1, jnp.uint32)).compile()
    loops = compiled.as_text().split("\n\n")
    drawing, shifting = ([loop for loop in loops if word in loop] for word in (" remainder(", " pad("))
    assert drawing and shifting and not any(loop in shifting for loop in drawing)
