"""What an engine learns in the kit: a lesson for each loss, regularizer, optimizer, schedule and setting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

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
from neuroport.model.graph import Model
from neuroport.model.losses import CrossEntropy, SpikeCountMSE, TraceMSE
from neuroport.model.metrics import TopK
from neuroport.model.neurons import ALIF, LIF
from neuroport.model.numerics import Numerics
from neuroport.model.optimizers import SGD, Adam, AdamW, Lion, Optimizer, RMSprop
from neuroport.model.regularizers import RateBounds, RateL1, RateL2, WeightL1, WeightL2
from neuroport.model.schedules import ConstantRate, Cosine, Exponential, Plateau, StepDecay, Warmup
from neuroport.model.training import Training
from neuroport.testing.networks import (
    NEURONS,
    TRAINABLE,
    Build,
    delayed,
    image,
    lif,
    network,
    recurrent,
    silenced,
    spiking_readout,
)
from neuroport.testing.objectives import LOSSES, REGULARIZERS
from neuroport.testing.strangers import StrangersDistance, StrangersLoss, StrangersMetric

Taught = Callable[[float], Training]
EPOCHS = 2


@dataclass(frozen=True, eq=False)
class Lesson:
    """A model, how it is trained (dt -> Training), and on what.

    layout: of the data; "constant" is one step of floats, held for all. part: whether the rows of the staged
    data are a part of a larger set, whose samples have names of their own and partners to mix with.
    """

    name: str
    build: Build
    taught: Taught
    layout: Literal["bits", "counts", "floats", "constant"] = "bits"
    part: bool = False

    def __repr__(self) -> str:
        return self.name

    def training(self, dt: float, batch: int) -> Training:
        return self.taught(dt).model_copy(update={"batch_size": batch, "epochs": EPOCHS})


def by(optimizer: Optimizer, **fields: Any) -> Taught:
    return lambda dt: Training(optimizer=optimizer, **fields)


def sgd(rate: float = 0.1, **fields: Any) -> Taught:
    return by(SGD(learning_rate=rate), **fields)


def _trained(name: str, per: str) -> Build:
    return lambda dt: network(TRAINABLE[name](dt, per), dt)


def _euler(dt: float) -> Model:
    return network(TRAINABLE["CubaLIF"](dt, "neuron"), dt, Numerics(discretization="euler"))


def _hard(dt: float) -> Model:
    return network(ALIF(tau=8 * dt, tau_adapt=20 * dt), dt, Numerics(reset_rule="snntorch", reset="hard"))


MODELS = [
    *(Lesson(name, lambda dt, of=NEURONS[name]: network(of(dt), dt), sgd()) for name in ("IF", "CubaLIF")),
    Lesson("LIF, recurrent", recurrent, sgd()),
    Lesson("ALIF, snntorch rule, hard", _hard, sgd()),
    Lesson("trainable LIF", _trained("LIF", "neuron"), sgd()),
    Lesson("trainable LIF by decay", _trained("LIF by decay", "layer"), sgd(0.1)),
    Lesson("trainable tau under euler", _euler, sgd()),
    Lesson("convolution", lambda dt: image(dt, LIF(tau=6 * dt)), sgd(0.5)),
    Lesson("dropout", lambda dt: silenced(dt, False), sgd()),
    Lesson("counts", lif, sgd(0.05), layout="counts"),
    Lesson("floats", lif, sgd(0.05), layout="floats"),
    Lesson("a constant input", lif, sgd(0.05), layout="constant"),
]

_RATES = {"sum": 0.01, "RateMSE": 2.0, "TemporalCrossEntropy": 0.2}
OBJECTIVES = [
    *(Lesson(f"loss: {name}", build, lambda dt, of=of, name=name: Training(
        loss=of(dt), optimizer=SGD(learning_rate=_RATES.get(name, 0.05))))
      for name, (build, of) in LOSSES.items() if "stranger" not in name),
    Lesson("rate bounds", lif, sgd(regularizers=REGULARIZERS["RateBounds"])),
    Lesson("rates of layers and neurons", spiking_readout, sgd(0.05, regularizers=(
        RateBounds(lower=0.6, upper=0.9, strength=3.0, per="layer"), RateL1(strength=0.3),
        RateL2(strength=0.3, nodes=("hidden",))))),
    Lesson("L1 and L2 of weights", lif, sgd(regularizers=(
        WeightL1(strength=0.02), WeightL2(strength=0.02, parameters=("first.*", "*.bias"))))),
    Lesson("a stranger's loss and regularizers", lif, lambda dt: Training(
        loss=StrangersLoss(tau=4 * dt), regularizers=REGULARIZERS["a stranger's regularizers"],
        optimizer=SGD(learning_rate=0.05))),
]

# eps are large enough to be seen, and for gradients that are nothing but rounding to weigh nothing
OPTIMIZERS = [
    Lesson("momentum and weight decay", lif, by(SGD(learning_rate=0.05, momentum=0.9, weight_decay=0.01))),
    Lesson("Adam", lif, by(Adam(learning_rate=0.01, beta1=0.8, eps=1e-4))),
    Lesson("AdamW", lif, by(AdamW(learning_rate=0.01, weight_decay=0.1, eps=1e-6))),
    Lesson("Lion", lif, by(Lion(learning_rate=0.01, weight_decay=0.1))),
    Lesson("RMSprop", lif, by(RMSprop(learning_rate=2e-3, decay=0.9, eps=1e-4))),
    Lesson("clipped", lif, sgd(1.0, clip_norm=0.05)),
    Lesson("exponential, Adam, clipped", lif, by(
        Adam(learning_rate=0.01, eps=1e-6), schedule=Exponential(gamma=0.3), clip_norm=0.1)),
    # momentum takes up gradients, not steps: with a rate that moves, those differ
    Lesson("RMSprop with momentum, warmed up", lif, by(
        RMSprop(learning_rate=2e-3, decay=0.9, eps=1e-4, momentum=0.8), schedule=Warmup(epochs=1.2, then=Cosine()))),
]

# engines are given factors, so one executable serves them all
SCHEDULES = [
    Lesson(f"schedule: {name}", lif, by(SGD(learning_rate=0.1, momentum=0.5), schedule=schedule))
    for name, schedule in {
        "ConstantRate": ConstantRate(), "Cosine": Cosine(final=0.1), "Exponential": Exponential(gamma=0.3),
        "StepDecay": StepDecay(every=1, gamma=0.2), "Plateau": Plateau(factor=0.2),
        "Warmup": Warmup(epochs=0.6, start=0.1), "Warmup, then StepDecay": Warmup(
            epochs=0.5, then=StepDecay(every=1, gamma=0.2)),
    }.items()
]

_FIXED = {"second.*": 0.0, "*": 2.0}  # the first that matches counts
SETTINGS = [
    Lesson("accumulated", lif, by(
        Adam(learning_rate=0.01, eps=1e-4), accumulate=2, clip_norm=0.2, regularizers=(
            WeightL2(strength=0.02), RateBounds(lower=0.2, upper=0.3, strength=2.0)))),
    Lesson("accumulated by three, dropout", lambda dt: silenced(dt, False), sgd(accumulate=3)),
    Lesson("learning rates by parameter", _trained("CubaLIF", "neuron"), by(
        SGD(learning_rate=0.05, momentum=0.5, weight_decay=0.01), clip_norm=0.5,
        learning_rates={"hidden.tau_*": 0.1, **_FIXED})),
    Lesson("a learning rate of zero for a time constant", _trained("ALIF", "layer"), by(
        AdamW(learning_rate=0.01, weight_decay=0.1, eps=1e-4), learning_rates={"hidden.tau": 0.0, "*.bias": 0.1})),
    Lesson("truncated", lif, sgd(truncate=5)),
    Lesson("truncated, recurrent", recurrent, sgd(truncate=4)),
    Lesson("truncated, delays", delayed, by(Adam(learning_rate=0.01, eps=1e-6), truncate=9)),
]

def _changed(dt: float) -> tuple[Augmentation, ...]:
    """Everything that changes a sample by itself."""
    return (
        SpikeDropout(p=0.2), NoiseSpikes(rate=0.1 / dt), TimeJitter(reach=2 * dt), TimeShift(reach=2 * dt),
        ChannelShift(reach=1), Crop(duration=14 * dt),
    )


AUGMENTED = [
    Lesson("augmented", lif, lambda dt: Training(optimizer=SGD(learning_rate=0.1), augmentation=_changed(dt))),
    Lesson("augmented counts", lif, lambda dt: Training(
        optimizer=SGD(learning_rate=0.05), augmentation=_changed(dt)), layout="counts"),
    Lesson("stretched, thinned", lif, sgd(augmentation=(TimeStretch(most=1.4), Thinning(most=0.5)))),
    Lesson("mixed, dropout", lambda dt: silenced(dt, False), sgd(augmentation=(Mix(share=0.4), SpikeDropout())),
           part=True),
]

METRICS = [
    Lesson("metrics", lif, sgd(metrics=(TopK(k=2), TopK(k=1, name="best"), StrangersMetric()))),
    # counts of spikes tie
    Lesson("metrics of spikes", spiking_readout, sgd(0.02, loss=SpikeCountMSE(correct=5.0), metrics=(TopK(k=2),))),
    Lesson("metrics of traces", lif, sgd(loss=TraceMSE(), metrics=(StrangersDistance(name="far"),))),
    Lesson("first spikes", spiking_readout, sgd(0.02, loss=CrossEntropy(over="first_spike"))),
]

LESSONS = [*MODELS, *OBJECTIVES, *OPTIMIZERS, *SCHEDULES, *SETTINGS, *AUGMENTED]


def chosen(*names: str) -> list[Lesson]:
    """Lessons by name."""
    every = {lesson.name: lesson for lesson in [*LESSONS, *METRICS]}
    return [every[name] for name in names]
