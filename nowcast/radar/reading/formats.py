"""The registry of formats: how each is told, and which module reads it.

A reader is imported when a file of its format is met.

A reader is a module of `nowcast.radar.reading.readers` with two functions:

    describe(path, options) -> RadarFile       what the file holds, frames unread
    read(file, frames, rows, columns, options) -> Values
                                               float64 (time, y, x) in the units of `file.layout`,
                                               NaN = missing

Their errors are MissingInputError and DataError, naming the file, what is wrong and what to do.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

from nowcast.errors import ConfigError, DataError, MissingInputError
from nowcast.radar.finding.archives import archive_in_words
from nowcast.radar.reading.file import ZR, RadarFile, ReadOptions
from nowcast.radar.reading.storage import Values, explain, explained, unpacked
from nowcast.radar.reading.units import ZR_RELATIONS, choose_units, quantity_of
from nowcast.untrusted.isolation import isolated

START = 1024  # bytes from which a format is told
_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class Format:
    """A format that nowcast reads.

    suffixes: of the files that a folder is searched for, in lower case, without .gz.
    tells: whether a file is of this format, from its path and its first bytes (unpacked where
    gzipped).
    module: of `nowcast.radar.reading.readers`.
    zr: (a, b) of Z = a R^b that the service is known to use, where neither its files nor the user
    say.
    """

    title: str
    suffixes: tuple[str, ...]
    tells: Callable[[Path, bytes], bool]
    module: str
    zr: ZR | None = None


def describe_file(path: Path, options: ReadOptions) -> RadarFile:
    """What `path` holds.

    Errors: MissingInputError, or DataError naming the file, what is wrong and what to do.
    """
    return isolated(path, _describe, path, options, repeats=True)


def read_frames(
    file: RadarFile, frames: slice, rows: slice, columns: slice, options: ReadOptions
) -> Values:
    """Frames of `file`, in the units of its layout: float64 (time, y, x), NaN = missing.

    Errors: as describe_file.
    """
    return isolated(file.path, _read, without_place(file), frames, rows, columns, options)


def without_place(file: RadarFile) -> RadarFile:
    """What a reader needs of a file, small enough to be sent to another process."""
    return replace(file, place={})


def _read(
    file: RadarFile, frames: slice, rows: slice, columns: slice, options: ReadOptions
) -> Values:
    with explained(file.path):
        values: Values = reader(file.format).read(file, frames, rows, columns, options)
        return values


def _describe(path: Path, options: ReadOptions) -> RadarFile:
    with explained(path):
        return _described(path, options)


def _described(path: Path, options: ReadOptions) -> RadarFile:
    name = format_of(path) if options.format == "auto" else options.format
    file: RadarFile = reader(name).describe(path, options)
    units = choose_units(None, file.layout.units, f"{path}: its rain")
    if quantity_of(units) != "reflectivity":
        return file
    zr = file.layout.zr or options.zr or FORMATS[name].zr
    if zr is None:
        raise DataError(
            f"{path}: {file.layout.variable!r} is reflectivity, and by which Z-R relation it"
            " becomes rain is not said; set data.zr to a and b of Z = a R^b, as [200,1.6], or to"
            f" one of {', '.join(ZR_RELATIONS)}."
        )
    return replace(file, layout=replace(file.layout, zr=zr))


def reader(name: str) -> ModuleType:
    """The module that reads a format.

    Errors: ConfigError for a name unknown, MissingLibraryError naming the extra it needs.
    """
    check_format(name)
    return import_module(f"nowcast.radar.reading.readers.{FORMATS[name].module}")


def check_format(name: str) -> None:
    """Errors: ConfigError where no format is called so."""
    if name not in FORMATS:
        raise ConfigError(f"data.format: {name!r} is unknown; choose auto, {', '.join(FORMATS)}.")


def format_of(path: Path) -> str:
    """The name of the format of a file, told by its content first and its name second.

    Errors: MissingInputError, DataError.
    """
    start = start_of(path)
    for name, known in FORMATS.items():
        if known.tells(path, start):
            return name
    archive = archive_in_words(path, start)
    raise (
        DataError(f"{path}: this is {archive}.")
        if archive
        else explain(path, DataError("its format is not known"))
    )


def start_of(path: Path) -> bytes:
    """The first bytes of a file, unpacked where it is gzipped; b"" of a folder."""
    return b"" if path.is_dir() else unpacked(path, START)


def bare_suffix(path: Path) -> str:
    """The suffix in lower case, that before .gz where there is one: 'a.PGM.gz' → '.pgm'."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _is_odim(path: Path, start: bytes) -> bool:
    return start.startswith(_HDF5) and _hdf5_has(path, {"what", "dataset1"})


def _is_knmi(path: Path, start: bytes) -> bool:
    return start.startswith(_HDF5) and _hdf5_has(path, {"image1/image_data"})


def _hdf5_has(path: Path, names: set[str]) -> bool:
    """Whether an HDF5 file has these groups or datasets."""
    from nowcast.radar.reading.hdf5 import open_file

    try:
        with open_file(path) as file:
            return all(name in file for name in names)
    except (DataError, MissingInputError):  # its reader says what is wrong
        return False


def _is_zarr(path: Path, start: bytes) -> bool:
    try:
        return path.is_dir() and ((path / "zarr.json").is_file() or (path / ".zgroup").is_file())
    except PermissionError as error:
        raise explain(path, error) from error


def _is_radolan(path: Path, start: bytes) -> bool:
    """Product, day and time, 10000 for a composite, month and year, BY: b'RY230850100000821BY…'."""
    return re.match(rb"[A-Z][A-Z0-9]\d{6}10000\d{4}BY", start) is not None


def _is_meteonet(path: Path, start: bytes) -> bool:
    return start.startswith(b"PK") and reader("meteonet").is_meteonet(path)


FORMATS: dict[str, Format] = {
    "odim": Format("ODIM HDF5 (OPERA, national composites)", (".h5", ".hdf", ".hdf5"), _is_odim,
    "odim"), "knmi": Format("KNMI HDF5", (".h5", ".hdf", ".hdf5"), _is_knmi, "knmi"),
    "netcdf": Format("CF NetCDF", (".nc", ".nc4", ".cdf"), lambda path,
    start: start.startswith((_HDF5, b"CDF")), "netcdf"), "zarr": Format("Zarr", (".zarr",),
    _is_zarr, "zarr"), "meteoswiss": Format("MeteoSwiss GIF", (".gif",), lambda path,
    start: start.startswith((b"GIF87a", b"GIF89a")), "meteoswiss"), "fmi": Format("FMI PGM",
    (".pgm",), lambda path, start: start.startswith(b"P5"), "fmi", ZR_RELATIONS["fmi"]),
    "grib": Format("GRIB2 (MRMS)", (".grib2", ".grb2", ".grib", ".grb"), lambda path,
    start: start.startswith(b"GRIB"), "grib"), "geotiff": Format("GeoTIFF", (".tif", ".tiff"),
    lambda path, start: start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "geotiff"),
    "radolan": Format("DWD RADOLAN binary", ("", ".bin"), _is_radolan, "radolan",
    ZR_RELATIONS["dwd"]), "meteonet": Format("MeteoNet .npz", (".npz",), _is_meteonet, "meteonet"),
}  # fmt: skip
"""Every format by its name in `data.format`, in the order in which they are tried."""
