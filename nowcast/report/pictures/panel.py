"""One frame of a picture: its colours, and over them a map, a graticule, arrows and a scale bar."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nowcast.arrays import Float64Array
from nowcast.radar.placing.place import Origin
from nowcast.report.pictures.arrows import Arrows, draw_arrows
from nowcast.report.pictures.colours import EDGE, INK, SOFT
from nowcast.report.pictures.graticule import Graticule, build_graticule
from nowcast.report.pictures.kinds import BLANK, Kind, colours_of
from nowcast.report.pictures.outlines import NATURAL_EARTH, Outlines, build_outlines
from nowcast.report.scale import build_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Panel = npt.NDArray[Any] | None
"""(h, w), mm/h, mm or a probability, NaN = not covered; None if there is no frame."""
Degrees = tuple[npt.ArrayLike, npt.ArrayLike]
"""Longitude and latitude of pixel centres, of shapes that broadcast to (h, w)."""

_FINEST = 1000  # pixels of a frame along an axis that are drawn: no panel has more
_DOT = 0.01  # of the longer side of a frame: a smaller island is invisible
_HALO = "#ffffff"
_LONGEST_WORD = 15  # letters of a word in a label that is not broken, such as "extrapolation"


@dataclass(frozen=True)
class Look:
    """How the frames of a picture are drawn.

    shape: their height and width in pixels. kinds: of the rows that hold no rates, by name.
    pixel_km: height and width of a pixel; None draws no scale bar.
    """

    shape: tuple[int, int]
    origin: Origin
    colours: str
    graticule: Graticule | None
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    arrows: Arrows | None = None
    outlines: Outlines | None = None
    pixel_km: tuple[float, float] | None = None

    @property
    def tall(self) -> float:
        """Height of a panel divided by its width, from ½ to 2."""
        return float(np.clip(self.shape[0] / self.shape[1], 0.5, 2.0))

    def kind_of(self, name: str) -> Kind:
        """Return the kind of a row."""
        return self.kinds.get(name, "rate")


def build_look(
    shape: tuple[int, int],
    origin: Origin = "lower",
    colours: str = "radar",
    degrees: Degrees | None = None,
    map: str = NATURAL_EARTH,
    kinds: Mapping[str, Kind] | None = None,
    arrows: Arrows | None = None,
    pixel_km: tuple[float, float] | None = None,
) -> Look:
    """Return how frames of a shape (h, w) are drawn; without degrees, no graticule and no map.

    Errors: as `build_outlines`.
    """
    if degrees is None:
        return Look(shape, origin, colours, None, kinds or {}, arrows, pixel_km=pixel_km)
    east, north = (np.broadcast_to(np.asarray(one), shape) for one in degrees)
    graticule, outlines = build_graticule(east, north, origin), build_outlines(east, north, map)
    return Look(shape, origin, colours, graticule, kinds or {}, arrows, outlines, pixel_km)


def empty(panel: "Axes") -> None:
    """Remove the ticks and the frame of a panel."""
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)


def wrapped(name: str, inches: float) -> str:
    """Return a name wrapped to a width in inches, also after underscores. A word is broken only if
    it has more letters than `_LONGEST_WORD`.
    """
    name = name.replace("≥ ", "≥\u00a0").replace("_", "_ ")
    longest = max(map(len, name.split()), default=0)
    width = max(8, round(10 * inches), min(longest, _LONGEST_WORD))
    return fill(name, width).replace("_ ", "_")


def draw_frame(panel: "Axes", name: str, frame: Panel, look: Look) -> tuple[Any, Any]:
    """Draw one frame of a row. → its image, and the words that replace a missing frame."""
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
        color=SOFT,
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
    """Show another frame in a drawn panel."""
    image.set_visible(frame is not None)
    words.set_visible(frame is None)
    if frame is not None:
        rows, columns = (_some(length) for length in frame.shape)
        image.set_data(np.ma.masked_invalid(frame[rows, columns]))


def draw_graticule(panel: "Axes", look: Look, *, at_left: bool, at_bottom: bool) -> None:
    """Draw lines of latitude and longitude, labelled at the left and at the bottom if wanted."""
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
        marks = lines.bottom[:: 1 + len(lines.bottom) // 5]  # more labels would touch
        panel.set_xticks([place for place, _ in marks], [label for _, label in marks])


def draw_scale(panel: "Axes", look: Look) -> None:
    """Draw a scale bar in km at the lower left of a panel, if the size of a pixel is known."""
    scale = None if look.pixel_km is None else build_scale(look.shape[1] * look.pixel_km[1])
    if scale is None:
        return
    from matplotlib.lines import Line2D
    from matplotlib.offsetbox import AnchoredOffsetbox, AuxTransformBox, TextArea, VPacker

    bar = AuxTransformBox(panel.transData)
    length = look.shape[1] * scale.percent / 100
    bar.add_artist(Line2D([0, length], [0, 0], color=INK, linewidth=1.8, solid_capstyle="butt"))
    words = TextArea(scale.words, textprops={"fontsize": 7, "color": INK})
    packed = VPacker(children=[words, bar], align="center", pad=0, sep=2)
    box = AnchoredOffsetbox("lower left", child=packed, pad=0.3, borderpad=0.3, frameon=True)
    box.patch.set(facecolor=_HALO, edgecolor="none", alpha=0.85)
    box.set_in_layout(False)
    panel.add_artist(box)


def _draw_lines(
    panel: "Axes", lines: list[Float64Array], width: float, shape: tuple[int, int]
) -> None:
    """Draw dark lines with a light edge, visible over rain and grey, without tiny islands."""
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
    """Return every pixel, or every second, third, …: no more than a panel can show."""
    return slice(None, None, max(1, length // _FINEST))
