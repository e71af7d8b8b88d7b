"""Short series of radar files of each format: written by hand, and real ones if available."""

import gzip
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from nowcast.radar.reading.file import ReadOptions

DATA = Path(__file__).parents[4] / "shared" / "data"
SHAPE = (12, 16)
COUNT = 4  # files of a series, five minutes apart

Series = tuple[list[Path], ReadOptions]
# Patterns of real files by format, and whether they are large.
REAL = {
    "netcdf": [("bom_rf3_netcdf/**/*.nc", False)],
    "odim": [("opera_odyssey_odim_hdf5/**/*.hdf", True)],
    "knmi": [("knmi_rap_5min_hdf5/**/*.h5", False)],
    "meteoswiss": [("mch_aqc_gif/20150515/*.gif", False)],
    "fmi": [("fmi_pgm/**/*.pgm.gz", False)],
    "grib": [("mrms_grib2/**/*.grib2", True)],
}


@cache
def of(form: str, folder: Path, every: bool) -> list[Series]:
    """The series of a format, those written by hand below `folder`. every: large ones, too."""
    home = folder / "originals"
    home.mkdir(exist_ok=True)
    written = WRITERS[form](home)
    real = [
        sorted(DATA.glob(pattern))[:COUNT]
        for pattern, large in REAL.get(form, [])
        if every or not large
    ]
    return [*written, *((paths, ReadOptions()) for paths in real if paths)]


def rain(k: int) -> np.ndarray:
    """Rates in mm/h that move with k, dry in part."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.maximum(0.0, 8 * np.sin((x + k) / 3) * np.cos(y / 4)).round(2)


def netcdf(home: Path) -> list[Series]:
    import netCDF4

    def write(name: str, form: str, k: int) -> Path:
        with netCDF4.Dataset(home / name, "w", format=form) as file:
            file.setncatts(
                {"Conventions": "CF-1.8", "institution": "Weather Service", "title": "rain"}
            )
            for dim, size in (("time", None), ("y", SHAPE[0]), ("x", SHAPE[1]), ("n", 2)):
                file.createDimension(dim, size)
            time, bounds = (
                file.createVariable("time", "i4", ("time",)),
                file.createVariable("time_bounds", "i4", ("time", "n")),
            )
            time.setncatts(
                {
                    "units": "seconds since 2020-01-01 00:00:00",
                    "calendar": "standard",
                    "bounds": "time_bounds",
                }
            )
            time[:], bounds[:] = [300 * k], [[300 * k - 300, 300 * k]]
            for axis, size in (("y", SHAPE[0]), ("x", SHAPE[1])):
                along = file.createVariable(axis, "f8", (axis,))
                along.setncatts({"units": "km", "standard_name": f"projection_{axis}_coordinate"})
                along[:] = np.arange(size) * (-1.0 if axis == "y" else 1.0)
            crs = file.createVariable("crs", "i4")
            crs.setncatts({"grid_mapping_name": "lambert_azimuthal_equal_area",
                "latitude_of_projection_origin": 55.0,
                           "longitude_of_projection_origin": 10.0, "earth_radius": 6371229.0})  # fmt: skip
            packed = (
                {"compression": "zlib", "shuffle": True, "chunksizes": (1, 6, 16)}
                if form == "NETCDF4"
                else {}
            )
            field = file.createVariable("rain", "i2", ("time", "y", "x"), fill_value=-1, **packed)
            field.setncatts({"units": "mm", "standard_name": "rainfall_amount",
                "scale_factor": np.float32(0.01),
                             "add_offset": np.float32(0), "grid_mapping": "crs"})  # fmt: skip
            field[:] = rain(k)[None] / 12
        return home / name

    return [
        ([write(f"{form}_{k}.nc", form, k) for k in range(COUNT)], ReadOptions())
        for form in ("NETCDF4", "NETCDF3_CLASSIC", "NETCDF3_64BIT_DATA")
    ]


def zarr(home: Path) -> list[Series]:
    import xarray as xr

    def write(version: int, k: int) -> Path:
        time = xr.Variable("time", [5 * k], {"units": "minutes since 2020-01-01"})
        axes = {
            axis: xr.Variable(
                axis,
                1000.0 * np.arange(size),
                {"units": "m", "standard_name": f"projection_{axis}_coordinate"},
            )
            for axis, size in zip("yx", SHAPE, strict=True)
        }
        dataset = xr.Dataset(
            {"rain": (("time", "y", "x"), rain(k)[None], {"units": "mm h-1"})},
            coords={"time": time, **axes},
        )
        packing = {"dtype": "i2", "scale_factor": 0.01, "_FillValue": -1, "chunks": (1, 6, 16)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset.to_zarr(
                home / f"v{version}_{k}.zarr",
                zarr_format=version,
                mode="w",
                encoding={"rain": packing},
            )
        return home / f"v{version}_{k}.zarr"

    return [([write(version, k) for k in range(COUNT)], ReadOptions()) for version in (2, 3)]


def odim(home: Path) -> list[Series]:
    import h5py
    from test_odim import DBZH, RATE, TOP, where

    def write(kind: str, k: int) -> Path:
        path, time = home / f"{kind}_{k}.h5", f"00{5 * k:02d}00"
        attrs, values = (
            (RATE, rain(k)) if kind == "rate" else (DBZH, np.round(rain(k) * 20).astype("u1"))
        )
        with h5py.File(path, "w", libver="latest" if kind == "rate" else "earliest") as file:
            file.attrs["Conventions"] = np.bytes_("ODIM_H5/V2_0")
            file.create_group("what").attrs.update({**TOP, "time": time})
            file.create_group("where").attrs.update(where(size=SHAPE))
            file.create_dataset(
                "dataset1/data1/data", data=values, chunks=(6, 16), compression="gzip"
            )
            file.create_group("dataset1/data1/what").attrs.update(
                {**attrs, "startdate": "20200101", "starttime": time}
            )
        return path

    options = ReadOptions(zr=(200.0, 1.6))
    return [([write(kind, k) for k in range(COUNT)], options) for kind in ("rate", "dbzh")]


def knmi(home: Path) -> list[Series]:
    import h5py
    from test_knmi import AMOUNT, geographic

    def write(k: int) -> Path:
        path = home / f"knmi_{k}.h5"
        said = geographic(shape=SHAPE)
        with h5py.File(path, "w") as file:
            file.create_group("overview").attrs.update({
                f"product_datetime_{end}": np.bytes_(f"26-AUG-2010;00:{5 * (k + minutes):02d}:00.000")
                for end, minutes in (("start", 0), ("end", 1))
            })  # fmt: skip
            file.create_group("geographic/map_projection").attrs["projection_proj4_params"] = (
                np.bytes_(said.pop("projection"))
            )
            said.pop("geo_product_corners")  # those of another size
            file["geographic"].attrs.update(
                {
                    name: np.bytes_(value) if isinstance(value, str) else value
                    for name, value in said.items()
                }
            )
            file.create_dataset(
                "image1/image_data",
                data=np.round(rain(k) * 100 / 12).astype("u2"),
                chunks=(6, 16),
                compression="gzip",
            )
            file["image1"].attrs.update(
                {key: np.bytes_(value) for key, value in AMOUNT.items() if key.startswith("image")}
            )
            file.create_group("image1/calibration").attrs.update({
                key: np.bytes_(value) if isinstance(value, str) else value for key,
                value in AMOUNT.items() if key.startswith("cal")
            })  # fmt: skip
        return path

    return [([write(k) for k in range(COUNT)], ReadOptions())]


def meteoswiss(home: Path) -> list[Series]:
    from test_meteoswiss import COMMENT, frame, gif

    paths = []
    for k in range(COUNT):
        numbers = frame()
        numbers[100:112, 100:116] = 72 + 10 * rain(k)
        paths.append(home / f"AQC15135154{k}F_00005.801.gif")
        paths[-1].write_bytes(gif(numbers, COMMENT.replace("1545", f"15{5 * k:02d}")))
    return [(paths, ReadOptions())]


def fmi(home: Path) -> list[Series]:
    from test_fmi import FRAME, header

    paths = []
    for k in range(COUNT):
        paths.append(home / f"2016092814{5 * k:02d}_fmi.pgm")
        paths[-1].write_bytes(
            header(obstime=f"2016092814{5 * k:02d}") + np.roll(FRAME, k, axis=1).tobytes()
        )
    return [(paths, ReadOptions())]


def grib(home: Path) -> list[Series]:
    from test_grib import message

    corner = {
        "latitudeOfLastGridPointInDegrees": 54.995 - 0.11,
        "longitudeOfLastGridPointInDegrees": 230.005 + 0.15,
    }
    polar = {"sample": "polar_stereographic_sfc_grib2", "bitmap": True}
    paths: dict[str, list[Path]] = {"latlon": [], "polar": []}
    for k in range(COUNT):
        for kind, keys in (("latlon", corner), ("polar", polar)):
            paths[kind].append(home / f"{kind}_{k}.grib2")
            paths[kind][-1].write_bytes(message(rain(k), minute=5 * k, **keys))
    return [(series, ReadOptions()) for series in paths.values()]


def radolan(home: Path) -> list[Series]:
    from test_radolan import RX, RY

    series = []
    for header, name, size in (
        (RY, "raa01-ry_10000-21082308{:02d}-dwd---bin", "<u2"),
        (RX, "raa01-rx_10000-14081020{:02d}-dwd---bin.gz", "u1"),
    ):
        paths = []
        for k in range(COUNT):
            pixels = np.zeros((900, 900), size)
            pixels[: SHAPE[0], : SHAPE[1]] = rain(k) * 10
            whole = f"{header[:6]}{5 * k:02d}{header[8:]}".encode() + b"\x03" + pixels.tobytes()
            paths.append(home / name.format(5 * k))
            paths[-1].write_bytes(gzip.compress(whole, 1) if name.endswith(".gz") else whole)
        series.append((paths, ReadOptions()))
    return series


def geotiff(home: Path) -> list[Series]:
    import rasterio

    def write(name: str, k: int, **more: object) -> Path:
        path = home / name.format(5 * k)
        place = {"crs": "EPSG:3035", "transform": rasterio.Affine(1000, 0, 4e6, 0, -1000, 3e6)}
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            count=1,
            height=SHAPE[0],
            width=SHAPE[1],
            dtype="float32",
            **place,
            **more,
        ) as file:
            file.write(rain(k).astype("f4")[None])
            file.units = ["mm/h"]
            file.update_tags(time=f"2020-01-31T12:{5 * k:02d}:00Z")
        return path

    packed = {
        "compress": "deflate",
        "predictor": 3,
        "tiled": True,
        "blockxsize": 16,
        "blockysize": 16,
        "nodata": -1.0,
    }
    return [
        ([write("plain_2020013112{:02d}.tif", k) for k in range(COUNT)], ReadOptions()),
        ([write("packed_2020013112{:02d}.tif", k, **packed) for k in range(COUNT)], ReadOptions()),
    ]


def meteonet(home: Path) -> list[Series]:
    from datetime import datetime

    paths = []
    for k in range(COUNT):
        data = np.zeros((1, 565, 784), "i2")
        data[0, : SHAPE[0], : SHAPE[1]] = rain(k) * 100 / 12
        paths.append(home / f"rainfall_NW_{k}.npz")
        np.savez_compressed(
            paths[-1],
            data=data,
            dates=np.array([datetime(2016, 8, 21, 0, 5 * k)]),
            miss_dates=np.zeros(0),
        )
    return [(paths, ReadOptions())]


WRITERS: dict[str, Callable[[Path], list[Series]]] = {
    "netcdf": netcdf, "zarr": zarr, "odim": odim, "knmi": knmi, "meteoswiss": meteoswiss,
    "fmi": fmi, "grib": grib, "radolan": radolan, "geotiff": geotiff, "meteonet": meteonet,
}  # fmt: skip
