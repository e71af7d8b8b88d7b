"""Units of rain and their conversion to mm/h.

The only module with dBZ and Z–R constants.
"""

import re
from typing import Any, Literal

import numpy as np

from nowcast.arrays import FloatArray
from nowcast.errors import DataError

Quantity = Literal["rate", "amount", "reflectivity"]

ZR_RELATIONS: dict[str, tuple[float, float]] = {
    "marshall_palmer": (200.0, 1.6),  # Marshall and Palmer (1948); also KNMI's and OPERA's
    "meteoswiss": (316.0, 1.5),  # MeteoSwiss, Germann et al. (2006)
    "fmi": (223.0, 1.53),  # FMI, Leinonen et al. (2012)
    "dwd": (256.0, 1.42),  # DWD, RADOLAN's standard relation
    "wsr88d": (300.0, 1.4),  # NOAA's WSR-88D default, convective, Fulton et al. (1998)
    "tropical": (250.0, 1.2),  # NOAA's WSR-88D for tropical rain, Rosenfeld et al. (1993)
    "hko": (58.53, 1.56),  # Hong Kong Observatory, as in HKO-7 (Shi et al. 2017)
}
"""a and b of Z = a R^b, Z in mm^6 m^-3 and R in mm/h, by name."""
MARSHALL_PALMER = ZR_RELATIONS["marshall_palmer"]
# 0 dBZ is 0.04 mm/h by Marshall–Palmer; lower values are noise or "no echo" (-32, -30, -10 …)
NOISE_DBZ = 0.0

ANOTHER_VARIABLE = ", or name another variable with data.variable"

# One unit in mm/h; 1 kg of water on 1 m2 is 1 mm deep.
_RATES = {
    "h-1 mm": 1.0, "min-1 mm": 60.0, "mm s-1": 3600.0, "day-1 mm": 1 / 24,
    "m s-1": 3.6e6, "h-1 m": 1000.0,
    "kg m-2 s-1": 3600.0, "h-1 kg m-2": 1.0,
}  # fmt: skip
# One unit in mm of water.
_AMOUNTS = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "kg m-2": 1.0}
_SPELLINGS = {
    "hour": "h", "hours": "h", "hr": "h", "hrs": "h", "sec": "s", "second": "s", "seconds": "s",
    "minute": "min", "minutes": "min", "d": "day", "days": "day",
    "millimeter": "mm", "millimeters": "mm", "millimetre": "mm", "millimetres": "mm",
    "meter": "m", "meters": "m", "metre": "m", "metres": "m",
}  # fmt: skip
_SUPERSCRIPTS = str.maketrans("⁻⁰¹²³", "-0123")


def rate_to_dbz(
    rate: FloatArray, a: float = MARSHALL_PALMER[0], b: float = MARSHALL_PALMER[1]
) -> FloatArray:
    """Return the reflectivity of rain, 10 log10(a R^b).

    Args:
        rate: R in mm/h, any shape.
        a, b: of Z = a R^b; default: Marshall and Palmer.

    Returns:
        Reflectivity in dBZ of the same shape; no rain is -inf, NaN stays NaN.

    Example:
        >>> rate_to_dbz(1.0).round(2)
        np.float64(23.01)
    """
    with np.errstate(divide="ignore"):
        return np.asarray(10.0 * np.log10(a) + 10.0 * b * np.log10(rate), dtype=_dtype_of(rate))


def dbz_to_rate(
    dbz: FloatArray,
    a: float = MARSHALL_PALMER[0],
    b: float = MARSHALL_PALMER[1],
    noise_dbz: float = NOISE_DBZ,
) -> FloatArray:
    """Return the rain rate of a reflectivity, (10^(dBZ/10) / a)^(1/b).

    Args:
        dbz: reflectivity in dBZ, any shape.
        a, b: of Z = a R^b; default: Marshall and Palmer.
        noise_dbz: below this reflectivity the rate is exactly 0.

    Returns:
        Rates in mm/h of the same shape; NaN stays NaN.

    Example:
        >>> dbz_to_rate(np.array([23.0103, -32.0])).round(2)
        array([1., 0.])
    """
    with np.errstate(over="ignore"):
        rate = (10.0 ** (np.asarray(dbz) / 10.0) / a) ** (1.0 / b)
    return np.asarray(np.where(np.asarray(dbz) < noise_dbz, 0.0, rate), dtype=_dtype_of(dbz))


def quantity_of(units: str) -> Quantity | None:
    """Return the kind of quantity in these units: "rate", "amount" (an accumulation) or
    "reflectivity"; None if unknown.
    """
    plain = _plain(units)
    if plain in _RATES:
        return "rate"
    if plain in _AMOUNTS:
        return "amount"
    return "reflectivity" if plain == "dbz" else None


def choose_units(
    asked: str | None, stated: str, what: str, advice: str = "", unsaid: str = "has no units"
) -> str:
    """Return the units of a file's values: those of the user (data.units), else of the file.

    Args:
        stated: by the file, its format or its service; "" if unknown.
        what: start of the message: the file, and which of its values.
        advice: end of the message: an alternative to giving units. unsaid: text for missing units.

    Errors: DataError if they are neither a rate, an amount nor a reflectivity.
    """
    units = asked or stated
    if quantity_of(units) is None:
        raise DataError(
            f"{what} {f'is in {units!r}' if units else unsaid}; nowcast reads 'mm h-1', 'mm' with"
            f" data.accumulation_minutes, or 'dBZ': set data.units{advice}."
        )
    return units


def choose_minutes(asked: float | None, stated: float | None, units: str, what: str) -> float:
    """Return the minutes of accumulation of an amount: those of the file, else of the user.

    what: start of the message, including its verb. Errors: DataError if neither gives them.
    """
    minutes = stated or asked
    if minutes is None:
        raise DataError(
            f"{what} an amount in {units!r} over an unknown number of minutes; set"
            " data.accumulation_minutes (or data.units, if it is a rate)."
        )
    return minutes


def dry_in(units: str) -> float:
    """Return the value for no rain in these units: 0, or -inf for reflectivity."""
    return -np.inf if quantity_of(units) == "reflectivity" else 0.0


def rate_factor(units: str, accumulation_minutes: float | None = None) -> float:
    """Return the number that turns values in some units into mm/h.

    Args:
        units: of a rate (`mm h-1`) or an amount (`mm`).
        accumulation_minutes: of an amount.

    Returns:
        The factor: 1 mm in 5 minutes is 12 mm in an hour.

    Raises:
        DataError: if the units are neither, or the minutes of an amount are unknown.

    Example:
        >>> rate_factor("mm", 5)
        12.0
    """
    quantity, plain = quantity_of(units), _plain(units)
    if quantity == "rate":
        return _RATES[plain]
    if quantity == "amount":
        if accumulation_minutes is None or not accumulation_minutes > 0:
            raise DataError(
                f"an amount in {units!r} needs its minutes of accumulation: set"
                " data.accumulation_minutes."
            )
        return _AMOUNTS[plain] * 60.0 / accumulation_minutes
    raise DataError(f"{units!r} is neither a rate nor an amount of rain.")


def _plain(units: str) -> str:
    """Normalize units: 'mm/hr', 'mm h^-1', 'mm per hour' → 'h-1 mm'; '' if not understood."""
    text = re.sub(r"\bper\b", "/", units.strip().lower().translate(_SUPERSCRIPTS))
    text = (
        text.replace("**", "")
        .replace("^", "")
        .replace("·", " ")
        .replace("*", " ")
        .replace(".", " ")
    )
    over, *under = text.split("/")
    powers: dict[str, int] = {}
    for sign, part in [(1, over), *((-1, part) for part in under)]:
        for word in part.split():
            match = re.fullmatch(r"([a-z]+)(-?\d+)?", word)
            if match is None:
                return ""
            name = _SPELLINGS.get(match[1], match[1])
            powers[name] = powers.get(name, 0) + sign * int(match[2] or 1)
    return " ".join(
        name if power == 1 else f"{name}{power}" for name, power in sorted(powers.items()) if power
    )


def _dtype_of(values: FloatArray) -> np.dtype[Any]:
    dtype = np.asarray(values).dtype
    return dtype if np.issubdtype(dtype, np.floating) else np.dtype(float)
