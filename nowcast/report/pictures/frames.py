"""Rain rates and probabilities as rows of frames, or as a film: what was observed beside each
forecast, with a legend in mm/h, and one of probabilities if there are any.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from textwrap import fill
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from nowcast.errors import ConfigError, DataError
from nowcast.radar.placing.place import Origin
from nowcast.report.pictures import canvas, films
from nowcast.report.pictures.arrows import Arrows, draw_arrows, keys_of
from nowcast.report.pictures.colours import (
    COLOURS,
    DRY,
    EDGE,
    INK,
    MISSING,
    NOT_COVERED,
    PROBABILITY_CLASSES,
    probability_colours,
    rate_colours,
)
from nowcast.report.pictures.graticule import Graticule, build_graticule
from nowcast.untrusted.files import importing_plainly

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nowcast.report.pictures.figure import Picture

Panel = npt.NDArray[Any] | None
"""(h, w), mm/h or a probability, NaN = not covered; None where nothing was observed."""
PanelFrames = Sequence[Any] | npt.ArrayLike
"""A frame for each time: (t, h, w), or a list with None among it."""
Degrees = tuple[npt.ArrayLike, npt.ArrayLike]
"""Longitude and latitude of pixel centres, of shapes that broadcast to (h, w)."""
PanelRow = tuple[str, list[tuple[str, Panel]]]
"""A name, and its frames: when, and what."""

NONE: Mapping[str, PanelFrames] = MappingProxyType({})
_FINEST = 1000  # pixels of a frame along an axis that are drawn: no panel has more
_PANEL = 1.9  # inches, the width of a frame of a panel
_LEGEND, _MORE = 3.7, 1.9  # inches: a legend in one line, and each further entry
_FILM_DPI = 120
_FILM_WIDTHS = (6.0, 4.6, 3.6)
"""Inches of a panel of a film that has one, two, three and more columns."""


class FrameOptions(TypedDict, total=False):
    """What `frames_figure` may be told beyond the frames; it says what each means."""

    past: PanelFrames | None
    probabilities: Mapping[str, PanelFrames]
    reference_time: datetime | None
    origin: Origin
    columns: int
    colours: str
    degrees: Degrees | None
    arrows: Arrows | None


@dataclass(frozen=True)
class Look:
    """How the frames of a picture are drawn.

    shape: their height and width in pixels. probabilities: the rows that hold some, by name.
    """

    shape: tuple[int, int]
    origin: Origin
    colours: str
    graticule: Graticule | None
    probabilities: frozenset[str] = field(default=frozenset())
    arrows: Arrows | None = None

    @property
    def tall(self) -> float:
        """Height of a panel by its width."""
        return float(np.clip(self.shape[0] / self.shape[1], 0.5, 2.0))


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
        observed, forecasts, lead_minutes, title, shown: as of `frames_figure`.

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
    probabilities: Mapping[str, PanelFrames] = NONE,
    reference_time: datetime | None = None,
    origin: Origin = "lower",
    columns: int = 5,
    colours: str = "radar",
    degrees: Degrees | None = None,
    arrows: Arrows | None = None,
) -> "Picture":
    """Draw rain rates as rows of frames: the past, what was then observed, and each forecast.

    Args:
        observed: (lead, h, w) in mm/h, NaN = not covered; a frame may be None; None draws no row.
        forecasts: each (lead, h, w) in mm/h, by the name that stands at its row.
        lead_minutes: of the frames; `columns` of them are picked evenly, with the first and last.
        title: above all.
        past: (t, h, w) in mm/h of the same spacing, the last frame at the reference time; the
            newest `columns` are drawn.
        probabilities: each (lead, h, w) from 0 to 1, by the name that stands at its row; they come
            last, in colours of their own.
        reference_time: from which clock times are shown.
        origin: 'lower' if row 0 of the arrays lies in the south, 'upper' if in the north.
        columns: frames in a row.
        colours: 'radar' or 'colour_blind'.
        degrees: longitude and latitude of the pixel centres, for their lines; None draws none.
        arrows: the rain's motion, over every frame; None draws none.

    Returns:
        A Matplotlib figure that no display holds.

    Raises:
        DataError: if shapes differ.

    Example:
        >>> import numpy as np
        >>> rain = np.ones((2, 8, 8))  # (lead, h, w) in mm/h
        >>> figure = frames_figure(rain, {"model": rain}, [5, 10], "Rain")
        >>> len(figure.axes)  # two rows of two, and the legend
        5
    """
    future = _future(observed, {**forecasts, **probabilities}, len(lead_minutes))
    look = _look(future, origin, colours, degrees, probabilities, arrows)
    picked = np.unique(np.linspace(0, len(lead_minutes) - 1, columns).round().astype(int))
    rows: list[PanelRow] = []
    if past is not None:
        rows.append(_past_row(past, lead_minutes, len(picked), reference_time))
    for name, frames in future.items():
        rows.append(
            (name, [(_when(lead_minutes[step], reference_time), frames[step]) for step in picked])
        )
    return _panel_figure(rows, title, look)


def draw_film(
    path: str | Path,
    observed: PanelFrames | None,
    forecasts: Mapping[str, PanelFrames],
    lead_minutes: Sequence[float],
    title: str,
    *,
    frames_per_second: float,
    probabilities: Mapping[str, PanelFrames] = NONE,
    reference_time: datetime | None = None,
    origin: Origin = "lower",
    colours: str = "radar",
    degrees: Degrees | None = None,
    arrows: Arrows | None = None,
) -> Path:
    """Draw all lead times one after the other, what was observed and each forecast side by side.

    Args:
        path: of a .gif or .mp4, which is written whole or not at all.
        frames_per_second: of the film.
        observed, forecasts, lead_minutes, title, probabilities, reference_time, origin, colours,
            degrees, arrows: as of `frames_figure`.

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
    future = _future(observed, {**forecasts, **probabilities}, len(lead_minutes))
    look = _look(future, origin, colours, degrees, probabilities, arrows)
    times = [_when(minutes, reference_time) for minutes in lead_minutes]
    pictures = _film(future, times, title, look)
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
    """All rows by name. Errors: DataError where they do not fit together."""
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


def _look(
    future: Mapping[str, list[Panel]],
    origin: Origin,
    colours: str,
    degrees: Degrees | None,
    probabilities: Mapping[str, PanelFrames],
    arrows: Arrows | None,
) -> Look:
    height, width = next(
        frame.shape for frames in future.values() for frame in frames if frame is not None
    )
    graticule = (
        None if degrees is None else build_graticule(*_broadcast(degrees, (height, width)), origin)
    )
    return Look((height, width), origin, colours, graticule, frozenset(probabilities), arrows)


def _broadcast(
    degrees: Degrees, shape: tuple[int, int]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    longitude, latitude = degrees
    return np.broadcast_to(np.asarray(longitude), shape), np.broadcast_to(
        np.asarray(latitude), shape
    )


def _panel_figure(rows: list[PanelRow], title: str, look: Look) -> "Picture":
    columns = max(len(frames) for _, frames in rows)
    figure = canvas.new_figure(
        (_PANEL + 0.05) * columns + 1.2, (_PANEL * look.tall + 0.1) * len(rows) + 1.1
    )
    panels = figure.subplots(len(rows), columns, squeeze=False)
    above: list[str] = []
    for number, ((name, frames), line) in enumerate(zip(rows, panels, strict=True)):
        for panel in line:
            _empty(panel)
        line[0].set_ylabel(_wrapped(name, _PANEL * look.tall), fontsize=10, color=INK)
        times = [when for when, _ in frames]
        lowest = number == len(rows) - 1
        for panel, (when, frame) in zip(line[columns - len(frames) :], frames, strict=True):
            _draw_frame(panel, name, frame, look)
            _draw_graticule(panel, look, at_left=panel is line[0], at_bottom=lowest)
            panel.set_title("" if times == above else when, fontsize=8.5, color=INK, pad=3)
        above = times
    figure.suptitle(title, fontsize=11, color=INK)
    certain = np.array([name in look.probabilities for name, _ in rows])
    _draw_legend(figure, panels[~certain], panels[certain], len(rows), look)
    return figure


def _film(
    future: Mapping[str, list[Panel]], times: Sequence[str], title: str, look: Look
) -> Iterator[films.Picture]:
    """The pictures of a film, (h, w, 3): one figure whose frames and time change."""
    with importing_plainly():
        from matplotlib.backends.backend_agg import FigureCanvasAgg

    columns = min(len(future), len(_FILM_WIDTHS))
    lines = -(-len(future) // columns)
    width = _FILM_WIDTHS[columns - 1]
    figure = canvas.new_figure(
        width * columns + 1.3, (width * look.tall + 0.3) * lines + 1.2, _FILM_DPI
    )
    panels = figure.subplots(lines, columns, squeeze=False)
    heading = figure.suptitle(f"{title}\n{times[0]}", fontsize=13, color=INK)
    drawn = []
    for number, panel in enumerate(panels.flat):
        _empty(panel)
        if number >= len(future):
            continue
        name, frames = list(future.items())[number]
        panel.set_title(_wrapped(name, width), fontsize=11, color=INK)
        drawn.append((*_draw_frame(panel, name, frames[0], look), frames))
        _draw_graticule(
            panel, look, at_left=number % columns == 0, at_bottom=number + columns >= len(future)
        )
    _draw_legend(figure, panels, panels if look.probabilities else panels[:0], lines, look)
    drawing: Any = FigureCanvasAgg(figure)
    for step, when in enumerate(times):
        heading.set_text(f"{title}\n{when}")
        for image, blank, frames in drawn:
            _show(image, blank, frames[step])
        drawing.draw()
        # laid out once, so that nothing moves from one picture to the next
        figure.set_layout_engine("none")
        yield np.asarray(drawing.buffer_rgba())[..., :3].copy()


def _wrapped(name: str, inches: float) -> str:
    """A name in as many lines as it needs within so many inches, also parted after underscores."""
    name = name.replace("≥ ", "≥\u00a0")
    return fill(name.replace("_", "_ "), max(8, round(10 * inches))).replace("_ ", "_")


def _empty(panel: "Axes") -> None:
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)


def _draw_frame(panel: "Axes", name: str, frame: Panel, look: Look) -> tuple[Any, Any]:
    """Draw one frame of a row. → its image, and the words in its place if there is none."""
    height, width = look.shape
    is_probability = name in look.probabilities
    colours, norm = probability_colours() if is_probability else rate_colours(look.colours)
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
        "not observed",
        transform=panel.transAxes,
        ha="center",
        va="center",
        color=EDGE,
        fontsize=9,
    )
    panel.spines[:].set_visible(True)
    panel.spines[:].set_color(EDGE)
    _show(image, words, frame)
    if frame is not None and look.arrows is not None:
        draw_arrows(panel, look.arrows, look.shape)
    return image, words


def _show(image: Any, words: Any, frame: Panel) -> None:
    image.set_visible(frame is not None)
    words.set_visible(frame is None)
    if frame is not None:
        rows, columns = (_some(length) for length in frame.shape)
        image.set_data(np.ma.masked_invalid(frame[rows, columns]))


def _some(length: int) -> slice:
    """Every pixel, or every second, … so that there are not many more than can be seen."""
    return slice(None, None, max(1, length // _FINEST))


def _draw_graticule(panel: "Axes", look: Look, *, at_left: bool, at_bottom: bool) -> None:
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
        panel.set_xticks([place for place, _ in lines.bottom], [label for _, label in lines.bottom])


def _draw_legend(
    figure: "Figure", of_rates: Any, of_probabilities: Any, lines: int, look: Look
) -> None:
    """Draw the scale of rates beside their panels, and that of probabilities beside theirs, in a
    figure of so many lines.
    """
    from matplotlib.patches import Patch

    lowest = min(COLOURS[look.colours])
    white = f"dry, below {lowest:g} mm/h"
    if of_rates.size:
        _draw_scale(figure, of_rates, rate_colours(look.colours), "mm/h", lines)
    if of_probabilities.size:
        _draw_scale(figure, of_probabilities, probability_colours(), "probability", lines)
        white = f"{white}; probability below {min(PROBABILITY_CLASSES):g}"
    handles: list[Any] = [
        Patch(facecolor=colour, edgecolor=EDGE, label=label)
        for label, colour in {white: DRY, MISSING: NOT_COVERED}.items()
    ]
    if look.arrows is not None:
        handles += keys_of(look.arrows, look.shape)
    needs = _LEGEND + _MORE * (bool(of_probabilities.size) + (look.arrows is not None))
    columns = 1 if figure.get_figwidth() < needs else len(handles)
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8.5
    )


def _draw_scale(
    figure: "Figure", panels: Any, scale: tuple[Any, Any], label: str, lines: int
) -> None:
    """Draw a scale beside panels, which fill so many of all lines."""
    from matplotlib.cm import ScalarMappable

    colours, norm = scale
    bar = figure.colorbar(
        ScalarMappable(norm, colours),
        ax=panels,
        extend="max" if label == "mm/h" else "neither",
        ticks=norm.boundaries,
        format="%g",
        aspect=28 * len(panels) / lines,
        pad=0.015,
        shrink=0.9,
    )
    bar.ax.tick_params(labelsize=8)
    bar.set_label(label)


def _past_row(
    past: PanelFrames, lead_minutes: Sequence[float], count: int, start: datetime | None
) -> PanelRow:
    timestep = lead_minutes[1] - lead_minutes[0] if len(lead_minutes) > 1 else lead_minutes[0]
    newest = _as_frames(past)[-count:]
    return "past", [
        (_when(timestep * (step + 1 - len(newest)), start), frame)
        for step, frame in enumerate(newest)
    ]


def _when(minutes: float, reference_time: datetime | None) -> str:
    relative = f"{minutes:+g} min" if minutes else "0 min"
    clock = (
        ""
        if reference_time is None
        else f"{reference_time + timedelta(minutes=float(minutes)):%H:%M}  "
    )
    return clock + relative.replace("-", "−")
