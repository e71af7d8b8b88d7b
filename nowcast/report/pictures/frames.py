"""Rain rates, sums and probabilities as rows of frames or as a film, observed and forecast.

Each kind has its own colour scale: rates in mm/h, sums in mm, probabilities from 0 to 1.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from nowcast.errors import ConfigError, DataError
from nowcast.places.zone import zone_name
from nowcast.radar.placing.place import Origin
from nowcast.report.pictures import canvas, films
from nowcast.report.pictures.arrows import Arrows
from nowcast.report.pictures.colours import (
    COLOURS,
    DRY,
    EDGE,
    INK,
    NOT_COVERED,
    PROBABILITY_CLASSES,
)
from nowcast.report.pictures.kinds import UNITS, Kind
from nowcast.report.pictures.legend import draw_legend
from nowcast.report.pictures.outlines import NATURAL_EARTH
from nowcast.report.pictures.panel import (
    Degrees,
    Look,
    Panel,
    build_look,
    draw_frame,
    draw_graticule,
    draw_scale,
    empty,
    show,
    wrapped,
)
from nowcast.untrusted.files import importing_plainly

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from nowcast.report.pictures.figure import Picture

PanelFrames = Sequence[Any] | npt.ArrayLike
"""A frame for each time: (t, h, w), or a list of frames (h, w), some of them None."""
PanelRow = tuple[str, list[tuple[str, Panel]]]
"""The name of a row, and its frames with their times."""

NONE: Mapping[str, PanelFrames] = MappingProxyType({})
_PANEL = 1.9  # inches, the width of a frame of a panel
_FILM_DPI = 120
_FILM_WIDTHS = (6.0, 4.6, 3.6)
"""Width in inches of a film's panel: for one column, two, and three or more."""


class FrameOptions(TypedDict, total=False):
    """Further arguments of `frames_figure`, which explains each."""

    past: PanelFrames | None
    amounts: Mapping[str, PanelFrames]
    probabilities: Mapping[str, PanelFrames]
    reference_time: datetime | None
    origin: Origin
    columns: int
    colours: str
    degrees: Degrees | None
    map: str
    arrows: Arrows | None
    pixel_km: tuple[float, float] | None
    foot: str


def draw_frames(
    path: str | Path,
    observed: PanelFrames | None,
    forecasts: Mapping[str, PanelFrames],
    lead_minutes: Sequence[float],
    title: str,
    **shown: Unpack[FrameOptions],
) -> Path:
    """Draw rain rates as rows of frames into a PNG file.

    Args:
        path: of the file, which is written whole or not at all.
        observed, forecasts, lead_minutes, title, shown: as in `frames_figure`.

    Returns:
        The path.

    Raises:
        DataError: if shapes differ.
        CannotCreateError, InputOutputError: if the file cannot be written.

    Example:
        >>> rain = np.ones((2, 8, 8))  # (lead, h, w) in mm/h
        >>> draw_frames("rain.png", None, {"model": rain}, [5, 10], "Rain").name
        'rain.png'
    """
    return canvas.save(frames_figure(observed, forecasts, lead_minutes, title, **shown), path)


def frames_figure(
    observed: PanelFrames | None,
    forecasts: Mapping[str, PanelFrames],
    lead_minutes: Sequence[float],
    title: str,
    *,
    past: PanelFrames | None = None,
    amounts: Mapping[str, PanelFrames] = NONE,
    probabilities: Mapping[str, PanelFrames] = NONE,
    reference_time: datetime | None = None,
    origin: Origin = "lower",
    columns: int = 6,
    colours: str = "radar",
    degrees: Degrees | None = None,
    map: str = NATURAL_EARTH,
    arrows: Arrows | None = None,
    pixel_km: tuple[float, float] | None = None,
    foot: str = "",
) -> "Picture":
    """Draw rain rates as rows of frames: the past, the observed future, and each forecast.

    Args:
        observed: (lead, h, w) in mm/h, NaN = not covered; a frame may be None; None draws no row.
        forecasts: each (lead, h, w) in mm/h, by the name of its row.
        lead_minutes: of the frames; up to `columns` of them are picked, evenly, with the last.
        title: above all.
        past: (t, h, w) in mm/h of the same spacing, the last frame at the reference time; the
            newest `columns` are drawn.
        amounts: sums, each (lead, h, w) in mm, by the name of its row; a frame may be None, and
            lead times before the first sum of all rows are left out.
        probabilities: each (lead, h, w) from 0 to 1, by the name of its row; they come last, in
            their own colours.
        reference_time: in its zone, or in UTC without one; with it, valid times are shown next to
            lead times.
        origin: 'lower' if row 0 of the arrays lies in the south, 'upper' if in the north.
        columns: most frames in a row.
        colours: 'radar' or 'colour_blind'.
        degrees: longitude and latitude of the pixel centres, for their lines and the map; None
            draws neither.
        map: 'natural_earth' for coastlines and borders, 'none', or the path of a GeoJSON file.
        arrows: the rain's motion, over every frame; None draws none.
        pixel_km: height and width of a pixel, for a scale bar in the first frame; None draws none.
        foot: a small line below all, such as the source of the data and the licence.

    Returns:
        A Matplotlib figure without a display.

    Raises:
        DataError: if shapes differ, or the GeoJSON file cannot be used.
        MissingInputError, InputOutputError: if the GeoJSON file cannot be read.

    Example:
        >>> import numpy as np
        >>> rain = np.ones((2, 8, 8))  # (lead, h, w) in mm/h
        >>> figure = frames_figure(rain, {"model": rain}, [5, 10], "Rain")
        >>> len(figure.axes)  # two rows of two, and the legend
        5
    """
    future = _future(observed, {**forecasts, **amounts, **probabilities}, len(lead_minutes))
    kinds = _kinds(amounts, probabilities)
    look = build_look(_shape(future), origin, colours, degrees, map, kinds, arrows, pixel_km)
    picked = evenly(len(lead_minutes), columns)
    rows: list[PanelRow] = []
    if past is not None:
        rows.append(_past_row(past, lead_minutes, len(picked), reference_time))
    times = {step: time_in_words(lead_minutes[step], reference_time) for step in picked}
    with_sums = _from_first_sum(picked, [future[name] for name in amounts])
    for name, frames in future.items():
        drawn = with_sums if name in amounts else picked
        if name in probabilities:  # of sums, from the first that has ended
            drawn = _from_first_sum(picked, [frames])
        rows.append((name, [(times[step], frames[step]) for step in drawn]))
    return _panel_figure(rows, title, look, foot)


def draw_film(
    path: str | Path,
    observed: PanelFrames | None,
    forecasts: Mapping[str, PanelFrames],
    lead_minutes: Sequence[float],
    title: str,
    *,
    frames_per_second: float,
    amounts: Mapping[str, PanelFrames] = NONE,
    probabilities: Mapping[str, PanelFrames] = NONE,
    reference_time: datetime | None = None,
    origin: Origin = "lower",
    colours: str = "radar",
    degrees: Degrees | None = None,
    map: str = NATURAL_EARTH,
    arrows: Arrows | None = None,
    pixel_km: tuple[float, float] | None = None,
    foot: str = "",
) -> Path:
    """Draw a film of all lead times, with the observed frames and each forecast side by side.

    Args:
        path: of a .gif or .mp4, which is written whole or not at all.
        frames_per_second: of the film.
        observed, forecasts, lead_minutes, title, amounts, probabilities, reference_time, origin,
            colours, degrees, map, arrows, pixel_km, foot: as in `frames_figure`.

    Returns:
        The path.

    Raises:
        ConfigError: if `path` ends otherwise.
        DataError: if shapes differ.
        MissingLibraryError: for an MP4 without imageio-ffmpeg.
        CannotCreateError, InputOutputError: if the file cannot be written.

    Example:
        >>> rain = np.ones((2, 8, 8))  # (lead, h, w) in mm/h
        >>> draw_film("rain.gif", None, {"model": rain}, [5, 10], "Rain", frames_per_second=2).name
        'rain.gif'
    """
    future = _future(observed, {**forecasts, **amounts, **probabilities}, len(lead_minutes))
    kinds = _kinds(amounts, probabilities)
    look = build_look(_shape(future), origin, colours, degrees, map, kinds, arrows, pixel_km)
    times = [time_in_words(minutes, reference_time) for minutes in lead_minutes]
    pictures = _film(future, times, title, look, foot)
    of_probabilities = PROBABILITY_CLASSES.values() if probabilities else ()
    if Path(path).suffix == ".gif":
        return films.write_gif(
            path,
            pictures,
            frames_per_second,
            [DRY, NOT_COVERED, INK, EDGE, *COLOURS[colours].values(), *of_probabilities],
        )
    if Path(path).suffix == ".mp4":
        return films.write_mp4(path, pictures, frames_per_second)
    raise ConfigError(f"{path}: a film ends in .gif or .mp4; choose one of them.")


def _future(
    observed: PanelFrames | None, forecasts: Mapping[str, PanelFrames], leads: int
) -> dict[str, list[Panel]]:
    """Return all rows by name. Errors: DataError if they do not fit together."""
    rows = ({} if observed is None else {"observed": observed}) | dict(forecasts)
    future = {name: _as_frames(frames) for name, frames in rows.items()}
    shapes = {frame.shape for frames in future.values() for frame in frames if frame is not None}
    if (
        len(shapes) != 1
        or len(next(iter(shapes))) != 2
        or any(len(frames) != leads for frames in future.values())
    ):
        have = {name: f"{len(frames)} frames" for name, frames in future.items()}
        raise DataError(
            f"frames to draw: {have} of shapes {sorted(shapes)}; give all as ({leads}, h, w), one"
            " frame for each lead time."
        )
    return future


def _as_frames(frames: PanelFrames) -> list[Panel]:
    return [None if frame is None else np.asarray(frame) for frame in frames]  # type: ignore[union-attr]


def _shape(future: Mapping[str, list[Panel]]) -> tuple[int, int]:
    height, width = next(
        frame.shape for frames in future.values() for frame in frames if frame is not None
    )
    return height, width


def _kinds(
    amounts: Mapping[str, PanelFrames], probabilities: Mapping[str, PanelFrames]
) -> dict[str, Kind]:
    """Return the kind of each row of sums or probabilities by its name."""
    sums: dict[str, Kind] = dict.fromkeys(amounts, "amount")
    return sums | dict.fromkeys(probabilities, "probability")


def evenly(count: int, most: int) -> list[int]:
    """Return which of `count` lead steps are drawn: at most `most`, evenly spaced, with the last.

    The first is one spacing after the start of the forecast if that leaves enough: six of 12 steps
    of 5 minutes are 10, 20, … 60 minutes.

    Example:
        >>> evenly(12, 6), evenly(7, 5)
        ([1, 3, 5, 7, 9, 11], [0, 2, 4, 6])
    """
    least = -(-count // most)
    whole = [step for step in range(least, count + 1) if count % step == 0]
    spacing = whole[0] if 2 * count // whole[0] >= most else least
    return list(range(count - 1, -1, -spacing))[::-1]


def _panel_figure(rows: list[PanelRow], title: str, look: Look, foot: str = "") -> "Picture":
    columns = max(len(frames) for _, frames in rows)
    figure = canvas.new_figure(
        (_PANEL + 0.05) * columns + 1.2, (_PANEL * look.tall + 0.1) * len(rows) + 1.1, foot=foot
    )
    panels = figure.subplots(len(rows), columns, squeeze=False)
    above: list[str] = []
    for number, ((name, frames), line) in enumerate(zip(rows, panels, strict=True)):
        for panel in line:
            empty(panel)
        before = columns - len(frames)
        shown = line[before:]
        _name_row(line, before, wrapped(name, _PANEL * look.tall))
        times = [when for when, _ in frames]
        lowest = number == len(rows) - 1
        for panel, (when, frame) in zip(shown, frames, strict=True):
            draw_frame(panel, name, frame, look)
            draw_graticule(panel, look, at_left=panel is line[0], at_bottom=lowest)
            panel.set_title("" if times == above else when, fontsize=8.5, color=INK, pad=3)
        above = times
    draw_scale(panels[0, columns - len(rows[0][1])], look)
    figure.suptitle(title, fontsize=11, color=INK)
    kinds = np.array([look.kind_of(name) for name, _ in rows])
    groups = {kind: panels[kinds == kind] for kind in UNITS if kind in kinds}
    draw_legend(figure, groups, len(rows), look)
    return figure


def _name_row(line: Sequence["Axes"], before: int, name: str) -> None:
    """Name a row left of its first frame: in the last of the empty panels before it, if any, where
    the name takes no room from the rows above.
    """
    if not before:
        line[0].set_ylabel(name, fontsize=10, color=INK)
        return
    panel = line[before - 1]
    panel.text(
        0.96,
        0.5,
        name,
        transform=panel.transAxes,
        rotation=90,
        ha="right",
        va="center",
        multialignment="center",
        fontsize=10,
        color=INK,
    )


def _film(
    future: Mapping[str, list[Panel]], times: Sequence[str], title: str, look: Look, foot: str = ""
) -> Iterator[films.Picture]:
    """Yield the pictures of a film, (h, w, 3): one figure whose frames and time change."""
    with importing_plainly():
        from matplotlib.backends.backend_agg import FigureCanvasAgg

    columns = min(len(future), len(_FILM_WIDTHS))
    lines = -(-len(future) // columns)
    width = _FILM_WIDTHS[columns - 1]
    figure = canvas.new_figure(
        width * columns + 1.3, (width * look.tall + 0.3) * lines + 1.2, _FILM_DPI, foot
    )
    panels = figure.subplots(lines, columns, squeeze=False)
    heading = figure.suptitle(f"{title}\n{times[0]}", fontsize=13, color=INK)
    drawn = []
    for number, panel in enumerate(panels.flat):
        empty(panel)
        if number >= len(future):
            continue
        name, frames = list(future.items())[number]
        panel.set_title(wrapped(name, width), fontsize=11, color=INK)
        drawn.append((*draw_frame(panel, name, frames[0], look), frames))
        draw_graticule(
            panel, look, at_left=number % columns == 0, at_bottom=number + columns >= len(future)
        )
    draw_scale(panels.flat[0], look)
    used = {look.kind_of(name) for name in future}
    draw_legend(figure, {kind: panels for kind in UNITS if kind in used}, lines, look)
    drawing: Any = FigureCanvasAgg(figure)
    for step, when in enumerate(times):
        heading.set_text(f"{title}\n{when}")
        for image, blank, frames in drawn:
            show(image, blank, frames[step])
        drawing.draw()
        # the layout is computed once, so nothing moves from one picture to the next
        figure.set_layout_engine("none")
        yield np.asarray(drawing.buffer_rgba())[..., :3].copy()


def _from_first_sum(steps: list[int], amounts: Sequence[list[Panel]]) -> list[int]:
    """Return the lead steps from the first with a sum in any row; all if no row has any."""
    has_sum = [any(frames[step] is not None for frames in amounts) for step in steps]
    return steps[has_sum.index(True) :] if any(has_sum) else steps


def _past_row(
    past: PanelFrames, lead_minutes: Sequence[float], count: int, start: datetime | None
) -> PanelRow:
    timestep = lead_minutes[1] - lead_minutes[0] if len(lead_minutes) > 1 else lead_minutes[0]
    newest = _as_frames(past)[-count:]
    return "past", [
        (time_in_words(timestep * (step + 1 - len(newest)), start), frame)
        for step, frame in enumerate(newest)
    ]


def time_in_words(minutes: float, reference_time: datetime | None) -> str:
    """Return a lead time with the valid time, if known, such as "+10 min · 20:10 UTC".

    reference_time: in its zone; without one, in UTC.
    """
    lead = f"{minutes:+g} min".replace("-", "−") if minutes else "0 min"
    if reference_time is None:
        return lead
    zone = reference_time.tzinfo or UTC
    start = reference_time.replace(tzinfo=zone).astimezone(UTC)
    valid = (start + timedelta(minutes=float(minutes))).astimezone(zone)
    return f"{lead} · {valid:%H:%M} {zone_name(valid)}"
