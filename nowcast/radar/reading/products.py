"""What is known of services' NetCDF and Zarr files that these do not say themselves, each with
its source.
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
    """What to take of a file that is silent: units, the minutes of a sum, and numbers as stored
    that mean missing.
    """

    units: str | None = None
    minutes: float | None = None
    missing: tuple[float, ...] = ()


# DWD, "RADOLAN/RADVOR: formats of the composites": sums in mm over so many minutes, on a grid of
# 900 x 900, 1100 x 900 or, by
# now, 1200 x 1100 pixels. Some files call their mm "kg", others are silent.
_RADOLAN_MINUTES = {"RY": 5.0, "YW": 5.0, "RV": 5.0, "RW": 60.0}
# On a sphere, its pixels 1 km wide and counted from 9 E 51 N, which lies on a corner of four.
RADOLAN_PROJ = f"{radolan.PROJECTION} {radolan.EARTHS['sphere']}"
_RADOLAN_ANCHOR = (9.0, 51.0)
_PIXEL = 1000.0

# The sample of pycomlink, (latitude, longitude) of its first and last pixels: in the North Sea,
# where RADOLAN has no pixel. They are 1 km
# apart only on a map some 8.5 degrees further south and 7.5 further east, so its publisher moved
# it; where from is not said.
_MOVED = {
    (0, 0): (56.88, 1.23),
    (0, -1): (56.87, 4.11),
    (-1, 0): (58.48, 1.17),
    (-1, -1): (58.47, 4.18),
}
_MOVED_SHAPE = (190, 228)

# OpenMRG of SMHI as poligrain hands it out: named an amount, but in mm/h (its median ratio to
# SMHI's own file of rates is 1.003);
# the original (doi.org/10.5281/zenodo.6673750) is in dBZ, under another name.
_OPENMRG = Product("mm h-1")
# Rainfields 3 of the Bureau of Meteorology declares -1 as missing. -2 it does not, but has it among
# the -1 (seen: 2020-10-31).
_RAINFIELDS = Product(missing=(-2.0,))


def product_of(file: xr.Dataset, field: xr.DataArray) -> Product:
    """What is known of the product that `field` of `file` is; nothing, for most."""
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
    """`place` as it is known to be, where a service's files say it badly.

    In metres and with its grid mapping, where x and y have no units but, by its latitudes, are km
    of RADOLAN's grid.

    Where they are lower left corners, as wradlib gives them, they become centres, half a pixel on;
    latitude and longitude, which are of the corners as well, are then left out.

    In metres from its southern and western edge, without a place on earth, where its latitudes and
    longitudes are known to be wrong.
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
    """Whether it is the sample whose publisher moved it, by its corners."""
    if not {LATITUDE, LONGITUDE} <= place.keys() or place[LATITUDE].shape != _MOVED_SHAPE:
        return False
    corners = [
        (place[name].values[spot], said[k])
        for spot, said in _MOVED.items()
        for k, name in enumerate((LATITUDE, LONGITUDE))
    ]
    return all(abs(float(found) - said) < 1e-3 for found, said in corners)


def _agree(place: Place, x: Axis, y: Axis, to_xy: "pyproj.Proj") -> bool:
    """Whether latitude and longitude, in this projection, are at x and y to within a pixel: at
    the sides and in the middle.
    """
    rows, columns = np.meshgrid(
        *([0, size // 2, size - 1] for size in (y.size, x.size)), indexing="ij"
    )
    longitude, latitude = (place[name].values[rows, columns] for name in (LONGITUDE, LATITUDE))
    east, north = to_xy(longitude, latitude)
    return bool((np.hypot(east - x[columns], north - y[rows]) < _PIXEL).all())
