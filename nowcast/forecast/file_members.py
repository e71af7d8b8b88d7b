"""Members of an ensemble in the forecast file, next to the one rate of the forecast.

member_rate(time, realization, y, x)   float32, mm h-1, drawn from the probabilities; missing
                                       (NaN) where these are. Without probabilities: the rates
                                       of each of several models
realization(realization)               number of the member, starting at 1
"""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.radar.grid import DIMS, UNITS

MEMBER_RATE, REALIZATION = "member_rate", "realization"
MEMBER_DIMS = (DIMS[0], REALIZATION, *DIMS[1:])


def members_of(forecast: xr.Dataset) -> NDArray[np.float32] | None:
    """Return the members (lead, n, y, x) in mm/h of a forecast dataset; None if it has none."""
    if MEMBER_RATE not in forecast:
        return None
    members: NDArray[np.float32] = forecast[MEMBER_RATE].values
    return members


def member_variable(members: NDArray[np.float32], *, drawn: bool = True) -> xr.Variable:
    """Build `member_rate` (time, realization, y, x) from members: drawn from probabilities, or each
    from one of several models.
    """
    about = {
        "standard_name": "lwe_precipitation_rate",
        "long_name": "precipitation rate of "
        + ("members drawn from the probabilities" if drawn else "each of several models"),
        "units": UNITS,
    }
    return xr.Variable(MEMBER_DIMS, members.astype(np.float32, copy=False), about)


def realization_variable(count: int) -> xr.Variable:
    """Build the coordinate `realization`: the numbers of the members."""
    about = {
        "standard_name": REALIZATION,
        "long_name": "number of the ensemble member",
        "units": "1",
    }
    return xr.Variable(REALIZATION, np.arange(1, count + 1, dtype=np.int32), about)


def rate_encoding(shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the encoding of rates (time, …, y, x), apart from compression and checksums."""
    return {
        "chunksizes": (1,) * (len(shape) - 2) + shape[-2:],
        "dtype": "float32",
        "_FillValue": np.float32(np.nan),
    }


def member_problem(forecast: xr.Dataset) -> str:
    """Return what is wrong with the members of a dataset; "" if nothing is or it has none."""
    if MEMBER_RATE not in forecast.variables:
        return ""
    members = forecast[MEMBER_RATE]
    if members.dims != MEMBER_DIMS:
        return f"{MEMBER_RATE!r} has the dimensions {members.dims}, not {MEMBER_DIMS}"
    if REALIZATION not in forecast.variables:
        return f"it has no {REALIZATION!r}"
    if members.attrs.get("units") != UNITS:
        return f"{MEMBER_RATE!r} is not in {UNITS!r}"
    if members.dtype.kind != "f" or np.isinf(members.values).any() or (members.values < 0).any():
        return f"{MEMBER_RATE!r} holds values that are not rates"
    return ""
