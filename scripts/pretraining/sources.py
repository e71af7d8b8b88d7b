"""The radars that the model learns from, their copies, and the shares of each in an epoch."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Radar:
    """A radar's frames as published.

    Args:
        group: of radars that are left out together.
        path: below the folder of raw data; a glob.
        days: that may be learned from, first and last; None: all.
        licence: as stated by whoever published it.
        settings: how the files are read, as keys of `data`.
    """

    group: str
    path: str
    licence: str
    days: tuple[str, str] | None = None
    settings: dict[str, Any] = field(default_factory=dict)


DWD, KNMI = "DWD open data", "KNMI, CC BY 4.0"

RADARS = {
    "radolan": Radar("dwd", "radolan.nc", DWD, ("2018-05-10", "2018-05-15")),
    "radklim": Radar(
        "dwd",
        "radklim_yw_netcdf/*.nc",
        "RADKLIM, CC BY 4.0",
        settings={"accumulation_minutes": 5},
    ),
    "ry2020": Radar("dwd", "radolan_ry_binary/*", DWD),
    "knmi2011": Radar(
        "knmi", "knmi_rac_mfbs_netcdf/*.nc", KNMI, settings={"accumulation_minutes": 5}
    ),
    "knmi2010": Radar("knmi", "knmi_rap_5min_hdf5/2010/**/*.h5", KNMI),
    "fmi": Radar("fmi", "fmi_pgm/20160928/*", "FMI open data, CC BY 4.0"),
    "mrms": Radar("mrms", "mrms_grib2/2019/**/*", "NOAA, public domain"),
    "meteonet_nw": Radar("meteofrance", "meteonet_npz/rainfall_NW*", "Licence Ouverte 2.0"),
    "meteonet_se": Radar("meteofrance", "meteonet_npz/rainfall_SE*", "Licence Ouverte 2.0"),
    "openrainer": Radar(
        "arpae", "openrainer_netcdf/*.nc", "CC BY 4.0", settings={"accumulation_minutes": 15}
    ),
}


@dataclass(frozen=True)
class Copy:
    """A radar's frames, averaged or resampled.

    Args:
        radar: one of `RADARS`.
        pixel_km: of the copy; the radars have about 1 km.
        minutes: from one frame to the next.
        how: 'mean' of the frames, or 'pick' of every n-th, from the first on; 'second': from the
            second on.
        lead_steps: of the windows that are learned from.
        share: of the steps of an epoch, next to those of the others.
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
    Copy("radolan", 1, 5, "pick", 12, 14),
    Copy("radolan", 1, 5, "pick", 24, 4),
    Copy("radolan", 2, 5, "pick", 12, 2),
    Copy("radolan", 1, 10, "mean", 12, 4),
    Copy("radolan", 2, 15, "pick", 8, 2),
    Copy("radolan", 4, 10, "mean", 12, 1),
    Copy("radolan", 0.5, 5, "pick", 12, 1),
    Copy("radklim", 1, 5, "pick", 12, 3),
    Copy("radklim", 2, 10, "mean", 12, 1),
    Copy("ry2020", 1, 5, "pick", 12, 4),
    Copy("ry2020", 2, 5, "pick", 12, 1),
    Copy("ry2020", 1, 10, "pick", 8, 1),
    Copy("knmi2011", 1, 5, "pick", 12, 9),
    Copy("knmi2011", 1, 5, "pick", 24, 2),
    Copy("knmi2011", 2, 5, "pick", 12, 2),
    Copy("knmi2011", 1, 10, "pick", 12, 2),
    Copy("knmi2011", 2, 15, "mean", 8, 1),
    Copy("knmi2011", 4, 10, "mean", 12, 1),
    Copy("fmi", 1, 5, "pick", 12, 5),
    Copy("fmi", 1, 5, "pick", 24, 1),
    Copy("fmi", 2, 5, "pick", 12, 1),
    Copy("fmi", 1, 10, "pick", 12, 1),
    Copy("fmi", 4, 5, "pick", 12, 1),
    Copy("mrms", 1, 4, "pick", 5, 3),
    Copy("mrms", 1, 4, "second", 5, 3),
    Copy("mrms", 2, 4, "pick", 5, 2),
    Copy("meteonet_nw", 1, 5, "pick", 10, 1),
    Copy("meteonet_se", 1, 5, "pick", 10, 2),
    Copy("openrainer", 1, 15, "pick", 8, 1),
)
"""What is learned from."""

VALIDATION = (
    (Copy("radolan", 1, 5, "pick", 24, 0), ("2018-05-16", "2018-05-16"), 6),
    (Copy("knmi2010", 1, 5, "pick", 24, 0), None, 3),
)
"""What chooses the epoch and fits the cuts: copy, days, frames from one window to the next."""
