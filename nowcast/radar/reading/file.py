"""One radar file, described."""

from dataclasses import dataclass
from pathlib import Path

from nowcast.radar.placing.georeference import Place
from nowcast.radar.reading.options import ZR, ReadOptions
from nowcast.radar.reading.storage import Dry, missing_numbers
from nowcast.radar.reading.units import dry_in
from nowcast.radar.times import Times

__all__ = ["ZR", "Layout", "RadarFile", "ReadOptions"]


@dataclass(frozen=True)
class Layout:
    """How a file stores rain: the same in all files of a series.

    variable: the file's name of the rain.
    shape: (y, x).
    units: of the values that its reader gives.
    accumulation_minutes: over which an amount was gathered; None for rates and reflectivity.
    zr: (a, b) of Z = a R^b for reflectivity: what the file itself says; else describe_file puts the
    user's, or the service's own.
    packing: (scale, offset) from numbers as stored to values in `units`, for messages that quote
    the stored number.
    dims: the file's names of (time, y, x), for self-describing formats; None for one it has not.
    missing: numbers as stored that mean missing though the file does not say so: known of its
    service.
    """

    variable: str
    shape: tuple[int, int]
    units: str
    accumulation_minutes: float | None = None
    zr: ZR | None = None
    packing: tuple[float, float] = (1.0, 0.0)
    dims: tuple[str | None, str, str] | None = None
    missing: tuple[float, ...] = ()


@dataclass(frozen=True)
class RadarFile:
    """One file, described: nothing but its frames is left to be read.

    `format` is the name of its reader.
    """

    path: Path
    format: str
    layout: Layout
    times: Times  # (frames,) datetime64[ns] in UTC, as the file orders them
    place: Place
    attrs: dict[str, str]

    def dry(self, options: ReadOptions) -> Dry:
        """The numbers that the user says mean dry, and what dry is in the units of this file."""
        return missing_numbers(options.dry_value), dry_in(self.layout.units)
