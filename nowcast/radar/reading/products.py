"""Known facts about NetCDF and Zarr files of some services that the files do not state, with
sources.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xarray as xr

from nowcast.radar.grid import CRS, LATITUDE, LONGITUDE
from nowcast.radar.placing.georeference import Place, axis_in_metres, grid_mapping_from_proj
from nowcast.radar.reading.readers import radolan

if TYPE_CHECKING:
    import pyproj

Axis = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Product:
    """Values for what a file does not state: units, minutes of accumulation, and stored numbers
    that mean missing.
    """

    units: str | None = None
    minutes: float | None = None
    missing: tuple[float, ...] = ()


# DWD, "RADOLAN/RADVOR: formats of the composites": sums in mm over these minutes, on a grid of
# 900 x 900, 1100 x 900 or, today, 1200 x 1100 pixels. Some files state "kg" instead of mm, others
# have no units.
_RADOLAN_MINUTES = {"RY": 5.0, "YW": 5.0, "RV": 5.0, "RW": 60.0}
# On a sphere, with pixels of 1 km counted from 9 E 51 N, a common corner of four pixels.
RADOLAN_PROJ = f"{radolan.PROJECTION} {radolan.EARTHS['sphere']}"
_RADOLAN_ANCHOR = (9.0, 51.0)
_PIXEL = 1000.0

# (latitude, longitude) of the corner pixels of the sample of pycomlink: in the North Sea, outside
# RADOLAN. Pixels are 1 km apart only on a map some 8.5 degrees further south and 7.5 further east,
# so the publisher has moved the sample; its true location is not stated.
_MOVED = {
    (0, 0): (56.88, 1.23),
    (0, -1): (56.87, 4.11),
    (-1, 0): (58.48, 1.17),
    (-1, -1): (58.47, 4.18),
}
_MOVED_SHAPE = (190, 228)

# OpenMRG of SMHI as distributed by poligrain: called an amount, but in mm/h (its median ratio to
# SMHI's own file of rates is 1.003). The original (doi.org/10.5281/zenodo.6673750) is in dBZ, with
# another name.
_OPENMRG = Product("mm h-1")
# Rainfields 3 of the Bureau of Meteorology declares -1 as missing; -2 is not declared, but occurs
# among the -1 (seen: 2020-10-31).
_RAINFIELDS = Product(missing=(-2.0,))


def product_of(file: xr.Dataset, field: xr.DataArray) -> Product:
    """Return the known facts about the product in `field` of `file`; none for most products."""
    product = str(
        file.attrs.get("producttype", field.name if field.shape[-2:] in radolan.GRIDS else "")
    )
    if product in _RADOLAN_MINUTES:
        return Product("mm", _RADOLAN_MINUTES[product])
    if file.attrs.get("title") == "OpenMRG-Radar" and field.name == "rainfall_amount":
        return _OPENMRG
    if str(file.attrs.get("source", "")).startswith("rainfields"):
        return _RAINFIELDS
    return Product()


def on_known_grid(place: Place, where: str) -> Place:
    """Return `place` corrected for services whose files describe it badly; unchanged for others.

    x and y without units that are km of RADOLAN's grid (checked by latitude and longitude) become
    metres, with a grid mapping. If they are lower left corners, as from wradlib, they become
    centres, shifted by half a pixel; latitude and longitude, also of the corners, are left out.

    If latitudes and longitudes are known to be wrong, x and y become metres from the western and
    southern edge, without a location on Earth.
    """
    if _is_moved(place):
        return {
            name: axis_in_metres(name, _PIXEL * (np.arange(size) + 0.5))
            for name, size in zip("yx", _MOVED_SHAPE, strict=True)
        }
    if (
        CRS in place
        or not {"x", "y", LATITUDE, LONGITUDE} <= place.keys()
        or any("units" in place[k].attrs for k in "xy")
    ):
        return place
    import pyproj

    to_xy = pyproj.Proj(RADOLAN_PROJ)
    x, y = (1000.0 * place[name].values for name in ("x", "y"))
    if not _agree(place, x, y, to_xy):
        return place
    crs = grid_mapping_from_proj(RADOLAN_PROJ, where)
    assert crs is not None
    anchor = to_xy(*_RADOLAN_ANCHOR)
    of_corners = all(abs((values[0] - start + 0.5 * _PIXEL) % _PIXEL - 0.5 * _PIXEL) < 0.1 * _PIXEL
                     for values, start in zip((x, y), anchor, strict=True))  # fmt: skip
    if of_corners:
        return {
            "x": axis_in_metres("x", x + 0.5 * _PIXEL),
            "y": axis_in_metres("y", y + 0.5 * _PIXEL),
            CRS: crs,
        }
    return {**place, "x": axis_in_metres("x", x), "y": axis_in_metres("y", y), CRS: crs}


def _is_moved(place: Place) -> bool:
    """Return whether the corners are those of the sample that its publisher moved."""
    if not {LATITUDE, LONGITUDE} <= place.keys() or place[LATITUDE].shape != _MOVED_SHAPE:
        return False
    corners = [
        (place[name].values[spot], said[k])
        for spot, said in _MOVED.items()
        for k, name in enumerate((LATITUDE, LONGITUDE))
    ]
    return all(abs(float(found) - said) < 1e-3 for found, said in corners)


def _agree(place: Place, x: Axis, y: Axis, to_xy: "pyproj.Proj") -> bool:
    """Return whether projected latitude and longitude agree with x and y to within a pixel, at the
    edges and in the middle.
    """
    rows, columns = np.meshgrid(
        *([0, size // 2, size - 1] for size in (y.size, x.size)), indexing="ij"
    )
    longitude, latitude = (place[name].values[rows, columns] for name in (LONGITUDE, LATITUDE))
    east, north = to_xy(longitude, latitude)
    return bool((np.hypot(east - x[columns], north - y[rows]) < _PIXEL).all())
