"""Cases of the validation days, forecast by the baselines, to fit their cuts."""

import logging

import numpy as np

from nowcast.config.data import RadarConfig
from nowcast.config.evaluate import EvaluateConfig
from nowcast.errors import ConfigError, DataError
from nowcast.evaluation.cuts import CutCases, fit_all
from nowcast.evaluation.regions import region_of
from nowcast.evaluation.several_cases import SeveralCases
from nowcast.evaluation.window_cases import (
    WindowCases,
    choose_starts,
    open_baselines,
    scored_period,
)
from nowcast.factories.radar import open_radar
from nowcast.factories.windows import pack_radar
from nowcast.periods import Period, parse_period, refuse_overlap
from nowcast.sequences.scaling import Scaling
from nowcast.sequences.windows import RadarWindows

log = logging.getLogger(__name__)


def with_fitted_cuts(
    config: EvaluateConfig, data: RadarConfig, scored: WindowCases | SeveralCases
) -> CutCases:
    """Return the cases with a copy of each baseline whose rates are made with cuts, fitted on
    `data.validation` and on the pixels to score.

    Errors: ConfigError if these days are not given or overlap the scored ones; as all that it
    opens.
    """
    days = _validation_days(data, scored_period(config, data), scored)
    cases = _open(config, data, days, scored)
    fitted_on = f"{days} UTC, {len(cases.times)} case{'s' * (len(cases.times) != 1)}"
    log.info("fitting cuts of %s on %s", ", ".join(config.baseline), fitted_on)
    region = region_of(config, cases.grid)
    cuts = fit_all(cases, config.thresholds, config.batch_size, region)
    return CutCases(scored, cuts, fitted_on)


def _validation_days(
    data: RadarConfig, period: Period, scored: WindowCases | SeveralCases
) -> Period:
    if data.validation is None:
        raise ConfigError(
            "data.validation: fit_cuts=true fits cuts on these days; give the first and the last"
            " day, for example [2018-05-16, 2018-05-16]."
        )
    days = parse_period("data.validation", data.validation)
    last = np.timedelta64(round(scored.lead_minutes[-1] * 60), "s")
    refuse_overlap({"data.validation": days, "period": Period(period.start, period.end + last)})
    return days


def _open(
    config: EvaluateConfig, data: RadarConfig, days: Period, scored: WindowCases | SeveralCases
) -> WindowCases:
    """Open cases whose frames are all in these days."""
    input_steps, lead_steps = scored.windows.input_steps, len(scored.lead_minutes)
    grid = open_radar(data, days)
    rates = pack_radar(data, grid, days)
    try:
        starts, _ = choose_starts(config, rates, days, input_steps, lead_steps)
    except DataError as error:
        raise DataError(f"data.validation: {error}") from error
    windows = RadarWindows(
        rates, days, input_steps=input_steps, lead_steps=lead_steps,
        scaling=Scaling("linear", 1.0, 1.0), fields=None, starts=starts,
    )  # fmt: skip
    baselines = open_baselines(config, data, grid, input_steps, lead_steps)
    return WindowCases(
        windows, windows.epoch(0), baselines, scored.lead_minutes, grid, scored.device
    )
