"""The two fast engines against each other, not only each against the reference."""

import numpy as np
import pytest

from neuroport import registry
from neuroport.engine.base import Options, Trainable
from neuroport.program.lower import lower
from neuroport.testing.learned import BATCH, learned, ten_steps
from neuroport.testing.lessons import MODELS, Lesson

pytest.importorskip("jax", reason="jax is not installed")
pytest.importorskip("torch", reason="torch is not installed")


@pytest.mark.parametrize("lesson", MODELS[:4], ids=repr)
def test_the_losses_of_ten_sgd_steps_are_equal_within_1e_5(lesson: Lesson) -> None:
    of = learned(lesson, 1e-3, BATCH)
    losses = []
    for name in ("jax", "torch"):
        options = Options(device="cpu", training=of.training)
        executable = registry.engine(name).compile(lower(of.model), options)
        assert isinstance(executable, Trainable)
        start = executable.init_training(executable.load(of.parameters))
        losses.append(ten_steps(executable, start, executable.stage(of.data), of.plan)[1])
    np.testing.assert_allclose(losses[0], losses[1], rtol=0, atol=1e-5)
    assert losses[0].std() > 1e-4, "the losses do not move, so their equality shows nothing"
