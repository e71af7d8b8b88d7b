"""Pictures of an evaluation: scores against lead time, frames side by side, learning curves. Drawn without a display."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from nowcast.errors import DataError
from nowcast.files import written_whole

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.colors import BoundaryNorm, Colormap
    from matplotlib.figure import Figure

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
"""Lowest rate of each class, mm/h, and its colour; below the first is dry: white."""
Row = tuple[str, list[tuple[str, Any]]]
"""A name, and its frames: when, and (h, w) mm/h."""
_DRY, _NOT_COVERED, _INK, _EDGE, _FAINT = "#ffffff", "#c4c4c4", "#333333", "#9a9a9a", "#e3e3e3"
_LINES = ("#1f5fb4", "#e07b00", "#2a9d58", "#96127f", "#666666")
_MARKERS = "osD^v"
_DPI = 150


def draw_csi(dataset: "xr.Dataset", path: str | Path) -> Path:
    """CSI against lead time, a panel for each threshold and a line for each forecast; a gap where it is undefined."""
    thresholds = dataset["threshold"].values
    columns = min(3, len(thresholds))
    rows = -(-len(thresholds) // columns)
    figure = _figure(3.1 * columns + 0.6, 2.5 * rows + 0.7)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for number, (panel, threshold) in enumerate(zip(panels.flat, thresholds, strict=False)):
        _draw_csi_panel(panel, dataset["csi"].sel(threshold=threshold))
        panel.set_title(f"≥ {threshold:g} mm/h", fontsize=10, color=_INK)
        if number + columns >= len(thresholds):
            panel.set_xlabel("lead time, minutes")
            panel.tick_params(labelbottom=True)
        if number % columns == 0:
            panel.set_ylabel("CSI")
    for panel in panels.flat[len(thresholds) :]:
        panel.set_axis_off()
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    return _save(figure, path)


def draw_frames(
    path: str | Path,
    observed: npt.ArrayLike | None,
    forecasts: Mapping[str, npt.ArrayLike],
    lead_minutes: Sequence[float],
    title: str,
    *,
    past: npt.ArrayLike | None = None,
    reference_time: datetime | None = None,
    origin: Literal["lower", "upper"] = "lower",
    columns: int = 5,
) -> Path:
    """Rain rates, mm/h, as rows of frames: the past if given, what was then observed if known, and each forecast.

    `observed` and each of `forecasts` are (lead, h, w); `columns` lead times are picked, evenly, with the first and the last.
    `past` is (t, h, w) of the timestep of `lead_minutes`, its last frame at the reference time; the newest `columns` are drawn.
    `origin` says whether row 0 of an array is the south ('lower') or the north ('upper').

    Errors: DataError where shapes differ.
    """
    truth = {} if observed is None else {"observed": np.asarray(observed)}
    future = truth | {name: np.asarray(field) for name, field in forecasts.items()}
    _check_frames(future, len(lead_minutes))
    picked = np.unique(np.linspace(0, len(lead_minutes) - 1, columns).round().astype(int))
    rows: list[Row] = []
    if past is not None:
        rows.append(_past_row(np.asarray(past), lead_minutes, len(picked), reference_time))
    for name, field in future.items():
        rows.append((name, [(_when(lead_minutes[step], reference_time), field[step]) for step in picked]))
    return _save(_frames_figure(rows, title, origin), path)


def draw_curves(rows: Sequence[Mapping[str, Any]], path: str | Path) -> Path:
    """Learning curves of rows with epoch, train_loss, validation_loss, validation_csi and learning_rate, one an epoch."""
    from matplotlib.ticker import MaxNLocator

    figure = _figure(8.0, 3.2)
    losses, csi = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in rows]
    for key, colour, label in (("train_loss", _LINES[0], "training"), ("validation_loss", _LINES[1], "validation")):
        losses.plot(epochs, _numbers(rows, key), color=colour, marker="o", markersize=3, label=label)
    csi.plot(epochs, _numbers(rows, "validation_csi"), color=_LINES[1], marker="o", markersize=3)
    losses.set_title("loss", fontsize=10, color=_INK)
    csi.set_title("validation CSI", fontsize=10, color=_INK)
    losses.legend(frameon=False)
    for panel in (losses, csi):
        _plain(panel)
        panel.set_xlabel("epoch")
        panel.set_xlim(min(epochs, default=1) - 0.5, max(epochs, default=1) + 0.5)
        panel.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    csi.set_ylim(bottom=0)
    return _save(figure, path)


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=_DPI, layout="constrained")


def _save(figure: "Figure", path: str | Path) -> Path:
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="png")
    return Path(path)


def _plain(panel: "Axes") -> None:
    panel.grid(color=_FAINT, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def _numbers(rows: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    """One column as numbers, NaN, and so a gap, where a row lacks it."""
    return [float("nan") if row.get(key) is None else float(row[key]) for row in rows]


def _draw_csi_panel(panel: "Axes", csi: "xr.DataArray") -> None:
    from matplotlib.ticker import MaxNLocator

    for number, forecast in enumerate(csi["forecast"].values):
        colour, marker = _LINES[number % len(_LINES)], _MARKERS[number % len(_MARKERS)]
        line = csi.sel(forecast=forecast)
        style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 3.5, "clip_on": False}
        panel.plot(line["lead_time"].values, line.values, label=str(forecast), **style)
    panel.set(xlim=(0, None), ylim=(0, 1))
    panel.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 1.5, 2, 3, 5, 6, 10]))
    _plain(panel)


def _frames_figure(rows: list[Row], title: str, origin: Literal["lower", "upper"]) -> "Figure":
    from matplotlib.cm import ScalarMappable
    from matplotlib.patches import Patch

    columns = max(len(frames) for _, frames in rows)
    height, width = rows[0][1][0][1].shape
    tall = float(np.clip(height / width, 0.5, 2.0)) * 1.9
    figure = _figure(1.95 * columns + 1.2, (tall + 0.1) * len(rows) + 1.1)
    panels = figure.subplots(len(rows), columns, squeeze=False)
    colours, norm = _rate_colours()
    scale = ScalarMappable(norm, colours)
    above: list[str] = []
    for (name, frames), line in zip(rows, panels, strict=True):
        for panel in line:
            panel.set(xticks=[], yticks=[])
            panel.spines[:].set_visible(False)
        line[0].set_ylabel(name, fontsize=10, color=_INK)
        times = [when for when, _ in frames]
        for panel, (when, frame) in zip(line[columns - len(frames) :], frames, strict=True):
            _draw_frame(panel, frame, colours, norm, origin)
            panel.set_title("" if times == above else when, fontsize=8.5, color=_INK, pad=3)
        above = times
    figure.suptitle(title, fontsize=11, color=_INK)
    bar = figure.colorbar(scale, ax=panels, extend="max", ticks=list(RATE_CLASSES), format="%g", aspect=28, pad=0.015, shrink=0.9)
    bar.set_label("mm/h")
    blanks = {f"dry, below {min(RATE_CLASSES):g} mm/h": _DRY, "not covered": _NOT_COVERED}
    patches = [Patch(facecolor=colour, edgecolor=_EDGE, label=label) for label, colour in blanks.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False, fontsize=8.5)
    return figure


def _draw_frame(panel: "Axes", frame: Any, colours: Any, norm: Any, origin: Literal["lower", "upper"]) -> None:
    panel.imshow(np.ma.masked_invalid(frame), cmap=colours, norm=norm, origin=origin, interpolation="nearest")
    panel.spines[:].set_visible(True)
    panel.spines[:].set_color(_EDGE)


def _rate_colours() -> tuple["Colormap", "BoundaryNorm"]:
    """Discrete colours: a rate at or above the lowest of its class has the colour of the class."""
    from matplotlib.colors import BoundaryNorm, ListedColormap

    *within, above = RATE_CLASSES.values()
    colours = ListedColormap(within).with_extremes(under=_DRY, over=above, bad=_NOT_COVERED)
    return colours, BoundaryNorm(list(RATE_CLASSES), ncolors=len(within))


def _past_row(past: Any, lead_minutes: Sequence[float], count: int, start: datetime | None) -> Row:
    timestep = lead_minutes[1] - lead_minutes[0] if len(lead_minutes) > 1 else lead_minutes[0]
    newest = past[-count:]
    return "past", [(_when(timestep * (step + 1 - len(newest)), start), frame) for step, frame in enumerate(newest)]


def _when(minutes: float, reference_time: datetime | None) -> str:
    from datetime import timedelta

    relative = f"{minutes:+g} min" if minutes else "0 min"
    clock = "" if reference_time is None else f"{reference_time + timedelta(minutes=float(minutes)):%H:%M}  "
    return clock + relative.replace("-", "−")


def _check_frames(future: Mapping[str, Any], leads: int) -> None:
    shapes = {name: field.shape for name, field in future.items()}
    if not shapes or len(set(shapes.values())) > 1 or any(len(shape) != 3 or shape[0] != leads for shape in shapes.values()):
        raise DataError(f"frames to draw have shapes {shapes}; give all as ({leads}, h, w), one frame for each lead time.")
