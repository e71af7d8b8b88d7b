"""Sequences: from a precipitation grid (or Moving-MNIST) to the windows that a model is trained
and scored on."""

from typing import TYPE_CHECKING

from nowcast.startup import lazily

if TYPE_CHECKING:
    from nowcast.sequences.packed import pack
    from nowcast.sequences.windows import RadarWindows
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "packed": ("pack",),
            "windows": ("RadarWindows",),
        },
    )

__all__ = ["RadarWindows", "pack"]

FACE = {
    "options": "what windows are drawn, and how",
    "windows": "windows of frames",
    "many": "windows of several radars",
    "scene": "what a forecast is made of",
    "batch": "windows as tensors",
    "inputs": "what a model sees of the past",
    "scaling": "mm/h to the numbers of a model",
    "packed": "a series unpacked once",
    "direct": "a series read where it lies",
    "motions": "the motion at each time of a series",
    "stored": "an array in a file",
    "clock": "a series on its clock",
    "fields": "further fields at the times of frames",
    "contents": "what files hold, whatever their names",
    "moving_mnist": "moving digits",
}
"""The modules that other rooms may import, and what they give."""
