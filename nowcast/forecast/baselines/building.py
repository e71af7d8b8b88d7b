"""Build a baseline from its name and plain values."""

from collections import Counter

from nowcast.arrays import Float64Array
from nowcast.baselines import Making, baseline_record
from nowcast.errors import ConfigError, InternalError
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
    climatology: Float64Array | None = None,
) -> Baseline:
    """Build a baseline by its name.

    Args:
        name: as in `nowcast.baselines.RECORDS`.
        input_steps, lead_steps: number of past frames that it sees, and of frames to forecast.
        timestep_minutes, pixel_km: of the frames; STEPS needs both, for its noise.
        members, seed: of the members of STEPS.
        climatology: the mean rates (h, w) in mm/h, NaN = missing, for the baseline of that name.

    Returns:
        The baseline: the past (b, t, 1, h, w) in mm/h → (b, lead, m, h, w) in mm/h.

    Raises:
        ConfigError: if the name is unknown, input_steps are too few, or the frames have no times
            but the baseline needs them.
        MissingLibraryError: if it needs pysteps, which is not installed.

    Example:
        >>> import torch
        >>> baseline = build_baseline(
        ...     "persistence", input_steps=2, lead_steps=3, timestep_minutes=5, pixel_km=1,
        ...     members=1, seed=0,
        ... )
        >>> baseline(torch.rand(1, 2, 1, 8, 8)).shape
        torch.Size([1, 3, 1, 8, 8])
    """
    record = baseline_record(name)
    if input_steps < record.least_steps:
        raise ConfigError(
            f"input_steps: {name} needs at least {record.least_steps} frames, not {input_steps};"
            " give more, or another baseline."
        )
    require(name, record.libraries)
    if record.needs_days and climatology is None:
        raise InternalError(f"{name}: built without its mean rates.")
    if record.needs_spacing and timestep_minutes is None:
        raise ConfigError(
            f"baseline: {name} needs frames with times, because its noise depends on the time step;"
            " leave it out."
        )
    remarks: Counter[str] = Counter()
    forecast = record.make(
        Making(name, lead_steps, timestep_minutes, pixel_km, members, seed, climatology, remarks)
    )
    method, made = record.method, members if record.ensemble else 1
    if record.draws_members:
        method += f"; {members} members, seed {seed}, pixels of {pixel_km:.3g} km"
    return Baseline(
        name, input_steps, lead_steps, timestep_minutes, made, method, record.references, forecast,
        remarks,
    )  # fmt: skip
