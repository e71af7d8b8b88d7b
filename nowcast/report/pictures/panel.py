"""One frame in a picture: its colours, and over them a map, lines of latitude and longitude, and
arrows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nowcast.arrays import Float64Array
from nowcast.radar.placing.place import Origin
from nowcast.report.pictures.arrows import Arrows, draw_arrows
from nowcast.report.pictures.colours import EDGE, INK
from nowcast.report.pictures.graticule import Graticule, build_graticule
from nowcast.report.pictures.kinds import BLANK, Kind, colours_of
from nowcast.report.pictures.outlines import NATURAL_EARTH, Outlines, build_outlines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Panel = npt.NDArray[Any] | None
"""(h, w), mm/h, mm or a probability, NaN = not covered; None if there is no frame."""
Degrees = tuple[npt.ArrayLike, npt.ArrayLike]
"""Longitude and latitude of pixel centres, of shapes that broadcast to (h, w)."""

_FINEST = 1000  # pixels of a frame along an axis that are drawn: no panel has more
_DOT = 0.01  # of the longer side of a frame: an island smaller than this is not seen
_HALO = "#ffffff"


@dataclass(frozen=True)
class Look:
    """How the frames of a picture are drawn.

    shape: their height and width in pixels. kinds: of the rows that hold no rates, by name.
    """

    shape: tuple[int, int]
    origin: Origin
    colours: str
    graticule: Graticule | None
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    arrows: Arrows | None = None
    outlines: Outlines | None = None

    @property
    def tall(self) -> float:
        """Height of a panel by its width."""
        return float(np.clip(self.shape[0] / self.shape[1], 0.5, 2.0))

    def kind_of(self, name: str) -> Kind:
        """Return what the pixels of a row are."""
        return self.kinds.get(name, "rate")


def build_look(
    shape: tuple[int, int],
    origin: Origin = "lower",
    colours: str = "radar",
    degrees: Degrees | None = None,
    map: str = NATURAL_EARTH,
    kinds: Mapping[str, Kind] | None = None,
    arrows: Arrows | None = None,
) -> Look:
    """Return how frames of a shape (h, w) are drawn; without degrees neither lines nor a map.

    Errors: as `build_outlines`.
    """
    if degrees is None:
        return Look(shape, origin, colours, None, kinds or {}, arrows)
    east, north = (np.broadcast_to(np.asarray(one), shape) for one in degrees)
    graticule, outlines = build_graticule(east, north, origin), build_outlines(east, north, map)
    return Look(shape, origin, colours, graticule, kinds or {}, arrows, outlines)


def empty(panel: "Axes") -> None:
    """Take away the ticks and the frame of a panel."""
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)


def wrapped(name: str, inches: float) -> str:
    """A name in as many lines as it needs within so many inches, also parted after underscores."""
    name = name.replace("≥ ", "≥\u00a0")
    return fill(name.replace("_", "_ "), max(8, round(10 * inches))).replace("_ ", "_")


def draw_frame(panel: "Axes", name: str, frame: Panel, look: Look) -> tuple[Any, Any]:
    """Draw one frame of a row. → its image, and the words in its place if there is none."""
    height, width = look.shape
    colours, norm = colours_of(look.kind_of(name), look.colours)
    edges = (
        -0.5,
        width - 0.5,
        *((-0.5, height - 0.5) if look.origin == "lower" else (height - 0.5, -0.5)),
    )
    image = panel.imshow(
        np.ma.masked_invalid([[np.nan]]),
        cmap=colours,
        norm=norm,
        origin=look.origin,
        interpolation="nearest",
        extent=edges,
    )
    words = panel.text(
        0.5,
        0.5,
        BLANK[look.kind_of(name)],
        transform=panel.transAxes,
        ha="center",
        va="center",
        color=EDGE,
        fontsize=9,
        bbox={"facecolor": "#ffffff", "edgecolor": "none", "pad": 2},  # over the map
        zorder=3,
    )
    panel.spines[:].set_visible(True)
    panel.spines[:].set_color(EDGE)
    show(image, words, frame)
    if look.outlines is not None:
        _draw_lines(panel, look.outlines.borders, 0.4, look.shape)
        _draw_lines(panel, look.outlines.coasts, 0.6, look.shape)
    if frame is not None and look.arrows is not None:
        draw_arrows(panel, look.arrows, look.shape)
    return image, words


def show(image: Any, words: Any, frame: Panel) -> None:
    """Put another frame into a panel that was drawn."""
    image.set_visible(frame is not None)
    words.set_visible(frame is None)
    if frame is not None:
        rows, columns = (_some(length) for length in frame.shape)
        image.set_data(np.ma.masked_invalid(frame[rows, columns]))


def draw_graticule(panel: "Axes", look: Look, *, at_left: bool, at_bottom: bool) -> None:
    """Draw lines of latitude and longitude, with labels at the edges that are asked for."""
    from matplotlib.collections import LineCollection

    lines = look.graticule
    if lines is None:
        return
    panel.add_collection(
        LineCollection(list(lines.lines), colors=INK, linewidths=0.5, alpha=0.45), autolim=False
    )
    panel.tick_params(length=2, width=0.5, labelsize=6.5, color=EDGE, labelcolor=INK, pad=1.5)
    if at_left:
        panel.set_yticks([place for place, _ in lines.left], [label for _, label in lines.left])
    if at_bottom:
        marks = lines.bottom[:: 1 + len(lines.bottom) // 5]  # labels of more would touch
        panel.set_xticks([place for place, _ in marks], [label for _, label in marks])


def _draw_lines(
    panel: "Axes", lines: list[Float64Array], width: float, shape: tuple[int, int]
) -> None:
    """Draw dark lines with a light edge, which show over rain and where nothing is covered; no
    islands that would be a dot.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.patheffects import withStroke

    drawn = LineCollection(
        [line for line in lines if np.ptp(line, axis=0).max() > _DOT * max(shape)],
        colors=INK,
        linewidths=width,
        path_effects=[withStroke(linewidth=width + 0.8, foreground=_HALO, alpha=0.7)],
    )
    panel.add_collection(drawn, autolim=False)


def _some(length: int) -> slice:
    """Every pixel, or every second, … so that there are not many more than can be seen."""
    return slice(None, None, max(1, length // _FINEST))
