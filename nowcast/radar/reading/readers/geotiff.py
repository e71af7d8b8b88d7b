"""GeoTIFF, gzipped or not, with one band per frame.

Only GDAL's GeoTIFF driver is used, and only this file is read: .aux.xml, .tfw, .msk and .ovr files
are ignored. Properties of a band have priority, then tags of the band, then tags of the file; FMI's
files have everything in items of a GDAL_METADATA tag.
"""

import math
import re
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import xarray as xr

from nowcast.errors import DataError
from nowcast.radar.finding.filename_times import time_from_name
from nowcast.radar.grid import CRS
from nowcast.radar.placing.georeference import (
    Place,
    axis_in_degrees,
    axis_in_metres,
    grid_mapping_from_crs,
    in_metres,
)
from nowcast.radar.reading.cf.times import minutes_of_cell_methods
from nowcast.radar.reading.cf.variables import PROVENANCE
from nowcast.radar.reading.file import ZR, Layout, RadarFile, ReadOptions, ReadRequest
from nowcast.radar.reading.readers.odim import RAIN, REFLECTIVITY
from nowcast.radar.reading.storage import (
    Values,
    explain,
    kept_unpacked,
    library,
    undetected,
    unpack,
    unsigned_where_meant,
)
from nowcast.radar.reading.units import ZR_RELATIONS, choose_minutes, choose_units, quantity_of
from nowcast.radar.times import instant
from nowcast.untrusted.files import refuse_huge

_ONLY_THIS_FILE = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_GEOREF_SOURCES": "INTERNAL",
}
_TIME_TAGS = ("time", "valid_time", "datetime", "observation time")
_ITEM = re.compile(r'<Item name="([^"]{1,100})"([^>]{0,200})>([^<]{0,1000})</Item>')
"""An item of GDAL's XML metadata. No XML parser is used, since untrusted XML may expand without
limit.
"""
_UNIT = re.compile(r'\bunit="([^"]*)"')
_FMI_CRS, _FMI_QUANTITY = 3067, "reflectivity"
"""FMI's files do not name FMI, but only they have reflectivity on Finland's national grid with
items such as "Observation time".
"""
_TAGS = {
    "TIFFTAG_IMAGEDESCRIPTION": "title",
    "TIFFTAG_ARTIST": "institution",
    "TIFFTAG_COPYRIGHT": "license",
}


def describe(path: Path, options: ReadOptions) -> RadarFile:
    """Return the description of a file.

    Errors: MissingInputError, MissingLibraryError, or DataError naming the file and what to do.
    """
    with _open(path) as file:
        bands = _bands(file, options, path)
        units, minutes = _units(file, bands, options, path)
        times = _times(file, bands, path)
        band = bands[0] - 1
        name = (
            file.descriptions[band]
            if len(bands) == 1 and _time_of_text(file.descriptions[band] or "") is None
            else None
        )
        said = _said(file, bands[0])
        packing, zr = _packing(file, bands[0], path), None if options.zr else _zr(file, said, units)
        layout = Layout(
            name or said.get("quantity") or "band",
            (file.height, file.width),
            units,
            minutes,
            zr,
            packing,
        )
        tags = file.tags()
        attrs = {name: tags[name] for name in PROVENANCE if name in tags}
        attrs |= {
            ours: tags[tag] for tag, ours in _TAGS.items() if tag in tags and ours not in attrs
        }
        attrs |= (
            {"institution": "Finnish Meteorological Institute"}
            if zr is not None and "institution" not in attrs
            else {}
        )
        return RadarFile(path, "geotiff", layout, times, _place(file, path), attrs)


def read(request: ReadRequest) -> Values:
    """Read frames in the units of the file: float64 (time, y, x), NaN = missing or masked.

    Errors: see describe.
    """
    file, options = request.file, request.options
    (top, bottom, _), (left, right, _) = (
        part.indices(size) for part, size in zip(request.box[1:], file.layout.shape, strict=True)
    )
    with _open(file.path) as stored:
        bands = _bands(stored, options, file.path)[request.frames]
        window = ((top, bottom), (left, right))
        values = np.empty((len(bands), bottom - top, right - left))
        for frame, band in zip(values, bands, strict=True):
            said = _said(stored, band)
            nodata, undetect = (_flag(said, name) for name in ("nodata", "undetect"))
            declared = stored.nodatavals[band - 1]
            raw = unsigned_where_meant(stored.read(band, window=window), declared, nodata, undetect)
            scale, offset = _packing(stored, band, file.path)
            attrs = {
                "_FillValue": declared,
                "missing_value": nodata,
                "scale_factor": scale,
                "add_offset": offset,
            }
            numbers, dry = request.dry
            flagged = undetected(undetect, declared, nodata, options.missing_value)
            frame[:] = unpack(raw, attrs, options.missing_value, ([*flagged, *numbers], dry))
            if declared is None:  # then a mask or an alpha band may mark missing pixels
                frame[stored.read_masks(band, window=window) == 0] = np.nan
    return values


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """Open the file in rasterio.

    Errors: DataError, MissingInputError, also for errors within the block.
    """
    rasterio = library("rasterio", "geotiff", path)
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with warnings.catch_warnings(), ExitStack() as opened:
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            opened.enter_context(rasterio.Env(**_ONLY_THIS_FILE))
            # a relative path could be taken for one of GDAL's special names: GTIFF_DIR:1:a.tif
            where: Any = path.absolute()
            if packed:
                where = opened.enter_context(rasterio.MemoryFile(kept_unpacked(path)))
            image = opened.enter_context(
                where.open(driver="GTiff") if packed else rasterio.open(where, driver="GTiff")
            )
            for shape in [image.shape, *image.block_shapes]:
                refuse_huge(shape, f"{path}: an image")
            yield image
    # damaged tags raise these too
    except (
        OSError,
        UnicodeError,
        rasterio.errors.RasterioError,
        rasterio._err.CPLE_BaseError,
    ) as error:
        raise explain(path, error) from error


def _bands(file: Any, options: ReadOptions, path: Path) -> list[int]:
    """Return the numbers (from 1) of the bands that are frames: those asked for, else all if each
    has a time, else the only one.
    """
    alpha = {
        k
        for k, meaning in zip(file.indexes, file.colorinterp, strict=True)
        if meaning.name == "alpha"
    }
    bands = [k for k in file.indexes if k not in alpha]
    names = {k: file.descriptions[k - 1] or f"band {k}" for k in bands}
    listed = ", ".join(names.values())
    if options.variable is not None:
        bands = [k for k in bands if options.variable in (names[k], str(k), f"band {k}")]
        if not bands:
            raise DataError(
                f"{path}: has no band {options.variable!r} (it has: {listed}); set data.variable."
            )
    if len(bands) > 1 and any(_time_of_band(file, k) is None for k in bands):
        raise DataError(
            f"{path}: has several bands and no time for each: {listed}; choose one with"
            " data.variable."
        )
    if np.dtype(file.dtypes[bands[0] - 1]).kind not in "iuf":
        raise DataError(
            f"{path}: its values have type {file.dtypes[bands[0] - 1]}, not numbers; name another"
            " band with data.variable."
        )
    return bands


def _units(
    file: Any, bands: list[int], options: ReadOptions, path: Path
) -> tuple[str, float | None]:
    """Return (units, minutes of accumulation or None) from bands and tags, else from the options;
    data.units overrides the file.
    """
    stated = {file.units[k - 1] or _units_said(_said(file, k)) for k in bands}
    if len(stated) > 1 and options.units is None:
        raise DataError(
            f"{path}: its bands are in different units ({', '.join(sorted(stated))}); choose one"
            " with data.variable."
        )
    units = choose_units(options.units, stated.pop(), f"{path}:")
    if quantity_of(units) != "amount":
        return units, None
    minutes = minutes_of_cell_methods(_said(file, bands[0]).get("cell_methods", ""))
    return units, choose_minutes(options.accumulation_minutes, minutes, units, f"{path}: holds")


def _times(file: Any, bands: list[int], path: Path) -> np.ndarray[Any, np.dtype[np.datetime64]]:
    """Return the time of each band: from its tags, else from tags of the file, else from the file
    name, else the date of the image.
    """
    times = [_time_of_band(file, k) for k in bands]
    if None not in times:
        return np.array(times, dtype="datetime64[ns]")
    tags, said = file.tags(), _said(file, bands[0])
    own = next(
        (time for tag in _TIME_TAGS if (time := _time_of_text(said.get(tag, ""))) is not None), None
    )
    named = time_from_name(path.name) if own is None else own
    # last, because some programs write the time they ran
    made = _time_of_text(tags.get("TIFFTAG_DATETIME", "")) if named is None else named
    if made is None:
        raise DataError(
            f"{path}: has no time: no tag 'time' or TIFFTAG_DATETIME, and no time such as"
            " 202001311205 in its name; rename it."
        )
    return np.array([made], dtype="datetime64[ns]")


def _time_of_band(file: Any, band: int) -> np.datetime64 | None:
    """Return the time in the tags of a band, or in its name, or None."""
    tags = {name.lower(): text for name, text in file.tags(band).items()}
    texts = [
        *(tags.get(tag, "") for tag in (*_TIME_TAGS, "tifftag_datetime")),
        file.descriptions[band - 1] or "",
    ]
    return next((time for text in texts if (time := _time_of_text(text)) is not None), None)


def _time_of_text(text: str) -> np.datetime64 | None:
    """'2020:01:31 12:05:00' (as in TIFF), ISO 8601 or 202001311205 → the time in UTC; None if it is
    not a time.
    """
    text = text.strip()
    if re.fullmatch(r"\d{12}", text):
        return time_from_name(text)
    plain = text.replace(":", "-", 2) if text[4:5] == ":" else text
    try:
        time = datetime.fromisoformat(plain)
        return instant(time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None))
    except (ValueError, OverflowError):
        return None


def _said(file: Any, band: int) -> dict[str, str]:
    """Return the tags of a band and of the file by names in lower case. Tags of the band have
    priority, then tags of the file, then items of GDAL's XML metadata; the unit of an item is
    returned as `… unit`.
    """
    of_file = file.tags()
    said: dict[str, str] = {}
    for name, about, text in _ITEM.findall(of_file.get("GDAL_METADATA", "")):
        unit = _UNIT.search(about)
        said |= {
            name.lower(): unescape(text).strip(),
            **({f"{name.lower()} unit": unescape(unit[1])} if unit else {}),
        }
    for tags in (of_file, file.tags(band)):
        said |= {name.lower(): str(text).strip() for name, text in tags.items()}
    return said


def _units_said(said: dict[str, str]) -> str:
    """Return the units from a tag, or from the unit or the ODIM name of the quantity; "" if
    unknown.
    """
    known = {**RAIN, **REFLECTIVITY}
    texts = (
        said.get("units"),
        said.get("unit"),
        said.get("quantity unit"),
        known.get(said.get("quantity", "").upper()),
    )
    return next((text for text in texts if text), "")


def _packing(file: Any, band: int, path: Path) -> tuple[float, float]:
    """Return (scale, offset) of a band, else from the tags `gain` and `offset`."""
    own = (float(file.scales[band - 1]), float(file.offsets[band - 1]))
    if own != (1.0, 0.0):
        return own
    said = _said(file, band)
    gain = _number(said, "gain", path)
    if gain is None:  # an offset without a gain may mean something else
        return own
    packing = (gain, _number(said, "offset", path) or 0.0)
    if packing[0] == 0 or not all(map(math.isfinite, packing)):
        raise DataError(
            f"{path}: its tags have gain {packing[0]:g} and offset {packing[1]:g}, which cannot"
            " unpack values; correct them."
        )
    return packing


def _number(said: dict[str, str], name: str, path: Path) -> float | None:
    """Return a numeric tag, or None if it is missing. Errors: DataError if it is not a number."""
    if name not in said:
        return None
    try:
        return float(said[name])
    except ValueError as error:
        raise DataError(
            f"{path}: its tag {name} is {said[name]!r}, not a number; check it."
        ) from error


def _flag(said: dict[str, str], name: str) -> float | None:
    """Return a tag with a pixel value; None if it is missing or not a number, such as "none"."""
    try:
        return float(said[name])
    except (KeyError, ValueError):
        return None


def _zr(file: Any, said: dict[str, str], units: str) -> ZR | None:
    """Return FMI's relation for a file identified as FMI's by its tags and projection, or None."""
    is_fmi = "observation time" in said and _FMI_QUANTITY in said.get("quantity", "").lower()
    if (
        quantity_of(units) != "reflectivity"
        or not is_fmi
        or file.crs is None
        or file.crs.to_epsg() != _FMI_CRS
    ):
        return None
    return ZR_RELATIONS["fmi"]


def _place(file: Any, path: Path) -> Place:
    """Return the centres of columns and rows, and the grid mapping; {} if the file has none."""
    transform = file.transform
    if transform.is_identity:
        return {}
    if transform.b != 0 or transform.d != 0:
        raise DataError(
            f"{path}: its pixels are rotated against its coordinates; resample it first (gdalwarp)."
        )
    x = transform.c + transform.a * (np.arange(file.width) + 0.5)
    y = transform.f + transform.e * (np.arange(file.height) + 0.5)
    if file.crs is None:
        return {
            name: xr.Variable(name, values, {"axis": name.upper()})
            for name, values in (("x", x), ("y", y))
        }
    system = pyproj.CRS.from_wkt(file.crs.to_wkt())
    if system.is_geographic:
        place = {"x": axis_in_degrees("x", x), "y": axis_in_degrees("y", y)}
        unit = 1.0
    else:
        unit = float(system.axis_info[0].unit_conversion_factor)  # metres in a foot, a kilometre …
        place = {"x": axis_in_metres("x", x * unit), "y": axis_in_metres("y", y * unit)}
    crs = grid_mapping_from_crs(system, system.name, str(path))
    if crs is None:
        return place
    return {**place, CRS: crs if unit == 1.0 else in_metres(crs, unit)}
