"""ODIM HDF5, the format of OPERA and of many national composites: RATE, ACRR, and reflectivity
(DBZH, TH and similar).

Follows "EUMETNET OPERA weather radar information model for implementation with the HDF5 file
format", 2.0 to 2.4. An attribute applies to everything below it, and the nearest has priority:
datasetN/dataM/what, datasetN/what, what; some services set it on dataM itself. A missing gain
counts as 1, a missing offset as 0. Without nodata or undetect no value is a flag: then a flag such
as -9999000 is a negative rate, which is refused until data.missing_value names it.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nowcast.errors import DataError
from nowcast.radar.placing.georeference import Place
from nowcast.radar.reading import hdf5, storage
from nowcast.radar.reading.file import ZR, Layout, RadarFile, ReadOptions, ReadRequest
from nowcast.radar.reading.units import choose_units, quantity_of
from nowcast.radar.times import Times, instant, show

RAIN = {"RATE": "mm h-1", "ACRR": "mm"}
REFLECTIVITY = {name: "dBZ" for name in ("DBZH", "TH", "DBZV", "TV", "DBZHC", "DBZVC", "DBZ")}
OBJECTS = {"COMP", "IMAGE"}  # Cartesian; all others are polar data, profiles or pictures
_QUALITY = {"QIND"}


@dataclass(frozen=True)
class Image:
    """datasetN/dataM: its dataset, and the groups that may hold its attributes, nearest first."""

    path: str
    quantity: str
    data: hdf5.Node
    what: tuple[hdf5.Node | None, ...]
    where: tuple[hdf5.Node | None, ...]
    how: tuple[hdf5.Node | None, ...]


def describe(path: Path, options: ReadOptions) -> RadarFile:
    """Return the description of a file.

    Errors: MissingInputError, or DataError naming the file, what is wrong and what to do.
    """
    with hdf5.open_file(path) as file:
        images = _rain_images(file, path, options)
        first = images[0]
        units = _units(first, path, options)
        amount = quantity_of(units) == "amount"
        minutes = _minutes(images, path, options) if amount else None
        zr = _zr(first, path) if quantity_of(units) == "reflectivity" else None
        layout = Layout(first.quantity, first.data.shape, units, minutes, zr, _packing(first, path))
        return RadarFile(
            path,
            "odim",
            layout,
            _times(images, path, options),
            _place(first, path),
            _provenance(file, first),
        )


def read(request: ReadRequest) -> storage.Values:
    """Read frames: float64 (time, y, x) in the units of the file; nodata is NaN, undetect 0 (-inf
    dBZ).

    Errors: see describe.
    """
    file = request.file
    with hdf5.open_file(file.path) as root:
        images = _rain_images(root, file.path, request.options)[request.frames]
        if any(image.data.shape != file.layout.shape for image in images):
            raise DataError(
                f"{file.path}: the size of its images changed since it was opened; open it again."
            )
        return np.array([_decode(image, request) for image in images], dtype=np.float64)


def _decode(image: Image, request: ReadRequest) -> storage.Values:
    """Return values in the units of the file.

    A flag that is both nodata and undetect is missing, and so is an undetect that the user declares
    missing.
    """
    file, said_missing = request.file, request.options.missing_value
    nodata, undetect = (hdf5.number(image.what, name, file.path) for name in ("nodata", "undetect"))
    stored = storage.unsigned_where_meant(image.data[request.box[1:]], nodata, undetect)
    gain, offset = _packing(image, file.path)
    attrs = {"_FillValue": nodata, "scale_factor": gain, "add_offset": offset}
    numbers, dry = request.dry
    flagged = storage.undetected(undetect, nodata, said_missing)
    return storage.unpack(stored, attrs, said_missing, ([*flagged, *numbers], dry))


def _rain_images(file: hdf5.Node, path: Path, options: ReadOptions) -> list[Image]:
    """Return the images of the quantity asked for, or of the only rain quantity, in order of time.

    Errors: DataError.
    """
    kind = hdf5.text([hdf5.group(file, "what")], "object")
    if kind is not None and kind.upper() not in OBJECTS:
        raise DataError(
            f"{path}: holds an ODIM object {kind!r}; nowcast reads only composites"
            f" ({', '.join(sorted(OBJECTS))}): make one from it."
        )
    images = list(_all_images(file))
    if not images:
        raise DataError(
            f"{path}: has no numeric image datasetN/dataM/data, so it is not an ODIM file that"
            " nowcast can read; check its content."
        )
    chosen = _choose(images, path, options)
    for image in chosen:
        stated = [hdf5.number(image.where, name, path) for name in ("ysize", "xsize")]
        hdf5.check_size(image.path, image.data, (chosen[0].path, chosen[0].data), stated, path)
    amount = quantity_of(_units(chosen[0], path, options)) == "amount"
    chosen.sort(key=lambda image: _time(image, path, amount or len(chosen) > 1))
    return chosen


def _all_images(file: hdf5.Node) -> Iterator[Image]:
    for outer in _numbered(file, "dataset"):
        for inner in _numbered(file[outer], "data"):
            nodes = (file[outer][inner], file[outer], file)
            what, where, how = (
                [hdf5.group(node, kind) for node in nodes] for kind in ("what", "where", "how")
            )
            what = [what[0], nodes[0], what[1], nodes[1], what[2]]
            data = hdf5.image(nodes[0], "data")
            if data is not None:
                quantity = (hdf5.text(what, "quantity") or "").upper()
                yield Image(
                    f"{outer}/{inner}", quantity, data, tuple(what), tuple(where), tuple(how)
                )


def _numbered(parent: hdf5.Node, word: str) -> list[str]:
    """Return the groups word1, word2, … of a group, sorted by number."""
    names = [
        name
        for name in parent
        if re.fullmatch(rf"{word}\d+", name) and hdf5.group(parent, name) is not None
    ]
    return sorted(names, key=lambda name: int(name.removeprefix(word)))


def _choose(images: list[Image], path: Path, options: ReadOptions) -> list[Image]:
    """Return the images of the quantity or path asked for; else of the only rain quantity, else of
    the only reflectivity.
    """
    if options.variable is not None:
        asked = options.variable.strip("/").removesuffix("/data")
        images = (
            [i for i in images if i.path == asked or i.path.startswith(f"{asked}/")]
            or [i for i in images if i.quantity == asked.upper()]
            or _refuse(path, images, f"has no {options.variable!r}")
        )
        if len({i.quantity for i in images}) == 1 and images[0].quantity not in _QUALITY:
            return images
    for known in (RAIN, REFLECTIVITY):
        found = sorted({i.quantity for i in images if i.quantity in known})
        if len(found) == 1:
            return [i for i in images if i.quantity == found[0]]
        if found:
            _refuse(path, images, f"has several quantities of rain, {' and '.join(found)}")
    return _refuse(path, images, "has no rain")


def _refuse(path: Path, images: list[Image], problem: str) -> list[Image]:
    has = ", ".join(f"{image.path} {image.quantity or 'without a quantity'}" for image in images)
    raise DataError(f"{path}: {problem} (it has: {has}); set data.variable to a quantity or path.")


def _units(image: Image, path: Path, options: ReadOptions) -> str:
    return choose_units(
        options.units,
        {**RAIN, **REFLECTIVITY}.get(image.quantity, ""),
        f"{path}: {image.path}",
        ", or name another with data.variable",
        f"is {image.quantity or 'without a quantity'}, which is not rain",
    )


def _packing(image: Image, path: Path) -> tuple[float, float]:
    gain, offset = (hdf5.number(image.what, name, path) for name in ("gain", "offset"))
    packing = 1.0 if gain is None else gain, 0.0 if offset is None else offset
    if packing[0] == 0 or not all(map(math.isfinite, packing)):
        raise DataError(
            f"{path}: {image.path} has gain {packing[0]:g} and offset {packing[1]:g}, which cannot"
            " unpack values; correct them."
        )
    return packing


def _times(images: list[Image], path: Path, options: ReadOptions) -> Times:
    ends = len(images) > 1 or quantity_of(_units(images[0], path, options)) == "amount"
    times = np.array([_time(image, path, ends) for image in images], dtype="datetime64[ns]")
    for k in np.flatnonzero(np.diff(times) == np.timedelta64(0, "ns")):
        _refuse(path, images, f"has several images of {images[0].quantity} for {show(times[k])}")
    return times


def _time(image: Image, path: Path, end: bool) -> np.datetime64:
    """Return the end time of the image if `end`, else the nominal time of the product; if only one
    of them exists, that one.
    """
    pairs = [("enddate", "endtime"), ("date", "time")]
    for date, time in pairs if end else reversed(pairs):
        found = _clock(image, date, time, path)
        if found is not None:
            return found
    raise DataError(
        f"{path}: {image.path} has neither date and time nor enddate and endtime, so its time is"
        " unknown; check its content."
    )


def _clock(image: Image, date: str, time: str, path: Path) -> np.datetime64 | None:
    """Return the time from two attributes, YYYYMMDD and HHmmss (or HHmm) in UTC; None if either is
    missing.
    """
    day, clock = hdf5.text(image.what, date), hdf5.text(image.what, time)
    if day is None or clock is None:
        return None
    match = re.fullmatch(r"(\d{4})(\d\d)(\d\d) (\d\d)(\d\d)(\d\d)?", f"{day} {clock}")
    try:
        if match is None:
            raise ValueError("not YYYYMMDD and HHmmss")
        return instant("{}-{}-{}T{}:{}:{}".format(*match.groups("00")))
    except ValueError as error:
        raise DataError(
            f"{path}: {image.path} has {date} {day!r} and {time} {clock!r}, which is not a valid"
            " time; correct them."
        ) from error


def _minutes(images: list[Image], path: Path, options: ReadOptions) -> float:
    """Return the minutes of accumulation of amounts: from start to end in the file, else from the
    options.
    """
    spans = set()
    for image in images:
        start, end = (
            _clock(image, "startdate", "starttime", path),
            _clock(image, "enddate", "endtime", path),
        )
        spans.add(
            None
            if start is None or end is None
            else round(float((end - start) / np.timedelta64(1, "m")))
        )
    if len(spans) > 1:
        raise DataError(
            f"{path}: its images are sums over different lengths of time; set data.variable to the"
            " path of one."
        )
    span = spans.pop()
    if span is not None and span > 0:
        return float(span)
    if options.accumulation_minutes is None:
        says = (
            "does not state its minutes of accumulation"
            if span is None
            else "ends less than a minute after its start"
        )
        raise DataError(
            f"{path}: {images[0].path} is an amount that {says}; set data.accumulation_minutes."
        )
    return options.accumulation_minutes


def _zr(image: Image, path: Path) -> ZR | None:
    a, b = (hdf5.number(image.how, name, path) for name in ("zr_a", "zr_b"))
    return (a, b) if a is not None and b is not None and a > 0 and b > 0 else None


def _place(image: Image, path: Path) -> Place:
    """Return the place. In ODIM the first row is the northernmost, corners are outer corners, and
    the pixel size is in the units of the projection.
    """
    projection = hdf5.text(image.where, "projdef")
    if projection is None:
        return {}
    x, y = (hdf5.number(image.where, name, path) for name in ("xscale", "yscale"))
    corners = []
    for name in ("LL", "UL", "UR", "LR"):
        lon, lat = (hdf5.number(image.where, f"{name}_{part}", path) for part in ("lon", "lat"))
        if lon is not None and lat is not None:
            corners.append((name, lon, lat))
    pixel = None if x is None or y is None else (x, -y)
    return hdf5.place_of_footprint(
        hdf5.Footprint(projection, image.data.shape, pixel, None, tuple(corners), None, str(path))
    )


def _provenance(file: hdf5.Node, image: Image) -> dict[str, str]:
    said = {
        "institution": hdf5.text(image.what, "source"),
        "source": hdf5.text([file], "Conventions") or hdf5.text(image.what, "version"),
        "product": hdf5.text(image.what, "product"),
        "license": hdf5.text(image.how, "license"),
    }
    return {name: value for name, value in said.items() if value is not None}
