"""One description, any engine: the network of braille.yaml in Python.

    python examples/write_once.py jax
    python examples/write_once.py torch
"""

import sys

import neuroport as npt

model = npt.Model.sequential(input=(12,), dt=1e-3, layers=[
    npt.Linear(38, weight_init=npt.FluctuationDriven(input_rate=0.23)),
    npt.Recurrent(npt.Linear(38), npt.CubaLIF(tau_syn=1e-3, tau_mem=8e-3)),
    npt.Linear(7, weight_init=npt.FluctuationDriven()), npt.CubaLI(tau_syn=10e-3, tau_mem=20e-3),
])
training = npt.Training(optimizer=npt.Adam(learning_rate=0.04), schedule=npt.Cosine(), epochs=20, batch_size=16)
experiment = npt.Experiment(name="write once", model=model, data=npt.Data(source="braille"), training=training)
run = npt.fit(experiment, engine=sys.argv[1] if len(sys.argv) > 1 else None)
print(f"{run.summary['test_accuracy']:.1%} on the test set, {run.summary['samples_per_second']:,.0f} samples/s")
