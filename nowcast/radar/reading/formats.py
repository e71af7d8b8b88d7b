"""The registry of formats: how each is recognized, and which module reads it.

A reader is imported when the first file of its format is read.

A reader is a module with two functions:

    describe(path, options) -> RadarFile       the description of the file, without reading frames
    read(request) -> Values                    float64 (time, y, x) in the units of the file's
                                               layout, NaN = missing

They raise MissingInputError and DataError, naming the file, what is wrong and what to do.

Built-in readers are in `nowcast.radar.reading.readers`. A package adds its own with an entry point
in the group `nowcast.readers`, named like the format and pointing to a `Format`. Formats of
packages are tried first, because the built-in ones accept any HDF5, NetCDF or TIFF file.
"""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

from nowcast.errors import (
    ConfigError,
    DataError,
    MissingInputError,
    MissingLibraryError,
    NowcastError,
)
from nowcast.plugins import READERS, load_plugin, package_of, plugins
from nowcast.radar.finding.archives import archive_in_words
from nowcast.radar.grid import refuse_beyond_poles
from nowcast.radar.reading.file import ZR, RadarFile, ReadOptions, ReadRequest
from nowcast.radar.reading.storage import Values, explain, explained, first_line, unpacked
from nowcast.radar.reading.units import ZR_RELATIONS, choose_units, quantity_of
from nowcast.untrusted.isolation import isolated

START = 1024  # first bytes, from which a format is recognized
_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class Format:
    """A format that nowcast reads.

    suffixes: of files to search for in a folder, in lower case, without .gz.
    tells: returns whether a file has this format, from its path and its first bytes (unpacked if
    gzipped).
    zr: (a, b) of Z = a R^b of the service, used if neither its files nor the user give one.
    module: its reader, such as "my_package.reader"; None for built-in readers, named like the
    format.
    """

    title: str
    suffixes: tuple[str, ...]
    tells: Callable[[Path, bytes], bool]
    zr: ZR | None = None
    module: str | None = None


def describe_file(path: Path, options: ReadOptions) -> RadarFile:
    """Return the description of the file or store at `path`.

    Errors: MissingInputError, or DataError naming the file, what is wrong and what to do.
    """
    return isolated(path, _describe, path, options, repeats=True)


def read_frames(request: ReadRequest) -> Values:
    """Read the requested part of a file in the units of its layout: float64 (time, y, x), NaN =
    missing.

    Errors: see describe_file.
    """
    file = without_place(request.file)
    return isolated(file.path, _read, replace(request, file=file))


def without_place(file: RadarFile) -> RadarFile:
    """Return the description without place, small enough to send to another process."""
    return replace(file, place={})


def _read(request: ReadRequest) -> Values:
    name, path = request.file.format, request.file.path
    with explained(path), _package_named(name, path):
        values: Values = reader(name).read(request)
        return values


def _describe(path: Path, options: ReadOptions) -> RadarFile:
    with explained(path):
        return _described(path, options)


def _described(path: Path, options: ReadOptions) -> RadarFile:
    name = format_of(path) if options.format == "auto" else options.format
    with _package_named(name, path):
        file: RadarFile = replace(reader(name).describe(path, options), format=name)
    refuse_beyond_poles(file.place, str(path))
    units = choose_units(None, file.layout.units, f"{path}: its rain")
    if quantity_of(units) != "reflectivity":
        return file
    zr = file.layout.zr or options.zr or format_named(name).zr
    if zr is None:
        raise DataError(
            f"{path}: {file.layout.variable!r} is reflectivity, and its Z-R relation is unknown;"
            " set data.zr to a and b of Z = a R^b, such as [200,1.6], or to one of"
            f" {', '.join(ZR_RELATIONS)}."
        )
    return replace(file, layout=replace(file.layout, zr=zr))


def reader(name: str) -> ModuleType:
    """Return the module that reads a format.

    Errors: see format_named; MissingLibraryError naming the extra to install.
    """
    return import_module(format_named(name).module or f"nowcast.radar.reading.readers.{name}")


def format_named(name: str) -> Format:
    """Return the format of this name, built-in or of an installed package.

    Errors: ConfigError for an unknown name; MissingLibraryError for an unusable package.
    """
    known = FORMATS.get(name) or _installed(tuple(sys.path)).get(name)
    if known is None:
        raise ConfigError(f"data.format: {name!r} is unknown; choose auto, {', '.join(formats())}.")
    return known


def formats() -> dict[str, Format]:
    """Return all formats by name, in the order in which they are tried.

    Errors: MissingLibraryError for an unusable package.
    """
    return _installed(tuple(sys.path)) | FORMATS


@lru_cache(maxsize=1)
def _installed(path: tuple[str, ...]) -> dict[str, Format]:
    """Return the formats of packages; path: where Python searches for them."""
    return {name: _loaded(name) for name in plugins(READERS) if name not in FORMATS}


def _loaded(name: str) -> Format:
    known = load_plugin(READERS, name)
    if not isinstance(known, Format) or known.module is None:
        raise MissingLibraryError(
            f"{name}: the entry in {READERS} of the package {package_of(plugins(READERS)[name])} is"
            " not a Format with a module; update the package, or remove it."
        )
    return known


@contextmanager
def _package_named(name: str, path: Path) -> Iterator[None]:
    """Within this block, an unexpected error in a package's reader also names the package."""
    try:
        yield
    except (NowcastError, OSError, MemoryError):
        raise
    except Exception as error:  # a reader may fail in any way
        if name in FORMATS:
            raise
        raise DataError(
            f"{path}: the reader {name} of the package {package_of(plugins(READERS)[name])} fails"
            f" ({type(error).__name__}: {first_line(error)}); check the file, or update the"
            " package."
        ) from error


def format_of(path: Path) -> str:
    """Return the name of the format of a file, recognized by content first and by name second.

    Errors: MissingInputError, DataError.
    """
    start = start_of(path)
    for name, known in formats().items():
        with _package_named(name, path):
            if known.tells(path, start):
                return name
    archive = archive_in_words(path, start)
    raise (
        DataError(f"{path}: this is {archive}.")
        if archive
        else explain(path, DataError("unknown format"))
    )


def start_of(path: Path) -> bytes:
    """Return the first bytes of a file, unpacked if it is gzipped; b"" for a folder."""
    return b"" if path.is_dir() else unpacked(path, START)


def bare_suffix(path: Path) -> str:
    """Return the suffix in lower case, ignoring a final .gz: 'a.PGM.gz' → '.pgm'."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _is_odim(path: Path, start: bytes) -> bool:
    return start.startswith(_HDF5) and _hdf5_has(path, {"what", "dataset1"})


def _is_knmi(path: Path, start: bytes) -> bool:
    return start.startswith(_HDF5) and _hdf5_has(path, {"image1/image_data"})


def _hdf5_has(path: Path, names: set[str]) -> bool:
    """Return whether an HDF5 file has these groups or datasets."""
    from nowcast.radar.reading.hdf5 import open_file

    try:
        with open_file(path) as file:
            return all(name in file for name in names)
    except (DataError, MissingInputError):  # another reader reports what is wrong
        return False


def _is_zarr(path: Path, start: bytes) -> bool:
    try:
        return path.is_dir() and ((path / "zarr.json").is_file() or (path / ".zgroup").is_file())
    except PermissionError as error:
        raise explain(path, error) from error


def _is_radolan(path: Path, start: bytes) -> bool:
    """Match product, day, time, 10000 (composite), month, year and BY: b'RY230850100000821BY…'."""
    return re.match(rb"[A-Z][A-Z0-9]\d{6}10000\d{4}BY", start) is not None


def _is_meteonet(path: Path, start: bytes) -> bool:
    return start.startswith(b"PK") and reader("meteonet").is_meteonet(path)


FORMATS: dict[str, Format] = {
    "odim": Format("ODIM HDF5 (OPERA, national composites)", (".h5", ".hdf", ".hdf5"), _is_odim),
    "knmi": Format("KNMI HDF5", (".h5", ".hdf", ".hdf5"), _is_knmi),
    "netcdf": Format(
        "CF NetCDF",
        (".nc", ".nc4", ".cdf"),
        lambda path, start: start.startswith((_HDF5, b"CDF")),
    ),
    "zarr": Format("Zarr", (".zarr",), _is_zarr),
    "meteoswiss": Format(
        "MeteoSwiss GIF", (".gif",), lambda path, start: start.startswith((b"GIF87a", b"GIF89a"))
    ),
    "fmi": Format(
        "FMI PGM", (".pgm",), lambda path, start: start.startswith(b"P5"), ZR_RELATIONS["fmi"]
    ),
    "grib": Format(
        "GRIB2 (MRMS)",
        (".grib2", ".grb2", ".grib", ".grb"),
        lambda path, start: start.startswith(b"GRIB"),
    ),
    "geotiff": Format(
        "GeoTIFF",
        (".tif", ".tiff"),
        lambda path, start: start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    ),
    "radolan": Format("DWD RADOLAN binary", ("", ".bin"), _is_radolan, ZR_RELATIONS["dwd"]),
    "meteonet": Format("MeteoNet .npz", (".npz",), _is_meteonet),
}
"""Built-in formats by their name in `data.format`, in the order in which they are tried."""
