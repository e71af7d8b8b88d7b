"""GRIB parameters of rain: those of the WMO by ecCodes names, those of MRMS by their numbers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Parameter:
    """The parameter of a message.

    minutes: of accumulation of an amount; None if the message does not state them.
    missing, dry: numbers that are not measurements: outside coverage, and covered without echo.
    """

    name: str
    title: str
    units: str
    is_rain: bool
    minutes: float | None = None
    missing: tuple[float, ...] = ()
    dry: tuple[float, ...] = ()


# Short names of ecCodes (WMO discipline 0, categories 1 and 16); ecCodes has their units too.
_RAIN = {"prate", "tprate", "rprate", "mtpr", "avg_tprate", "tp", "refc", "refd"}
# ecCodes has "dB" for reflectivity.
_SPELLED = {"dB": "dBZ", "dBZ": "dBZ"}

# MRMS, "GRIB2 parameter table" v12 of NSSL, as in Unidata's netcdf-java and GDAL
# (grib2_table_4_2_local_MRMS.csv): discipline 209, then (category, number). Rates and sums are -3
# outside coverage and -1 for missing data; reflectivity is -999 outside coverage and -99 without
# echo.
_MRMS = 209
_MRMS_RATES = {(6, 1): "PrecipRate"}
_HOURS = (1, 3, 6, 12, 24, 48, 72)
_MRMS_SUMS = {
    (6, 45): ("RadarOnly_QPE_15M", 15.0),
    **{
        (6, first + k): (name.format(f"{hours:02d}H"), 60.0 * hours)
        for first, name in {
            2: "RadarOnly_QPE_{}", 9: "GaugeCorrQPE{}", 16: "GaugeOnlyQPE{}",
            23: "MountainMapperQPE{}", 30: "MultiSensor_QPE_{}_Pass1",
            37: "MultiSensor_QPE_{}_Pass2",
        }.items()
        for k, hours in enumerate(_HOURS)
    },
}  # fmt: skip
_MRMS_REFLECTIVITY = {
    (3, 57): "ReflectivityAtLowestAltitude", (3, 58): "MergedReflectivityAtLowestAltitude", (8,
    8): "SeamlessHSR", (9, 0): "MergedReflectivityQC", (10, 0): "MergedReflectivityQCComposite",
    (10, 2): "LowLevelCompositeReflectivity", (11, 0): "MergedBaseReflectivityQC", (11,
    1): "MergedReflectivityComposite", (11, 2): "MergedReflectivityQComposite", (11,
    3): "MergedBaseReflectivity",
}  # fmt: skip


def parameter_of(
    number: tuple[int, ...], name: str, units: str, title: str, minutes: float
) -> Parameter:
    """Return the parameter for (discipline, category, number), with its ecCodes name, units and
    title and the minutes of its time range.
    """
    if number[0] == _MRMS:
        return _mrms((number[1], number[2]))
    if name == "unknown":
        name, title = "/".join(map(str, number)), "GRIB parameter " + "/".join(map(str, number))
    plain = _SPELLED.get(units, units)
    return Parameter(name, title, plain, name in _RAIN, minutes or None)


def _mrms(number: tuple[int, int]) -> Parameter:
    if number in _MRMS_RATES:
        name = _MRMS_RATES[number]
        return Parameter(name, f"MRMS {name}", "mm h-1", True, None, (-3.0, -1.0))
    if number in _MRMS_SUMS:
        name, minutes = _MRMS_SUMS[number]
        return Parameter(name, f"MRMS {name}", "mm", True, minutes, (-3.0, -1.0))
    if number in _MRMS_REFLECTIVITY:
        name = _MRMS_REFLECTIVITY[number]
        return Parameter(name, f"MRMS {name}", "dBZ", True, None, (-999.0,), (-99.0,))
    name = f"209/{number[0]}/{number[1]}"
    return Parameter(name, f"MRMS {name}", "unknown", False)
