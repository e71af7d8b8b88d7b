"""Baselines by name, from plain values."""

from collections import Counter
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from nowcast.errors import ConfigError, InternalError
from nowcast.forecast.baselines import plain
from nowcast.forecast.baselines.advection import Advection, Rates
from nowcast.forecast.baselines.baseline import Baseline
from nowcast.forecast.baselines.cascades import Sprog, Steps
from nowcast.forecast.baselines.library import LEAST_STEPS, require

_PYSTEPS = "Pulkkinen et al. 2019, https://doi.org/10.5194/gmd-12-4185-2019"
_GERMANN = (
    "Germann and Zawadzki 2002, https://doi.org/10.1175/1520-0493(2002)130<2859:SDOTPO>2.0.CO;2"
)
_SEED = "Seed 2003, https://doi.org/10.1175/1520-0450(2003)042<0381:ADASSA>2.0.CO;2"
_BOWLER = "Bowler et al. 2006, https://doi.org/10.1256/qj.04.100"
_WILKS = "Wilks 2019, Statistical Methods in the Atmospheric Sciences"

_ABOUT = {
    "persistence": ("persistence: the newest frame, unchanged", _GERMANN),
    "extrapolation": ("the newest frame, moved along with the rain", f"{_GERMANN}; {_PYSTEPS}"),
    "sprog": (
        "S-PROG: rain moved along, smoothed as it becomes unpredictable",
        f"{_SEED}; {_PYSTEPS}",
    ),
    "steps": (
        "STEPS: an ensemble of rain moved along, with noise in rain and motion",
        f"{_BOWLER}; {_PYSTEPS}",
    ),
    "climatology": ("climatology: the mean rate of each pixel over days of the past", _WILKS),
    "zero": ("no rain anywhere", _WILKS),
}


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
    """Build a baseline by its name.

    Args:
        name: persistence, extrapolation, sprog, steps, climatology or zero.
        input_steps, lead_steps: frames that it sees, and forecasts.
        timestep_minutes, pixel_km: of the frames; STEPS needs both, for its noise.
        members, seed: of the ensemble of STEPS.
        climatology: the mean rates (h, w) in mm/h, NaN = missing, for the baseline of that name.

    Returns:
        The baseline: the past (b, t, 1, h, w) in mm/h → (b, lead, m, h, w) in mm/h.

    Raises:
        ConfigError: for another name, too few input_steps, or no times if they are needed.
        MissingLibraryError: if pysteps or OpenCV is absent.

    Example:
        >>> baseline = build_baseline(
        ...     "persistence", input_steps=2, lead_steps=3, timestep_minutes=5, pixel_km=1,
        ...     members=1, seed=0,
        ... )
        >>> baseline(torch.rand(1, 2, 1, 8, 8)).shape
        torch.Size([1, 3, 1, 8, 8])
    """
    if name not in _ABOUT:
        raise ConfigError(f"baseline: {name!r} is unknown; choose {', '.join(_ABOUT)}.")
    least = LEAST_STEPS.get(name, 1)
    if input_steps < least:
        raise ConfigError(
            f"input_steps: {name} needs {least} frames at least, not {input_steps}; give more, or"
            " another baseline."
        )
    if least > 1:
        require(name)
    forecast: Callable[[Tensor], Tensor]
    remarks: Counter[str] = Counter()
    if name in ("persistence", "zero"):
        forecast = partial(getattr(plain, name), lead_steps=lead_steps)
    elif name == "climatology":
        if climatology is None:
            raise InternalError("climatology: built without its mean rates.")
        forecast = partial(
            plain.climatology, lead_steps=lead_steps, mean_rate=torch.from_numpy(climatology)
        )
    elif name == "extrapolation":
        forecast = Advection(name, lead_steps, remarks)
    elif name == "sprog":
        forecast = Advection(name, lead_steps, remarks, Sprog(lead_steps))
    elif timestep_minutes is None:
        raise ConfigError(
            "baseline: steps needs frames with times, whose spacing its noise depends on; leave it"
            " out."
        )
    else:
        forecast = Advection(
            name, lead_steps, remarks, Steps(lead_steps, timestep_minutes, pixel_km, members, seed)
        )
    made = members if name == "steps" else 1
    method, references = _ABOUT[name]
    if name == "steps":
        method += f"; {members} members, seed {seed}, pixels of {pixel_km:.3g} km"
    return Baseline(
        name, input_steps, lead_steps, timestep_minutes, made, method, references, forecast, remarks
    )
