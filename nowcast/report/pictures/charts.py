"""Pictures of scores and of training: CSI against lead time, learning curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nowcast.report.diagrams import at_or_above
from nowcast.report.pictures import canvas
from nowcast.report.pictures.colours import INK, forecast_styles
from nowcast.untrusted.files import importing_plainly

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_TRAINING, _VALIDATION = "#1f5fb4", "#e07b00"


def draw_csi(dataset: "xr.Dataset", path: str | Path, foot: str = "") -> Path:
    """Draw CSI against lead time, a panel for each threshold and a line for each forecast.

    A line has a gap where CSI is undefined. A band is the interval `csi_low` to `csi_high` if the
    dataset has it. From a dataset with parts, the part of all cases is drawn. `foot` is a small
    line below all.
    """
    dataset = dataset.sel(part="all") if "part" in dataset.dims else dataset
    thresholds = dataset["threshold"].values
    columns = min(3, len(thresholds))
    rows = -(-len(thresholds) // columns)
    width = 3.1 * columns + 0.6
    figure = canvas.new_figure(width, 2.5 * rows + 0.7, foot=foot)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for number, (panel, threshold) in enumerate(zip(panels.flat, thresholds, strict=False)):
        _draw_csi_panel(panel, dataset.sel(threshold=threshold))
        panel.set_title(at_or_above(dataset, threshold), fontsize=10, color=INK)
        if number + columns >= len(thresholds):
            panel.set_xlabel("lead time, minutes")
            panel.tick_params(labelbottom=True)
        if number % columns == 0:
            panel.set_ylabel("CSI")
    for panel in panels.flat[len(thresholds) :]:
        panel.set_axis_off()
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=min(len(labels), 2 * columns, max(1, int(width / _entry_width(labels)))),
        frameon=False,
    )
    return canvas.save(figure, path)


def _entry_width(labels: Sequence[str]) -> float:
    """Return the width in inches of the longest entry of a legend."""
    return 0.75 + 0.075 * max(map(len, labels))


def draw_curves(rows: Sequence[Mapping[str, Any]], path: str | Path, foot: str = "") -> Path:
    """Draw the learning curves of a training.

    rows: one an epoch, with epoch, train_loss, validation_loss and validation_csi. foot: a small
    line below all.
    """
    with importing_plainly():
        from matplotlib.ticker import MaxNLocator

    figure = canvas.new_figure(8.0, 3.2, foot=foot)
    losses, csi = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in rows]
    for key, colour, label in (
        ("train_loss", _TRAINING, "training"),
        ("validation_loss", _VALIDATION, "validation"),
    ):
        losses.plot(
            epochs, _numbers(rows, key), color=colour, marker="o", markersize=3, label=label
        )
    csi.plot(epochs, _numbers(rows, "validation_csi"), color=_VALIDATION, marker="o", markersize=3)
    losses.set_title("loss", fontsize=10, color=INK)
    csi.set_title("validation CSI", fontsize=10, color=INK)
    losses.legend(frameon=False)
    for panel in (losses, csi):
        canvas.plain(panel)
        panel.set_xlabel("epoch")
        panel.set_xlim(min(epochs, default=1) - 0.5, max(epochs, default=1) + 0.5)
        panel.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    csi.set_ylim(bottom=0)
    return canvas.save(figure, path)


def _numbers(rows: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    """Return one column as numbers; NaN, drawn as a gap, where a row lacks it."""
    return [float("nan") if row.get(key) is None else float(row[key]) for row in rows]


def _draw_csi_panel(panel: "Axes", scores: "xr.Dataset") -> None:
    from matplotlib.ticker import MaxNLocator

    names = [str(forecast) for forecast in scores["forecast"].values]
    for name, style in forecast_styles(names).items():
        line = scores.sel(forecast=name)
        minutes = line["lead_time"].values
        if "csi_low" in line:
            panel.fill_between(
                minutes,
                line["csi_low"],
                line["csi_high"],
                color=style["color"],
                alpha=0.1,
                linewidth=0,
            )
        panel.plot(minutes, line["csi"].values, label=name, markersize=3.5, clip_on=False, **style)
    panel.set(xlim=(0, None), ylim=(0, 1))
    panel.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 1.5, 2, 3, 5, 6, 10]))
    canvas.plain(panel)
