"""The example of spoken digits, on its recordings where they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from recordings import DATA

import neuroport as npt

EXAMPLE = Path(__file__).parents[2] / "examples" / "spoken_digits.yaml"


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> npt.Experiment:
    if not (DATA / "spoken_digits" / "train.h5").is_file():
        pytest.skip("the spoken digits are not there: set NEUROPORT_DATA to the folder that holds spoken_digits/")
    monkeypatch.setenv("NEUROPORT_DATA", str(DATA))
    return npt.Experiment.load(EXAMPLE)


def test_the_example_reads_without_its_recordings_and_has_at_most_256_spiking_neurons() -> None:
    model = npt.Experiment.load(EXAMPLE).model
    spiking = [name for name, node in model.nodes.items() if isinstance(node, npt.SpikingNeuron)]
    assert sum(model.shapes[name][0] for name in spiking) <= 256


@pytest.mark.parametrize("engine", ["jax", "torch"])
def test_one_epoch_of_the_example_teaches_far_more_than_chance(engine: str, experiment: npt.Experiment) -> None:
    pytest.importorskip(f"neuroport_{engine}.engine")
    short = experiment.training.model_copy(update={"epochs": 1, "schedule": npt.ConstantRate()})
    run = npt.fit(experiment.model_copy(update={"training": short}), engine=engine)
    assert run.summary["validation_accuracy"] > 0.3  # of 20 classes
