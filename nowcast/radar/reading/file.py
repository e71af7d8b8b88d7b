"""The description of one radar file."""

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

    variable: name of the rain in the file.
    shape: (y, x).
    units: of the values that the reader returns.
    accumulation_minutes: of an amount; None for rates and reflectivity.
    zr: (a, b) of Z = a R^b for reflectivity, as stated in the file; else describe_file inserts the
    user's, or that of the service.
    packing: (scale, offset) from stored numbers to values in `units`, for messages that quote the
    stored number.
    dims: names in the file of the dimensions (time, y, x), for self-describing formats; None for a
    missing one.
    missing: stored numbers that mean missing, known for the service but not declared in the file.
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
    """The description of one file: everything except its frames.

    `format` is the name of its reader.
    """

    path: Path
    format: str
    layout: Layout
    times: Times  # (frames,) datetime64[ns] in UTC, in the order of the file
    place: Place
    attrs: dict[str, str]


def _whole() -> slice:
    return slice(None)


@dataclass(frozen=True)
class ReadRequest:
    """A request to a reader: frames, rows and columns of a file, with the user's options.

    The default is all of them.
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
        """Return the stored numbers that the user declares dry, and the dry value in the units."""
        return missing_numbers(self.options.dry_value), dry_in(self.file.layout.units)
