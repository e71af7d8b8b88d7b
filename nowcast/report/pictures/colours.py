"""Colours: of rain rates, in discrete classes with a familiar and a colour-blind-safe choice,
of probabilities, and of the lines of forecasts.
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
"""Lowest rate of each class, mm/h, and its colour as weather services show radar; below the
first is dry: white.
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
"""Scales of the same classes by name. 'colour_blind' (after matplotlib's inferno, reversed)
darkens from class to class, so that their order can also be seen without telling red from
green, or in black and white.
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
"""Lowest probability of each class and its colour, darker by the same step of CIELAB lightness from
class to class; below the first it is white.
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
"""The same classes on a dark ground: there the lightest rain is the darkest colour."""
PROBABILITY_CLASSES_IN_THE_DARK = dict(
    zip(PROBABILITY_CLASSES, reversed(PROBABILITY_CLASSES.values()), strict=True)
)
"""The same of probabilities: the higher, the brighter."""
DRY, NOT_COVERED, INK, EDGE, FAINT = "#ffffff", "#c4c4c4", "#333333", "#9a9a9a", "#e3e3e3"
MISSING = "not covered, or no forecast"
"""What a legend calls a missing pixel; in a forecast its rain would come from outside the grid."""

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
"""The forecasts that `evaluate` names itself: each looks the same in all pictures of all
evaluations.
"""


def rate_colours(colours: str = "radar") -> tuple["Colormap", "BoundaryNorm"]:
    """Discrete colours: a rate at or above the lowest of its class has the colour of the class;
    dry is white, masked is grey.
    """
    classes = COLOURS[colours]
    *within, above = classes.values()
    return _scale(within, above, list(classes))


def probability_colours() -> tuple["Colormap", "BoundaryNorm"]:
    """Discrete colours of probabilities: one at or above the lowest of its class has the colour of
    the class; below the first class it is white, masked is grey.
    """
    within = list(PROBABILITY_CLASSES.values())
    bounds = np.array([*PROBABILITY_CLASSES, 1.0], np.float32).tolist()  # as probabilities are
    return _scale(within, within[-1], bounds)


def _scale(
    within: Sequence[str], above: str, bounds: Sequence[float]
) -> tuple["Colormap", "BoundaryNorm"]:
    with importing_plainly():
        from matplotlib.colors import BoundaryNorm, ListedColormap

    scale = ListedColormap(within).with_extremes(under=DRY, over=above, bad=NOT_COVERED)
    return scale, BoundaryNorm(bounds, ncolors=len(within))


def forecast_styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """{"color", "marker"} of the line of each forecast, by name: fixed for what `evaluate`
    names itself, then what is left, in turn.
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
