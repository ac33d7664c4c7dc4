"""An experiment with some of its settings replaced, as a command line asks for."""

from __future__ import annotations

from neuroport.model.training import Experiment


def overridden(
    experiment: Experiment, epochs: int | None = None, seed: int | None = None, batch_size: int | None = None
) -> Experiment:
    """The experiment with those settings that are given. Raises InvalidExperiment."""
    data = experiment.to_data()
    asked = {"epochs": epochs, "batch_size": batch_size}
    data["training"] |= {name: value for name, value in asked.items() if value is not None}
    if seed is not None:
        data["seed"] = seed
    return Experiment.parse(data)
