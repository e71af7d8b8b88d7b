"""KNMI HDF5: accumulations, rates and reflectivity of the Royal Netherlands Meteorological
Institute.

Follows Roozekrans and Holleman, "KNMI HDF5 Data Format Specification, v3.5" (2003). A file has
images image1, image2, …; some of them are quality or adjustment. image_geo_parameter names the
quantity of each, with its unit in brackets.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nowcast.errors import DataError
from nowcast.radar.placing.georeference import Place
from nowcast.radar.reading import hdf5, storage
from nowcast.radar.reading.file import Layout, RadarFile, ReadOptions, ReadRequest
from nowcast.radar.reading.units import choose_units, quantity_of
from nowcast.radar.times import Times, instant, show

# units of rain; other units are of quality, height, adjustment …
UNITS = {"MM": "mm", "MM/H": "mm h-1", "DBZ": "dBZ"}
# English in any locale
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"


@dataclass(frozen=True)
class Image:
    """imageN: its group, its parameter (such as ACCUMULATED_PRECIPITATION), unit, and dataset."""

    path: str
    node: hdf5.Node
    parameter: str
    unit: str
    data: hdf5.Node


def describe(path: Path, options: ReadOptions) -> RadarFile:
    """Return the description of a file.

    Errors: MissingInputError, or DataError naming the file, what is wrong and what to do.
    """
    with hdf5.open_file(path) as file:
        images = _rain_images(file, path, options)
        first = images[0]
        units = _units(first, path, options)
        times = _times(images, file, path)
        minutes = _minutes(file, times, path, options) if quantity_of(units) == "amount" else None
        layout = Layout(
            first.parameter or first.path,
            first.data.shape,
            units,
            minutes,
            None,
            _calibration(first, path),
        )
        return RadarFile(
            path, "knmi", layout, times, _place(file, first, path), _provenance(file, first)
        )


def read(request: ReadRequest) -> storage.Values:
    """Read frames: float64 (time, y, x) in the units of the file; missing and out of image are NaN.

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
    """Return values in the image's units.

    A stored 0 is never missing, although KNMI's reflectivity declares it so: there it means no
    echo.
    """
    file, inside = request.file, image.data[request.box[1:]]
    calibration = [hdf5.group(image.node, "calibration")]
    outside = hdf5.number(calibration, "calibration_out_of_image", file.path)
    missing = hdf5.number(calibration, "calibration_missing_data", file.path) or None
    stored = storage.unsigned_where_meant(inside, outside, missing)
    gain, offset = _calibration(image, file.path)
    attrs = {
        "_FillValue": outside,
        "missing_value": missing,
        "scale_factor": gain,
        "add_offset": offset,
    }
    return storage.unpack(stored, attrs, request.options.missing_value, request.dry)


def _rain_images(file: hdf5.Node, path: Path, options: ReadOptions) -> list[Image]:
    """Return the image asked for, or the only one with rain, or several of one kind in order of
    time.
    """
    images = list(_all_images(file))
    if not images:
        raise DataError(
            f"{path}: has no numeric image1/image_data, so it is not a KNMI file that nowcast can"
            " read; check its content."
        )
    if options.variable is None:
        chosen = [image for image in images if image.unit in UNITS]
    else:
        asked = options.variable.strip("/").removesuffix("/image_data")
        chosen = [i for i in images if asked == i.path] or [
            i for i in images if asked in (i.parameter, f"{i.parameter}_[{i.unit}]")
        ]
    if not chosen:
        _refuse(
            path,
            images,
            "has no rain" if options.variable is None else f"has no {options.variable!r}",
        )
    if len({image.parameter for image in chosen}) > 1:
        _refuse(path, images, "has several images of rain")
    geographic = [hdf5.group(file, "geographic")]
    stated = [
        hdf5.number(geographic, name, path) for name in ("geo_number_rows", "geo_number_columns")
    ]
    for image in chosen:
        hdf5.check_size(image.path, image.data, (chosen[0].path, chosen[0].data), stated, path)
    times = _times(chosen, file, path)
    for time in np.sort(times)[1:][np.diff(np.sort(times)) == np.timedelta64(0, "ns")]:
        _refuse(path, images, f"has several images of {chosen[0].parameter} for {show(time)}")
    return [chosen[k] for k in np.argsort(times)]


def _all_images(file: hdf5.Node) -> Iterable[Image]:
    names = [
        name
        for name in file
        if re.fullmatch(r"image\d+", name) and hdf5.group(file, name) is not None
    ]
    for name in sorted(names, key=lambda name: int(name.removeprefix("image"))):
        data = hdf5.image(file[name], "image_data")
        says = re.fullmatch(
            r"(.*?)_?\[(.*)\]", hdf5.text([file[name]], "image_geo_parameter") or ""
        )
        parameter, unit = (says[1], says[2].upper()) if says is not None else ("", "")
        if data is not None:
            yield Image(name, file[name], parameter, unit, data)


def _refuse(path: Path, images: list[Image], problem: str) -> None:
    has = ", ".join(
        f"{image.path} {image.parameter or 'without a parameter'} [{image.unit}]"
        for image in images
    )
    raise DataError(f"{path}: {problem} (it has: {has}); set data.variable, for example to image1.")


def _units(image: Image, path: Path, options: ReadOptions) -> str:
    return choose_units(
        options.units,
        UNITS.get(image.unit, ""),
        f"{path}: {image.path} {image.parameter}",
        ", or name another image with data.variable",
        f"is in {image.unit!r}",
    )


def _calibration(image: Image, path: Path) -> tuple[float, float]:
    """Return (a, b) of calibration_formulas, `GEO = a * PV + b`; b may be missing, or have two
    signs ("+-32").
    """
    formula = hdf5.text([hdf5.group(image.node, "calibration")], "calibration_formulas") or ""
    match = re.fullmatch(rf"GEO=({_NUMBER})\*PV(?:\+?({_NUMBER}))?", re.sub(r"\s", "", formula))
    if match is None or float(match[1]) == 0:
        raise DataError(
            f"{path}: {image.path} is calibrated with {formula!r}; nowcast reads only GEO=a*PV+b:"
            " convert it."
        )
    return float(match[1]), float(match[2] or 0.0)


def _times(images: list[Image], file: hdf5.Node, path: Path) -> Times:
    """Return the valid time of each image, else the end of the product.

    A single amount labelled with the start or middle of its product gets the end of the product.
    """
    overview = hdf5.group(file, "overview")
    start, end = (_clock([overview], f"product_datetime_{name}", path) for name in ("start", "end"))
    times = [
        _clock([image.node], "image_datetime_valid", path)
        or _clock([overview], "product_datetime_end", path)
        for image in images
    ]
    if None in times:
        raise DataError(
            f"{path}: has no product_datetime_end in overview, so its time is unknown; check its"
            " content."
        )
    if len(images) == 1 and images[0].unit == "MM" and start is not None and end is not None:
        times = [end if times[0] in (start, start + (end - start) / 2) else times[0]]
    return np.array(times, dtype="datetime64[ns]")


def _clock(groups: list[hdf5.Node | None], name: str, path: Path) -> np.datetime64 | None:
    """26-AUG-2010;00:05:00.000 → a time; None if the attribute is missing."""
    said = hdf5.text(groups, name)
    if said is None:
        return None
    match = re.fullmatch(
        r"(\d{1,2})-([A-Z]{3})-(\d{4})[; T](\d\d:\d\d:\d\d(?:\.\d{1,9})?)", said.upper()
    )
    try:
        if match is None:
            raise ValueError("not DD-MMM-YYYY;HH:MM:SS.sss")
        return instant(
            f"{match[3]}-{_MONTHS.index(match[2]) + 1:02d}-{int(match[1]):02d}T{match[4]}"
        )
    except ValueError as error:
        raise DataError(
            f"{path}: {name} is {said!r}, not a time like 26-AUG-2010;00:05:00.000; correct it."
        ) from error


def _minutes(file: hdf5.Node, times: Times, path: Path, options: ReadOptions) -> float:
    """Return the minutes of accumulation of an amount: from start to end of the product, else from
    the options.

    The options are needed for a product of several images, or of an image that is not valid at its
    end, since such a product spans more than one amount.
    """
    overview = [hdf5.group(file, "overview")]
    start, end = (
        _clock(overview, name, path) for name in ("product_datetime_start", "product_datetime_end")
    )
    if start is not None and end is not None and len(times) == 1 and times[0] == end:
        minutes = round(float((end - start) / np.timedelta64(1, "m")))
        if minutes > 0:
            return float(minutes)
    if options.accumulation_minutes is None:
        raise DataError(
            f"{path}: holds amounts over an unknown number of minutes; set"
            " data.accumulation_minutes."
        )
    return options.accumulation_minutes


def _place(file: hdf5.Node, image: Image, path: Path) -> Place:
    """Return the place. Offsets are in pixels from the origin of the projection to the upper left
    corner of the first pixel ("LU").
    """
    geographic = hdf5.group(file, "geographic")
    said = [geographic]
    projection = (
        None
        if geographic is None
        else hdf5.text([hdf5.group(geographic, "map_projection")], "projection_proj4_params")
    )
    names = ("geo_column_offset", "geo_row_offset", "geo_pixel_size_x", "geo_pixel_size_y")
    column, row, x, y = (hdf5.number(said, name, path) for name in names)
    if projection is None or column is None or row is None or x is None or y is None:
        return {}
    upper_left = (
        (column * x, row * y)
        if (hdf5.text(said, "geo_pixel_def") or "LU").upper() == "LU"
        else None
    )
    stated = hdf5.numbers(said, "geo_product_corners", path)
    corners = (
        tuple(zip(("LL", "UL", "UR", "LR"), stated[::2], stated[1::2], strict=True))
        if len(stated) == 8
        else ()
    )
    unit = 1000.0 if (hdf5.text(said, "geo_dim_pixel") or "KM,KM").upper().startswith("KM") else 1.0
    return hdf5.place_of_footprint(
        hdf5.Footprint(projection, image.data.shape, (x, y), upper_left, corners, unit, str(path))
    )


def _provenance(file: hdf5.Node, image: Image) -> dict[str, str]:
    """Return the radars and the product; KNMI's files name neither the institute nor a licence."""
    radars = [
        hdf5.text([file[name]], "radar_name") for name in file if re.fullmatch(r"radar\d+", name)
    ]
    said = {
        "source": ", ".join(f"radar {radar}" for radar in radars if radar) or None,
        "product": (
            hdf5.text([image.node], "image_product_name")
            or hdf5.text([hdf5.group(file, "overview")], "product_group_name")
        ),
    }
    return {name: value for name, value in said.items() if value is not None}
