"""Whether a training's formulas can be used: losses, metrics and regularizers, a user's own above all.

Each is called once with recorded arrays, as engines derive gradients from it, and once with small
NumPy arrays, for its shape.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from neuroport.dynamics.tape import ARITY, Node, Tape
from neuroport.errors import InvalidExperiment, Problem
from neuroport.model.regularizers import ParameterRegularizer, SpikeRegularizer
from neuroport.model.training import Training
from neuroport.program.lower import Program
from neuroport.program.objective import judged_output, step_of

STEPS, BATCH, UNITS = 3, 2, 5  # of the small arrays; UNITS of a regularized population
OPERATIONS = ", ".join(sorted({*ARITY, "expand", "maximum", "mean", "minimum", "one_hot", "relu"}))


@lru_cache(maxsize=64)
def check_formulas(program: Program, training: Training) -> None:
    """Raises InvalidExperiment with every formula that fails or has a wrong shape."""
    width = int(np.prod(program.outputs[judged_output(program, training)]))
    outputs, step = np.zeros((STEPS, BATCH, width)), step_of(program)
    classes = training.loss.targets == "classes"
    targets = np.zeros(BATCH, np.int64) if classes else outputs
    spikes, weights = np.zeros((STEPS, BATCH, UNITS)), np.full(BATCH, 1 / BATCH)
    loss, problems = training.loss, []
    problems += _tried("loss", f"{type(loss).__name__}.per_sample",
                       lambda o, t: loss.per_sample(o, t, step), (outputs, targets), (BATCH,))
    if classes:
        problems += _tried("loss", f"{type(loss).__name__}.scores",
                           lambda o: loss.scores(o, step), (outputs,), (BATCH, None))
    for index, metric in enumerate(training.metrics):
        problems += _tried(f"metrics.{index}", f"{type(metric).__name__}.per_sample",
                           lambda o, t, of=metric: of.per_sample(o, t, step), (outputs, targets), (BATCH,))
    for index, regularizer in enumerate(training.regularizers):
        name = f"{type(regularizer).__name__}.penalty"
        if isinstance(regularizer, SpikeRegularizer):
            problems += _tried(f"regularizers.{index}", name,
                               lambda s, w, of=regularizer: of.penalty(s, w, step), (spikes, weights), ())
        elif isinstance(regularizer, ParameterRegularizer):
            problems += _tried(f"regularizers.{index}", name, regularizer.penalty, (np.zeros(UNITS),), ())
    if problems:
        raise InvalidExperiment([problem.under("training") for problem in problems])


def _tried(
    path: str, name: str, formula: Callable[..., Any], given: tuple[np.ndarray, ...], shape: tuple[int | None, ...]
) -> list[Problem]:
    """The problem of one formula, if there is one. shape: what it must return, None for any length."""
    mend = f"write it in operators and neuroport.ops: {OPERATIONS}"
    tape = Tape()
    try:
        recorded = formula(*(tape.input(f"x{index}") for index in range(len(given))))
        if not isinstance(recorded, (Node, float, int)):
            wrong = f"{name} returns a {type(recorded).__name__}, no array that depends on its arguments"
            return [Problem(path, wrong, mend)]
        with np.errstate(all="ignore"):
            found = np.shape(formula(*given))
    except Exception as error:  # a user's own code may raise anything
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{place.filename}, line {place.lineno}, in {place.name}"
        return [Problem(path, f"{name} failed: {type(error).__name__}: {error} ({where})", mend)]
    if len(found) == len(shape) and all(want in (None, size) for want, size in zip(shape, found, strict=True)):
        return []
    words = {(BATCH,): "(B,), a value for each sample", (BATCH, None): "(B, C)", (): "a single value"}[shape]
    return [Problem(path, f"{name} returns shape {found} for T = {STEPS}, B = {BATCH}; expected {words}",
                    "sum or average over time and channels alone (ops.sum(x, axis), ops.mean(x, axis))")]
