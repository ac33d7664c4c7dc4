"""Run in a process of its own, in which jax has four devices: trains on one and on all, and says what it saw."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))  # as pytest finds runtime_case

from neuroport_jax.engine import JaxEngine
from neuroport_jax.training import Batches
from runtime_case import small_data, small_experiment

import neuroport as npt
from neuroport.data.order import batches
from neuroport.engine.base import Options
from neuroport.program.lower import lower

ALL = "cpu:0-3"


def parameters(run: npt.Run) -> dict[str, list[float]]:
    return {name: value.tolist() for name, value in run.last.items()}


def fitted(settings: dict, device: str, data: npt.data.Splits, memory: int | None = None) -> npt.Run:
    return npt.fit(small_experiment(**settings), engine="jax", device=device, data=data, memory=memory)


data = small_data(50)  # neither it nor a batch is a multiple of 4
settings = {
    "augmentation": (npt.SpikeDropout(p=0.2), npt.Mix(share=0.3), npt.TimeJitter(reach=2e-3),
                     npt.TimeShift(reach=3e-3)),
    "batch_size": 6, "epochs": 3,
}
size = data.train.values.nbytes + data.train.labels.nbytes
one, several = fitted(settings, "cpu", data), fitted(settings, ALL, data)
streamed = fitted(settings, ALL, data, 3 * size // 4)
experiment = small_experiment(**settings)
executable = JaxEngine().compile(lower(experiment.model), Options(device=ALL, training=experiment.training))
staged = executable.stage(data.train)
x = np.ones((12, 8, 4), np.float32)
outputs = [npt.run(one.model, one.parameters, x, engine="jax", device=device).outputs for device in ("cpu", ALL)]
order, mask = batches(np.arange(50), 8)
judged = executable.evaluate(executable.load(one.parameters), staged, order, mask)
rows, ones = executable._put(order, np.int32), executable._put(mask)
compiled = executable._train.lower(
    staged[1], staged[2], executable.init_training(executable.load(one.parameters)), staged[0],
    Batches(rows, ones, rows, rows), executable._put(np.ones(len(order))), 0, executable._put([0], np.uint32),
).compile().as_text()
try:
    npt.fit(experiment, engine="reference", device=ALL, data=data)
    refused = ""
except npt.UnsupportedModel as error:
    refused = str(error)

print(json.dumps({
    "devices": JaxEngine().devices(), "one": parameters(one), "several": parameters(several),
    "streamed": parameters(streamed), "device": several.summary["device"],
    "accuracies": [run.summary["train_accuracy"] for run in (one, several)],
    "held": [list(shard.data.shape) for shard in staged[0].values.addressable_shards],
    "whole": list(data.train.values.shape),
    "judged": float(judged.correct.sum() / 50),
    "outputs_apart": float(np.abs(np.subtract(*outputs)).max()),
    "products": {count: f"f32[{count},6]" in compiled for count in (12 * 8, 12 * 8 // 4)},  # of steps and samples
    "added_up": len(re.findall(r"\) all-reduce\(", compiled)),
    "refused": refused,
}))
