"""The headline of an evaluation: CSI, HSS and errors of each forecast in one table, for the
terminal and for logs.
"""

from collections.abc import Iterator
from io import StringIO
from typing import TYPE_CHECKING, Any, NamedTuple

from nowcast.verification.intervals import FEW_BLOCKS, LEAST_FOR_INTERVAL
from nowcast.verification.remarks import (
    AMOUNT_TITLE,
    CUTS_FITTED_ON,
    WITH_CUTS,
    remarks_of,
)
from nowcast.verification.scoring import UNITS_IN_WORDS, Score, shown_in
from nowcast.verification.swaps import LEAST_BLOCKS, LEVEL, significantly_better

if TYPE_CHECKING:
    import xarray as xr
    from rich.console import Console, Group
    from rich.table import Table
    from rich.text import Text

_BEST, _PARTLY_UNDEFINED, _UNDEFINED = "*", "†", "–"
_BLOCKS = {
    "day": ("day", "days"),
    "event": ("event", "events"),
    "block": ("block of cases", "blocks of cases"),
}


class _Cell(NamedTuple):
    value: str
    marks: str
    interval: str


_Rows = dict[str, list[_Cell]]


def headline_table(dataset: "xr.Dataset", *, stacked: bool = False) -> "Group":
    """Return CSI, frequency bias and HSS by threshold, and errors, of all cases: the `…_mean` of
    each with its interval, and a caption that explains them.

    The best of a row is bold and starred if it is significantly better than every other
    (`significantly_better`).
    dataset: from `scores_dataset`. stacked: show intervals below their scores instead of after
    them, which is narrower.
    """
    from rich.console import Group
    from rich.text import Text

    blocks = [dict(_event_rows(dataset, score)) for score in shown_in("terminal", of_events=True)]
    blocks.append(dict(_error_rows(dataset)))
    units = UNITS_IN_WORDS.get(dataset["threshold"].attrs.get("units", ""), "")
    table = _table(
        units, [str(forecast) for forecast in dataset["forecast"].values], blocks, stacked
    )
    cells = [cell for rows in blocks for row in rows.values() for cell in row]
    return Group(table, Text("\n".join(_caption(dataset, cells))))


def headline_text(dataset: "xr.Dataset", width: int = 100) -> str:
    """Return `headline_table` as plain text, `width` columns wide; intervals go below their scores
    if they do not fit after them.

    The text is wider if numbers would be cut even then: nothing is truncated.
    """
    from rich.console import Console

    page = Console(file=StringIO(), width=10_000, color_system=None, force_terminal=False)
    headline = headline_table(dataset)
    if _width(page, headline) > width:
        headline = headline_table(dataset, stacked=True)
    page.width = max(width, _width(page, headline))
    with page.capture() as written:
        page.print(headline)
    return "\n".join(line.rstrip() for line in written.get().splitlines())


def _width(page: "Console", headline: "Group") -> int:
    return page.measure(headline.renderables[0]).maximum


def _table(units: str, forecasts: list[str], blocks: list[_Rows], stacked: bool) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    every = [cell for rows in blocks for cells in rows.values() for cell in cells]
    marks, interval = (
        max(len(cell.marks) for cell in every),
        max(len(cell.interval) for cell in every),
    )
    value = max(max(len(cell.value) for cell in every) + marks, interval + marks if stacked else 0)
    widths = [
        max(len(name), value if stacked or not interval else value + 1 + interval)
        for name in forecasts
    ]
    table = Table(units, box=box.HORIZONTALS)
    for name in forecasts:
        table.add_column(Text(name, justify="right"), no_wrap=True)
    for rows in blocks:
        for label, cells in rows.items():
            table.add_row(
                label,
                *[
                    _text(cell, width, marks, interval, stacked)
                    for cell, width in zip(cells, widths, strict=True)
                ],
            )
        table.add_section()
    return table


def _text(cell: _Cell, width: int, marks: int, interval: int, stacked: bool) -> "Text":
    """Return a cell `width` columns wide, with space for marks and interval after the value, so
    that numbers are aligned.
    """
    from rich.text import Text

    value, style = f"{cell.value}{cell.marks:<{marks}}", "bold" if _BEST in cell.marks else ""
    if not stacked:
        behind = f" {cell.interval:>{interval}}" if interval else ""
        return Text.assemble(" " * (width - len(value + behind)), (value, style), (behind, "dim"))
    below = "\n" + f"{cell.interval}{' ' * marks}".rjust(width) if cell.interval else ""
    return Text.assemble(" " * (width - len(value)), (value, style), (below, "dim"))


def _event_rows(dataset: "xr.Dataset", score: Score) -> Iterator[tuple[str, list[_Cell]]]:
    for threshold in dataset["threshold"].values:
        yield f"{score.title} ≥ {threshold:g}", _cells(dataset, score, threshold=threshold)


def _error_rows(dataset: "xr.Dataset") -> Iterator[tuple[str, list[_Cell]]]:
    for score in shown_in("terminal", of_events=False):
        if f"{score.name}_mean" in dataset:
            yield score.title_in(dataset), _cells(dataset, score)


def _cells(dataset: "xr.Dataset", score: Score, **where: Any) -> list[_Cell]:
    """Return a score of each forecast: '–' if undefined; with marks, and with an interval if there
    is any.
    """
    name = score.name
    best = significantly_better(dataset, name, **where)
    left_out = dataset[name].sel(part="all", **where).isnull().any("lead_time").values
    mean = dataset[f"{name}_mean"].sel(part="all", **where).values
    low, high = (dataset[f"{name}_mean_{bound}"].sel(**where).values for bound in ("low", "high"))
    digits = f"z.{score.decimals_of(mean)}f"  # z: no −0.000
    cells = []
    for number, forecast in enumerate(dataset["forecast"].values):
        defined, bounded = mean[number] == mean[number], low[number] == low[number]
        stands_out = best.certain and best.forecast == forecast
        marks = _BEST * stands_out + _PARTLY_UNDEFINED * bool(left_out[number] and defined)
        interval = f"{low[number]:{digits}}–{high[number]:{digits}}" if bounded else ""
        cells.append(_Cell(f"{mean[number]:{digits}}" if defined else _UNDEFINED, marks, interval))
    return cells


def _caption(dataset: "xr.Dataset", cells: list[_Cell]) -> Iterator[str]:
    marks = {mark for cell in cells for mark in cell.marks}
    leads, cases, blocks = (
        dataset.sizes["lead_time"],
        dataset.attrs["cases"],
        dataset.attrs["blocks"],
    )
    steps, sums = f"{leads} lead time{'s' * (leads != 1)}", f"{cases} case{'s' * (cases != 1)}"
    yield f"Mean over {steps} of the score at each, from counts added over {sums}."
    if dataset.attrs["unscored_cases"]:
        yield (
            f"Cases without one scored pixel, not included here: {dataset.attrs['unscored_cases']}."
        )
    if CUTS_FITTED_ON in dataset.attrs:
        yield f"{WITH_CUTS.strip()}: with cuts fitted on {dataset.attrs[CUTS_FITTED_ON]}."
    one, many = _BLOCKS[dataset.attrs["interval_blocks"]]
    if not dataset.attrs["resamples"]:
        yield "No intervals were requested."
    elif blocks < 2:
        yield f"No intervals: all cases lie in one {one}."
    elif blocks < LEAST_FOR_INTERVAL:
        yield f"No intervals: {blocks} {many} are too few; the least is {LEAST_FOR_INTERVAL}."
    else:
        yield (
            f"Each with its {dataset.attrs['confidence']:.0%} interval: studentised bootstrap over"
            f" the {blocks} {many}."
        )
        if any(cell.value != _UNDEFINED and not cell.interval for cell in cells):
            yield f"No interval if a score depends on too few {many}."
        if blocks < FEW_BLOCKS:
            yield (
                f"It is rough with fewer than {FEW_BLOCKS} {many}: a single {one} moves it a lot."
            )
    if 2 <= blocks < LEAST_BLOCKS and dataset.attrs["resamples"]:
        yield (
            f"No difference is called significant: with {blocks} {many}, one of two equal forecasts"
            f" is better in all of them by chance once in {2 ** (blocks - 1)} times."
        )
    if _BEST in marks:
        yield (
            f"{_BEST} significantly better than every other forecast: swapping the two {one} by"
            f" {one} makes so large a difference"
        )
        yield f"in at most {LEVEL:.0%} of ways."
    if _PARTLY_UNDEFINED in marks:
        yield f"{_PARTLY_UNDEFINED} undefined at some lead times, which are left out."
    if AMOUNT_TITLE not in dataset.attrs:
        for remark in remarks_of(dataset):
            yield f"Note: {remark}."
