"""What every executable promises before any number is compared: shapes, round trips, no hidden state."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from neuroport.engine.base import Trainable
from neuroport.engine.capabilities import Support
from neuroport.testing.base import Kit
from neuroport.testing.cases import CASES, Case
from neuroport.testing.clear import clear, every_record
from neuroport.testing.dyadic import DYADIC, exact
from neuroport.testing.subject import Subject, arrays
from neuroport.testing.tiers import equal, flat

# families of features, as in ``program/needs.py``
FAMILIES = {
    "node", "neuron", "loop", "edge", "several_inputs", "several_outputs", "gradients", "trainable", "surrogate",
    "loss", "regularizer", "optimizer", "schedule", "metric", "clip_norm", "learning_rates", "accumulate",
    "truncate", "augmentation", "precision", "discretization", "comparison", "reset", "reset_delay", "reset_rule",
    "reset_gradient", "multi_spike", "output_delay", "bias_on", "several_devices", "checkpointing",
}
PLAIN = next(case for case in CASES if case.name == "LIF")
SEVERAL = next(case for case in CASES if case.name == "two inputs, two outputs")
DELAYS = next(case for case in DYADIC if case.name == "delays")
SHAPED = [PLAIN, DELAYS, next(case for case in CASES if case.name == "convolution and pooling")]


class Interface(Kit):
    """The contract of ``engine/base.py``."""

    def test_engine_has_its_name_devices_and_versions(self, subject: Subject) -> None:
        if self.engine_name is not None:
            assert subject.engine.name == self.engine_name
        devices = subject.engine.devices()
        assert devices, "devices() is empty"
        assert all(isinstance(name, str) and name for name in devices)
        assert len(set(devices)) == len(devices), f"devices() names one twice: {devices}"
        assert all(isinstance(version, str) for version in subject.engine.versions().values())

    def test_capabilities_are_frozen_and_name_features_that_exist(self, subject: Subject) -> None:
        for device in (None, *subject.engine.devices()):
            able = subject.engine.capabilities(device)
            with pytest.raises(dataclasses.FrozenInstanceError):
                able.max_batch = 3
            unknown = [name for name in able.features if name.split(".", 1)[0] not in FAMILIES]
            assert not unknown, f"no program ever needs the features {unknown}"
            assert all(isinstance(support, Support) for support in able.features.values())
            assert able.precisions, "precisions is empty; the first is the native one"
            assert able.max_batch is None or able.max_batch >= 1

    def test_gradients_are_declared_exactly_where_they_exist(self, subject: Subject) -> None:
        training = PLAIN.taught(subject.dt) if subject.able.has_gradients else None
        executable = subject.executable(PLAIN.build(subject.dt), training)
        assert isinstance(executable, Trainable) == subject.able.has_gradients

    @pytest.mark.parametrize("case", SHAPED, ids=repr)
    def test_parameters_survive_load_and_export(self, subject: Subject, case: Case) -> None:
        executable = subject.executable(case.build(subject.dt))
        batch, snapped = subject.batch(case.batch), subject.snapped
        made = exact(case, subject.dt, batch) if case in DYADIC else clear(case, subject.dt, batch, snapped)
        equal(arrays(executable.export(executable.load(made.parameters))), made.parameters, "parameters")

    @pytest.mark.parametrize("case", SHAPED, ids=repr)
    def test_first_state_is_zero_and_has_the_programs_shapes(self, subject: Subject, case: Case) -> None:
        executable = subject.executable(case.build(subject.dt))
        batch = subject.batch(2)
        state = arrays(executable.init_state(batch))
        shapes = {name: (shape[0], batch, *shape[1:]) if line else (batch, *shape)
                  for name, (shape, line) in executable.program.state.items()}
        assert {name: value.shape for name, value in state.items()} == shapes
        assert not any(value.any() for value in state.values())

    @pytest.mark.parametrize("case", [*SHAPED, SEVERAL], ids=repr)
    def test_run_gives_outputs_state_and_the_records_asked_for(self, subject: Subject, case: Case) -> None:
        executable = subject.executable(case.build(subject.dt))
        program, steps, batch = executable.program, 5, subject.batch(2)
        wanted = every_record(program)[::2]
        inputs = {name: np.zeros((steps, batch, *shape), np.float32) for name, shape in program.inputs.items()}
        zeros = {name: np.zeros(spec.shape, np.float32) if name.endswith((".weight", ".bias")) else
                 np.full(spec.shape, 0.5, np.float32) for name, spec in program.parameters.items()}
        result = executable.run(executable.load(zeros), executable.init_state(batch), inputs, wanted)
        executable.wait()
        outputs = arrays(result.outputs)
        assert {name: value.shape for name, value in outputs.items()} == {
            name: (steps, batch, *shape) for name, shape in program.outputs.items()}
        assert {(node, what) for node, its in result.records.items() for what in its} == set(wanted)
        for name, trace in flat(result.records).items():
            assert trace.shape == (steps, batch, *program.leaving[name.rsplit(".", 1)[0]]), name
            assert trace.dtype.kind == "f", f"{name} holds {trace.dtype}"
        assert set(result.state) == set(program.state)

    def test_a_later_run_leaves_earlier_results_and_its_arguments_alone(self, subject: Subject) -> None:
        of = clear(PLAIN, subject.dt, subject.batch(PLAIN.batch), subject.snapped)
        executable = subject.executable(of.model)
        handle, state = executable.load(of.parameters), executable.init_state(subject.batch(PLAIN.batch))
        given = {name: value.copy() for name, value in of.inputs.items()}
        first = executable.run(handle, state, given, of.record)
        kept = {**arrays(first.outputs), **flat(first.records), **arrays(first.state)}
        executable.run(handle, first.state, {name: 1 - value for name, value in given.items()}, of.record)
        equal({**arrays(first.outputs), **flat(first.records), **arrays(first.state)}, kept, "after a second run")
        equal(given, of.inputs, "inputs")
        assert not any(np.asarray(value).any() for value in state.values()), "the state that was given has changed"
        equal(arrays(executable.export(handle)), of.parameters, "parameters")
