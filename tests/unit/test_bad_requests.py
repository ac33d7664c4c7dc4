"""Bad requests of every kind: each gives a NeuroportError of one screen that names the place and the mend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import neuroport as npt
from neuroport.engine.base import EngineInfo
from neuroport.hookspecs import hookimpl
from neuroport.registry import Registry, using

X = np.zeros((5, 2, 4), np.float32)


def model(**changed: Any) -> npt.Model:
    """A small chain, with some of its description replaced."""
    layers = [npt.Linear(3), npt.LIF(20e-3)]
    return npt.Model.sequential(**{"input": (4,), "dt": 1e-3, "layers": layers, **changed})


def graph(*edges: Any, **nodes: Any) -> npt.Model:
    """A graph around one Input and one Output."""
    return npt.Model(nodes={"input": npt.Input((4,)), **nodes, "output": npt.Output()}, edges=edges, dt=1e-3)


def experiment(**changed: Any) -> npt.Experiment:
    return npt.Experiment(**{"model": model(), **changed})


def training(**fields: Any) -> npt.Experiment:
    return experiment(training=fields)


def run(inputs: Any = X, parameters: Any = None, **changed: Any) -> Any:
    held = npt.init(model()) if parameters is None else parameters
    return npt.run(model(), held, inputs, **{"engine": "reference", **changed})


def gradients(targets: Any, **changed: Any) -> Any:
    return npt.gradients(model(), npt.init(model()), X, targets, **{"engine": "reference", **changed})


def traces(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Four samples with target traces of a shape."""
    return np.zeros((4, *X.shape[:1], 4)), np.zeros((4, *shape))


def fitted(loss: str, pair: tuple[np.ndarray, np.ndarray]) -> Any:
    return npt.fit(training(loss=loss), engine="reference", data=npt.data.splits(pair, pair))


def parameters(**changed: Any) -> dict[str, Any]:
    return {**npt.init(model()), **{name.replace("__", "."): value for name, value in changed.items()}}


class OneAtATime:
    """A plugin with an engine that lacks a module."""

    @hookimpl
    def neuroport_engines(self) -> list[EngineInfo]:
        return [EngineInfo("chip", "chip.engine:Engine", requires=("a_driver",), install="pip install a-driver")]


def unavailable() -> Any:
    with using(Registry([OneAtATime()])):
        return run(engine="chip")


# what is asked; words of the place; words of the mend
CASES: dict[str, tuple[Callable[[], Any], str, str]] = {
    # models
    "the time step is a text": (lambda: model(dt="1 ms"), "dt", "number"),
    "the time step is negative": (lambda: model(dt=-1e-3), "dt", "greater than 0"),
    "the time step is not a number": (lambda: model(dt=float("nan")), "dt", "finite"),
    "layers are no list": (lambda: model(layers="LIF"), "layers", "list nodes"),
    "there are no layers": (lambda: model(layers=[]), "layers", "list nodes"),
    "a layer of unknown type": (lambda: model(layers=[{"type": "Linaer"}]), "nodes.0_linaer", "did you mean 'Linear'"),
    "a layer without type": (lambda: model(layers=[{"out_features": 3}]), "nodes.0_layer", "write {type"),
    "a layer that is a class": (lambda: model(layers=[npt.Flatten]), "nodes.0_flatten", "Flatten(...)"),
    "a layer that is a number": (lambda: model(layers=[3]), "nodes.0_layer", "with one of"),
    "a base class as a layer": (lambda: model(layers=[npt.Neuron()]), "nodes.0_neuron", "subclass"),
    "an Output among the layers": (lambda: model(layers=[npt.LIF(0.1), npt.Output()]), "layers.1", "leave it out"),
    "two layers of one name": (
        lambda: model(layers=[("a", npt.Linear(3)), ("a", npt.LIF(0.1))]), "layers.1", "give each layer its own"),
    "a layer called input": (lambda: model(layers=[("input", npt.Linear(3))]), "layers.0", "its own"),
    "a name that is a number": (lambda: npt.Model.from_yaml("{input: 3, dt: 1, layers: {1: Flatten}}"),
                                "layers.0", "quotes"),
    "the input's shape is missing": (lambda: npt.Model.parse({"dt": 1e-3, "layers": ["Flatten"]}), "input", "shape"),
    "the input's shape is no list": (lambda: model(input="12"), "nodes.input.shape", "list"),
    "the input's shape is negative": (lambda: model(input=(-4,)), "nodes.input.shape", "positive"),
    "an unknown field": (lambda: npt.LIF(0.1, v_treshold=1), "v_treshold", "did you mean 'v_threshold'"),
    "a missing field": (lambda: npt.Linear(), "out_features", "add it"),
    "a layer without outputs": (lambda: npt.Linear(0), "out_features", "greater than 0"),
    "too many positional fields": (lambda: npt.LIF(20e-3, 1.0), "LIF", "name the others: r, v_leak"),
    "a convolution in torch's order": (
        lambda: npt.Conv1d(2, 8, 3), "Conv1d", "torch's Conv1d(2, 8, 3) is Conv1d(8, 3) here"),
    "a Linear in torch's order": (lambda: npt.Linear(12, 20), "Linear", "torch's Linear(12, 20) is Linear(20) here"),
    "a field by position and by name": (lambda: npt.Linear(3, out_features=4), "Linear.out_features", "leave one out"),
    "a time constant as a text": (lambda: npt.LIF("20ms"), "tau", "give a number"),
    "a negative time constant": (lambda: npt.LIF(-0.02), "tau", "seconds"),
    "no time constant": (lambda: npt.LIF(), "tau", "from_decay"),
    "time constant and decay": (lambda: npt.LIF(0.1, decay=0.9), "tau", "from_decay"),
    "a decay above one": (lambda: npt.LIF.from_decay(1.5), "decay", "0.9"),
    "a time constant below dt under Euler": (
        lambda: model(layers=[npt.LIF(1e-4)], numerics={"discretization": "euler"}), "nodes.0_lif.tau", "exponential"),
    "a fault inside a Parameter": (lambda: npt.LIF({"value": 0.1, "per": "chanel"}), "tau.per", "'channel'"),
    "an unknown initializer": (lambda: npt.LIF({"value": {"type": "Unifrom"}}), "tau.value.type", "'Uniform'"),
    "a parameter of ragged lists": (lambda: npt.LIF([[0.1], [0.1, 0.2]]), "tau", "one length"),
    "a parameter that does not fit": (
        lambda: model(layers=[npt.Linear(3), npt.LIF([0.1, 0.2])]), "nodes.1_lif.tau", "(per neuron)"),
    "an unknown surrogate": (lambda: npt.LIF(0.1, surrogate="Atan"), "surrogate", "did you mean 'ATan'"),
    "a surrogate that is a function": (lambda: npt.LIF(0.1, surrogate=abs), "surrogate", "write {type"),
    "numerics of unknown value": (lambda: model(numerics={"reset": "zero"}), "numerics.reset", "'soft', 'hard'"),
    "numerics that are a text": (lambda: model(numerics="norse"), "numerics", "mapping of discretization"),
    "numerics that contradict": (
        lambda: npt.Numerics(reset_rule="snntorch", reset_delay=1), "reset_rule", "reset_delay=0"),
    "a kernel that is a text": (lambda: npt.Conv2d(3, "3x3"), "kernel_size", "[3, 3]"),
    "an unknown padding": (lambda: npt.Conv2d(3, 3, padding="full"), "padding", "'same'"),
    "a kernel larger than the image": (
        lambda: model(input=(1, 2, 2), layers=[npt.Conv2d(1, 5)]), "nodes.0_conv2d.kernel_size", "padding"),
    "a convolution of a vector": (lambda: model(layers=[npt.Conv2d(1, 3)]), "nodes.0_conv2d", "(C, H, W)"),
    "a convolution over one axis of an image": (
        lambda: model(input=(1, 4, 4), layers=[npt.Conv1d(1, 3)]), "nodes.0_conv1d", "(C, L)"),
    "a pair for one axis": (lambda: npt.Conv1d(1, [3, 3]), "kernel_size", "give 3"),
    "an axis that is not there": (
        lambda: model(input=(2, 3), layers=[npt.Flatten(1, 2)]), "nodes.0_flatten.end_dim", "0 to 1"),
    "axes the wrong way round": (
        lambda: model(input=(2, 3), layers=[npt.Flatten(1, 0)]), "nodes.0_flatten.start_dim", "start_dim <= end_dim"),
    "a Threshold with a reset": (
        lambda: npt.Threshold(1.0, numerics={"reset": "hard"}), "numerics.reset", "leave it out"),
    "a delay of no whole number of steps": (
        lambda: model(layers=[npt.Delay([0, 1e-3, 2.4e-3, 0])]), "nodes.0_delay.delay",
        "0.002 s (2 steps) or 0.003 s (3)"),
    "a delay before its time": (lambda: npt.Delay(-1e-3), "delay", "seconds"),
    "a delay that is to be trained": (lambda: npt.Delay(npt.Parameter(value=1e-3)), "delay", "not trained"),
    "delays that do not fit": (lambda: model(layers=[npt.Delay([0, 1e-3])]), "nodes.0_delay.delay", "(per neuron)"),
    "a product of an image": (lambda: model(input=(1, 4, 4)), "nodes.0_linear", "Flatten()"),
    "too many inputs for a layer": (lambda: model(layers=[npt.Linear(3, in_features=5)]),
                                    "nodes.0_linear.in_features", "in_features=4"),
    "Recurrent the wrong way round": (
        lambda: npt.Recurrent(npt.LIF(0.1), npt.Linear(3)), "neuron", "the connection first"),
    "Recurrent inside a graph": (
        lambda: graph(("input", "r"), ("r", "output"), r=npt.Recurrent(npt.Linear(4), npt.LIF(0.1))),
        "nodes.r", "Model.sequential"),
    "Recurrent of another width": (
        lambda: model(layers=[npt.Recurrent(npt.Linear(5), npt.LIF(0.1))]), "nodes.0_lif", "shapes must be equal"),
    "an edge of one end": (lambda: graph(("input",)), "edges.0", "[source, target]"),
    "edges that are a text": (lambda: npt.Model(nodes={}, edges="input->output", dt=1), "edges", "list"),
    "an edge to nowhere": (lambda: graph(("input", "outptu")), "edges.0", "did you mean 'output'"),
    "a negative delay": (lambda: graph(("input", "output", -1)), "edges.0.delay", "0 or more"),
    "an edge twice": (lambda: graph(("input", "output"), ("input", "output")), "edges.1", "remove one"),
    "a cycle without delay": (
        lambda: graph(("input", "a"), ("a", "b"), ("b", "a"), ("b", "output"), a=npt.LIF(0.1), b=npt.LIF(0.1)),
        "edges", "delay=1"),
    "a node that nothing reaches": (
        lambda: graph(("input", "output"), ("a", "output"), a=npt.LIF(0.1)), "nodes.a", "add an edge"),
    "shapes that do not add up": (
        lambda: graph(("input", "a"), ("input", "output"), ("a", "output"), a=npt.Linear(2)),
        "nodes.output", "must be equal"),
    "a model without Output": (lambda: npt.Model(nodes={"in": npt.Input((4,))}, edges=[], dt=1), "nodes", "Output"),
    "a name with an arrow": (
        lambda: graph(("input", "a->b"), ("a->b", "output"), **{"a->b": npt.LIF(0.1)}), "nodes.a->b", "rename"),
    "a field set afterwards": (lambda: setattr(model(), "dt", 1.0), "dt", "make a changed one"),
    # files
    "a file that is not there": (lambda: npt.Model.load("no/such/model.yaml"), "no/such/model.yaml", "path"),
    "YAML that is a list": (lambda: npt.Model.from_yaml("[1, 2]"), "is no mapping", "nodes, edges, dt"),
    "YAML that is empty": (lambda: npt.Model.from_yaml(""), "is no mapping", "mapping of"),
    "YAML that is torn": (lambda: npt.Model.from_yaml("a: [1,\nb: 2"), "line 2", "mend the YAML"),
    "YAML with a key twice": (lambda: npt.Model.from_yaml("dt: 1\ndt: 2"), "'dt' stands twice", "mend the YAML"),
    "YAML that wants an object": (
        lambda: npt.Model.from_yaml("!!python/object:os.system {}"), "python/object", "mend the YAML"),
    "YAML that refers to itself": (
        lambda: npt.Model.from_yaml("{input: 3, dt: 1, layers: [{type: LIF, tau: &a [*a]}]}"), "without end", "alias"),
    "JSON that is torn": (lambda: npt.Model.from_json("{"), "line 1", "mend the JSON"),
    # experiments
    "no epochs": (lambda: training(epochs=0), "training.epochs", "greater than 0"),
    "half an epoch": (lambda: training(epochs=1.5), "training.epochs", "whole number"),
    "an unknown optimizer": (lambda: training(optimizer="adm"), "training.optimizer", "did you mean 'Adam'"),
    "an unknown field of an optimizer": (
        lambda: training(optimizer={"type": "Adam", "lr": 1}), "training.optimizer.lr", "learning_rate"),
    "a learning rate of zero": (
        lambda: training(optimizer={"type": "SGD", "learning_rate": 0}), "training.optimizer.learning_rate", "greater"),
    "an unknown schedule": (lambda: training(schedule="Step"), "training.schedule", "Cosine"),
    "a loss over an unknown reduction": (
        lambda: training(loss={"type": "CrossEntropy", "over": "median"}), "training.loss.over", "'mean'"),
    "a loss of an unknown output": (
        lambda: training(loss={"type": "CrossEntropy", "output": "out"}), "training.loss.output", "output"),
    "classes of an image": (
        lambda: npt.Experiment(model=npt.Model.sequential((1, 4, 4), 1e-3, [npt.IF()])), "training.loss", "Flatten()"),
    "a regularizer of a node that does not spike": (
        lambda: training(regularizers=[npt.RateBounds(nodes=("0_linear",))]), "training.regularizers.0", "1_lif"),
    "rates of a parameter that there is not": (
        lambda: training(learning_rates={"*.tau": 0.1}), "training.learning_rates: '*.tau'", "0_linear.weight"),
    "a negative factor of the learning rate": (
        lambda: training(learning_rates={"*.weight": -1}), "training.learning_rates.*.weight", "0 or more"),
    "a penalty on a parameter that there is not": (
        lambda: training(regularizers=[npt.WeightL1(parameters=("second.*",))]),
        "training.regularizers.0.parameters: 'second.*'", "0_linear.bias"),
    "a penalty on a parameter that is frozen": (
        lambda: gradients(np.array([0, 1]), regularizers=[npt.WeightL2(parameters=("*.tau",))]),
        "training.regularizers.0.parameters: '*.tau'", "trainable parameters are"),
    "patterns that are a text": (lambda: npt.WeightL1(parameters="first.*"), "parameters", "list"),
    "first spikes of neurons that do not spike": (
        lambda: experiment(model=model(layers=[npt.Linear(3), npt.LI(20e-3)]),
                           training={"loss": {"type": "CrossEntropy", "over": "first_spike"}}),
        "training.loss: first spikes are asked of 'output'", "such as LIF"),
    "times of first spikes of a plain product": (
        lambda: experiment(model=model(layers=[npt.Linear(3)]), training={"loss": "TemporalCrossEntropy"}),
        "fed by 0_linear", "CrossEntropy(over='mean')"),
    "two metrics of one name": (
        lambda: training(metrics=[npt.TopK(k=1), npt.TopK(k=2)]), "training.metrics.1: a second", "give it a name"),
    "an unknown metric": (lambda: training(metrics=["TopKK"]), "training.metrics.0", "did you mean 'TopK'"),
    "a warm-up inside a warm-up": (
        lambda: training(schedule={"type": "Warmup", "then": "Warmup"}), "training.schedule.then", "one Warmup"),
    "a warm-up of no time": (lambda: npt.Warmup(epochs=0), "epochs", "greater than 0"),
    "a plateau that raises the rate": (
        lambda: training(schedule={"type": "Plateau", "factor": 2}), "training.schedule.factor", "less than 1"),
    "no batches for a step": (lambda: training(accumulate=0), "training.accumulate", "greater than 0"),
    "windows of no steps": (lambda: training(truncate=0), "training.truncate", "greater than 0"),
    "checkpoints after no steps": (
        lambda: training(checkpoint_steps=0), "training.checkpoint_steps: is 0, neither", "greater than 0, or 'sqrt'"),
    "checkpoints by another root": (
        lambda: training(checkpoint_steps="cbrt"), "training.checkpoint_steps: is 'cbrt', neither", "'sqrt'"),
    "no patience": (
        lambda: training(early_stopping={"patience": 0}), "training.early_stopping.patience", "greater than 0"),
    "an unknown value to stop by": (
        lambda: training(early_stopping={"monitor": "loss"}), "training.early_stopping.monitor", "'validation_loss'"),
    "stopping early by a mere yes": (lambda: training(early_stopping=True), "training.early_stopping", "patience"),
    "labels smoothed away": (lambda: npt.CrossEntropy(label_smoothing=1.0), "label_smoothing", "less than 1"),
    "a share above one": (lambda: training(loss={"type": "TET", "weight": 2}), "training.loss.weight", "1 or less"),
    "a filter of no length": (lambda: npt.VanRossum(tau=0), "tau", "greater than 0"),
    "a momentum of one": (
        lambda: training(optimizer={"type": "Lion", "beta1": 1}), "training.optimizer.beta1", "less than 1"),
    "data of traces for a loss of classes": (
        lambda: fitted("CrossEntropy", traces((5, 3))), "training.loss", "TraceMSE"),
    "data of classes for a loss of traces": (
        lambda: fitted("TraceMSE", (traces((5, 3))[0], np.zeros(4, int))), "training.loss", "CrossEntropy"),
    "traces of another width than the output": (
        lambda: fitted("TraceMSE", traces((5, 2))), "'output' has (3,)", "give traces (samples, steps, 3)"),
    # true and false where numbers belong; YAML reads yes, no, on and off as such
    "a time step of yes": (
        lambda: npt.Model.from_yaml("{input: 4, dt: yes, layers: [IF]}"), "dt: is no number (got True)", "YAML"),
    "epochs of true": (lambda: training(epochs=True), "training.epochs: is no number (got True)", "give a number"),
    "a seed of false": (lambda: experiment(seed=False), "seed: is no number (got False)", "give a number"),
    "a rate of true": (lambda: npt.Adam(True), "learning_rate: is no number", "give a number"),
    "a factor of true": (
        lambda: training(learning_rates={"*.weight": True}), "learning_rates.*.weight: is no number", "give a number"),
    "an axis of true": (lambda: npt.Input((4, True)), "shape.1: is no number (got True)", "give a number"),
    "a delay of true": (lambda: graph(("input", "output", True)), "edges.0.delay: is no number", "give a number"),
    "clipping switched on": (lambda: training(clip_norm=True), "training.clip_norm: is no number", "give a number"),
    "truncation switched on": (lambda: training(truncate=True), "training.truncate: is no number", "give a number"),
    "a reset that is delayed by true": (
        lambda: npt.Numerics(reset_delay=True), "reset_delay: is no number", "give a number"),
    "a threshold of true": (lambda: npt.LIF(0.1, v_threshold=True), "v_threshold", "give a number"),
    "a surrogate's slope of true": (
        lambda: npt.LIF(0.1, surrogate={"type": "SuperSpike", "slope": True}), "surrogate.slope: is no number", "YAML"),
    "an augmentation without its list": (
        lambda: training(augmentation=npt.Thinning()), "training.augmentation: is a Thinning, no list",
        "[Thinning(...)]"),
    "a regularizer without its list": (
        lambda: training(regularizers=npt.RateL1()), "training.regularizers: is a RateL1, no list", "put it into one"),
    "bounds in the wrong order": (lambda: npt.RateBounds(lower=0.5, upper=0.1), "lower", "swap"),
    "a negative seed": (lambda: experiment(seed=-1), "seed", "0 or more"),
    "an experiment without model": (lambda: npt.Experiment(), "model", "add it"),
    "an unknown section": (lambda: experiment(trainign={}), "trainign", "did you mean 'training'"),
    "data that are a text": (lambda: experiment(data="braille"), "data", "source"),
    "an unknown data source": (
        lambda: npt.fit(experiment(data={"source": "brail"}), engine="reference"), "data.source", "'braille'"),
    "an unknown option of a source": (
        lambda: npt.fit(experiment(data={"source": "braille", "options": {"size": 1}}), engine="reference"),
        "data.options.size", "options"),
    "an experiment that is a model": (lambda: npt.fit(model()), "experiment", "Experiment"),
    # engines
    "an unknown engine": (lambda: run(engine="refrence"), "refrence", "did you mean 'reference'"),
    "an engine that is a number": (lambda: run(engine=3), "3", "reference"),
    "an engine that lacks a module": (unavailable, "a_driver", "pip install a-driver"),
    "an unknown device": (lambda: run(device="tpu:9"), "tpu:9", "cpu"),
    "an unknown precision": (lambda: run(precision="float8"), "precision", "float64"),
    "a model that is a dict": (lambda: npt.run({}, {}, X), "model", "Model.load"),
    # arrays
    "inputs without a batch": (lambda: run(X[:, 0]), "inputs", "x[:, None]"),
    "inputs of another shape": (lambda: run(X[..., :3]), "(5, 2, 3)", "(T, B, 4)"),
    "inputs that are not finite": (lambda: run(X + np.nan), "inputs", "replace"),
    "inputs that are no numbers": (lambda: run("spikes"), "inputs", "array of numbers"),
    "inputs without steps": (lambda: run(X[:0]), "inputs", "at least one"),
    "inputs under another name": (lambda: run({"inptu": X}), "inputs.inptu", "did you mean 'input'"),
    "no parameters": (lambda: run(parameters={}), "parameters.0_linear.weight", "add it"),
    "an unknown parameter": (
        lambda: run(parameters=parameters(**{"0_linear__wieght": 1.0})), "0_linear.wieght", "'0_linear.weight'"),
    "a parameter of another shape": (
        lambda: run(parameters=parameters(**{"0_linear__bias": np.zeros(4)})), "expected (3,)", "npt.init"),
    "a state of another batch": (
        lambda: run(state={"1_lif.v": np.zeros((7, 3))}), "state.1_lif.v", "batch size"),
    "a record of nothing": (lambda: run(record=["1_lif.u"]), "record", "1_lif.spikes"),
    "targets beyond the classes": (lambda: gradients(np.array([0, 9])), "targets", "0 to 2"),
    "targets that are no classes": (lambda: gradients(np.array([0.5, 1])), "targets", "integers"),
    "too few targets": (lambda: gradients(np.array([0])), "targets", "one class index"),
    "classes for a loss of traces": (
        lambda: gradients(np.array([0, 1]), loss=npt.TraceMSE()), "shape (2,), expected (5, 2, 3)", "a trace for each"),
    "traces for a loss of classes": (
        lambda: gradients(np.zeros((5, 2, 3))), "targets: has shape (5, 2, 3), expected (2,)", "one class index"),
    "traces of another batch": (
        lambda: gradients(np.zeros((5, 3, 3)), loss="VanRossum"), "expected (5, 2, 3)", "VanRossum compares 'output'"),
    "traces without channels": (
        lambda: gradients(np.zeros((5, 2)), loss="TraceMSE"), "targets: has shape (5, 2)", "each sample"),
    "traces that are not finite": (
        lambda: gradients(np.full((5, 2, 3), np.nan), loss="TraceMSE"), "targets: holds 30 values", "replace"),
    "an unknown loss": (lambda: gradients(np.array([0, 1]), loss="MSE"), "loss", "CrossEntropy"),
    "a seed that is a text": (lambda: npt.init(model(), "x"), "seed", "integer"),
    "a data set that is no spikes": (lambda: npt.data.stage(X + 0.5, np.zeros(5, int)), "x", "encode them"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_request_names_place_and_mend_on_one_screen(case: str) -> None:
    ask, place, mend = CASES[case]
    with pytest.raises(npt.NeuroportError) as raised:
        ask()
    said = str(raised.value)
    assert place in said and mend in said, said
    assert "pydantic" not in said and "Traceback" not in said
    assert_one_screen(said)


def assert_one_screen(said: str) -> None:
    lines = said.splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 160, said


@pytest.mark.parametrize("many", [
    lambda: model(layers=[npt.Linear(3), *(npt.LIF([0.1] * (k + 5)) for k in range(80))]),
    lambda: graph(*[(f"a{k}", "b") for k in range(200)]),
    lambda: graph(("input", "nowhere"), *[(f"n{k}", f"n{k + 1}") for k in range(99)], ("n99", "output"),
                  **{f"n{k}": npt.LIF(0.1) for k in range(100)}),
    lambda: npt.run(model(layers=[npt.Linear(3) for _ in range(90)]), {}, X, "reference", record=["x"] * 50),
    lambda: npt.Model.parse({f"field_{k}": "long " * 100 for k in range(100)}),
])
def test_many_problems_still_fit_on_one_screen(many: Callable[[], Any]) -> None:
    with pytest.raises(npt.NeuroportError) as raised:
        many()
    assert_one_screen(str(raised.value))
    assert len(raised.value.problems) >= 1


def paths(error: Any) -> set[str]:
    return {problem.path for problem in error.problems}


def test_three_faults_in_one_model_are_all_reported() -> None:
    text = """
    input: [4]
    dt: 1e-3
    numerics: {rest: hard}                            # an unknown key
    layers:
      first: {type: Linear, out_features: 3}
      hidden: {type: LIF, tau: [10e-3, 20e-3]}        # does not fit the 3 neurons, in itself fine
      last: {type: Linear, out_features: -2}          # a field out of range
    """
    with pytest.raises(npt.InvalidModel) as raised:
        npt.Model.from_yaml(text)
    assert paths(raised.value) == {"numerics.rest", "nodes.hidden.tau", "nodes.last.out_features"}


def test_faults_in_different_sections_of_an_experiment_are_all_reported() -> None:
    text = """
    seed: minus one
    data: {source: braille, optoins: {}}
    model:
      input: [4]
      dt: 1e-3
      layers:
        first: {type: Linear, out_features: 3, in_features: 5}
        hidden: {type: LIF, tau: 20e-3, v_treshold: 1}
    training: {epochs: 0, optimizer: Adma}
    """
    with pytest.raises(npt.InvalidExperiment) as raised:
        npt.Experiment.from_yaml(text)
    assert paths(raised.value) == {
        "seed", "data.optoins", "model.nodes.first.in_features", "model.nodes.hidden.v_treshold",
        "training.epochs", "training.optimizer.type",
    }


def test_what_does_not_fit_the_model_is_reported_beside_other_faults() -> None:
    text = """
    seed: -1
    model: {input: [4], dt: 1e-3, layers: {a: {type: Linear, out_features: 3}, b: {type: LIF, tau: 20e-3}}}
    training: {epochs: 0, loss: {type: CrossEntropy, output: out}, regularizers: [{type: RateBounds, nodes: [a]}]}
    """
    with pytest.raises(npt.InvalidExperiment) as raised:
        npt.Experiment.from_yaml(text)
    assert paths(raised.value) == {
        "seed", "training.epochs", "training.loss.output", "training.regularizers.0.nodes"}


def test_faults_of_layers_and_of_their_list_are_reported_together() -> None:
    with pytest.raises(npt.InvalidModel) as raised:
        npt.Model.parse({"dt": 0, "layers": [("a", npt.Linear(3)), ("a", {"type": "LIF"}), npt.Input((3,))]})
    assert paths(raised.value) == {"dt", "input", "layers.1", "layers.2", "nodes.1_a.tau"}


def test_a_file_is_named_with_its_problems(tmp_path: Any) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("{input: 3, dt: 0, layers: [Flatten]}")
    with pytest.raises(npt.InvalidModel, match="mine.yaml"):
        npt.Model.load(path)


def test_every_problem_of_a_run_is_reported_at_once() -> None:
    with pytest.raises(npt.InvalidData) as raised:
        run(X[..., :2], parameters={"0_linear.weight": np.zeros((2, 2))}, record=["nothing"], state={})
    assert paths(raised.value) >= {
        "inputs", "parameters.0_linear.weight", "parameters.0_linear.bias", "record", "state.1_lif.v"}


def test_yaml_defaults_can_be_merged() -> None:
    text = """
    input: [4]
    dt: 1e-3
    layers:
      a: {type: Linear, out_features: 3}
      b: &slow {type: LIF, tau: 20e-3}
      c: {<<: *slow, v_threshold: 2}
    """
    assert npt.Model.from_yaml(text).nodes["c"] == npt.LIF(20e-3, v_threshold=2)


def test_every_true_among_numbers_is_reported_beside_other_faults() -> None:
    text = """
    seed: no
    model: {input: [4, yes], dt: on, layers: {a: {type: Linear, out_features: 3, bias: yes}, b: {type: LIF, tau: 1}}}
    training: {epochs: true, batch_size: 0, optimizer: {type: SGD, momentum: yes}}
    """
    with pytest.raises(npt.InvalidExperiment) as raised:
        npt.Experiment.from_yaml(text)
    assert paths(raised.value) == {
        "seed", "model.nodes.input.shape.1", "model.dt", "training.epochs", "training.batch_size",
        "training.optimizer.momentum",
    }


def test_true_and_false_stay_what_they_are_where_they_belong() -> None:
    assert npt.Linear(3, bias=False).bias is False
    assert npt.Numerics(reset_gradient=False, multi_spike=True).multi_spike is True
    data = npt.Data(source="mine", options={"shuffle": True, "parts": [1, False]})
    assert data.options == {"shuffle": True, "parts": [1, False]}
    assert npt.Model.from_yaml("{input: 4, dt: 1, layers: [{type: Linear, out_features: 2, bias: off}]}").parameters


@pytest.mark.parametrize(("layers", "dt", "words"), [
    ([npt.LIF(20)], 1e-3, "0_lif.tau is 20 s, 20,000 steps .* 20 ms are tau=0.02"),
    ([npt.CubaLIF(5e-3, [20e-3, 20.0, 30.0])], 1e-3, "0_cubalif.tau_mem is 30 s"),
    ([npt.LIF(20e-3)], 1.0, "0_lif.tau is 0.02 s: after one step of dt = 1 s nothing is left"),
])
def test_times_that_are_hardly_meant_are_warned_of_once_each(layers, dt, words):
    with pytest.warns(npt.UnusualValue, match=words) as said:
        npt.Model.sequential(3, dt, layers)
    assert [one.filename for one in said] == [__file__]


@pytest.mark.parametrize(("neuron", "dt"), [
    (npt.LIF(20), 1.0), (npt.ALIF(20e-3, tau_adapt=2.0), 1e-3), (npt.LIF(1e-3), 2e-3), (npt.LIF.from_decay(0.9), 1.0)])
def test_times_in_units_of_ones_own_and_slow_adaptation_warn_of_nothing(neuron, dt):
    assert npt.Model.sequential(3, dt, [neuron]).dt == dt
