"""Metamorphic tests, in the bit tier: changes that must change nothing, or only what they say."""

from __future__ import annotations

import numpy as np
import pytest

from neuroport.engine.base import Executable, RunResult
from neuroport.model.graph import Model
from neuroport.testing.base import Kit
from neuroport.testing.cases import CASES, Case
from neuroport.testing.clear import clear
from neuroport.testing.dyadic import DYADIC, Exact, exact
from neuroport.testing.subject import Subject, arrays, skip
from neuroport.testing.tiers import equal, flat, near

CARRIED = ("ALIF", "CubaLIF, recurrent", "hard reset delayed", "output delayed", "delays", "Delay nodes")
CUT = 40  # steps of a run
# in another alphabetical order, and such as generated code uses for its own
ODD_NAMES = ("x", "t1", "self", "s_v", "carry", "out", "g", "c", "b", "a", "lambda", "inputs", "Z z")


def chosen(*names: str) -> list[Case]:
    return [case for case in DYADIC if case.name in names]


def _run(executable: Executable, of: Exact, inputs: dict[str, np.ndarray], state: object = None) -> RunResult:
    batch = next(iter(inputs.values())).shape[1]
    start = executable.init_state(batch) if state is None else state
    return executable.run(executable.load(of.parameters), start, inputs, of.record)  # type: ignore[arg-type]


def _all(result: RunResult) -> dict[str, np.ndarray]:
    return {**arrays(result.outputs), **flat(result.records)}


class Metamorphic(Kit):
    """Relations between runs of one engine; no other engine is asked."""

    def _exact(self, subject: Subject, case: Case) -> tuple[Exact, Executable]:
        precision = subject.precision("float32", "float64")
        assert subject.snapped is not None
        executable = subject.executable(case.build(subject.dt), precision=precision)
        return exact(case, subject.dt, subject.batch(case.batch)), executable

    @pytest.mark.parametrize("case", chosen(*CARRIED), ids=repr)
    def test_two_chunks_equal_one_run(self, subject: Subject, case: Case) -> None:
        self._two_chunks(subject, case, CUT // 2)

    @pytest.mark.parametrize("case", chosen("delays", "Delay nodes"), ids=repr)
    def test_chunks_shorter_than_a_delay_equal_one_run(self, subject: Subject, case: Case) -> None:
        self._two_chunks(subject, case, 2)

    def _two_chunks(self, subject: Subject, case: Case, length: int) -> None:
        of, executable = self._exact(subject, case)
        whole = _run(executable, of, {name: x[: 2 * length] for name, x in of.inputs.items()})
        first = _run(executable, of, {name: x[:length] for name, x in of.inputs.items()})
        chunks = _all(first)
        second = _run(executable, of, {name: x[length : 2 * length] for name, x in of.inputs.items()}, first.state)
        both = {name: np.concatenate([chunks[name], after]) for name, after in _all(second).items()}
        equal(both, _all(whole), "two chunks")
        equal(arrays(second.state), arrays(whole.state), "state after two chunks")

    @pytest.mark.parametrize("case", chosen("ALIF", "CubaLIF, recurrent", "delays", "Delay nodes"), ids=repr)
    def test_permuting_a_batch_permutes_the_result(self, subject: Subject, case: Case) -> None:
        if subject.batch(case.batch) < 2:
            skip(f"max_batch={subject.able.max_batch}")
        of, executable = self._exact(subject, case)
        order = np.roll(np.arange(subject.batch(case.batch)), 1)[::-1]
        straight = _run(executable, of, {name: x[:CUT] for name, x in of.inputs.items()})
        permuted = _run(executable, of, {name: x[:CUT, order] for name, x in of.inputs.items()})
        equal(_all(permuted), {name: x[:, order] for name, x in _all(straight).items()}, "permuted batch")

    @pytest.mark.parametrize("case", chosen("ALIF", "CubaLIF, recurrent", "delays", "Delay nodes"), ids=repr)
    def test_the_same_call_twice_gives_the_same(self, subject: Subject, case: Case) -> None:
        if not subject.able.deterministic:
            skip("deterministic=False")
        of, executable = self._exact(subject, case)
        inputs = {name: x[:CUT] for name, x in of.inputs.items()}
        once = _all(_run(executable, of, inputs))
        equal(_all(_run(executable, of, inputs)), once, "second call")

    @pytest.mark.parametrize("case", [case for case in CASES if case.name == "trainable IF per neuron"], ids=repr)
    def test_renaming_nodes_changes_no_gradient(self, subject: Subject, case: Case) -> None:
        precision = subject.precision("float32", "float64")
        training = case.taught(subject.dt)
        executable = subject.trainable(case.build(subject.dt), training, precision)
        of = clear(case, subject.dt, subject.batch(case.batch), subject.snapped)
        names = dict(zip(of.model.nodes, ("a-b", "a_b", "g", "a b", "targets"), strict=True))
        other = subject.trainable(_renamed(of.model, names), training, precision)
        state = other.init_state(subject.batch(case.batch))
        found = other.gradients(
            other.load({_moved(name, names): x for name, x in of.parameters.items()}), state,
            {names[name]: x for name, x in of.inputs.items()}, of.targets,
        )
        expected = executable.gradients(
            executable.load(of.parameters), executable.init_state(subject.batch(case.batch)), of.inputs, of.targets
        )
        renamed = {_moved(name, names): x for name, x in arrays(expected.parameters).items()}
        near(arrays(found.parameters), renamed, 1e-6, "gradients")

    @pytest.mark.parametrize("case", chosen("CubaLIF, recurrent", "delays", "Delay nodes"), ids=repr)
    def test_renaming_nodes_changes_nothing(self, subject: Subject, case: Case) -> None:
        of, executable = self._exact(subject, case)
        names = dict(zip(of.model.nodes, ODD_NAMES[: len(of.model.nodes)], strict=True))
        renamed = Exact(
            case, _renamed(of.model, names), of.program, {_moved(name, names): x for name, x in of.parameters.items()},
            of.inputs, tuple((names[node], what) for node, what in of.record), of.result,
        )
        other = subject.executable(renamed.model, precision=subject.precision("float32", "float64"))
        inputs = {name: x[:CUT] for name, x in of.inputs.items()}
        straight = _run(executable, of, inputs)
        found = _run(other, renamed, {names[name]: x for name, x in inputs.items()})
        equal(arrays(found.outputs), {names[name]: x for name, x in arrays(straight.outputs).items()}, "outputs")
        equal(flat(found.records), {_moved(name, names): x for name, x in flat(straight.records).items()}, "records")


def _moved(name: str, names: dict[str, str]) -> str:
    owner, field = name.rsplit(".", 1)
    return f"{names[owner]}.{field}"


def _renamed(model: Model, names: dict[str, str]) -> Model:
    edges = [(names[edge.source], names[edge.target], edge.delay) for edge in model.edges]
    return Model(nodes={names[name]: node for name, node in model.nodes.items()}, edges=edges, dt=model.dt,
                 numerics=model.numerics)
