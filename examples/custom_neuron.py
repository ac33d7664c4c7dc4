"""A neuron of your own: equations once, on every engine.

The class below is all there is. Both fast engines run it, train it (the reverse pass is derived
from these lines) and can be held to the conformance kit with it.
"""

import numpy as np

import neuroport as npt


class Resonator(npt.SpikingNeuron):
    """Resonate and fire (Izhikevich 2001): a damped oscillation of v and w that input kicks."""

    state = ("v", "w")
    tau: npt.Time = 30e-3  # seconds
    omega: npt.Value = 60.0  # radians per second

    def coefficients(self, p, step):
        return {"decay": step.low_pass(p.tau).decay, "turn": p.omega * step.dt}

    def integrate(self, c, s, x):
        w = c.decay * s.w - c.turn * s.v + x
        return s._replace(v=c.decay * s.v + c.turn * w, w=w)


def model() -> npt.Model:
    """Resonators whose frequencies are learned, each its own, and a leaky readout."""
    tuned = npt.Parameter(npt.Uniform(40.0, 200.0), per="neuron", trainable=True)
    return npt.Model.sequential(
        input=(12,), dt=1e-3,
        layers=[npt.Linear(32, weight_init=npt.FluctuationDriven(input_rate=0.2)), Resonator(omega=tuned),
                npt.Linear(7, weight_init=npt.FluctuationDriven()), npt.LI(tau=50e-3)],
    )


def main(epochs: int = 8) -> None:
    """Train on the Braille recordings that ship with the package, on both engines from one seed."""
    experiment = npt.Experiment(
        name="resonators", model=model(), data={"source": "braille"},
        training=npt.Training(optimizer=npt.Adam(learning_rate=3e-2), epochs=epochs, batch_size=20),
    )
    for engine in ("jax", "torch"):
        run = npt.fit(experiment, engine=engine)
        change = run.parameters["1_resonator.omega"] - npt.init(experiment.model)["1_resonator.omega"]
        print(f"{engine}: test accuracy {run.summary['test_accuracy']:.1%}, "
              f"frequencies moved by {np.abs(change).mean():.2f} rad/s")


if __name__ == "__main__":
    main()
