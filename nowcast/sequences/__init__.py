"""Sequences: from a precipitation grid (or Moving-MNIST) to the windows that a model is trained
and scored on.
"""

from nowcast.sequences.batch import Batch, build_batch
from nowcast.sequences.contents import contents_of
from nowcast.sequences.fields import Field, Fields, hold
from nowcast.sequences.inputs import RAIN_ALONE, Inputs
from nowcast.sequences.moving_mnist import MovingMnistWindows, open_digits
from nowcast.sequences.packed import PackedRates, pack
from nowcast.sequences.scaling import Scaling
from nowcast.sequences.windows import Pick, RadarWindows, Sampling, Windows

__all__ = [
    "RAIN_ALONE", "Batch", "Field", "Fields", "Inputs", "MovingMnistWindows", "PackedRates", "Pick",
    "RadarWindows", "Sampling", "Scaling", "Windows",
    "build_batch", "contents_of", "hold", "open_digits", "pack",
]  # fmt: skip
