"""Spiking neural networks, described once and run on any engine.

``import neuroport as npt`` loads the descriptions alone; frameworks are imported by the engine that
is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from neuroport.errors import (
    CannotResume,
    DuplicateEngine,
    EngineUnavailable,
    InvalidData,
    InvalidExperiment,
    InvalidModel,
    MissingPackage,
    NeuroportError,
    NoSuchView,
    NotWritten,
    TrainingDiverged,
    UnknownDevice,
    UnknownEngine,
    UnsupportedModel,
    UnusableFolder,
    UnusualValue,
)
from neuroport.model.augmentation import (
    Augmentation,
    ChannelShift,
    Crop,
    Mix,
    NoiseSpikes,
    SpikeDropout,
    Thinning,
    TimeJitter,
    TimeShift,
    TimeStretch,
)
from neuroport.model.graph import Edge, Model, Recurrent
from neuroport.model.kinds import json_schema
from neuroport.model.layers import AvgPool2d, Conv1d, Conv2d, Delay, Dropout, Flatten, Linear, Scale, SumPool2d
from neuroport.model.losses import (
    TET,
    CrossEntropy,
    Loss,
    RateMSE,
    SpikeCountMSE,
    TemporalCrossEntropy,
    TraceMSE,
    VanRossum,
)
from neuroport.model.metrics import Metric, TopK
from neuroport.model.neurons import ALIF, IF, LI, LIF, CubaLI, CubaLIF, I, Neuron, SpikingNeuron, Threshold
from neuroport.model.nodes import Input, Node, Output
from neuroport.model.numerics import Numerics
from neuroport.model.optimizers import SGD, Adam, AdamW, Lion, Optimizer, RMSprop
from neuroport.model.regularizers import (
    ParameterRegularizer,
    RateBounds,
    RateL1,
    RateL2,
    Regularizer,
    SpikeRegularizer,
    WeightL1,
    WeightL2,
)
from neuroport.model.schedules import ConstantRate, Cosine, Exponential, Plateau, Schedule, StepDecay, Warmup
from neuroport.model.surrogates import (
    ATan,
    Boxcar,
    Gaussian,
    Sigmoid,
    StraightThrough,
    SuperSpike,
    Surrogate,
    Triangular,
)
from neuroport.model.training import Data, EarlyStopping, Experiment, Training
from neuroport.model.values import (
    Constant,
    FluctuationDriven,
    Initializer,
    KaimingUniform,
    LecunNormal,
    Normal,
    Orthogonal,
    Parameter,
    Time,
    Uniform,
    Value,
    XavierUniform,
)
from neuroport.version import __version__

if TYPE_CHECKING:
    from neuroport import callbacks as callbacks
    from neuroport import data as data
    from neuroport import nir as nir
    from neuroport.api import compile as compile
    from neuroport.api import engines as engines
    from neuroport.api import gradients as gradients
    from neuroport.api import init as init
    from neuroport.api import run as run
    from neuroport.dynamics import ops as ops
    from neuroport.pictures.of_run import plot as plot
    from neuroport.runtime.checkpoint import Checkpoints as Checkpoints
    from neuroport.runtime.evaluate import Evaluation as Evaluation
    from neuroport.runtime.evaluate import evaluate as evaluate
    from neuroport.runtime.fit import fit as fit
    from neuroport.runtime.run import Run as Run


# what is imported when it is first asked for: "module" or "module:name"
_LAZY = {
    "engines": "neuroport.api:engines",
    "compile": "neuroport.api:compile",
    "init": "neuroport.api:init",
    "run": "neuroport.api:run",
    "gradients": "neuroport.api:gradients",
    "fit": "neuroport.runtime.fit:fit",
    "plot": "neuroport.pictures.of_run:plot",
    "evaluate": "neuroport.runtime.evaluate:evaluate",
    "Evaluation": "neuroport.runtime.evaluate:Evaluation",
    "Run": "neuroport.runtime.run:Run",
    "Checkpoints": "neuroport.runtime.checkpoint:Checkpoints",
    "callbacks": "neuroport.callbacks",
    "data": "neuroport.data",
    "nir": "neuroport.nir",
    "ops": "neuroport.dynamics.ops",
}

__all__ = [
    "ALIF", "ATan", "Adam", "AdamW", "Augmentation", "AvgPool2d", "Boxcar", "CannotResume", "ChannelShift",
    "Checkpoints", "Constant", "ConstantRate", "Conv1d", "Conv2d", "Cosine", "Crop", "CrossEntropy", "CubaLI",
    "CubaLIF", "Data", "Delay", "Dropout", "DuplicateEngine", "EarlyStopping", "Edge", "EngineUnavailable",
    "Evaluation", "Experiment", "Exponential", "Flatten", "FluctuationDriven", "Gaussian", "I", "IF", "Initializer",
    "Input", "InvalidData", "InvalidExperiment", "InvalidModel", "KaimingUniform", "LI", "LIF", "LecunNormal", "Linear",
    "Lion", "Loss", "Metric", "MissingPackage", "Mix", "Model", "Neuron", "NeuroportError", "Node", "NoSuchView",
    "NoiseSpikes", "Normal", "NotWritten", "Numerics", "Optimizer", "Orthogonal", "Output", "Parameter",
    "ParameterRegularizer", "Plateau", "RMSprop", "RateBounds", "RateL1", "RateL2", "RateMSE", "Recurrent",
    "Regularizer", "Run", "SGD", "Scale", "Schedule", "Sigmoid", "SpikeCountMSE", "SpikeDropout", "SpikeRegularizer",
    "SpikingNeuron", "StepDecay", "StraightThrough", "SumPool2d", "SuperSpike", "Surrogate", "TET",
    "TemporalCrossEntropy", "Thinning", "Threshold", "Time", "TimeJitter", "TimeShift", "TimeStretch", "TopK",
    "TraceMSE", "Training", "TrainingDiverged", "Triangular", "Uniform", "UnknownDevice", "UnknownEngine",
    "UnsupportedModel", "UnusableFolder", "UnusualValue", "Value", "VanRossum", "Warmup", "WeightL1", "WeightL2",
    "XavierUniform", "callbacks", "compile", "data", "engines", "evaluate", "fit", "gradients", "init", "json_schema",
    "nir", "ops", "plot", "run", "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'neuroport' has no attribute {name!r}")
    module, _, attribute = _LAZY[name].partition(":")
    found = importlib.import_module(module)
    globals()[name] = getattr(found, attribute) if attribute else found
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
