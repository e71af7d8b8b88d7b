"""Compare forecast sums of rain over some minutes with observed ones: `accumulations=[30,60]`.

A window is scored if it lies completely in the forecast. The observed sum of a pixel needs all
frames of the window: if one is missing, so is the sum, and nothing is filled in.
"""

from collections.abc import Sequence

import xarray as xr
from torch import Tensor

from nowcast.config.evaluate import EvaluateConfig
from nowcast.evaluation.cases import Cases, one_by_one
from nowcast.forecast.file_accumulation import ACCUMULATION, window_steps
from nowcast.probability.accumulations import accumulated, expected_rates
from nowcast.probability.forecast import Forecast
from nowcast.verification.remarks import AMOUNT_TITLE
from nowcast.verification.scoring import AMOUNT_UNITS
from nowcast.verification.tally import Tally


class Amounts:
    """The counts of sums over windows of each length, next to those of rates.

    Args:
        config: `accumulations`, the lengths in minutes, and what is counted.
        lead_minutes: the lead times of all cases.
        region: (h, w) bool, the pixels to score; None for all.

    Raises:
        ConfigError: if a window does not fit the lead times.
    """

    def __init__(
        self, config: EvaluateConfig, lead_minutes: Sequence[float], region: Tensor | None
    ) -> None:
        self.timestep_minutes = lead_minutes[0]
        self.steps = {one: window_steps(one, lead_minutes) for one in config.accumulations}
        self.tallies = {
            minutes: Tally(
                config.accumulation_thresholds,
                lead_minutes[steps - 1 :],
                scales=config.fss_scales,
                region=region,
                common=config.common_pixels,
                units=AMOUNT_UNITS,
            )
            for minutes, steps in self.steps.items()
        }

    def add(self, cases: Cases) -> None:
        """Count cases."""
        if not self.tallies:
            return
        for case in one_by_one(cases):
            fields = {name: _summed_rates(case, name) for name in case.forecasts}
            for minutes, tally in self.tallies.items():
                sums = {name: self._sums(field, minutes) for name, field in fields.items()}
                tally.add(case.times, self._sums(case.observed, minutes), sums)

    def datasets(self, rates: xr.Dataset) -> dict[str, xr.Dataset]:
        """Return all counts by their group in a file, such as `accumulation_30min`.

        The wetness of hours, which defines events, is taken from the counts of rates.
        """
        wet = {name: rates[name] for name in ("observed_wet", "observed_covered")}
        return {
            f"{ACCUMULATION}{minutes}min": tally.dataset()
            .assign(wet)
            .assign_attrs({AMOUNT_TITLE: f"Sums over {minutes} minutes"})
            for minutes, tally in self.tallies.items()
        }

    def _sums(self, rates: Tensor, minutes: int) -> Tensor:
        return accumulated(rates, self.steps[minutes], self.timestep_minutes)


def _summed_rates(case: Cases, name: str) -> Tensor:
    """Return the rates (1, lead, m, h, w) whose sums are scored: those of members, or for a
    forecast with probabilities the expected rates.
    """
    rates, probabilities = case.forecasts[name], case.probabilities.get(name)
    return rates if probabilities is None else expected_rates(Forecast(rates, probabilities))
