"""Those who watch a training: the protocol, and the ones that come along."""

from neuroport.runtime.callbacks import Callback, Piece, Plan
from neuroport.runtime.loggers import CSV, TensorBoard, WandB
from neuroport.runtime.progress import LiveProgress

__all__ = ["CSV", "Callback", "LiveProgress", "Piece", "Plan", "TensorBoard", "WandB"]
