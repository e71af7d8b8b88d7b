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
    "options": "which windows are drawn, and how",
    "windows": "windows of frames",
    "many": "windows of several radars",
    "scene": "the input of a forecast",
    "batch": "windows as tensors",
    "inputs": "the input channels of a model",
    "scaling": "mm/h to the scaled values of a model",
    "packed": "a series unpacked once into a file",
    "direct": "a series read directly from its files",
    "motions": "the motion at each time of a series",
    "stored": "an array in a file",
    "clock": "the regular times of a series",
    "fields": "further fields at the times of frames",
    "contents": "checksums of the contents of files",
    "moving_mnist": "moving digits",
}
"""The modules that other packages may import, and what they offer."""
