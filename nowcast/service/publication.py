"""Publish forecasts: each complete and once, with `latest.nc` next to them; remove old ones."""

import filecmp
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from nowcast.config.predict import GEOTIFF, PredictConfig
from nowcast.errors import CannotCreateError, ConfigError, DataError, InputOutputError
from nowcast.files import link_whole, remove_leftovers, written_whole
from nowcast.forecast.dataset import (
    LATEST,
    is_damaged,
    is_forecast,
    open_own_forecast,
    read_reference_time,
    write_forecast,
)
from nowcast.forecast.geotiff import find_geotiffs, geotiff_path, remove_geotiffs, write_geotiffs
from nowcast.radar.finding.time_patterns import follow

log = logging.getLogger(__name__)

METHOD_REASON = "method_reason"
"""Attribute of a fallback forecast: why the first method was not used."""
PLACES_CSV, PLACES_JSON = ".places.csv", ".places.json"
"""What replaces .nc in the names of a forecast's files of places."""
CODES = "YymdjHMS"
"""Codes of strftime that mean the same in every language, and that `radar.finding.time_patterns`
can parse.
"""

_CODE = re.compile(r"%(.?)", re.DOTALL)
_HOUR, _DAY = np.timedelta64(1, "h"), 24
_MINUTE = timedelta(minutes=1)


def forecast_path(output: str, reference_time: np.datetime64, key: str = "output") -> Path:
    """Return the file of a forecast from this time.

    key: the configuration key of `output`.
    Errors: ConfigError if `output` holds another code than `CODES`.
    """
    time = reference_time.astype("datetime64[s]").item()

    def told(code: re.Match[str]) -> str:
        if code[1] != "%" and code[1] not in tuple(CODES):
            known = " ".join(f"%{one}" for one in CODES)
            raise ConfigError(
                f"{key}: {code[0]!r} is not a time code; use {known}, and %% for a percent sign."
            )
        return "%" if code[1] == "%" else str(time.strftime(code[0]))

    return Path(_CODE.sub(told, output)).expanduser()


def output_folder(output: str) -> Path:
    """Return the folder of all forecasts, above the first folder that is named by a time."""
    parts = Path(output).expanduser().parts[:-1]
    fixed = next((k for k, part in enumerate(parts) if has_codes(part)), len(parts))
    return Path(*(part.replace("%%", "%") for part in parts[:fixed]))


def published(
    path: Path, reference_time: np.datetime64, recipe: Mapping[str, str]
) -> Mapping[str, Any] | None:
    """Return the attributes of `path` if it is a forecast from this time with the attributes of
    `recipe`, so made in the same way; its pixels are not read.

    Errors: CannotCreateError if it is a file but not a forecast, not even a damaged one.
    """
    if not path.is_file():
        return None
    try:
        there = open_own_forecast(path, pixels=False)
    except DataError as error:
        if read_reference_time(path) is None and not is_damaged(path):
            raise CannotCreateError(
                f"{path}: already exists and is not a forecast; choose another output."
            ) from error
        log.warning("%s It is made again.", error)
        return None
    same = there["forecast_reference_time"].values == reference_time
    return (
        there.attrs
        if same and all(there.attrs.get(name) == value for name, value in recipe.items())
        else None
    )


def publish(
    forecast: xr.Dataset,
    path: Path,
    config: PredictConfig,
    reference_time: np.datetime64,
    now: np.datetime64,
) -> None:
    """Write a forecast; if the disk is full, remove forecasts older than is to be kept and try
    again.

    Errors: CannotCreateError, InputOutputError.
    """
    try:
        _write(forecast, path, config)
    except InputOutputError:
        if config.keep_hours is None and config.keep_files is None:
            raise
        tidy_up(config, reference_time, now)
        _write(forecast, path, config)


def _write(forecast: xr.Dataset, path: Path, config: PredictConfig) -> None:
    """Write the GeoTIFFs and then the forecast file, so that a complete file has all its GeoTIFFs.
    Only then remove the GeoTIFFs of the forecast that it replaces.
    """
    if config.format == GEOTIFF:
        write_geotiffs(forecast, path)
    try:
        write_forecast(forecast, path)
    finally:
        if not path.exists():
            remove_geotiffs(path)
    if config.format != GEOTIFF:
        remove_geotiffs(path)


def complete(path: Path, config: PredictConfig) -> None:
    """Write the GeoTIFFs of an existing forecast file if they were not requested before."""
    if config.format == GEOTIFF and not geotiff_path(path).exists():
        write_geotiffs(open_own_forecast(path), path)


def tidy_up(config: PredictConfig, reference_time: np.datetime64, now: np.datetime64) -> None:
    """Remove leftovers of killed processes from the day before this time, point `latest.nc` to the
    newest forecast, and remove forecasts older than is to be kept. Forecasts from the future, as
    after a jump of the clock, do not count as the newest.

    Errors: CannotCreateError if `latest.nc` is not a forecast; InputOutputError.
    """
    folder, path = output_folder(config.output), forecast_path(config.output, reference_time)
    before = {
        forecast_path(config.output, reference_time - hours * _HOUR).parent
        for hours in range(_DAY + 1)
    }
    for one in before - {folder}:
        remove_leftovers(one)
    if config.latest is None and config.keep_hours is None and config.keep_files is None:
        return
    until = max(reference_time, now)
    time, newest = newest_forecast(config.output, until) or (reference_time, path)
    if config.latest is not None and newest != folder / LATEST and newest.is_file():
        _switch_latest(config.latest, folder / LATEST, newest, time, until)
    if config.keep_hours is not None or config.keep_files is not None:
        _remove_old(config, folder, time, {path, newest, folder / LATEST})


def newest_forecast(output: str, until: np.datetime64) -> tuple[np.datetime64, Path] | None:
    """Return the reference time and path of the newest forecast named by `output`, not later than
    `until`; None if there is none.
    """
    for _, path in _named(output):
        time = read_reference_time(path)
        if time is not None and time <= until:
            return time, path
    return None


def _named(output: str) -> Iterator[tuple[np.datetime64, Path]]:
    """Yield (time, path) of the files whose names match `output`, newest first. The time is that in
    the name if this includes the minute, else that in the file, which must then be a forecast.
    """
    told = list[tuple[np.datetime64, Path]]()
    for span, path in follow(Path(re.sub(r"([*?[])", r"[\1]", output)).expanduser()):
        if path.is_symlink():
            continue
        if span.end - span.start <= _MINUTE:
            yield np.datetime64(span.start, "s"), path
        elif (time := read_reference_time(path)) is not None:
            told.append((time, path))
    yield from sorted(told, reverse=True)


def has_codes(text: str) -> bool:
    """Return whether a path is named by a time."""
    return any(code != "%" for code in _CODE.findall(text))


def _switch_latest(
    kind: str, latest: Path, newest: Path, time: np.datetime64, until: np.datetime64
) -> None:
    """Let `latest` show `newest`, a forecast from `time`, unless it already shows it, or a later
    forecast not after `until`. A damaged `latest` is replaced.
    """
    shown = read_reference_time(latest)
    if shown is None and latest.exists() and not latest.is_symlink():
        if not latest.is_file() or not is_damaged(latest):
            raise CannotCreateError(
                f"{latest}: already exists and is not a forecast; remove it, or set latest=null."
            )
        log.warning("%s: cannot be read, and is made again.", latest)
    if shown is not None and time < shown <= until:
        return
    if kind == "symlink":
        if not latest.is_symlink() or os.path.realpath(latest) != os.path.realpath(newest):
            link_whole(latest, newest)
    elif (
        latest.is_symlink() or not latest.exists() or not filecmp.cmp(latest, newest, shallow=False)
    ):
        with written_whole(latest) as temporary:
            shutil.copyfile(newest, temporary)


def _remove_old(
    config: PredictConfig, folder: Path, newest: np.datetime64, kept: set[Path]
) -> None:
    """Remove forecasts that are too old or too many, counted from `newest`, with the files that
    belong to them, and folders that are empty afterwards.
    """
    named = list(_named(config.output))
    old = _old_forecasts(config, named, newest, {os.path.realpath(path) for path in kept})
    needed = {one for time, path in named if path not in old for one in _warnings_of(time, config)}
    for path, time in old.items():
        warnings = _warnings_of(time, config) - needed
        places = [path.with_name(f"{path.stem}{one}") for one in (PLACES_CSV, PLACES_JSON)]
        try:
            for one in (*find_geotiffs(path), *places, *warnings, path):
                one.unlink(missing_ok=True)
        except OSError as error:
            raise InputOutputError(
                f"{path}: cannot be removed ({error.strerror}), although it is too old to be"
                " kept; check the permissions of its folder."
            ) from error
        log.debug("%s: removed", path)
        _remove_empty(path.parent, folder)
        for one in warnings:
            _remove_empty(one.parent, output_folder(str(config.warnings.file)))


def _old_forecasts(
    config: PredictConfig,
    named: Sequence[tuple[np.datetime64, Path]],
    newest: np.datetime64,
    untouched: set[str],
) -> dict[Path, np.datetime64]:
    """Return our forecasts that are too old or too many, and their reference times."""
    ours = [(time, path) for time, path in named if time <= newest and is_forecast(path)]
    old: dict[Path, np.datetime64] = {}
    for place, (time, path) in enumerate(ours):
        too_many = config.keep_files is not None and place >= config.keep_files
        too_old = config.keep_hours is not None and newest - time >= np.timedelta64(
            round(config.keep_hours * 3600), "s"
        )
        if (too_many or too_old) and os.path.realpath(path) not in untouched:
            own_time = read_reference_time(path)
            if own_time is not None:
                old[path] = own_time
    return old


def _warnings_of(time: np.datetime64, config: PredictConfig) -> set[Path]:
    """Return the warnings file of a forecast from this time, if its name includes the time."""
    file = config.warnings.file or ""
    return {forecast_path(file, time, "warnings.file")} if has_codes(file) else set()


def _remove_empty(emptied: Path, folder: Path) -> None:
    """Remove `emptied` and the folders above it up to `folder`, while they are empty."""
    while emptied != folder:
        remove_leftovers(emptied)
        try:
            emptied.rmdir()
        except OSError:  # not empty
            return
        emptied = emptied.parent
