"""Files that refer to other files, or unpack to huge sizes, are refused in one line, and the secret
is never read.
"""

import gzip
import json
import os
import pickle
import shutil
import zlib
from pathlib import Path

import h5py
import netCDF4
import numpy as np
import pytest

from nowcast.errors import ConfigError, DataError, MissingInputError, TryLaterError
from nowcast.forecast.dataset import open_forecast
from nowcast.model.keras_files import read_layer
from nowcast.radar import open_grid
from nowcast.radar.placing.georeference import grid_mapping_from_proj
from nowcast.radar.series.fields import open_field
from nowcast.untrusted import files as untrusted
from nowcast.verification.counts_files import open_counts

SECRET = 7.0


@pytest.fixture
def rain(write, ramp):
    """A good file next to files that it must not read: the secret as HDF5, and as raw numbers."""
    path = write("rain.nc", ramp)
    secret = np.full(ramp.shape, SECRET, np.float32)
    with h5py.File(path.parent / "secret.h5", "w") as file:
        file["rain"] = secret
        file["image"] = secret[0].astype(np.uint8)
    secret.tofile(path.parent / "secret.bin")
    return path


def link(parent, name, folder):
    parent[name] = h5py.ExternalLink(folder / "secret.h5", "/image" if name != "rain" else "/rain")


def soft_to_a_link(parent, name, folder):
    """Soft, to an external one elsewhere in the file."""
    link(parent.file, "aside", folder)
    parent.file.move("aside", "there")
    parent[name] = h5py.SoftLink("/there")


def virtual(parent, name, folder):
    key = "image" if name != "rain" else "rain"
    with h5py.File(folder / "secret.h5") as secret:
        shape, kind = secret[key].shape, secret[key].dtype
    layout = h5py.VirtualLayout(shape, kind)
    layout[...] = h5py.VirtualSource(str(folder / "secret.h5"), key, shape)
    parent.create_virtual_dataset(name, layout)


def outside(parent, name, folder):
    shape, kind = ((6, 3, 4), np.float32) if name == "rain" else ((3, 4), np.uint8)
    parent.create_dataset(
        name, shape, kind, external=[(str(folder / "secret.bin"), 0, h5py.h5f.UNLIMITED)]
    )


ATTACKS = [link, soft_to_a_link, virtual, outside]


def infect(path, name, attack):
    """Replace the dataset `name` by the attack, with all its attributes; the libraries would follow
    it.
    """
    with h5py.File(path, "r+") as file:
        parent, _, own = name.rpartition("/")
        parent = file[parent or "/"]
        attrs = {
            key: value
            for key, value in parent[own].attrs.items()
            if key not in ("DIMENSION_LIST", "_Netcdf4Dimid")
        }
        del parent[own]
        attack(parent, own, path.parent)
        if attack in (virtual, outside):
            parent[own].attrs.update(attrs)
            if "y" in file:
                for axis, dim in enumerate(("time", "y", "x")):
                    if dim in file:
                        parent[own].dims[axis].attach_scale(file[dim])


def refused(path, **options):
    with pytest.raises(
        DataError, match=rf"{path.name}: .*fetched from another file.*does not follow paths"
    ) as caught:
        open_grid(path, **options).load()
    assert "\n" not in str(caught.value)


def with_dimensions(file):
    for name in ("y", "x"):
        file.createVariable(name, "f8", (name,))[:] = np.arange(len(file.dimensions[name]))


@pytest.mark.parametrize("attack", ATTACKS)
def test_netcdf_fetches_nothing_from_another_file(rain, write, ramp, attack):
    path = write("evil.nc", ramp, extra=with_dimensions)
    infect(path, "rain", attack)
    if attack is not soft_to_a_link:
        with netCDF4.Dataset(path) as file:
            assert (file["rain"][:] == SECRET).all()  # so it would have been read
    refused(path)
    refused(path, format="netcdf")
    path.with_suffix(".nc.gz").write_bytes(gzip.compress(path.read_bytes()))
    refused(path.with_suffix(".nc.gz"))


@pytest.mark.parametrize("attack", ATTACKS)
def test_odim_and_knmi_fetch_nothing_from_another_file(rain, attack):
    odim, knmi = rain.parent / "odim.h5", rain.parent / "knmi.h5"
    with h5py.File(odim, "w") as file:
        file.create_group("what").attrs.update(
            {"object": b"COMP", "date": b"20200101", "time": b"000000"}
        )
        data = file.create_group("dataset1/data1")
        data["data"] = np.ones((3, 4), np.uint8)
        data.create_group("what").attrs.update(
            {"quantity": b"RATE", "gain": 1.0, "offset": 0.0, "nodata": 255.0, "undetect": 0.0}
        )
    with h5py.File(knmi, "w") as file:
        file.create_group("overview").attrs["product_datetime_end"] = b"01-JAN-2020;00:05:00.000"
        file.create_group("image1").attrs["image_geo_parameter"] = b"RAIN_[MM/H]"
        file["image1/image_data"] = np.ones((3, 4), np.uint8)
        file.create_group("image1/calibration").attrs["calibration_formulas"] = b"GEO=1*PV+0"
    for path, name, form in (
        (odim, "dataset1/data1/data", "odim"),
        (knmi, "image1/image_data", "knmi"),
    ):
        assert (open_grid(path).precipitation_rate.values == 1).all()
        os.utime(path, ns=(0, 0))
        infect(path, name, attack)
        refused(path)
        refused(path, format=form)


def test_what_other_rooms_read_as_hdf5_is_looked_through_too(rain, write, ramp):
    path = write("evil.nc", ramp, extra=with_dimensions)
    grid = open_grid(rain)
    infect(path, "rain", virtual)
    for read in (
        lambda: open_field(str(path), "rain", grid),
        lambda: open_forecast(path),
        lambda: open_counts(path),
    ):
        with pytest.raises(DataError, match="does not follow paths"):
            read()
    weights = rain.parent / "model.weights.h5"
    with h5py.File(weights, "w") as file:
        link(file.create_group("layers/conv_lstm2d/cell/vars"), "0", rain.parent)
    with pytest.raises(DataError, match="does not follow paths"):
        read_layer(weights)


def test_a_file_that_begins_later_is_looked_through_too(rain, write, ramp):
    path = write("evil.nc", ramp, extra=with_dimensions)
    infect(path, "rain", outside)
    # HDF5 allows it; what a file is, is told by its first bytes otherwise
    path.write_bytes(bytes(512) + path.read_bytes())
    for form in ("auto", "netcdf", "odim"):
        with pytest.raises(DataError, match=r"evil\.nc"):
            open_grid(path, format=form)


def test_links_within_a_file_are_its_own(rain):
    with h5py.File(rain, "r+") as file:
        file["again"] = h5py.SoftLink("/rain")
        file["once more"] = file["rain"]
    assert open_grid(rain, variable="rain").precipitation_rate.shape == (6, 3, 4)


@pytest.mark.parametrize(
    "text", ["+nadgrids={}", "+nadgrids=@{},other", "+geoidgrids={}", "+init={}:x", "+init={}"]
)
def test_a_projection_may_not_name_a_file(tmp_path, text):
    named = text.format(tmp_path / "secret.gsb")
    for projection in (f"+proj=stere +lat_0=90 {named}", f"{named} +proj=longlat"):
        with pytest.raises(DataError, match="its projection names a file"):
            grid_mapping_from_proj(projection, "evil.h5")
    for harmless in ("+nadgrids=@null", "+init=epsg:3035"):  # nothing is opened for these
        assert "names a file" not in str(
            grid_mapping_from_proj(f"+proj=stere +lat_0=90 +lat_ts=60 {harmless}", "good.h5")
        )


# GeoTIFF


@pytest.fixture
def tiff(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / "202001010005.tif"
    about = {"width": 4, "height": 3, "count": 1, "dtype": "float32", "driver": "GTiff"}
    with rasterio.open(
        path, "w", **about, transform=rasterio.Affine(1000, 0, 5, 0, -1000, 9), crs="EPSG:3035"
    ) as file:
        file.write(np.ones((1, 3, 4), np.float32))
        file.units = ("mm h-1",)
    return path


VRT = """<VRTDataset rasterXSize="4" rasterYSize="3"><VRTRasterBand dataType="Float32" band="1"><SimpleSource>
<SourceFilename relativeToVRT="0">{}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"""


def test_a_virtual_image_that_names_another_is_no_geotiff(tiff):
    evil = tiff.with_name("202001010010.tif")
    evil.write_text(VRT.format(tiff))
    for form in ("auto", "geotiff"):
        with pytest.raises(DataError, match=evil.name):
            open_grid(evil, format=form)


def test_what_lies_beside_a_geotiff_changes_nothing_of_it(tiff):
    rasterio = pytest.importorskip("rasterio")
    before = open_grid(tiff).load()
    Path(f"{tiff}.aux.xml").write_text(
        "<PAMDataset><GeoTransform>0,2,0,0,0,-2</GeoTransform><PAMRasterBand"
        ' band="1"><Scale>7</Scale><UnitType>mm</UnitType>'
        "<NoDataValue>1</NoDataValue></PAMRasterBand></PAMDataset>"
    )
    georeferenced = rasterio.Affine(2, 0, 0, 0, -2, 0)
    tiff.with_suffix(".tfw").write_text("2\n0\n0\n-2\n0\n0\n")
    with rasterio.open(
        f"{tiff}.msk",
        "w",
        driver="GTiff",
        width=4,
        height=3,
        count=1,
        dtype="uint8",
        transform=georeferenced,
    ) as file:
        file.write(np.zeros((1, 3, 4), np.uint8))
        file.update_tags(INTERNAL_MASK_FLAGS_1=2)
    with rasterio.open(tiff) as file:
        assert file.scales == (7.0,)  # what GDAL makes of it by itself
    after = open_grid(tiff).load()
    assert after.identical(before)
    assert (after.precipitation_rate.values == 1).all()


def test_a_file_called_as_an_image_in_another_is_only_itself(tiff, monkeypatch):
    monkeypatch.chdir(tiff.parent)
    evil = Path(f"GTIFF_DIR:1:{tiff.name}")
    evil.write_bytes(b"II*\0 and nothing of an image")
    with pytest.raises(DataError, match="GTIFF_DIR"):
        open_grid(evil, format="geotiff")


# Zarr


@pytest.fixture(params=[2, 3])
def store(tmp_path, ramp, request):
    xr = pytest.importorskip("xarray")
    pytest.importorskip("zarr")
    path = tmp_path / "rain.zarr"
    time = ("time", np.arange(6) * 5, {"units": "minutes since 2020-01-01"})
    data = xr.Dataset({"rain": (("time", "y", "x"), ramp, {"units": "mm h-1"})}, {"time": time})
    data.to_zarr(
        path,
        zarr_format=request.param,
        consolidated=False,
        encoding={"rain": {"chunks": (6, 3, 4)}},
    )
    assert open_grid(path).precipitation_rate.shape == (6, 3, 4)
    open_grid(path).load()
    return path


def chunk_of(store):
    return next(
        path for path in (store / "rain" / "0.0.0", store / "rain" / "c/0/0/0") if path.exists()
    )


def metadata_of(store, name):
    return next(
        path for path in (store / name / ".zarray", store / name / "zarr.json") if path.exists()
    )


def test_a_store_holds_no_links_to_elsewhere(store, tmp_path):
    secret = tmp_path / "secret.bin"
    np.full((6, 3, 4), SECRET, np.float32).tofile(secret)
    chunk = chunk_of(store)
    chunk.unlink()
    chunk.symlink_to(secret)
    with pytest.raises(
        DataError, match=r"rain\.zarr: .* is a link, and nowcast does not follow links"
    ):
        open_grid(store).load()
    chunk.unlink()
    shutil.move(store / "rain", tmp_path / "elsewhere")
    (store / "rain").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(
        DataError, match=r"rain\.zarr: rain is a link, and nowcast does not follow links"
    ):
        open_grid(store)


def test_a_store_as_a_whole_may_be_linked_to(store, tmp_path):
    (tmp_path / "newest.zarr").symlink_to(store)
    assert open_grid(tmp_path / "newest.zarr").precipitation_rate.shape == (6, 3, 4)


class Hostile:
    """Unpickled, it would make a folder."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("kind", ["|O", "<f8"])
def test_a_pickled_array_of_a_store_is_not_unpickled(store, tmp_path, kind):
    path = metadata_of(store, "time")
    about = json.loads(path.read_text())
    if path.name == "zarr.json":
        about["codecs"] = [{"name": "numcodecs.pickle", "configuration": {"protocol": 5}}]
    else:
        about |= {
            "dtype": kind,
            "filters": [{"id": "vlen-utf8"}],
            "compressor": {"id": "pickle", "protocol": 5},
            "fill_value": "",
        }
    path.write_text(json.dumps(about))
    marker = tmp_path / "marker"
    for chunk in ("0", "c/0"):
        if (store / "time" / chunk).is_file():
            (store / "time" / chunk).write_bytes(pickle.dumps(Hostile(marker)))
    with pytest.raises(DataError, match=r"rain\.zarr: time is pickled"):
        open_grid(store)
    assert not marker.exists()


@pytest.mark.parametrize("key", ["shape", "chunks"])
def test_a_store_of_a_size_that_no_radar_has_is_refused_before_it_is_read(store, key):
    path = metadata_of(store, "rain")
    about = json.loads(path.read_text())
    if key == "chunks" and path.name == "zarr.json":
        about["chunk_grid"]["configuration"]["chunk_shape"] = [1, 10**6, 10**6]
    else:
        about[key] = [6, 10**6, 10**6]
    path.write_text(json.dumps(about))
    with pytest.raises(DataError, match="10000000000|1000000 x 1000000"):
        open_grid(store)


# Sizes


def test_huge_frames_in_a_tiny_file_are_refused_before_they_are_read(tmp_path):
    path = tmp_path / "huge.nc"
    with netCDF4.Dataset(path, "w") as file:
        for name, size in (("time", 1), ("y", 10**6), ("x", 10**6)):
            file.createDimension(name, size)
        file.createVariable("time", "f8", ("time",)).units = "minutes since 2020-01-01"
        file.createVariable(
            "rain", "f4", ("time", "y", "x"), zlib=True, chunksizes=(1, 100, 100)
        ).units = "mm h-1"
    odim = tmp_path / "huge.h5"
    with h5py.File(odim, "w") as file:
        file.create_dataset("dataset1/data1/data", (10**6, 10**6), np.uint8, chunks=(100, 100))
    chunky = tmp_path / "chunky.h5"
    with h5py.File(chunky, "w") as file:
        file.create_dataset(
            "dataset1/data1/data",
            (9, 3, 4),
            np.float64,
            chunks=(4 * 10**7, 3, 4),
            maxshape=(None, 3, 4),
        )
    classic = tmp_path / "classic.nc"
    with netCDF4.Dataset(classic, "w", format="NETCDF3_64BIT_DATA") as file:
        file.set_fill_off()
        file.createDimension("time", 2**28)
        file.createVariable("time", "i1", ("time",)).units = "minutes since 2020-01-01"
    os.truncate(classic, 4096)
    for file, said in (
        (path, "1 x 1000000 x 1000000"),
        (odim, "1000000 x 1000000"),
        (chunky, "a chunk of .* would decompress"),
        (classic, ""),
    ):
        assert file.stat().st_size < 30_000
        with pytest.raises(DataError, match=rf"{file.name}.*{said}"):
            open_grid(file)


def test_a_huge_geotiff_is_refused_before_it_is_read(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / "202001010005.tif"
    about = {"width": 10**5, "height": 10**5, "count": 1, "dtype": "uint8", "driver": "GTiff",
        "tiled": True, "sparse_ok": True,
             "transform": rasterio.Affine(10, 0, 5, 0, -10, 9)}  # fmt: skip
    with rasterio.open(
        path, "w", **about, blockxsize=4096, blockysize=4096, compress="deflate"
    ) as file:
        file.units = ("mm h-1",)
    assert path.stat().st_size < 30_000
    with pytest.raises(DataError, match="100000 x 100000"):
        open_grid(path)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("name", ["bomb.nc.gz", "bomb.h5.gz", "bomb.tif.gz", "bomb.grib2.gz"])
def test_a_file_that_swells_beyond_bounds_is_refused(tmp_path, monkeypatch, name):
    start = {
        "nc": b"\x89HDF\r\n\x1a\n",
        "h5": b"\x89HDF\r\n\x1a\n",
        "tif": b"II*\0",
        "grib2": b"GRIB",
    }[name.split(".")[1]]
    path = tmp_path / name
    packer = zlib.compressobj(1, wbits=31)
    path.write_bytes(packer.compress(start + bytes(40 * 2**20)) + packer.flush())
    monkeypatch.setattr(untrusted, "MAX_UNPACKED", 2**25)
    read = []
    plain = gzip.GzipFile.read
    monkeypatch.setattr(
        gzip.GzipFile, "read", lambda self, size=-1: read.append(plain(self, size)) or read[-1]
    )
    form = {"nc": "netcdf", "h5": "odim", "tif": "geotiff", "grib2": "grib"}[name.split(".")[1]]
    with pytest.raises(DataError, match=f"{name} would decompress to more than"):
        open_grid(path, format=form)
    assert max(map(len, read)) <= 2**25  # never all at once


def test_an_address_is_followed_for_radar_only_and_as_a_server_not_by_the_netcdf_library(
    tmp_path, monkeypatch
):
    """The NetCDF library takes `#mode=bytes` as a request to fetch the file itself."""
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("aiohttp")
    with pytest.raises(TryLaterError, match="cannot be reached"):
        open_grid("http://127.0.0.1:1/rain.nc")
    with pytest.raises(ConfigError, match="has a query or a fragment"):
        open_grid("https://localhost/rain.nc#mode=bytes")
    for address in ("http://127.0.0.1:1/rain.nc", "s3://bucket/rain.nc"):
        with pytest.raises(MissingInputError):
            open_forecast(address)


def test_a_file_called_like_an_address_is_only_itself(rain, monkeypatch):
    monkeypatch.chdir(rain.parent)
    Path("http:/localhost:1").mkdir(parents=True)
    shutil.copy(rain, "http:/localhost:1/rain.nc")
    shutil.copy(rain, "dap4::rain.nc")
    for name in ("http:/localhost:1/rain.nc", "dap4::rain.nc"):
        assert open_grid(name).precipitation_rate.shape == (6, 3, 4)
