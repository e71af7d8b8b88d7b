"""Frames of a page in a light and a dark scheme: small PNG pictures with exchangeable palettes.

All pictures of a set begin with the same bytes: size, palette and transparency. So a page holds
that beginning once for light and once for dark, and the rest of each picture once.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from nowcast.report.example_frames import classes_of
from nowcast.report.pictures.colours import (
    PROBABILITY_CLASSES,
    PROBABILITY_CLASSES_IN_THE_DARK,
    RATE_CLASSES,
    RATE_CLASSES_IN_THE_DARK,
)

_COLOURS = 15
"""Colours of each palette: a multiple of three, so the beginning ends at a base64 boundary."""
_HEAD = (8 + 25 + (12 + 3 * _COLOURS) + (12 + _COLOURS)) * 4 // 3
"""Length of the beginning in base64: signature, IHDR, PLTE and tRNS."""
_HATCH = ((140, 140, 140, 70), (140, 140, 140, 150))
"""Red, green, blue and opacity of missing pixels, and of the stripes over them."""
_STRIPES = 48
"""Stripes along the longer side of a frame."""


@dataclass(frozen=True)
class FrameSet:
    """Pictures of equal size, in base64.

    Args:
        light: the beginning of each on a light background.
        dark: the beginning of each on a dark background.
        rest: the remaining bytes, for each frame.
    """

    light: str
    dark: str
    rest: list[str]

    def address(self, frame: int) -> str:
        """Return the data: URI of a frame on a light background."""
        return f"data:image/png;base64,{self.light}{self.rest[frame]}"


def rate_frames(rates: NDArray[np.floating]) -> FrameSet:
    """Return pictures of rates (n, h, w) in mm/h, NaN = missing; row 0 is drawn on top."""
    return _frames(rates, RATE_CLASSES, RATE_CLASSES_IN_THE_DARK)


def probability_frames(probabilities: NDArray[np.floating]) -> FrameSet:
    """Return pictures of probabilities (n, h, w), NaN = missing; row 0 is drawn on top."""
    return _frames(probabilities, PROBABILITY_CLASSES, PROBABILITY_CLASSES_IN_THE_DARK)


def _frames(
    values: NDArray[np.floating], light: Mapping[float, str], dark: Mapping[float, str]
) -> FrameSet:
    classes = classes_of(values, light)
    missing = len(light) + 1
    rows, columns = np.indices(values.shape[-2:])
    period = max(4, max(values.shape[-2:]) // _STRIPES)
    stripes = (rows + columns) % period < max(1, period // 4)
    classes[(classes == missing) & stripes] = missing + 1
    pictures = [_png(frame, light) for frame in classes]
    return FrameSet(
        pictures[0][:_HEAD],
        _png(classes[0], dark)[:_HEAD],
        [picture[_HEAD:] for picture in pictures],
    )


def _png(classes: NDArray[np.uint8], colours: Mapping[float, str]) -> str:
    """Return a picture (h, w) in base64; classes: transparent, colours, missing, stripe."""
    from PIL import Image

    opaque = [(*bytes.fromhex(one[1:]), 255) for one in colours.values()]
    palette = [(0, 0, 0, 0), *opaque, *_HATCH]
    palette += [(0, 0, 0, 0)] * (_COLOURS - len(palette))
    image = Image.fromarray(classes)
    image.putpalette(bytes(part for colour in palette for part in colour[:3]))
    file = BytesIO()
    alpha = bytes(colour[3] for colour in palette)
    image.save(file, "PNG", bits=4, compress_level=6, transparency=alpha)
    return base64.b64encode(file.getvalue()).decode()
