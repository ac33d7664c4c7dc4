"""Pictures of networks and runs, readable in print and for the colour-blind.

Each function draws into a Figure of its own, or into a given Figure or SubFigure, and returns it;
nothing is shown and pyplot is never touched. Matplotlib is loaded by the first picture drawn.
"""

from neuroport.pictures.confusion import confusion
from neuroport.pictures.curves import training_curves
from neuroport.pictures.graph import graph
from neuroport.pictures.histograms import rates, weights
from neuroport.pictures.membranes import membranes
from neuroport.pictures.raster import raster
from neuroport.pictures.samples import samples

__all__ = ["confusion", "graph", "membranes", "raster", "rates", "samples", "training_curves", "weights"]
