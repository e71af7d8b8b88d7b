"""Colours of rain rates, of probabilities, and of the lines of forecasts.

Rates have discrete classes, in a familiar scale and in one for colour-blind readers.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nowcast.baselines import RECORDS
from nowcast.untrusted.files import importing_plainly

if TYPE_CHECKING:
    from matplotlib.colors import BoundaryNorm, Colormap

RATE_CLASSES = {
    0.1: "#c9e4f8",
    0.5: "#8cc4ee",
    1.0: "#4a97dc",
    2.0: "#1f5fb4",
    5.0: "#2a9d58",
    10.0: "#f4dc3f",
    20.0: "#f5962a",
    30.0: "#dd2c27",
    50.0: "#96127f",
}
"""Lowest rate of each class in mm/h, and its colour as weather services show radar; rates below
the first class are dry and white.
"""
_INFERNO = (
    "#f2ea69",
    "#fcb014",
    "#f47918",
    "#d94d3d",
    "#b0315b",
    "#801f6c",
    "#510e6c",
    "#1e0c45",
    "#000004",
)
COLOURS = {"radar": RATE_CLASSES, "colour_blind": dict(zip(RATE_CLASSES, _INFERNO, strict=True))}
"""Colour scales of the same classes by name.

'colour_blind' is matplotlib's inferno, reversed: each class is darker than the one before, so their
order is visible without telling red from green, and in black and white.
"""
PROBABILITY_CLASSES = {
    0.05: "#ffe4c6",
    0.1: "#f1cb9e",
    0.2: "#ddb37f",
    0.3: "#c99c63",
    0.4: "#b3864b",
    0.5: "#9c7136",
    0.6: "#845d25",
    0.7: "#6c4a17",
    0.8: "#55390d",
    0.9: "#3e2803",
}
"""Lowest probability of each class, and its colour; below the first it is white.

Each class is darker than the one before by the same step of CIELAB lightness.
"""
_IN_THE_DARK = (
    "#26415c",
    "#2a5f96",
    "#3a85d0",
    "#7fbdf6",
    "#37b06c",
    "#f4dc3f",
    "#f5962a",
    "#f0423c",
    "#d94fc4",
)
RATE_CLASSES_IN_THE_DARK = dict(zip(RATE_CLASSES, _IN_THE_DARK, strict=True))
"""The same classes on a dark background, where the lightest rain has the darkest colour."""
PROBABILITY_CLASSES_IN_THE_DARK = dict(
    zip(PROBABILITY_CLASSES, reversed(PROBABILITY_CLASSES.values()), strict=True)
)
"""The same for probabilities: a higher one is brighter."""
DRY, NOT_COVERED, INK, EDGE, FAINT = "#ffffff", "#c4c4c4", "#333333", "#9a9a9a", "#e3e3e3"
SOFT = "#5b6065"
"""Of small text on white."""
PAGE, DARK_PAGE = "#ffffff", "#14171a"
"""The background of a report, light and dark, as in templates/page.css."""
READABLE = 4.6
"""Least contrast of text in a line's colour: WCAG asks for 4.5."""
MISSING = "not covered, or no forecast"
"""The legend's name for a missing pixel; in a forecast, its rain comes from outside the grid."""

LINES = (
    "#1f5fb4",
    "#e07b00",
    "#2a9d58",
    "#e3b21c",
    "#96127f",
    "#4fb3d9",
    "#0f7f7f",
    "#d6457f",
    "#7a5ccc",
    "#8c6d1f",
    "#666666",
    "#dd2c27",
    "#000000",
    "#8fae1b",
    "#7a2f12",
)
_MARKERS = "osDp^vPX*dh<>8H"
_KNOWN = ("model", *RECORDS)
"""The forecasts that `evaluate` names itself; each has one colour in the pictures of all
evaluations.
"""


def rate_colours(colours: str = "radar") -> tuple["Colormap", "BoundaryNorm"]:
    """Return discrete colours of rates: from the lowest rate of a class on, a pixel has its colour.

    Dry pixels are white, masked ones grey.
    """
    classes = COLOURS[colours]
    *within, above = classes.values()
    return _scale(within, above, list(classes))


def probability_colours() -> tuple["Colormap", "BoundaryNorm"]:
    """Return discrete colours of probabilities, as `rate_colours` does; below the first class it is
    white, masked pixels are grey.
    """
    within = list(PROBABILITY_CLASSES.values())
    bounds = np.array([*PROBABILITY_CLASSES, 1.0], np.float32).tolist()  # as probabilities are
    return _scale(within, within[-1], bounds)


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours "#rrggbb" by WCAG 2.1, from 1 to 21; text needs 4.5."""
    lighter, darker = sorted(map(_luminance, (one, other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def as_text(colour: str, ground: str) -> str:
    """Return a colour moved towards black or white until text in it is readable on a background.

    Example:
        >>> as_text("#e07b00", "#ffffff"), as_text("#1f5fb4", "#ffffff")
        ('#b06100', '#1f5fb4')
    """
    end = 0 if _luminance(ground) > 0.2 else 255
    parts = bytes.fromhex(colour[1:])
    for percent in range(101):
        mixed = "#" + bytes(part + (end - part) * percent // 100 for part in parts).hex()
        if contrast(mixed, ground) >= READABLE:
            break
    return mixed


def page_colours(lines: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return for each line of a page its colour, and that of text about it on a light and on a dark
    page.
    """
    return [(line, as_text(line, PAGE), as_text(_lighter(line), DARK_PAGE)) for line in lines]


def _lighter(colour: str) -> str:
    """Return a colour a third of the way to white."""
    return "#" + bytes(part + (255 - part) // 3 for part in bytes.fromhex(colour[1:])).hex()


def _luminance(colour: str) -> float:
    """Return the relative luminance of sRGB by WCAG 2.1, from 0 to 1."""
    parts = np.frombuffer(bytes.fromhex(colour[1:]), np.uint8) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def _scale(
    within: Sequence[str], above: str, bounds: Sequence[float]
) -> tuple["Colormap", "BoundaryNorm"]:
    with importing_plainly():
        from matplotlib.colors import BoundaryNorm, ListedColormap

    scale = ListedColormap(within).with_extremes(under=DRY, over=above, bad=NOT_COVERED)
    return scale, BoundaryNorm(bounds, ncolors=len(within))


def forecast_styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return {"color", "marker"} of each forecast's line by its name.

    Forecasts that `evaluate` names itself have fixed ones; the others take the rest in turn.
    """
    left = [
        number
        for number in range(len(LINES))
        if number >= len(_KNOWN) or _KNOWN[number] not in names
    ]
    others = [name for name in names if name not in _KNOWN]
    number_of = {name: number for number, name in enumerate(_KNOWN)}
    number_of |= {name: left[place % len(left)] for place, name in enumerate(others)}
    return {
        name: {"color": LINES[number_of[name]], "marker": _MARKERS[number_of[name]]}
        for name in names
    }
