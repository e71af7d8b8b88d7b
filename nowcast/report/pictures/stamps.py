"""Frames of one time as stamps: the members of an ensemble, and the observed frame."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nowcast.errors import DataError
from nowcast.radar.placing.place import Origin
from nowcast.report.pictures import canvas
from nowcast.report.pictures.colours import INK
from nowcast.report.pictures.legend import draw_legend
from nowcast.report.pictures.outlines import NATURAL_EARTH
from nowcast.report.pictures.panel import (
    Degrees,
    Panel,
    build_look,
    draw_frame,
    draw_graticule,
    draw_scale,
    empty,
    wrapped,
)

if TYPE_CHECKING:
    from nowcast.report.pictures.figure import Picture

_STAMP = 1.6  # inches, its width


def stamps_figure(
    stamps: Mapping[str, Panel | Any],
    title: str,
    *,
    origin: Origin = "lower",
    columns: int = 6,
    colours: str = "radar",
    degrees: Degrees | None = None,
    map: str = NATURAL_EARTH,
    pixel_km: tuple[float, float] | None = None,
    foot: str = "",
) -> "Picture":
    """Draw rain rates of one time side by side, in as many rows as needed.

    Args:
        stamps: each (h, w) in mm/h, NaN = not covered, by the name above it; None is drawn as not
            observed.
        title: above all.
        columns: stamps in a row.
        origin, colours, degrees, map, pixel_km, foot: as in `frames_figure`.

    Returns:
        A Matplotlib figure without a display.

    Raises:
        DataError: if shapes differ, or the GeoJSON file cannot be used.
        MissingInputError, InputOutputError: if the GeoJSON file cannot be read.

    Example:
        >>> rain = np.ones((3, 8, 8))  # (member, h, w) in mm/h
        >>> figure = stamps_figure({f"member {k + 1}": one for k, one in enumerate(rain)}, "Rain")
        >>> len(figure.axes)  # and the legend
        4
    """
    shapes = {np.shape(frame) for frame in stamps.values() if frame is not None}
    if len(shapes) != 1 or len(shape := next(iter(shapes))) != 2:
        raise DataError(f"stamps have the shapes {sorted(shapes)}; give all as (h, w), one shape.")
    look = build_look((shape[0], shape[1]), origin, colours, degrees, map, pixel_km=pixel_km)
    across = min(columns, len(stamps))
    lines = -(-len(stamps) // across)
    figure = canvas.new_figure(
        (_STAMP + 0.05) * across + 1.2, (_STAMP * look.tall + 0.25) * lines + 1.0, foot=foot
    )
    panels = figure.subplots(lines, across, squeeze=False)
    for panel in panels.flat:
        empty(panel)
    for number, (panel, (name, frame)) in enumerate(zip(panels.flat, stamps.items(), strict=False)):
        draw_frame(panel, name, frame, look)
        last = number + across >= len(stamps)
        draw_graticule(panel, look, at_left=number % across == 0, at_bottom=last)
        panel.set_title(wrapped(name, _STAMP), fontsize=8.5, color=INK, pad=3)
    draw_scale(panels[0, 0], look)
    figure.suptitle(title, fontsize=11, color=INK)
    draw_legend(figure, {"rate": panels}, lines, look)
    return figure
