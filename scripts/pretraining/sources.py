"""The radars on which the model is trained, their copies, and the share of each in an epoch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Radar:
    """A radar's frames as published.

    Args:
        group: group of radars that are left out together.
        path: glob below the folder of raw data.
        about: the days, for the model card.
        known: first and last day used for training or validation.
        days: training days of a longer series; None: all.
        licence: as stated by the publisher.
        settings: how the files are read, as keys of `data`.
    """

    group: str
    path: str
    about: str
    licence: str
    known: tuple[str, str]
    days: tuple[str, str] | None = None
    settings: dict[str, Any] = field(default_factory=dict)


DWD, KNMI = "DWD open data", "KNMI, CC BY 4.0"

RADARS = {
    "radolan": Radar(
        "dwd",
        "radolan.nc",
        "10–15 May 2018, west of Germany",
        DWD,
        ("2018-05-10", "2018-05-16"),
        ("2018-05-10", "2018-05-15"),
    ),
    "radklim": Radar(
        "dwd",
        "radklim_yw_netcdf/*.nc",
        "14 May 2017, Germany",
        "RADKLIM, CC BY 4.0",
        ("2017-05-14", "2017-05-14"),
        settings={"accumulation_minutes": 5},
    ),
    "ry2020": Radar(
        "dwd",
        "radolan_ry_binary/*",
        "6–7 September 2020, Germany",
        DWD,
        ("2020-09-06", "2020-09-07"),
    ),
    "knmi2011": Radar(
        "knmi",
        "knmi_rac_mfbs_netcdf/*.nc",
        "10–11 September 2011, the Netherlands",
        KNMI,
        ("2011-09-10", "2011-09-11"),
        ("2011-09-10T08:00", "2011-09-10T21:00"),
        {"accumulation_minutes": 5},
    ),
    "knmi2010": Radar(
        "knmi",
        "knmi_rap_5min_hdf5/2010/**/*.h5",
        "26 August 2010, the Netherlands (validation)",
        KNMI,
        ("2010-08-26", "2010-08-26"),
    ),
    "fmi": Radar(
        "fmi",
        "fmi_pgm/20160928/*",
        "28 September 2016, Finland",
        "FMI open data, CC BY 4.0",
        ("2016-09-28", "2016-09-28"),
    ),
    "mrms": Radar(
        "mrms",
        "mrms_grib2/2019/**/*",
        "10 June 2019, United States",
        "NOAA, public domain",
        ("2019-06-10", "2019-06-10"),
    ),
    "meteonet_nw": Radar(
        "meteofrance",
        "meteonet_npz/rainfall_NW*",
        "August 2016, north-west France",
        "Licence Ouverte 2.0",
        ("2016-08-21", "2016-08-31"),
    ),
    "meteonet_se": Radar(
        "meteofrance",
        "meteonet_npz/rainfall_SE*",
        "August 2016, south-east France",
        "Licence Ouverte 2.0",
        ("2016-08-21", "2016-08-31"),
    ),
    "openrainer": Radar(
        "arpae",
        "openrainer_netcdf/*.nc",
        "17 September 2022, Emilia-Romagna",
        "CC BY 4.0",
        ("2022-09-17", "2022-09-17"),
        settings={"accumulation_minutes": 15},
    ),
}

OWNERS = {
    "dwd": "DWD",
    "knmi": "KNMI",
    "fmi": "FMI",
    "mrms": "MRMS",
    "meteofrance": "Météo-France",
    "arpae": "ARPAE",
}
"""The groups of radars and who owns them, for the model card."""


def radars_of(path: str, checkpoint: Path | str) -> dict[str, Radar]:
    """Return the radars that a checkpoint names as its data. Exit if it names other data."""
    names = path.split(", ")
    if not set(names) <= RADARS.keys():
        raise SystemExit(f"{checkpoint}: its data are {path}; give a checkpoint of pretrain.py.")
    return {name: RADARS[name] for name in names}


@dataclass(frozen=True)
class Copy:
    """A radar's frames, averaged or resampled.

    Args:
        radar: one of `RADARS`.
        pixel_km: pixel size of the copy; the radars have about 1 km.
        minutes: time step of the copy.
        how: 'mean' of the frames; 'pick': every n-th frame, from the first on; 'second': every n-th
            from the second on; 'back': picked, in reverse order, so that growing rain shrinks.
        lead_steps: lead steps of the training windows.
        share: share of the steps of an epoch, relative to those of the other copies.
    """

    radar: str
    pixel_km: float
    minutes: int
    how: str
    lead_steps: int
    share: int

    @property
    def name(self) -> str:
        return f"{self.radar}_{self.pixel_km:g}km_{self.minutes}min_{self.how}"


COPIES = (
    Copy("radolan", 1, 5, "pick", 12, 24),
    Copy("radolan", 1, 5, "back", 12, 12),
    Copy("radolan", 1, 5, "pick", 24, 6),
    Copy("radolan", 1, 5, "back", 24, 3),
    Copy("radolan", 2, 5, "pick", 12, 3),
    Copy("radolan", 1, 10, "mean", 12, 6),
    Copy("radolan", 2, 15, "pick", 8, 3),
    Copy("radolan", 4, 10, "mean", 12, 2),
    Copy("radolan", 0.5, 5, "pick", 12, 2),
    Copy("radklim", 1, 5, "pick", 12, 3),
    Copy("radklim", 1, 5, "back", 12, 2),
    Copy("radklim", 2, 10, "mean", 12, 1),
    Copy("ry2020", 1, 5, "pick", 12, 3),
    Copy("ry2020", 1, 5, "back", 12, 2),
    Copy("ry2020", 2, 5, "pick", 12, 1),
    Copy("ry2020", 1, 10, "pick", 8, 1),
    Copy("knmi2011", 1, 5, "pick", 12, 6),
    Copy("knmi2011", 1, 5, "back", 12, 5),
    Copy("knmi2011", 1, 5, "pick", 24, 1),
    Copy("knmi2011", 1, 5, "back", 24, 1),
    Copy("knmi2011", 2, 5, "pick", 12, 1),
    Copy("knmi2011", 1, 10, "pick", 12, 1),
    Copy("knmi2011", 2, 15, "mean", 8, 1),
    Copy("fmi", 1, 5, "pick", 12, 3),
    Copy("fmi", 1, 5, "back", 12, 2),
    Copy("fmi", 2, 5, "pick", 12, 1),
    Copy("fmi", 1, 10, "pick", 12, 1),
    Copy("fmi", 4, 5, "pick", 12, 1),
    Copy("mrms", 1, 4, "pick", 5, 1),
    Copy("mrms", 1, 4, "back", 5, 1),
    Copy("mrms", 1, 4, "second", 5, 1),
    Copy("mrms", 2, 4, "pick", 5, 1),
    Copy("meteonet_nw", 1, 5, "pick", 10, 1),
    Copy("meteonet_se", 1, 5, "pick", 10, 1),
    Copy("meteonet_se", 1, 5, "back", 10, 1),
    Copy("openrainer", 1, 15, "pick", 8, 1),
)
"""Copies used for training."""

SCORED_ONLY = (Copy("mrms", 2, 2, "pick", 9, 0),)
"""Copies used only for scores."""

VALIDATION = (
    (Copy("radolan", 1, 5, "pick", 24, 0), ("2018-05-16", "2018-05-16"), 12),
    (Copy("knmi2010", 1, 5, "pick", 24, 0), None, 2),
    (Copy("knmi2011", 1, 5, "pick", 24, 0), ("2011-09-10T21:05", "2011-09-11T00:30"), 1),
)
"""Validation data, which choose the epoch and fit the cuts: copy, days, stride of windows."""


@dataclass(frozen=True)
class Event:
    """An event for scores, not used for training.

    Args:
        title: radar and days, for the model card.
        path: path of the frames, with `{copies}` or `{raw}`.
        settings: overrides of `nowcast evaluate`.
    """

    title: str
    path: str
    settings: tuple[str, ...]


EVENTS = {
    "radolan": Event(
        "RADOLAN, 17–20 May 2018",
        "{raw}/radolan.nc",
        ("period=[2018-05-17,2018-05-20]", "stride=24", "resamples=1000"),
    ),
    "radklim": Event(
        "RADKLIM, 14 May 2017",
        "{copies}/radklim_1km_5min_pick.nc",
        ("period=[2017-05-14,2017-05-14]", "stride=24"),
    ),
    "ry2020": Event(
        "RADOLAN (RY), 6–7 September 2020",
        "{copies}/ry2020_1km_5min_pick.nc",
        ("period=[2020-09-06,2020-09-07]", "stride=6"),
    ),
    "knmi2010": Event(
        "KNMI, 26 August 2010",
        "{copies}/knmi2010_1km_5min_pick.nc",
        ("period=[2010-08-26,2010-08-26]", "stride=6"),
    ),
    "knmi2011": Event(
        "KNMI, 10 September 2011",
        "{copies}/knmi2011_1km_5min_pick.nc",
        ("period=[2011-09-10T17:00,2011-09-10T23:30]", "stride=6"),
    ),
    "fmi": Event(
        "FMI, 28 September 2016",
        "{copies}/fmi_1km_5min_pick.nc",
        ("period=[2016-09-28,2016-09-28]", "stride=6"),
    ),
    "mrms": Event(
        "MRMS, 10 June 2019, 2 km, 2 min, to 18 min",
        "{copies}/mrms_2km_2min_pick.nc",
        ("period=[2019-06-10,2019-06-10]", "stride=1", "lead_steps=9"),
    ),
    "meteonet_se": Event(
        "Météo-France, August 2016",
        "{copies}/meteonet_se_1km_5min_pick.nc",
        ("period=[2016-08-21,2016-08-31]", "stride=1", "lead_steps=10"),
    ),
    "openrainer": Event(
        "ARPAE, 17 September 2022, 15 min",
        "{copies}/openrainer_1km_15min_pick.nc",
        ("period=[2022-09-17,2022-09-17]", "stride=1", "lead_steps=4"),
    ),
    "mch2015": Event(
        "MeteoSwiss, 15 May 2015",
        "{raw}/mch_aqc_gif/20150515/*",
        ("period=[2015-05-15,2015-05-15]", "stride=6"),
    ),
    "mch2017": Event(
        "MeteoSwiss, 31 January 2017",
        "{raw}/mch_aqc_gif/20170131/*",
        ("period=[2017-01-31,2017-01-31]", "stride=6"),
    ),
    "bom": Event(
        "BoM, 31 October 2020, 0.5 km, 10 min",
        "{raw}/bom_rf3_netcdf/**/*.nc",
        ("period=[2020-10-31,2020-10-31]", "stride=12", "lead_steps=6"),
    ),
    "openmrg": Event(
        "SMHI, 27 August 2015, 2 km",
        "{raw}/openmrg_netcdf/*.nc",
        ("period=[2015-08-27,2015-08-27]", "stride=3", "data.units=mm h-1"),
    ),
    "rmi": Event(
        "RMI, 4 July 2021", "{raw}/rmi_qpe_odim/*", ("period=[2021-07-04,2021-07-04]", "stride=6")
    ),
    "opera": Event(
        "OPERA, 24 August 2018, 2 km, 15 min",
        "{raw}/opera_odyssey_odim_hdf5/20180824/*",
        ("period=[2018-08-24,2018-08-24]", "stride=6", "lead_steps=4"),
    ),
    "taasrad": Event(
        "Trentino, June 2016, 3.75 km",
        "{raw}/taasrad19_netcdf/*2016*06*.nc",
        (
            "period=[2016-06-01,2016-06-30]",
            "stride=36",
            "min_wet_share=0.05",
            "resamples=1000",
            "data.zr=[200,1.6]",
        ),
    ),
}
"""Radars that can be left out of the training; those from 'mch2015' on are never trained on."""
