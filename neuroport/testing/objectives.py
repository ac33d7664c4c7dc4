"""What is made small: losses and regularizers of every kind, each with a network whose outputs it can judge.

Times are multiples of dt, as in the networks.
"""

from __future__ import annotations

from collections.abc import Callable

from neuroport.model.graph import Model
from neuroport.model.layers import Conv2d
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
from neuroport.model.neurons import LI, LIF
from neuroport.model.numerics import Numerics
from neuroport.model.regularizers import RateBounds, RateL1, RateL2, Regularizer, WeightL1, WeightL2
from neuroport.testing.networks import Build, forked, lif, network, spiking_readout, weights
from neuroport.testing.strangers import StrangersLoss, StrangersParameterRegularizer, StrangersSpikeRegularizer


def _multi_spike_readout(dt: float) -> Model:
    return network(LIF(tau=8 * dt), dt, readout=LIF(tau=5 * dt, r=4.0, numerics=Numerics(multi_spike=True)))


def _image(dt: float) -> Model:
    return Model.sequential((1, 4, 4), dt, [Conv2d(2, 3, weight_init=weights()), LIF(tau=5 * dt), LI(tau=5 * dt)])


# (network, dt -> loss): the plain network gives analog sums, the others mostly spikes
LOSSES: dict[str, tuple[Build, Callable[[float], Loss]]] = {
    "sum": (lif, lambda dt: CrossEntropy(over="sum")),
    "mean, smoothed": (lif, lambda dt: CrossEntropy(over="mean", label_smoothing=0.2)),
    "max": (lif, lambda dt: CrossEntropy(over="max")),
    "last": (lif, lambda dt: CrossEntropy(over="last")),
    "first spike, smoothed": (spiking_readout, lambda dt: CrossEntropy(over="first_spike", label_smoothing=0.1)),
    "SpikeCountMSE": (spiking_readout, lambda dt: SpikeCountMSE(correct=5.0, incorrect=1.0)),
    "RateMSE": (spiking_readout, lambda dt: RateMSE(correct=0.6, incorrect=0.1)),
    "TraceMSE": (lif, lambda dt: TraceMSE()),
    "VanRossum": (spiking_readout, lambda dt: VanRossum(tau=4 * dt)),
    "TemporalCrossEntropy": (spiking_readout, lambda dt: TemporalCrossEntropy(
        tau=4 * dt, early_strength=0.3, early_tau=20 * dt)),
    "TET": (lif, lambda dt: TET(weight=0.2, target=0.5)),
    "a stranger's loss": (lif, lambda dt: StrangersLoss(tau=4 * dt)),
}

# what differs in the gradient alone
MORE_LOSSES: dict[str, tuple[Build, Callable[[float], Loss]]] = {
    # spikes tie at every step: the gradient is shared equally
    "max of spikes": (spiking_readout, lambda dt: CrossEntropy(over="max")),
    "first of several spikes a step": (_multi_spike_readout, lambda dt: CrossEntropy(over="first_spike")),
    "plain TemporalCrossEntropy": (spiking_readout, lambda dt: TemporalCrossEntropy(tau=4 * dt)),
    "TraceMSE of an image": (_image, lambda dt: TraceMSE()),
    "VanRossum of the second output": (forked, lambda dt: VanRossum(output="spikes", tau=3 * dt)),
}

REGULARIZERS: dict[str, tuple[Regularizer, ...]] = {
    "RateBounds": (RateBounds(lower=0.15, upper=0.25, strength=3.0),),
    "RateBounds of one layer's neurons": (
        RateBounds(nodes=("hidden",), upper=0.1), RateBounds(lower=0.15, upper=0.25, strength=3.0)),
    "RateBounds per layer": (RateBounds(lower=0.6, upper=0.9, strength=3.0, per="layer"),),
    "RateL1": (RateL1(strength=0.5),),
    "RateL2": (RateL2(strength=0.5, nodes=("hidden",)),),
    "WeightL1": (WeightL1(strength=0.02),),
    "WeightL2": (WeightL2(strength=0.02, parameters=("first.*", "*.bias")),),
    "a stranger's regularizers": (StrangersSpikeRegularizer(strength=2.0), StrangersParameterRegularizer(
        strength=0.02)),
}
