"""The counts of all cases of all forecasts, hour by hour, in one dataset that can be added over
chunks, processes and files.

A block is a UTC hour with the forecast reference times of its cases. It is the smallest part that
scores can be computed for later (a day, an event, an hour of the day). A tally needs memory for its
blocks only, however many cases each has.
"""

import hashlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from nowcast.errors import DataError
from nowcast.probability.ladder import Probabilities
from nowcast.radar.grid import UNITS, WET_RATE
from nowcast.verification.continuous import error_sums
from nowcast.verification.counts import Counts, common_pixels, joint_histogram
from nowcast.verification.ensembles import crps_sums, probability_counts, rank_counts
from nowcast.verification.ladders import MEMBERS, ladder_counts, ladder_crps, within
from nowcast.verification.neighbourhood import fss_sums
from nowcast.verification.spectra import member_power, power_sums, wavenumbers
from nowcast.verification.structure import ssim_sums

DIMS = {
    "joint": ("forecast_class", "observed_class"),
    "fss_difference": ("threshold", "scale"),
    "fss_reference": ("threshold", "scale"),
    "forecast_power": ("wavenumber",),
    "observed_power": ("wavenumber",),
    "member_power": ("wavenumber",),
    "probability": ("threshold", "members_above", "observed_event"),
    "rank": ("members_below", "members_equal"),
}
"""The dimensions of each sum after (forecast, block, lead_time); sums not listed have no more."""
_MINUTE = np.timedelta64(1, "m")

NONE: Mapping[str, Probabilities] = MappingProxyType({})
Sums = dict[str, NDArray[Any]]


class Tally:
    """A growing sum of cases.

    Args:
        thresholds: K rates in mm/h, or sums in mm, rising.
        lead_minutes: the lead times.
        scales: widths of the neighbourhoods of the FSS in pixels, odd; empty for no FSS.
        region: (h, w) bool, the pixels to score; None for all. For the FSS and the spectra the grid
            ends at the smallest rectangle around them, so a box is scored like a grid of its own.
        common: whether a pixel that is missing in any forecast is missing in all.
        ssim: whether frames are in [0, 1], so that their SSIM is summed.
        timed: whether reference times are times; False if they number cases.
        units: of thresholds and fields: 'mm h-1' for rates or 'mm' for sums.

    Example:
        >>> tally = Tally([0.5, 2], [5, 10])
        >>> rain = torch.ones(1, 2, 8, 8)  # (case, lead, h, w) in mm/h
        >>> counts = tally.add(np.array(["2020-01-01T00:00"], "datetime64[m]"), rain,
        ...     {"model": rain[:, :, None]})
        >>> tally.dataset()["joint"].sum().item()  # pixels of two frames
        128
    """

    def __init__(
        self,
        thresholds: Sequence[float],
        lead_minutes: Sequence[float],
        *,
        scales: Sequence[int] = (),
        region: Tensor | None = None,
        common: bool = True,
        ssim: bool = False,
        timed: bool = True,
        units: str = UNITS,
    ) -> None:
        self.thresholds, self.lead_minutes, self.scales = (
            tuple(thresholds),
            tuple(lead_minutes),
            tuple(scales),
        )
        self.region, self.common, self.ssim, self.timed = region, common, ssim, timed
        self.units = units
        self.extent = (slice(None), slice(None)) if region is None else _extent(region)
        self.members: dict[str, int] = {}
        self.has_probabilities: dict[str, bool] = {}
        self.remarks: list[str] = []
        self.shape: tuple[int, int] = (0, 0)
        self._blocks: dict[np.datetime64, dict[str, Sums]] = {}
        self._minutes: dict[np.datetime64, int] = {}

    def add(
        self,
        times: NDArray[np.datetime64],
        observed: Tensor,
        forecasts: Mapping[str, Tensor],
        probabilities: Mapping[str, Probabilities] = NONE,
    ) -> dict[str, Counts]:
        """Count cases: reference times (b,), observed (b, lead, h, w), each forecast (b, lead, m,
        h, w), mm/h, NaN = missing; and the probabilities of the forecasts that have them.

        A forecast with probabilities is scored like an ensemble, by its probabilities instead of
        its members. At a threshold outside their ladder it has no such score, and `remarks` says
        so. A case whose probabilities are all missing is in no such score.

        Every call must have the same forecasts. Cases and frames without a scored pixel are in no
        mean; such cases are counted as `unscored_cases`. → the joint counts of each case, (b, lead,
        K + 1, K + 1), by forecast.
        Errors: DataError if a case occurs twice; as the functions that count.
        """
        hours, minutes = self._register(times)
        self._note(forecasts, probabilities)
        joint: dict[str, list[Tensor]] = {name: [] for name in forecasts}
        for case, (hour, minute) in enumerate(zip(hours, minutes, strict=True)):
            one = slice(case, case + 1)  # copying all cases at once would take much memory
            ladders = [each.values[one] for each in probabilities.values()]
            sums = self._case(
                hour,
                observed[one],
                {name: forecast[one] for name, forecast in forecasts.items()},
                _with_values(probabilities, ladders),
            )
            for name, counted in sums.items():
                joint[name].append(counted)
            self._minutes[hour] = self._minutes.get(hour, 0) | minute
        return {name: Counts(self.thresholds, torch.cat(one)) for name, one in joint.items()}

    def _case(
        self,
        hour: np.datetime64,
        observed: Tensor,
        forecasts: Mapping[str, Tensor],
        probabilities: Mapping[str, Probabilities],
    ) -> dict[str, Tensor]:
        """Add one case, b = 1, to the block of its hour; return its joint counts by forecast."""
        probabilities = {
            name: one for name, one in probabilities.items() if not bool(one.values.isnan().all())
        }
        if self.region is not None:
            observed = observed.masked_fill(~self.region.to(observed.device), torch.nan)[
                ..., *self.extent
            ]
            forecasts = {name: forecast[..., *self.extent] for name, forecast in forecasts.items()}
            probabilities = _with_values(
                probabilities, [one.values[..., *self.extent] for one in probabilities.values()]
            )
        self.shape = (int(observed.shape[-2]), int(observed.shape[-1]))
        of_observed = _observed_sums(observed, self._pixels())
        if self.common:
            values = [one.values for one in probabilities.values()]
            observed, *fields = common_pixels(observed, *forecasts.values(), *values)
            probabilities = _with_values(probabilities, fields[len(forecasts) :])
            forecasts = dict(zip(forecasts, fields, strict=False))
        block = self._blocks.setdefault(hour, {})
        joint, scored = {}, False
        for name, forecast in forecasts.items():
            sums = self._case_sums(name, forecast, observed, probabilities.get(name))
            joint[name] = torch.from_numpy(sums["joint"])
            scored |= bool(sums["frames"].any())
            _add(block.setdefault(name, {}), {key: values[0] for key, values in sums.items()})
        cases = {"cases": np.array(int(scored)), "unscored_cases": np.array(int(not scored))}
        _add(block.setdefault("", {}), {**of_observed, **cases})
        return joint

    def dataset(self) -> xr.Dataset:
        """Return everything counted. Errors: DataError if that is nothing."""
        if not self._blocks:
            raise DataError(
                "there is no case to score; give another period, or other forecast files."
            )
        blocks = sorted(self._blocks)
        stacked: dict[str, Any] = {}
        for key in next(iter(self._blocks.values()))[next(iter(self.members))]:
            parts = [[self._blocks[hour][name][key] for hour in blocks] for name in self.members]
            if key in ("probability", "rank"):
                parts = _padded(parts)
            dims = () if key == "missing" else ("lead_time", *DIMS.get(key, ()))
            stacked[key] = (("forecast", "block", *dims), np.array(parts))
        for key in ("observed_wet", "observed_covered", "total", "cases", "unscored_cases"):
            stacked[key] = ("block", np.array([self._blocks[hour][""][key] for hour in blocks]))
        stacked["minutes"] = (
            "block",
            np.array([self._minutes[hour] for hour in blocks], dtype=np.int64),
        )
        stacked["members"] = ("forecast", np.array(list(self.members.values())))
        if any(self.has_probabilities.values()):
            stacked["has_probabilities"] = (
                "forecast",
                np.array(list(self.has_probabilities.values()), dtype=np.int64),
            )
        coords: dict[str, Any] = {
            "forecast": list(self.members),
            "block": np.array(blocks, dtype="datetime64[ns]"),
            "lead_time": (
                "lead_time",
                np.asarray(self.lead_minutes, float),
                {"long_name": "lead time", "units": "minute"},
            ),
            "threshold": (
                "threshold",
                list(self.thresholds),
                {"long_name": "an event is at or above", "units": self.units},
            ),
            "wavenumber": (
                "wavenumber",
                wavenumbers(*self.shape),
                {"long_name": "radial wavenumber", "units": "1"},
            ),
        }
        if self.scales:
            coords["scale"] = (
                "scale",
                list(self.scales),
                {"long_name": "width of the neighbourhood in pixels", "units": "1"},
            )
        about: dict[str, Any] = {
            "title": "Counts of precipitation nowcasts",
            "timed": int(self.timed),
            "common_pixels": int(self.common),
        }
        about |= {
            "grid": f"{self.shape[0]} × {self.shape[1]}",
            "pixels": self._pixels(),
            "region": _identity(self.region),
        }
        return xr.Dataset(stacked, coords, about)

    def _register(self, times: NDArray[np.datetime64]) -> tuple[list[np.datetime64], list[int]]:
        """Return the hour of each case, and the bit of its minute.

        Errors: DataError if a case was counted before.
        """
        exact = times.astype("datetime64[m]")
        hours = exact.astype("datetime64[h]")
        bits = [1 << int(minute) for minute in (exact - hours) / _MINUTE]
        seen = dict(self._minutes)
        for hour, bit, time in zip(hours, bits, exact, strict=True):
            if seen.get(hour, 0) & bit:
                raise DataError(
                    f"two forecasts from {time} UTC; score each forecast reference time once."
                )
            seen[hour] = seen.get(hour, 0) | bit
        return list(hours), bits

    def _note(
        self, forecasts: Mapping[str, Tensor], probabilities: Mapping[str, Probabilities]
    ) -> None:
        """Store how many members each forecast has, and at which thresholds it has no score."""
        self.has_probabilities = {name: name in probabilities for name in forecasts}
        self.members = {
            name: MEMBERS if name in probabilities else int(forecast.shape[2])
            for name, forecast in forecasts.items()
        }
        for name, one in probabilities.items():
            inside = within(one, self.thresholds)
            outside = [f"{t:g}" for k, t in enumerate(self.thresholds) if k not in inside]
            remark = (
                f"{name}: no scores of probabilities at {', '.join(outside)} mm/h, outside its"
                f" thresholds of {one.thresholds[0]:g} to {one.thresholds[-1]:g} mm/h"
            )
            if outside and remark not in self.remarks:
                self.remarks.append(remark)

    def _case_sums(
        self, name: str, forecast: Tensor, observed: Tensor, probabilities: Probabilities | None
    ) -> Sums:
        """Return all sums of one forecast, each (b, …)."""
        mean = forecast.mean(dim=2)
        sums: dict[str, Tensor] = {
            "joint": joint_histogram(mean, observed, self.thresholds),
            **error_sums(mean, observed),
        }
        sums["missing"] = self._pixels() * len(self.lead_minutes) - sums["joint"].sum((1, 2, 3))
        sums["frames"] = (sums["joint"].sum((2, 3)) > 0).to(torch.int64)
        if self.scales:
            sums |= fss_sums(mean, observed, self.thresholds, self.scales)
        sums |= power_sums(mean, observed)
        if self.ssim:
            sums["ssim"] = ssim_sums(mean, observed)
        if probabilities is not None:
            sums |= _probability_sums(probabilities, observed, self.thresholds)
        elif self.has_probabilities[name]:
            sums |= _no_probability_sums(observed, len(self.thresholds))
        elif max(self.members.values()) > 1:  # a single member adds nothing to the joint counts
            sums["probability"] = probability_counts(forecast, observed, self.thresholds)
            sums["rank"] = rank_counts(forecast, observed)
            sums |= crps_sums(forecast, observed)
            sums["crps_pixels"] = sums["joint"].sum((2, 3))
            sums["member_power"] = member_power(forecast, observed)
        return {key: values.cpu().numpy() for key, values in sums.items()}

    def _pixels(self) -> int:
        """Return the number of pixels of a frame that are scored."""
        return self.shape[0] * self.shape[1] if self.region is None else int(self.region.sum())


def _probability_sums(
    probabilities: Probabilities, observed: Tensor, thresholds: Sequence[float]
) -> dict[str, Tensor]:
    """Sum probabilities (b, lead, k, h, w) like an ensemble; each sum is (b, …)."""
    missing = probabilities.values.amax(dim=2).isnan() | observed.isnan()
    return {
        **_no_probability_sums(observed, len(thresholds)),
        "probability": ladder_counts(probabilities, observed, thresholds),
        "crps_error": ladder_crps(probabilities, observed),
        "crps_pixels": (~missing).sum((2, 3)),
    }


def _no_probability_sums(observed: Tensor, thresholds: int) -> dict[str, Tensor]:
    """Return the same sums, all 0, for a case without probabilities."""
    shapes = {"probability": (thresholds, MEMBERS + 1, 2), "rank": (1, 1), "crps_pixels": ()}
    whole = {
        key: torch.zeros(*observed.shape[:2], *shape, dtype=torch.int64)
        for key, shape in shapes.items()
    }
    none = torch.zeros(observed.shape[:2], dtype=torch.float64)
    power = none[..., None].expand(-1, -1, len(wavenumbers(*observed.shape[-2:])))
    return {**whole, "crps_error": none, "crps_spread": none, "member_power": power}


def _with_values(
    probabilities: Mapping[str, Probabilities], values: Sequence[Tensor]
) -> dict[str, Probabilities]:
    """Return the same ladders with other values."""
    pairs = zip(probabilities.items(), values, strict=True)
    return {name: Probabilities(one.thresholds, field) for (name, one), field in pairs}


def _padded(parts: list[list[NDArray[Any]]]) -> list[list[NDArray[Any]]]:
    """Pad sums to the shape of the largest: a forecast with fewer members gets zeros."""
    shape = np.max([one.shape for row in parts for one in row], axis=0)
    return [[np.pad(one, [(0, n) for n in shape - one.shape]) for one in row] for row in parts]


def _extent(region: Tensor) -> tuple[slice, slice]:
    """Return rows and columns of the smallest rectangle around all pixels of a region (h, w)."""
    rows, columns = (region.any(axis).nonzero()[:, 0].tolist() for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _identity(region: Tensor | None) -> str:
    """Return what distinguishes a region from others, even with as many pixels."""
    return (
        "all" if region is None else hashlib.sha256(region.cpu().numpy().tobytes()).hexdigest()[:16]
    )


def _observed_sums(observed: Tensor, pixels: int) -> Sums:
    """Return how wet one case was, and how much was covered."""
    return {
        "observed_wet": (observed >= WET_RATE).sum().cpu().numpy(),
        "observed_covered": (~observed.isnan()).sum().cpu().numpy(),
        "total": np.array(pixels * observed.shape[1]),
    }


def _add(whole: Sums, part: Sums) -> None:
    for key, values in part.items():
        whole[key] = whole[key] + values if key in whole else values
