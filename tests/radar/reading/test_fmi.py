"""FMI's PGM, written byte by byte."""

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
from pytest import approx

from nowcast.errors import DataError, MissingInputError
from nowcast.radar import check_grid, open_grid

DATA = Path(__file__).parents[4] / "shared" / "data" / "fmi_pgm" / "20160928"


def degrees(x, y):
    """Metres on the plane of FMI's grid → "longitude latitude": stereographic on a sphere of
    6371288 m, true at 60 N, along 25 E.
    """
    colatitude = 2 * math.atan(math.hypot(x, y) / (6371288 * (1 + math.sin(math.radians(60)))))
    return f"{25 + math.degrees(math.atan2(x, -y)):.9f} {90 - math.degrees(colatitude):.9f}"


# 3 rows of 4 pixels of 1000 x 2000 m, as far from the pole as Helsinki.
SAID = {
    "obstime": "201609281445",
    "producttype": "CAPPI",
    "productname": "LOWEST",
    "param": "CorrectedReflectivity",
    "metersperpixel_x": "1000",
    "metersperpixel_y": "2000",
    "projection": "radar {",
    "type": "stereographic",
    "centrallongitude": "25",
    "centrallatitude": "90",
    "truelatitude": "60",
    "bottomleft": degrees(-2000, -3_300_000),
    "topright": degrees(2000, -3_294_000),
}
FRAME = np.array([[0, 63, 64, 84], [104, 128, 255, 1], [10, 20, 30, 40]], "u1")
PIXELS = FRAME.tobytes()


def header(size=b"4 3", top=b"255", **changes):
    said = {key: text for key, text in {**SAID, **changes}.items() if text is not None}
    return (
        b"P5\n"
        + "".join(f"# {key} {text}\n" for key, text in said.items()).encode()
        + b"# }\n"
        + size
        + b"\n"
        + top
        + b"\n"
    )


@pytest.fixture
def write(tmp_path):
    """`write(pixels, obstime=…)`: a PGM with these pixels (bytes) and changes of its header."""

    def write_file(pixels=PIXELS, name="201609281445_fmi.pgm", **changes):
        path = tmp_path / name
        whole = header(**changes) + pixels
        path.write_bytes(gzip.compress(whole) if name.endswith(".gz") else whole)
        return path

    return write_file


def refused(path, match, **options):
    with pytest.raises(DataError, match=match) as error:
        open_grid(path, **options).load()
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["a.pgm", "a.pgm.gz"])
def test_half_decibels_become_rain_by_fmis_relation(write, name):
    grid = open_grid(write(name=name))
    check_grid(grid)
    assert list(grid.time.values) == [np.datetime64("2016-09-28T14:45")]
    assert (grid.attrs["source_format"], grid.attrs["product"]) == ("fmi", "LOWEST")
    assert grid.attrs["converted_from"] == "CorrectedReflectivity [dBZ] by Z = 223 R^1.53"
    rate = grid.precipitation_rate.values[0]
    # 0 is no echo; 1 is -31.5 dBZ, 63 is -0.5 dBZ
    dry = np.array([[1, 1, 0, 0], [0, 0, 0, 1], [1, 1, 1, 1]], bool)
    assert (rate[dry] == 0).all() and (rate[~dry & ~np.isnan(rate)] > 0).all()
    assert np.array_equal(np.isnan(rate), FRAME == 255)
    assert rate[0, 3] == approx((10.0 / 223) ** (1 / 1.53), rel=1e-6)  # 84 is 10 dBZ
    assert rate[1, 0] == approx((100.0 / 223) ** (1 / 1.53), rel=1e-6)  # 104 is 20 dBZ


def test_a_relation_given_overrules_the_services_own(write):
    assert open_grid(write(), zr=(200.0, 1.6)).precipitation_rate.values[0, 0, 3] == approx(
        (10 / 200) ** (1 / 1.6), rel=1e-6
    )


def test_a_number_given_is_missing_too(write):
    rate = open_grid(write(), missing_value=[104, 0]).precipitation_rate.values[0]
    assert np.array_equal(np.isnan(rate), np.isin(FRAME, [0, 104, 255]))


def test_a_part_is_that_part_of_the_whole(write):
    rate = open_grid(write()).precipitation_rate
    assert np.array_equal(rate[0, 1:, 2:].values, rate.values[0, 1:, 2:], equal_nan=True)


def test_pixel_centres_lie_half_a_pixel_inside_the_corners(write):
    grid = open_grid(write())
    assert grid.x.values == approx(np.array([-1500.0, -500.0, 500.0, 1500.0]), abs=0.01)
    # the northern row first
    assert grid.y.values == approx(np.array([-3_295_000.0, -3_297_000.0, -3_299_000.0]), abs=0.01)
    assert grid.crs.attrs["grid_mapping_name"] == "polar_stereographic"
    assert grid.crs.attrs["straight_vertical_longitude_from_pole"] == 25.0
    assert grid.crs.attrs["semi_major_axis"] == grid.crs.attrs["semi_minor_axis"] == 6371288.0


def test_a_header_in_another_order_with_other_white_space_is_read(tmp_path):
    said = [f"#  {key}\t{text} \r\n" for key, text in reversed(SAID.items())]
    path = tmp_path / "a.pgm"
    path.write_bytes(
        ("P5 #\n" + "".join(said[:5]) + "\t4\n" + "".join(said[5:]) + "\n 3  255 ").encode()
        + PIXELS
    )
    grid = open_grid(path)
    assert grid.time.values[0] == np.datetime64("2016-09-28T14:45")
    assert grid.precipitation_rate.values[0, 0, 3] == approx((10.0 / 223) ** (1 / 1.53), rel=1e-6)


def test_pixels_that_look_like_a_comment_are_pixels(write):
    pixels = b"\n# obstime 19"
    assert len(pixels) == 13
    refused(write(pixels), "has more than the 12 bytes for the 3 x 4 pixels")
    # '#' is 35: -14.5 dBZ
    assert open_grid(write(pixels[:12])).precipitation_rate.values[0, 0, 1] == 0.0


def test_the_name_says_when_where_the_header_does_not(write):
    assert open_grid(write(name="201609281500_x.pgm", obstime=None)).time.values[
        0
    ] == np.datetime64("2016-09-28T15:00")
    refused(write(name="x.pgm", obstime=None), "neither its 'obstime' nor its name has a time")
    refused(
        write(name="x.pgm", obstime="201613281500"), "neither its 'obstime' nor its name has a time"
    )


def test_without_a_projection_there_is_no_place(write):
    silent = dict.fromkeys(["type", "bottomleft", "topright", "projection", "metersperpixel_x"])
    assert set(open_grid(write(**silent)).coords) == {"time"}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"type": "mercator"}, "its projection is 'mercator'"),
        ({"type": None}, "its projection is 'not named'"),
        ({"topright": None}, "does not give the corners of the grid"),
        ({"topright": "25.03 x"}, "does not give the corners of the grid"),
        ({"topright": "25.03"}, "does not give the corners of the grid"),
        ({"topright": "nan nan"}, "do not agree"),
        ({"topright": "25.3 60.0"}, "do not agree"),
        ({"metersperpixel_y": "1000"}, "do not agree"),
        ({"centrallatitude": "60"}, "does not give the corners of the grid"),
        ({"truelatitude": "0"}, "does not give the corners of the grid"),
    ],
)
def test_a_place_that_makes_no_sense_is_refused(write, changes, match):
    refused(write(**changes), match)


def test_what_is_no_reflectivity_is_refused_unless_it_is_said_to_be(write):
    refused(write(param="EchoTop"), "holds 'EchoTop'; .*data.units=dBZ")
    refused(write(param=None), "holds 'an unnamed quantity'")
    assert open_grid(write(param="EchoTop"), units="dBZ").precipitation_rate.shape == (1, 3, 4)
    refused(write(), "are in dBZ, not data.units='mm'", units="mm")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"size": b"4"}, "its PGM header cannot be read"),
        ({"size": b"4 -3"}, "its PGM header cannot be read"),
        ({"size": b"99999 99999"}, "its PGM header cannot be read"),
        ({"top": b""}, "its PGM header cannot be read"),
        ({"top": b"# 255"}, "its PGM header cannot be read"),
        ({"size": b"0 3"}, "has no frame"),
        ({"top": b"65535"}, "its maximum value is 65535"),
        ({"size": b"3 4"}, "do not agree"),
    ],
)
def test_a_bad_header_is_refused(write, changes, match):
    refused(write(**changes), match)


def test_files_of_another_length_are_refused(write):
    for name in ("a.pgm", "a.pgm.gz"):
        for pixels in (b"", PIXELS[:-1]):
            refused(
                write(pixels, name=name),
                f"truncated, or still being written: {len(pixels)} bytes of pixels, but 3 x 4 pixels need"
                " 12; compare it with its source",
            )
        refused(write(PIXELS + b"\0", name=name), "has more than the 12 bytes for the 3 x 4 pixels")


def test_damaged_gzip_is_refused(write):
    path = write(name="a.pgm.gz")
    data = path.read_bytes()
    # cut, cut in the checksum, of another checksum
    for bad in (data[:40], data[:-6], data[:-8] + b"\0\0\0\0" + data[-4:]):
        path.write_bytes(bad)
        refused(path, "gzipped file is truncated, damaged")


def test_empty_and_absent_files_are_named(tmp_path, write):
    path = tmp_path / "a.pgm"
    path.touch()
    refused(path, "this file is empty")
    path = write()
    grid = open_grid(path)
    path.unlink()
    with pytest.raises(MissingInputError, match="no such file"):
        grid.load()


def test_a_file_changed_behind_our_back_is_refused(write):
    path = write()
    grid = open_grid(path)
    path.write_bytes(path.read_bytes().replace(b"\n4 3\n", b"\n3 4\n"))
    with pytest.raises(DataError, match="another grid than when it was opened"):
        grid.load()


@pytest.fixture
def sample():
    if not DATA.exists():
        pytest.skip("the sample data are not at hand")
    return sorted(DATA.iterdir())


def test_the_sample_covers_250_km_around_its_radars(sample):
    import pyproj

    path = sample[0]
    with gzip.open(path) as file:
        lines = [
            line.split() for line in file.read(800).splitlines() if line.startswith(b"# radar ")
        ]
    grid = open_grid(path)
    to_degrees = pyproj.Transformer.from_crs(
        pyproj.CRS.from_cf(grid.crs.attrs), 4326, always_xy=True
    )
    every = grid.isel(x=slice(None, None, 5), y=slice(None, None, 5))
    longitude, latitude = to_degrees.transform(*np.meshgrid(every.x.values, every.y.values))
    covered = np.zeros(longitude.shape, bool)
    for *_, lon, lat in lines:
        here = np.full(longitude.shape, float(lon)), np.full(longitude.shape, float(lat))
        covered |= pyproj.Geod(ellps="WGS84").inv(*here, longitude, latitude)[2] < 250e3
    wrong = (covered != ~np.isnan(every.precipitation_rate.values[0])).mean()
    # half a pixel of the circles' rims; a shift by one pixel would be 2e-3
    assert len(lines) == 10 and wrong < 3e-4


def test_the_sample_equals_what_pysteps_reads(sample):
    path = sample[20]
    importers = pytest.importorskip("pysteps.io.importers")
    dbz, _, _ = importers.import_fmi_pgm(str(path), gzipped=True)
    theirs = np.where(dbz < 0, 0.0, (10 ** (dbz / 10) / 223) ** (1 / 1.53))
    np.testing.assert_allclose(
        open_grid(path).precipitation_rate.values[0],
        np.where(np.isnan(dbz), np.nan, theirs),
        rtol=1e-6,
    )
