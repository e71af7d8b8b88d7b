"""`nowcast inspect`: the contents of radar files, checkpoints and exported models."""

import json
import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from nowcast.config.inspect import InspectConfig
from nowcast.console import console as standard_output
from nowcast.console import printable, two_digits
from nowcast.errors import ConfigError, DataError, NowcastError
from nowcast.factories.model_files import is_model, model_document, model_rows
from nowcast.factories.radar import copied, reading
from nowcast.pretrained import checkpoint_path
from nowcast.radar import ReadOptions, find_files
from nowcast.radar.inspection.inspection import Inspection, inspect_frames
from nowcast.radar.inspection.survey import Group, blocks_of, group_files, look_through
from nowcast.radar.placing.cropping import box_in_degrees
from nowcast.radar.placing.georeference import Place
from nowcast.radar.placing.place import crs_in_words, first_row, pixel_size
from nowcast.radar.reading.formats import format_named
from nowcast.radar.series.describing import Problem
from nowcast.radar.series.neighbours import odd_packings
from nowcast.radar.times import show

log = logging.getLogger(__name__)

SHOWN = 3
"""How many times of a list are shown."""
SHOWN_FILES = 10
MUCH_SPECKLE = 0.05
"""Share of wet pixels without a wet neighbour above which speckle is reported."""

T = TypeVar("T")


def inspect(config: InspectConfig, paths: list[str], as_json: bool) -> None:
    """Print the contents of each path (by default data.path), as tables or as one JSON document.

    Errors, after everything is printed: that of a missing path, or DataError if files cannot be
    read.
    """
    options = reading(config.data)
    screen = standard_output(markup=False)
    document, errors = list[dict[str, Any]](), list[NowcastError]()
    for given in paths or [config.data.path]:
        path = given if Path(given).exists() else checkpoint_path(given)
        if is_model(path):
            try:
                document.append({"path": path, "model": (about := model_document(path))})
            except NowcastError as error:
                errors.append(error)
                continue
            if not as_json:
                print_model(screen, path, about)
            continue
        try:
            files = copied(find_files(path, form=options.format), config.data)
        except ConfigError:
            raise
        except NowcastError as error:
            errors.append(error)
            continue
        groups, unreadable = look_at_files(files, options, config.workers)
        if unreadable:
            bad = len({one.path for one in unreadable})
            errors.append(
                DataError(
                    f"{path}: {bad} of {len(files)} file(s) cannot be read; see the reasons above."
                )
            )
        series = [(group, inspected(group)) for group in groups if group.frames]
        document.append(
            {
                "path": path,
                "series": [as_document(group, inspection) for group, inspection in series],
                "unreadable": [{"path": str(one.path), "reason": one.reason} for one in unreadable],
            }
        )
        if not as_json:
            print_path(screen, path, series, unreadable, options)
    if as_json:
        print(json.dumps({"paths": _without_nan(document)}, indent=1, default=str))
    if errors:
        worst = next((error for error in errors if isinstance(error, DataError)), errors[0])
        for other in errors:
            if other is not worst:
                log.error("%s", other)
        raise worst


def look_at_files(
    files: list[Path], options: ReadOptions, workers: int
) -> tuple[list[Group], list[Problem]]:
    """Read all frames of these files once.

    Return the groups of similar files with their frames, and the problems of unreadable files.
    """
    groups, unreadable = group_files(_progress(files, "describing", "file"), options)
    blocks = blocks_of(groups)
    found = _progress(look_through(blocks, options, workers), "reading", "block", len(blocks))
    for block, (frames, bad) in zip(blocks, found, strict=True):
        groups[block.group].frames += frames
        unreadable += bad
    # the first reason of each file
    return groups, list({one.path: one for one in reversed(unreadable)}.values())[::-1]


def inspected(group: Group) -> Inspection:
    """Return statistics of the frames of a group."""
    height, width = group.files[0].layout.shape
    return inspect_frames(group.frames, height * width)


def as_document(group: Group, found: Inspection) -> dict[str, Any]:
    """Return one series for JSON: times in ISO format and UTC, NaN and NaT as null."""
    file = group.files[0]
    layout, size = file.layout, pixel_size(file.place)
    return {
        "format": file.format,
        "variable": layout.variable,
        "units": layout.units,
        "accumulation_minutes": layout.accumulation_minutes,
        "zr": layout.zr,
        "attrs": file.attrs,
        "files": len(group.files),
        "shape": layout.shape,
        "pixel_size": None if size is None else {"y": size[0], "x": size[1], "units": size[2]},
        "crs": crs_in_words(file.place),
        "box": box_in_degrees(file.place),
        "first_row": first_row(file.place),
        "missing_frames": found.missing_frames,
        "packed_otherwise": [text for _, text in packed_otherwise(group)],
        **{name: _plain(getattr(found, name)) for name in found.__dataclass_fields__},
    }


def print_model(console: Console, path: str, about: dict[str, Any]) -> None:
    """Print a checkpoint or an exported model."""
    kind = about["kind"] + (f", schema {about['schema']}" if about["kind"] == "checkpoint" else "")
    console.print(printable(path), style="bold")
    _print_rows(
        console, [("format", f"nowcast {kind}"), *model_rows(about), ("SHA-256", about["sha256"])]
    )


def print_path(
    console: Console,
    path: str,
    series: list[tuple[Group, Inspection]],
    unreadable: list[Problem],
    options: ReadOptions,
) -> None:
    """Print each series found at a path, and the files that cannot be read."""
    for number, (group, found) in enumerate(series, start=1):
        which = f" ({number} of {len(series)} kinds of files)" if len(series) > 1 else ""
        console.print(f"{printable(path)}{which}", style="bold")
        _print_rows(
            console,
            [
                *what_it_is(group, found),
                *what_it_shows(found),
                *what_is_suspicious(found, options),
                *packed_otherwise(group),
            ],
        )
    if unreadable:
        console.print(f"{printable(path)}: cannot be read", style="bold red")
        rows = [(str(one.path), one.reason) for one in unreadable[:SHOWN_FILES]]
        left = len(unreadable) - len(rows)
        _print_rows(
            console, [*rows, *([("…", f"and {left} more; --json lists them all")] if left else [])]
        )


def what_it_is(group: Group, found: Inspection) -> list[tuple[str, str]]:
    """Return rows with format, variable, grid and times."""
    file = group.files[0]
    layout, size, row = file.layout, pixel_size(file.place), first_row(file.place)
    over = (
        ""
        if layout.accumulation_minutes is None
        else f" per {layout.accumulation_minutes:g} minutes"
    )
    by = f", Z = {layout.zr[0]:g} R^{layout.zr[1]:g}" if layout.zr is not None else ""
    pixel = (
        "size not stated"
        if size is None
        else f"{_length(size[0], size[2])} × {_length(size[1], size[2])}"
    )
    cadence = (
        "one frame"
        if np.isnan(found.timestep_minutes)
        else f"every {found.timestep_minutes:g} minutes"
    )
    return [
        ("format", format_named(file.format).title),
        ("variable", f"{layout.variable} in {layout.units}{over}{by}"),
        (
            "grid",
            f"{layout.shape[0]} × {layout.shape[1]} pixels of {pixel}"
            + (f", row 0 in the {row}" if row else ""),
        ),
        ("projection", crs_in_words(file.place)),
        ("box", _box(file.place)),
        ("period", f"{show(found.start)} to {show(found.end)} UTC, {cadence}"),
        ("frames", f"{found.frames:,} in {_count(len(group.files), 'file')}"),
    ]


def what_it_shows(found: Inspection) -> list[tuple[str, str]]:
    """Return rows with rain and missing data."""
    gaps = sorted(found.gaps, key=lambda gap: -gap.frames)
    longest = [f"{gap.frames:,} from {show(gap.first)} to {show(gap.last)}" for gap in gaps[:SHOWN]]
    missing = (
        f"{_count(found.missing_frames, 'frame')} in {_count(len(gaps), 'gap')}:"
        f" {'; '.join(longest)}{_more(gaps)}"
    )
    maximum = (
        "no measured pixel"
        if np.isnan(found.maximum)
        else f"{found.maximum:.1f} mm/h at {show(found.maximum_time)}"
    )
    return [
        ("gaps", missing if gaps else "none"),
        ("not covered", f"{_percent(found.missing_share)} of all pixels"),
        ("wet", f"{_percent(found.wet_share)} of covered pixels have at least 0.1 mm/h"),
        ("maximum", maximum),
        ("speckle", f"{_percent(found.lone_share)} of wet pixels have no wet neighbour"),
    ]


def what_is_suspicious(found: Inspection, options: ReadOptions) -> list[tuple[str, str]]:
    """Each thing that a person should look into before using the data."""
    became = "lowered to it" if options.above_max_rate == "clip" else "made missing"
    jumps = sorted(found.jumps, key=lambda jump: -abs(np.log(jump.factor)))
    said = [
        found.off_clock and f"times do not fit one time step: {found.off_clock}",
        _times("same time twice, equal frames", found.same_time_equal),
        _times("same time twice, different frames", found.same_time_differing),
        found.high
        and f"impossible rates: {_count(found.high, 'value')} above"
        f" data.max_rate={options.max_rate:g}, {became};"
        f" up to {found.highest:.5g} mm/h at {show(found.highest_time)}",
        jumps
        and f"jumps of the mean rain: {len(jumps)}: "
        + ", ".join(f"×{two_digits(jump.factor)} at {show(jump.time)}" for jump in jumps[:SHOWN])
        + _more(jumps),
        found.jump_minute is not None
        and f"changes of the mean rain at minute :{found.jump_minute:02} are"
        f" {found.jump_minute_ratio:.1f} times those at others",
        _times("frozen, identical to the frame before", found.frozen),
        found.lone_share > MUCH_SPECKLE
        and f"much speckle: {_percent(found.lone_share)} of wet pixels",
        _times("completely dry", found.dry),
        _times("completely missing", found.empty),
        found.mask_changes
        and _times("other coverage than the frame before", found.mask_changes)
        + f"; {100 * found.least_covered:.4g} to {100 * found.most_covered:.4g} % of pixels are"
        " covered",
        _times("coverage unlike the frames around", found.coverage_jumps),
    ]
    things = [text for text in said if text] or ["nothing"]
    return [("suspicious" if k == 0 else "", text) for k, text in enumerate(things)]


def packed_otherwise(group: Group) -> list[tuple[str, str]]:
    """Return files whose packing differs from that of their neighbours, for instance because a
    scale was deleted or changed.
    """
    files = sorted(group.files, key=lambda file: file.times.min())
    odd = [files[k] for k, _ in odd_packings(files)]
    said = [
        f"{file.path.name} (scale {file.layout.packing[0]:g}, offset {file.layout.packing[1]:g})"
        for file in odd
    ]
    return (
        [
            (
                "",
                f"packed unlike the neighbouring files: {', '.join(said[:SHOWN])}{_more(odd)}",
            )
        ]
        if odd
        else []
    )


def _print_rows(console: Console, rows: list[tuple[str, str]]) -> None:
    table = Table.grid("", "", padding=(0, 2, 0, 0))
    for name, text in rows:
        table.add_row(f"  {printable(name)}", printable(text))
    with console.capture() as drawn:
        console.print(table)
    # without the spaces that a table adds at the end of each line
    print("\n".join(line.rstrip() for line in drawn.get().splitlines()) + "\n")


def _progress(things: Iterable[T], what: str, unit: str, total: int | None = None) -> Iterable[T]:
    return tqdm(things, what, total, leave=False, disable=None, unit=unit, file=sys.stderr)


def _times(what: str, times: tuple[np.datetime64, ...]) -> str:
    return (
        f"{what}: {_count(len(times), 'frame')}:"
        f" {', '.join(map(show, times[:SHOWN]))}{_more(times)}"
        if times
        else ""
    )


def _more(things: Any) -> str:
    return ", …" if len(things) > SHOWN else ""


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _percent(share: float) -> str:
    return "–" if np.isnan(share) else f"{100 * share:.3g} %"


def _box(place: Place) -> str:
    box = box_in_degrees(place)
    return (
        "not known"
        if box is None
        else "west {:.2f}, south {:.2f}, east {:.2f}, north {:.2f} degrees".format(*box)
    )


def _length(size: float, units: str) -> str:
    if units == "m":
        return f"{size / 1000:g} km" if size >= 1000 else f"{size:g} m"
    return f"{size:g}°" if units == "degrees" else f"{size:g} {units}".strip()


def _plain(value: Any) -> Any:
    """Convert a value of an Inspection for JSON."""
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else f"{value.astype('datetime64[s]')}Z"
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _without_nan(value: Any) -> Any:
    """Return the document with NaN, which JSON lacks, as null."""
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and np.isnan(value) else value
