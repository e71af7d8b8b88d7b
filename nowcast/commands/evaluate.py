"""`nowcast evaluate`: score a model, baselines or forecast files against observations; write
counts, scores and a report.
"""

import glob
import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from tqdm import tqdm

from nowcast import startup
from nowcast.api.scoring import scores_by
from nowcast.config.data import MovingMnistConfig
from nowcast.config.evaluate import EvaluateConfig
from nowcast.errors import ConfigError, DataError, MissingInputError, TryLaterError
from nowcast.evaluation.accumulations import Amounts
from nowcast.evaluation.cases import Cases, Source, label_of
from nowcast.evaluation.example_cases import (
    case_csi,
    drawn_probability,
    example_cases_of,
    judged_threshold,
)
from nowcast.evaluation.regions import region_of
from nowcast.evaluation.sources import open_source, refuse_without_members
from nowcast.evaluation.trained_data import with_data
from nowcast.files import sha256, written_together
from nowcast.forecast.baselines.baseline import Baseline
from nowcast.pretrained import checkpoint_name, checkpoint_paths
from nowcast.probability.options import RATE_BY
from nowcast.radar.placing.cropping import degrees_of, knows_degrees
from nowcast.radar.placing.georeference import place_of_grid
from nowcast.radar.placing.place import Origin, origin_of
from nowcast.report.foot import facts_of_counts, line_of
from nowcast.report.page import ExampleCase, write_report
from nowcast.report.pictures.charts import draw_csi
from nowcast.report.pictures.frames import draw_frames
from nowcast.report.scale import PIXEL_KM, pixel_km_of, sides_km
from nowcast.training.precision import choose_precision
from nowcast.verification.counts_files import (
    RATES,
    merge_all_counts,
    open_all_counts,
    write_counts,
)
from nowcast.verification.headline import headline_text
from nowcast.verification.remarks import AMOUNT_TITLE, CUTS_FITTED_ON, remarks_attr
from nowcast.verification.table import write_differences, write_scores
from nowcast.verification.tally import Tally
from nowcast.version import __version__

log = logging.getLogger(__name__)

CASES_PER_TRIM = 64
"""After this many cases freed memory goes back to the system. glibc would keep some
megabytes of each case, because the sums of the cases lie between them.
"""

_INPUT = ("input_institution", "input_title", "input_license")
"""Attributes of counts that state whose the data are, as in a forecast file."""

UNFINISHED = "counts.unfinished.nc"
"""The counts of an evaluation whose scores or report could not be written."""


@dataclass(frozen=True)
class Shown:
    """The cases to draw: those of the report, and the one with most rain; none if counts were
    added up.
    """

    example_cases: list[ExampleCase]
    wettest: Cases | None
    wettest_name: str
    lead_minutes: list[float]
    origin: Origin
    degrees: tuple[NDArray[Any], NDArray[Any]] | None = None
    reference_time: datetime | None = None


def evaluate(config: EvaluateConfig) -> None:
    """Score; write counts.nc, scores.nc, scores.csv, differences.csv, report.html, csi.png and
    frames.png; print the headline table.
    """
    config = with_data(config)
    groups, shown = (
        _merged(config.counts, config.output) if config.counts is not None else _scored(config)
    )
    try:
        all_scores, paths = _written(config, groups, shown)
    except TryLaterError:  # another evaluation writes this folder
        raise
    except Exception:
        if config.counts is None:
            _keep_counts(groups, Path(config.output, UNFINISHED))
        raise
    scores, amounts = _rates_and_amounts(all_scores)
    print(headline_text(scores))
    for one in amounts.values():
        print(f"\n{one.attrs[AMOUNT_TITLE]}\n{headline_text(one)}")
    for path in paths:
        print(Path(config.output, path.name))


def _written(
    config: EvaluateConfig, groups: Mapping[str, xr.Dataset], shown: Shown
) -> tuple[dict[str, xr.Dataset], list[Path]]:
    """Write all files. Return the scores by group, and the paths."""
    all_scores = {group: scores_by(config, one) for group, one in groups.items()}
    counts, amount_counts = _rates_and_amounts(groups)
    scores, amounts = _rates_and_amounts(all_scores)
    thresholds = counts["threshold"].values.tolist()
    judged = f"CSI at {thresholds[judged_threshold(thresholds)]:g} mm/h over all lead times"
    # left from other cases, if none are made now
    stale = ["frames.png", "differences.csv", UNFINISHED]
    with written_together(config.output, replaces=stale) as folder:
        paths = [
            write_counts(counts, folder / "counts.nc", amount_counts),
            *write_scores(scores, folder, amounts),
            draw_csi(scores, folder / "csi.png", line_of(facts_of_counts(counts.attrs))),
        ]
        if scores.sizes["forecast"] > 1:
            paths.append(write_differences(scores, folder))
        if shown.wettest is not None:
            paths.append(_draw_case(shown.wettest, shown, folder / "frames.png", counts.attrs))
        report = folder / "report.html"
        paths.append(
            write_report(
                report, scores, counts, shown.example_cases, judged, shown.origin,
                _settings(counts), [(one, groups[name]) for name, one in amounts.items()],
                shown.degrees,
            )
        )  # fmt: skip
    return all_scores, paths


def _keep_counts(groups: Mapping[str, xr.Dataset], path: Path) -> None:
    """Write the counts of an evaluation that failed afterwards, and log where they are."""
    counts, amounts = _rates_and_amounts(groups)
    try:
        write_counts(counts, path, amounts)
    except Exception as error:
        log.error("the counts could not be kept in %s: %s", path, error)
        return
    log.error("the counts are kept; score them with 'nowcast evaluate counts=%s'", path)


def _rates_and_amounts(
    groups: Mapping[str, xr.Dataset],
) -> tuple[xr.Dataset, dict[str, xr.Dataset]]:
    """Split by group into rates and sums of rain."""
    return groups[RATES], {group: one for group, one in groups.items() if group != RATES}


def _scored(config: EvaluateConfig) -> tuple[dict[str, xr.Dataset], Shown]:
    """Return the counts of all cases by group, and the cases to draw."""
    source = open_source(config, choose_precision(config.device, config.precision))
    if config.ensemble is not None:
        refuse_without_members(source)
    region = region_of(config, source.grid)
    amounts = Amounts(config, source.lead_minutes, region)
    tally = Tally(
        config.thresholds,
        source.lead_minutes,
        scales=config.fss_scales,
        region=region,
        common=config.common_pixels,
        ssim=isinstance(config.data, MovingMnistConfig),
        timed=source.grid is not None,
    )
    quality, wettest = _count(source, tally, amounts, config.batch_size)
    counts = tally.dataset()
    if not counts["joint"].values.any():
        raise DataError(
            "no pixel is covered by the observations and all forecasts, so there is nothing to"
            " score."
        )
    counts.attrs |= _made_by(config, source, has_probabilities="has_probabilities" in counts)
    counts.attrs |= _about_data(source.grid)
    named = {
        name: [checkpoint_name(path) for path in one]
        if isinstance(one, list)
        else checkpoint_name(one)
        for name, one in config.checkpoints.items()
    }
    settings = asdict(config) | {"checkpoint": named.get("", named or None)}
    counts.attrs["settings"] = json.dumps({"nowcast": __version__, **settings}, default=str)
    for remark in tally.remarks:
        log.warning("%s", remark)
    counts.attrs |= remarks_attr([*source.remarks, *_departures(source), *tally.remarks])
    name = label_of(source.times[wettest], source)
    groups = {RATES: counts, **amounts.datasets(counts)}
    return groups, Shown(
        example_cases_of(source, quality),
        source.read([wettest]),
        name,
        source.lead_minutes,
        origin_of(source.grid),
        _degrees_of(source.grid),
        None if source.grid is None else source.times[wettest].astype("datetime64[us]").item(),
    )


def _made_by(config: EvaluateConfig, source: Source, *, has_probabilities: bool) -> dict[str, str]:
    """Return the attributes of counts that name the models and how they give rates."""
    checksums = {
        name: ", ".join(map(sha256, checkpoint_paths(one)))
        for name, one in config.checkpoints.items()
    }
    rates = [config.rate] if checksums and has_probabilities else []
    about = {
        "checkpoint_sha256": checksums.get("", json.dumps(checksums) if checksums else ""),
        RATE_BY: ", ".join(dict.fromkeys([*rates, *source.rates_by])),
        CUTS_FITTED_ON: source.fitted_on,
    }
    return {key: text for key, text in about.items() if text}


def _about_data(grid: xr.Dataset | None) -> dict[str, Any]:
    """Return the attributes of counts that state the origin of the data and the pixel size."""
    if grid is None:
        return {}
    sides = sides_km(place_of_grid(grid))
    size = {} if sides is None else {PIXEL_KM: np.array(sides)}
    stated = {name: grid.attrs.get(name.removeprefix("input_")) for name in _INPUT}
    return size | {name: str(words) for name, words in stated.items() if words is not None}


def _count(
    source: Source, tally: Tally, amounts: Amounts, batch_size: int
) -> tuple[NDArray[np.float64], int]:
    """Add all cases to the tally, and their sums to `amounts`.

    Return the CSI of each case by the first forecast, and the case with the most observed rain.
    """
    quality, rain = [], []
    count, batches_per_trim = len(source.times), max(CASES_PER_TRIM // batch_size, 1)
    with tqdm(
        total=count, desc="scoring", unit="case", leave=False, disable=None, file=sys.stderr
    ) as bar:
        for first in range(0, count, batch_size):
            cases = source.read(range(first, min(first + batch_size, count)))
            counts = tally.add(cases.times, cases.observed, cases.forecasts, cases.probabilities)
            amounts.add(cases)
            quality.append(case_csi(next(iter(counts.values()))))
            rain.append(cases.observed.nan_to_num(0.0).mean(dim=(1, 2, 3)).cpu().numpy())
            bar.update(len(cases.times))
            del cases  # before the next ones are read
            if startup.is_ours and len(quality) % batches_per_trim == 0:
                startup.return_memory()
    if not quality:
        raise DataError("no case to score; give another period, or other forecast files.")
    return np.concatenate(quality), int(np.concatenate(rain).argmax())


def _merged(pattern: str, output: str) -> tuple[dict[str, xr.Dataset], Shown]:
    """Return the sum of counts files, by group.

    Errors: MissingInputError if no file matches; ConfigError if the sum would overwrite one of
    them; as open_all_counts and merge_all_counts.
    """
    paths = sorted(glob.glob(str(Path(pattern).expanduser()), recursive=True))
    if not paths:
        raise MissingInputError(
            f"{pattern}: no counts files found; give a counts.nc that 'nowcast evaluate' wrote, or"
            " a quoted glob."
        )
    if Path(output, "counts.nc").resolve() in {Path(path).resolve() for path in paths}:
        raise ConfigError(
            f"output: {output}/counts.nc is one of the counts to be added; choose another folder."
        )
    parts = [open_all_counts(path) for path in paths]
    merged = merge_all_counts(parts, paths)
    for key in (PIXEL_KM, *_INPUT):  # what only some parts state is not true of the sum
        if len({str(part[RATES].attrs.get(key)) for part in parts}) > 1:
            merged[RATES].attrs.pop(key, None)
    merged[RATES].attrs["settings"] = json.dumps({"nowcast": __version__, "counts": paths})
    return merged, Shown([], None, "", [], "upper")


def _departures(source: Source) -> list[str]:
    """Return how baselines deviated from their methods, and in how many cases."""
    baselines = {name: one for name, one in source.predictors.items() if isinstance(one, Baseline)}
    return [
        f"{name}: {text} ({cases} case{'s' * (cases != 1)})"
        for name, one in baselines.items()
        for text, cases in one.remarks.items()
    ]


def _degrees_of(grid: xr.Dataset | None) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Return longitude and latitude of the pixels; None if their place is not known."""
    place = place_of_grid(grid)
    return degrees_of(place, "the radar") if knows_degrees(place) else None


def _settings(counts: xr.Dataset) -> Mapping[str, str]:
    """Return the settings as text for the report, with keys such as data.path."""
    flat: dict[str, Any] = {}
    settings = json.loads(counts.attrs["settings"]) | {
        "checkpoint_sha256": counts.attrs.get("checkpoint_sha256")
    }
    for key, value in settings.items():
        flat |= (
            {f"{key}.{name}": one for name, one in value.items()}
            if isinstance(value, dict)
            else {key: value}
        )
    return {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in flat.items()
        if value is not None
    }


def _draw_case(case: Cases, shown: Shown, path: Path, attrs: Mapping[Any, Any]) -> Path:
    """Draw one case, observed and forecast; `attrs` are those of the counts."""
    return draw_frames(
        path,
        case.observed[0].float().cpu().numpy(),
        {
            name: forecast[0].mean(dim=1).float().cpu().numpy()
            for name, forecast in case.forecasts.items()
        },
        shown.lead_minutes,
        f"Forecast from {shown.wettest_name}, the wettest of the cases scored",
        origin=shown.origin,
        degrees=shown.degrees,
        reference_time=shown.reference_time,
        probabilities=drawn_probability(case),
        pixel_km=pixel_km_of(attrs),
        foot=line_of(facts_of_counts(attrs)),
    )
