"""Baselines by name, from plain values."""

from collections import Counter

from nowcast.baselines import Making, baseline_record
from nowcast.errors import ConfigError, InternalError
from nowcast.forecast.baselines.advection import Rates
from nowcast.forecast.baselines.baseline import Baseline
from nowcast.forecast.baselines.library import require


def build_baseline(
    name: str,
    *,
    input_steps: int,
    lead_steps: int,
    timestep_minutes: float | None,
    pixel_km: float,
    members: int,
    seed: int,
    climatology: Rates | None = None,
) -> Baseline:
    """The baseline of this name.

    timestep_minutes, pixel_km: of the frames; STEPS needs both, for its noise. members, seed: of
    its ensemble.
    climatology: the mean rates (h, w) in mm/h, NaN = missing, that the baseline of that name gives.
    Errors: ConfigError for another name, for too few input_steps, for frames without times where
    they are needed; MissingLibraryError where pysteps or OpenCV is not there.
    """
    record = baseline_record(name)
    if input_steps < record.least_steps:
        raise ConfigError(
            f"input_steps: {name} needs {record.least_steps} frames at least, not {input_steps};"
            " give more, or another baseline."
        )
    if record.needs_pysteps:
        require(name)
    if record.needs_days and climatology is None:
        raise InternalError(f"{name}: built without its mean rates.")
    if record.needs_spacing and timestep_minutes is None:
        raise ConfigError(
            f"baseline: {name} needs frames with times, whose spacing its noise depends on; leave"
            " it out."
        )
    remarks: Counter[str] = Counter()
    forecast = record.make(
        Making(name, lead_steps, timestep_minutes, pixel_km, members, seed, climatology, remarks)
    )
    method, made = record.method, members if record.ensemble else 1
    if record.ensemble:
        method += f"; {members} members, seed {seed}, pixels of {pixel_km:.3g} km"
    return Baseline(
        name, input_steps, lead_steps, timestep_minutes, made, method, record.references, forecast,
        remarks,
    )  # fmt: skip
