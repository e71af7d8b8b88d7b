"""One cycle: from the newest frames, or those up to a time, to a published forecast, or to a stated
reason why there is none.
"""

import glob
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.baselines import baseline_record
from nowcast.config.predict import GEOTIFF, MODEL, NONE, PredictConfig
from nowcast.errors import ConfigError, MissingInputError, TryLaterError, WarnedError
from nowcast.forecast.dataset import LATEST, build_forecast
from nowcast.forecast.file_accumulation import FileAccumulation, with_accumulations
from nowcast.forecast.geotiff import geotiff_path
from nowcast.forecast.plausibility import refuse_implausible, wet_share
from nowcast.probability.options import RATE_BY
from nowcast.radar import would_find
from nowcast.service.deadline import deadline
from nowcast.service.live_frames import FrameSource
from nowcast.service.model_cache import ModelCache
from nowcast.service.publication import (
    METHOD_REASON,
    complete,
    forecast_path,
    newest_forecast,
    output_folder,
    publish,
    published,
    tidy_up,
)
from nowcast.service.questions import Questions
from nowcast.service.report import ALREADY_THERE, FALLBACK, FORECAST, Report, not_by_model
from nowcast.untrusted.addresses import is_address

if TYPE_CHECKING:
    from nowcast.service.methods import Made

_DIGESTS = "input_digests"
"""The attribute of a forecast file with a digest of each input frame."""
_PUBLISHER = {"institution": "institution", "licence": "license", "contact": "contact"}
"""The keys with which the user names the publisher, and the attributes they become."""


def run_cycle(
    config: PredictConfig,
    source: FrameSource,
    model_cache: ModelCache,
    report: Report,
    at: np.datetime64 | None,
    now: np.datetime64,
    questions: Questions,
) -> None:
    """Forecast from `at`, or from the newest frame, unless that forecast exists; fill in `report`
    on the way.

    An existing forecast is made again if its input frames have changed since. A fallback is always
    tried again: it is replaced if a better method has its frames now.

    now: current time; without `at`, later frames are ignored, and `max_age` counts from it.
    questions: what to derive from the forecast once it is published.
    Errors: as each part; WarnedError and TryLaterError, after everything is published, if
    `warnings.exit_code` and `fallback_exit_code` ask for them.
    """
    with deadline(config.deadline):
        with report.timed("find"):
            try:
                reference_time = newest_time(source, config, now) if at is None else at
            finally:  # the age of a frame that is too old is reported, too
                seen = source.seen if at is None else at
                report.age = (
                    None
                    if at is not None or seen is None
                    else float((now - seen) / np.timedelta64(1, "s"))
                )
            report.reference_time, report.path = (
                reference_time,
                forecast_path(config.output, reference_time),
            )
            refuse_among_radar(report.path, config)
            checksum = model_cache.checksum()
            recipe = recipe_of(config, checksum)
            there = published(report.path, reference_time, recipe)
            changed = there is not None and is_outdated(there, report, source)
            report.checkpoint = checksum
        if there is not None and METHOD_REASON not in there and not changed:
            report.outcome, forecast, observed = ALREADY_THERE, None, None
        else:
            with report.timed("model"):
                methods = model_cache.methods(checksum)
            with report.timed("forecast"):
                made = methods.forecast(source, reference_time)
            with report.timed("check"):
                note(report, made, config)
            forecast, observed = dataset_of(made, config, recipe), made.scene.rates[-1]
            if there is not None and there.get(METHOD_REASON) == made.reason and not changed:
                report.outcome, forecast = ALREADY_THERE, None
    with report.timed("write"):
        if forecast is not None:
            publish(forecast, report.path, config, reference_time, now)
            report.outcome = FORECAST if report.reason is None else FALLBACK
        complete(report.path, config)
        tidy_up(config, reference_time, now)
        if questions:
            newest = newest_forecast(config.output, max(reference_time, now))
            newer = newest[1] if newest is not None and newest[0] > reference_time else None
            answer(questions, forecast, observed, report, newer, is_live=at is None)
        if config.page is not None:
            from nowcast.service.page import write_page  # imports PROJ and Pillow

            write_page(source, questions, reference_time, now, report.warnings)
    warned = [name for name, found in report.warnings.items() if found]
    if warned and config.warnings.exit_code:
        raise WarnedError(f"warning: {', '.join(warned)}", config.warnings.exit_code)
    if report.reason is not None and config.fallback_exit_code:
        raise TryLaterError(f"forecast by {report.method}, {not_by_model(report.reason)}")


def answer(
    questions: Questions,
    forecast: xr.Dataset | None,
    observed: NDArray[np.float32] | None,
    report: Report,
    newer: Path | None,
    is_live: bool,
) -> None:
    """Answer the questions about the forecast at `report.path`, and enter warnings and remarks into
    the report.

    newer: a newer forecast, if there is one; a live cycle then keeps to its warnings.
    forecast, observed, errors: as `Questions.answer`.
    """
    assert report.path is not None
    if newer is not None and is_live and questions.rules:
        replace(questions, rules=()).answer(forecast, observed, report.path)
        report.remarks.append(f"{newer} is newer, and its warnings still hold")
        report.warnings, remarks = questions.answer(None, None, newer)
    else:
        report.warnings, remarks = questions.answer(forecast, observed, report.path, newer is None)
    report.remarks += remarks


def is_outdated(there: Mapping[str, Any], report: Report, source: FrameSource) -> bool:
    """Whether input frames of the forecast at `report.path`, which has the attributes `there`,
    changed since it was made; if so, add a remark.
    """
    assert report.path is not None
    try:
        digests = dict(json.loads(there.get(_DIGESTS, "{}")))
        changed = source.changed_since(digests, report.path.stat().st_mtime)
    # the file is gone, or another program changed the attribute
    except (OSError, ValueError, TypeError):
        return False
    if changed:
        frames = ", ".join(f"{time:.16}" for time in changed)
        report.remarks.append(
            f"{report.path}: made again, because frames changed since: {frames} UTC"
        )
    return bool(changed)


def newest_time(source: FrameSource, config: PredictConfig, now: np.datetime64) -> np.datetime64:
    """Return the time of the newest frame.

    Errors: as `FrameSource.newest`; TryLaterError if there are no frames, although their folder
    exists, and `none` is the last of the methods.
    """
    try:
        return source.newest(now)
    except MissingInputError as error:
        if config.methods[-1] == NONE and not is_nowhere(config.data.path):
            raise TryLaterError(str(error)) from error
        raise


def is_nowhere(path: str) -> bool:
    """Whether a path, up to its first part with time codes or wildcards, does not exist; then it is
    mistyped or not mounted.
    """
    parts = Path(path).expanduser().parts
    fixed = takewhile(lambda part: "%" not in part and not glob.has_magic(part), parts)
    return not is_address(path) and not os.path.exists(Path(*fixed))


def recipe_of(config: PredictConfig, checksum: str) -> dict[str, str]:
    """Return the attributes of a forecast file that determine how it is made: the same recipe and
    time give the same file, however it was requested.

    checksum: of the checkpoint, if there is one.
    """
    shaping = config.shaping
    if config.baseline is not None and checksum:
        return {"config": json.dumps(shaping | {"steps_of_checkpoint_sha256": checksum})}
    return {**({"checkpoint_sha256": checksum} if checksum else {}), "config": json.dumps(shaping)}


def note(report: Report, made: "Made", config: PredictConfig) -> None:
    """Enter a forecast into the report. Errors: InternalError if it may not be published."""
    rates = made.scene.rates
    if made.forecast.within is not None:
        rates = np.where(made.forecast.within, rates, np.float32(np.nan))
    newest = rates[-1]
    covered = np.asarray(np.isfinite(rates).any(axis=0))
    report.method, report.reason = made.method, made.reason
    report.remarks += [made.made_with["remarks"]] if "remarks" in made.made_with else []
    report.wet_share, report.input_wet_share = wet_share(made.forecast.rates), wet_share(newest)
    sees_rain = made.method == MODEL or baseline_record(made.method).sees_rain
    wet_ratio = config.max_wet_ratio if sees_rain else np.inf
    refuse_implausible(
        made.forecast.rates,
        newest,
        config.data.max_rate,
        wet_ratio,
        None if made.moving else covered,
    )


def dataset_of(made: "Made", config: PredictConfig, recipe: Mapping[str, str]) -> xr.Dataset:
    """Return the forecast dataset, with its provenance."""
    scene = made.scene
    shown = {
        "missing_input_times": scene.missing,
        "filled_input_times": scene.filled,
        "input_times": ~scene.missing & ~scene.filled,
    }
    by_probabilities = made.method == MODEL and made.forecast.probabilities is not None
    provenance = {
        **made.made_with,
        **({"method": made.method} if made.method != MODEL else {}),
        **({RATE_BY: config.rate} if by_probabilities else {}),
        **({METHOD_REASON: made.reason} if made.reason else {}),
        **recipe,
        **{name: getattr(config, key) for key, name in _PUBLISHER.items() if getattr(config, key)},
        "inputs": config.data.path,
        _DIGESTS: scene.digests,
        **{
            key: [f"{time:.19}Z" for time in scene.times[which].astype(str)]
            for key, which in shown.items()
        },
    }
    forecast = build_forecast(
        made.forecast.rates, scene.grid, scene.reference_time, scene.timestep, provenance,
        made.forecast.probabilities, made.forecast.members,
    )  # fmt: skip
    return with_accumulations(forecast, _sums(made, config)) if config.accumulations else forecast


def _sums(made: "Made", config: PredictConfig) -> list[FileAccumulation]:
    from nowcast.forecast.accumulating import accumulations_of  # imports PyTorch

    return accumulations_of(
        made.forecast,
        made.scene.timestep_minutes,
        config.accumulations,
        config.accumulation_thresholds,
    )


def refuse_among_radar(path: Path, config: PredictConfig) -> None:
    """Errors: ConfigError if the next cycle would read the forecast, or `latest.nc`, as a radar
    file.
    """
    latest = [output_folder(config.output) / LATEST] if config.latest else []
    # a missing radar folder does not matter if the forecast exists
    with suppress(MissingInputError):
        for one in (path, *latest, *([geotiff_path(path)] if config.format == GEOTIFF else [])):
            if would_find(config.data.path, one, config.data.format):
                raise ConfigError(
                    f"output: {one} would be read as a radar file, because it matches"
                    f" data.path={config.data.path}; give forecasts another folder or name."
                )
