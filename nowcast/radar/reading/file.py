"""One radar file, described."""

from dataclasses import dataclass, field
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


def _whole() -> slice:
    return slice(None)


@dataclass(frozen=True)
class ReadRequest:
    """What a reader reads: these frames, rows and columns of a file, by what the user says of it.

    All of them where not given.
    """

    file: RadarFile
    options: ReadOptions
    frames: slice = field(default_factory=_whole)
    rows: slice = field(default_factory=_whole)
    columns: slice = field(default_factory=_whole)

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """Return frames, rows and columns, the index of an array (time, y, x)."""
        return self.frames, self.rows, self.columns

    @property
    def dry(self) -> Dry:
        """Return the numbers that the user says mean dry, and what dry is in the file's units."""
        return missing_numbers(self.options.dry_value), dry_in(self.file.layout.units)
