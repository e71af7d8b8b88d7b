"""The headline of an evaluation: CSI, HSS and errors of each forecast side by side, for the terminal and for logs."""

from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr
    from rich.console import Group
    from rich.table import Table

_EVENT_SCORES = {"csi": "CSI", "hss": "HSS"}
_ERRORS = {"mse": "MSE, mm²/h²", "mae": "MAE, mm/h"}


def headline_table(dataset: "xr.Dataset") -> "Group":
    """CSI and HSS by threshold, MSE and MAE: the `…_mean` of each, and a caption that says so. From `scores_dataset`."""
    from rich.console import Group
    from rich.text import Text

    caption = "Each number is a mean over lead times of the scores per lead time, from counts added over cases."
    if any(_partly_undefined(dataset, name).any() for name in _EVENT_SCORES):
        caption += " * undefined at some lead times, which are left out."
    caption += f"\nLead times: {dataset.sizes['lead_time']}. Cases: {dataset.attrs['cases']}."
    return Group(_event_table(dataset), _error_table(dataset), Text(caption))


def headline_text(dataset: "xr.Dataset", width: int = 80) -> str:
    """`headline_table` as plain text, `width` columns wide, or wider where numbers would be cut: nothing is truncated."""
    from rich.console import Console
    from rich.table import Table

    page = Console(file=StringIO(), width=10_000, color_system=None, force_terminal=False)
    headline = headline_table(dataset)
    page.width = max(width, *[page.measure(part).maximum for part in headline.renderables if isinstance(part, Table)])
    with page.capture() as written:
        page.print(headline)
    return "\n".join(line.rstrip() for line in written.get().splitlines())


def _event_table(dataset: "xr.Dataset") -> "Table":
    from rich.table import Table

    table = Table("mm/h")
    for forecast, label in _columns(dataset):
        table.add_column(f"{forecast}\n{label}", justify="right", no_wrap=True)
    for threshold in dataset["threshold"].values:
        here = dataset.sel(threshold=threshold)
        cells = [_cell(here.sel(forecast=forecast), name) for forecast in dataset["forecast"].values for name in _EVENT_SCORES]
        table.add_row(f"≥ {threshold:g}", *cells)
    return table


def _error_table(dataset: "xr.Dataset") -> "Table":
    from rich.table import Table

    table = Table("")
    for forecast in dataset["forecast"].values:
        table.add_column(str(forecast), justify="right", no_wrap=True)
    for name, label in _ERRORS.items():
        table.add_row(label, *[_cell(dataset.sel(forecast=forecast), name) for forecast in dataset["forecast"].values])
    return table


def _columns(dataset: "xr.Dataset") -> list[tuple[str, str]]:
    return [(str(forecast), label) for forecast in dataset["forecast"].values for label in _EVENT_SCORES.values()]


def _cell(here: "xr.Dataset", name: str) -> str:
    """One mean: '–' where undefined, starred where lead times were left out."""
    mean = here[f"{name}_mean"]
    star = "*" if _partly_undefined(here, name) else ""
    return "–" if mean.isnull() else f"{mean.item():.4f}{star}"


def _partly_undefined(here: "xr.Dataset", name: str) -> "xr.DataArray":
    return here[name].isnull().any("lead_time") & here[f"{name}_mean"].notnull()
