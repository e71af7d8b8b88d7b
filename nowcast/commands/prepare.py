"""`nowcast prepare`: convert raw radar files to one store that training reads fast."""

import hashlib
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from nowcast.config.prepare import PrepareConfig
from nowcast.errors import ConfigError, DataError, MissingInputError
from nowcast.factories.radar import copied, reading
from nowcast.files import only_writer
from nowcast.periods import Period, parse_period
from nowcast.radar import find_files
from nowcast.radar.grid import CRS
from nowcast.radar.placing.cropping import Columns, box_of, columns_of
from nowcast.radar.placing.georeference import Place
from nowcast.radar.placing.resampling import Resample, to_grid, to_pixel_size
from nowcast.radar.reading.file import RadarFile, ReadOptions
from nowcast.radar.reading.formats import describe_file
from nowcast.radar.reading.units import MARSHALL_PALMER
from nowcast.radar.series.building import build_series
from nowcast.radar.series.cadence import targets_of
from nowcast.radar.series.describing import Problem, alike_files, refuse
from nowcast.radar.series.opening import provenance_of
from nowcast.radar.series.series import Series, near
from nowcast.radar.store.preparation import DayPlan, Preparation, describe_part, make_day, plan_days
from nowcast.radar.store.processes import in_processes
from nowcast.radar.store.store import fingerprint, read_records, refuse_other_settings
from nowcast.radar.times import TimeSpan

log = logging.getLogger(__name__)

_FILES_AT_ONCE = 32  # described by a worker at a time


@dataclass(frozen=True)
class Pixels:
    """The crop of the source grid, and how it is resampled."""

    rows: slice
    columns: Columns
    resample: Resample | None
    place: Place


def prepare(config: PrepareConfig) -> None:
    """Write the days that the store lacks, and rewrite days that new files have changed."""
    period = None if config.period is None else parse_period("period", config.period)
    options, store = reading(config.data), Path(config.output)
    paths = find_sources(config, period)
    series, bad = describe_sources(paths, options, config, period)
    targets = targets_of(series.times, series.timestep_minutes, config.timestep_minutes)
    targets = [target for target in targets if period is None or target.time in period]
    if not targets:
        wanted = (
            "" if config.timestep_minutes is None else f" of {config.timestep_minutes:g} minutes"
        )
        raise MissingInputError(
            f"{config.data.path}: no frame{wanted} in {period or 'these files'}; give another"
            " period, or more files."
        )
    preparation = plan_pixels(series, options, config)
    with only_writer(store):
        records = read_records(store)
        refuse_other_settings(records.values(), preparation.settings)
        plans = plan_days(
            targets, series, [fingerprint(file.path) for file in series.files], records
        )
        made, unread = make_days(preparation, plans, config.workers)
        summarise(store, made, bad, unread, config)


def find_sources(config: PrepareConfig, period: Period | None) -> list[Path]:
    """Find the raw files. Errors: MissingInputError; ConfigError if the store is among them."""
    source, store = Path(config.data.path).expanduser().resolve(), Path(config.output).resolve()
    span = around(period, config)
    found = find_files(config.data.path, span[0] if span else None, config.data.format)
    paths = copied(found, config.data)
    if (source.is_dir() and store.is_relative_to(source)) or any(
        path.resolve().is_relative_to(store) for path in paths
    ):
        raise ConfigError(
            f"output: {config.output} is inside data.path and would be read as input; choose"
            " another folder."
        )
    return paths


def around(period: Period | None, config: PrepareConfig) -> list[TimeSpan]:
    """Return the time span of the source frames of a period: averages over a coarser time step also
    need frames just before and after it.
    """
    if period is None:
        return []
    margin = np.timedelta64(round((config.timestep_minutes or 0) * 60), "s")
    return [(period.start - margin, period.end + margin)]


def describe_sources(
    paths: list[Path], options: ReadOptions, config: PrepareConfig, period: Period | None = None
) -> tuple[Series, list[Problem]]:
    """Return the series of all good files with frames in the period, and the problems of the
    others.

    Errors: that of the first bad file, unless bad files are skipped; DataError if no file is good;
    MissingInputError if none has a frame in the period.
    """
    asked, spans = [] if period is None else [(period.start, period.end)], around(period, config)
    groups = [
        paths[start : start + _FILES_AT_ONCE] for start in range(0, len(paths), _FILES_AT_ONCE)
    ]
    usable, bad = list[RadarFile](), list[Problem]()
    with progress("looking at files", "file", len(paths)) as advance:
        for files, problems in in_processes(
            describe_part, options, groups, config.workers, advance
        ):
            usable += files
            bad += problems
    refuse_bad(bad, config)
    inside = [file for file in usable if not spans or near(file.times, spans).any()]
    if usable and not inside:
        raise MissingInputError(
            f"{config.data.path}: no frame in {period}; give another period, or more files."
        )
    others: list[Problem] = []
    files = alike_files(inside, others.append)
    refuse_bad(others, config)
    bad += others
    if not files:
        raise DataError(
            f"{config.data.path}: none of its {len(paths)} files can be used; the first error:"
            f" {bad[0]}"
        )
    # also for a time that does not fit the time step, or an unreadable duplicate frame
    on_bad = refuse if config.on_bad_file == "fail" else bad.append
    series = build_series(files, options, asked, spans, on_bad)
    if not np.isfinite(series.timestep_minutes):
        raise DataError(
            f"{config.data.path}: contains a single frame, so the time step is not known; give"
            " more files."
        )
    return series, bad


def refuse_bad(problems: Sequence[Problem], config: PrepareConfig) -> None:
    """Errors: DataError with the first problem, unless bad files are skipped."""
    if problems and config.on_bad_file == "fail":
        others = f" ({len(problems) - 1} more like it)" if len(problems) > 1 else ""
        raise DataError(f"{problems[0]}{others} To leave out bad files, set on_bad_file=skip.")


def plan_pixels(series: Series, options: ReadOptions, config: PrepareConfig) -> Preparation:
    """Plan the processing of every frame.

    Errors: ConfigError, DataError if its pixels cannot be cropped or resampled like this.
    """
    first = series.files[0]
    pixels = choose_pixels(first, config)
    provenance = provenance_of(series.files)
    settings = {
        "source": provenance["converted_from"],
        "data.missing_value": config.data.missing_value,
        "data.dry_value": config.data.dry_value,
        "data.max_rate": config.data.max_rate,
        "data.above_max_rate": config.data.above_max_rate,
        "crop": config.crop,
        "pixel_size": config.pixel_size,
        "grid": describe_place(pixels),
        "timestep_minutes": config.timestep_minutes or series.timestep_minutes,
        "speckle_neighbours": config.speckle_neighbours,
    }
    attrs = {name: value for name, value in provenance.items() if name != "source_files"}
    return Preparation(
        Path(config.output), series, options, config.on_bad_file == "skip", pixels.rows,
        pixels.columns, config.speckle_neighbours, pixels.resample, pixels.place, attrs, settings,
    )  # fmt: skip


def choose_pixels(file: RadarFile, config: PrepareConfig) -> Pixels:
    """Choose the crop of a grid and its resampling."""
    where, place = str(file.path), file.place
    rows: slice = slice(0, file.layout.shape[0])
    columns: Columns = slice(0, file.layout.shape[1])
    if config.crop is not None:
        west, south, east, north = config.crop
        rows, columns = box_of(place, (west, south, east, north), where)
        place = {
            name: variable.isel({"y": rows}) if "y" in variable.dims else variable
            for name, variable in place.items()
        }
        place = columns_of(place, columns)
    resample: Resample | None = None
    if config.pixel_size is not None:
        resample, place = to_pixel_size(place, config.pixel_size, where)
    elif config.grid is not None:
        path = copied(find_files(config.grid), config.data)[0]
        target = describe_file(
            path, ReadOptions(units="dBZ", zr=MARSHALL_PALMER)
        ).place  # only its grid is used, whatever it measures
        resample, place = to_grid(place, target, where, str(path)), target
    return Pixels(rows, columns, resample, place)


def describe_place(pixels: Pixels) -> str:
    """Return a short text that identifies the place of the pixels."""
    digest = hashlib.sha256()
    for name, variable in sorted(pixels.place.items()):
        about = (
            sorted((key, str(value)) for key, value in variable.attrs.items())
            if name == CRS
            else []
        )
        digest.update(
            f"{name} {about} {np.round(variable.values.astype(float), 4).tolist()}".encode()
        )
    size = [pixels.place[axis].size for axis in ("y", "x") if axis in pixels.place] or [
        len(part) if isinstance(part, list) else part.stop - part.start
        for part in (pixels.rows, pixels.columns)
    ]
    return f"{size[0]} x {size[1]} pixels, {digest.hexdigest()[:12]}"


def make_days(
    preparation: Preparation, plans: list[DayPlan], workers: int
) -> tuple[int, dict[str, str]]:
    """Write the days, several at a time.

    Return how many frames were made, and the reasons for left-out frames by time.
    """
    frames, unread = 0, {}
    with progress("preparing", "frame", sum(plan.needed.size for plan in plans)) as advance:
        for made, left_out in in_processes(make_day, preparation, plans, workers, advance):
            frames += made
            unread.update(left_out)
    return frames, unread


@contextmanager
def progress(what: str, unit: str, total: int) -> Iterator[Callable[[int], Any]]:
    """Show a progress bar on a terminal, and nothing in a log."""
    with tqdm(desc=what, unit=unit, total=total, leave=False, disable=None, file=sys.stderr) as bar:
        yield bar.update


def summarise(
    store: Path, made: int, bad: list[Problem], unread: dict[str, str], config: PrepareConfig
) -> None:
    """Log what this and earlier runs left out, and print what the store contains and how to use
    it.
    """
    records = list(read_records(store).values())
    unread = {
        **unread,
        **{time: reason for record in records for time, reason in record.left_out.items()},
    }
    for line in [*bad, *(f"{time}: {reason}" for time, reason in sorted(unread.items()))]:
        log.warning("left out: %s", line)
    if not records:
        raise DataError(
            f"{config.data.path}: no frame could be read, so no store was written; see the lines"
            " above."
        )
    size = sum(record.path.stat().st_size for record in records)
    frames = sum(record.times.size for record in records)
    print(f"{made} frames written" if made else "nothing to do: the store is up to date")
    days = "1 day" if len(records) == 1 else f"{len(records)} days"
    print(f"{store}: {frames} frames on {days}, {size / 1e6:.1f} MB")
    print(f"left out: {len(bad)} files, and {len(unread)} frames that could not be read")
    fate = "lowered to it" if config.data.above_max_rate == "clip" else "counted as missing"
    high, speckle = (
        sum(getattr(record, what) for record in records) for what in ("high", "speckle")
    )
    print(f"above data.max_rate={config.data.max_rate:g} mm/h and {fate}: {high} pixels")
    if config.speckle_neighbours:
        print(f"speckle made dry: {speckle} pixels")
    print(f"use it with: data=radar data.path={store}")
