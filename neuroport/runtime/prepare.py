"""From an experiment to what can be trained or judged: its data, and whether both fit together."""

from __future__ import annotations

import math

from neuroport import registry
from neuroport.data.packing import Packed
from neuroport.data.splits import Splits
from neuroport.errors import InvalidData, InvalidExperiment, Problem
from neuroport.model.training import Experiment, Training
from neuroport.program.formulas import check_formulas
from neuroport.program.lower import Program, lower
from neuroport.program.objective import judged_output


def load_data(experiment: Experiment) -> Splits:
    """The data that an experiment names. Raises InvalidExperiment or InvalidData."""
    if experiment.data is None:
        mend = ("a run on your own arrays takes them again, data=npt.data.split(x, y); from a shell, save them with "
                "np.savez and write data: {source: npz, options: {path: FILE}}")
        raise InvalidExperiment([Problem("data", "is missing: the experiment names none", mend)])
    return registry.load_data(experiment.data.source, experiment.data.options)


def check_fit(experiment: Experiment, data: Splits) -> None:
    """Whether model, loss and data fit together. Raises InvalidData with every problem."""
    if not isinstance(data, Splits):
        mend = "give npt.data.split(x, y), or npt.data.splits(train=(x, y), validation=(x, y))"
        raise InvalidData([Problem("data", f"is a {type(data).__name__}, no Splits", mend)])
    program, training = lower(experiment.model), experiment.training
    check_formulas(program, training)
    problems = [*_inputs(program, data), *_targets(program, training, data)]
    if problems:
        raise InvalidData(problems, f"data {data.name!r} for this model")


def _inputs(program: Program, data: Splits) -> list[Problem]:
    if len(program.inputs) != 1:
        wrong = f"the model has {len(program.inputs)} inputs, a data set feeds one"
        return [Problem("model", wrong, "train a model with a single Input")]
    (name, shape), = program.inputs.items()
    problems = []
    if shape != data.shape:
        wrong = f"expects {shape} a step, the data has {data.shape}"
        mend = f"give the Input shape={data.shape}"
        if len(shape) == 1 and data.steps == shape[0]:
            mend = "the data has as many steps as the model has inputs: swap its axes, x.swapaxes(1, 2)"
        problems.append(Problem(f"model.nodes.{name}", wrong, mend))
    if data.dt is not None and not math.isclose(data.dt, program.model.dt, rel_tol=1e-6):
        wrong = f"is {program.model.dt:g} s, the data was staged at {data.dt:g} s a step"
        problems.append(Problem("model.dt", wrong, "give both the same"))
    return problems


def _targets(program: Program, training: Training, data: Splits) -> list[Problem]:
    loss, labels = training.loss, data.train.labels
    wanted = f"{type(loss).__name__} compares outputs with {loss.targets}"
    judged = judged_output(program, training)
    shape = program.outputs[judged]
    if loss.targets == "classes":
        if not data.train.has_classes:
            mend = "give class indices (samples,), or take a loss of traces such as TraceMSE"
            return [Problem("training.loss", f"{wanted}, the data holds {_held(data.train)}", mend)]
        if math.prod(shape) < data.classes:
            wrong = f"has {math.prod(shape)} outputs, the data has {data.classes} classes"
            mend = f"end in a layer of {data.classes}, such as Linear({data.classes})"
            return [Problem("model", wrong, mend)]
        return []
    if data.train.has_classes:
        mend = "give traces (samples, steps, *shape), or take a loss of classes such as CrossEntropy"
        return [Problem("training.loss", f"{wanted}, the data holds {_held(data.train)}", mend)]
    if math.prod(labels.shape[2:]) != math.prod(shape):
        wrong = f"have shape {labels.shape[2:]} a step, the output {judged!r} has {shape}"
        return [Problem("data.targets", wrong, f"give traces (samples, steps, {', '.join(map(str, shape))})")]
    return []


def _held(packed: Packed) -> str:
    return "class indices" if packed.has_classes else f"traces of shape {packed.labels.shape[1:]} a sample"
