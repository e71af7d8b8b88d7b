"""A frame compared with its neighbours: coverage, packing, place."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nowcast.errors import DataError
from nowcast.radar import open_grid
from nowcast.radar.reading.file import ReadOptions
from nowcast.radar.series.describing import KnownFiles, describe_files
from nowcast.radar.series.neighbours import (
    fits_only_repacked,
    odd_packings,
    rate_by,
    repacked,
    strange_coverage,
)

NAN = float("nan")


@pytest.mark.parametrize(
    ("covered", "strange"),
    [
        ([0.64, 0.64, 0.64, 1.0], [3]),  # the newest
        ([0.64, 0.64, 0.13, 0.64, 0.64], [2]),
        ([0.64, 1.0], [1]),  # of two the later
        ([1.0, 0.64, 0.64], [0]),
        ([0.64, 0.64, 0.3, 0.3], []),  # an outage that lasts
        ([0.64, 0.64, 0.3, 0.3, 0.64, 0.64], []),
        ([0.75, 0.72, 0.75, 0.74], []),  # what real composites do
        ([0.64, NAN, NAN, 0.64, 0.1], [4]),
        ([0.64], []),
        ([], []),
    ],
)
def test_a_coverage_is_strange_where_no_frame_around_shares_it(
    covered: list[float], strange: list[int]
) -> None:
    assert np.flatnonzero(strange_coverage(covered)).tolist() == strange


def rain(seed: int, wet: float = 0.3) -> np.ndarray:
    """(40, 40) whole numbers as a file stores them: some rain, the rest dry."""
    random = np.random.default_rng(seed)
    return np.where(random.random((40, 40)) < wet, random.integers(1, 60, (40, 40)), 0).astype(
        np.float64
    )


@pytest.mark.parametrize(
    ("packing", "unfit"),
    [
        ((1.0, 0.0), True),
        ((2.0, 0.0), True),
        ((1.0, 7.0), True),
        ((0.005, 0.0), True),
        ((0.12, 0.0), False),
    ],
)
def test_a_packing_is_wrong_where_rain_fits_only_by_that_of_the_others(
    packing: tuple[float, float], unfit: bool
) -> None:
    right = (0.1, 0.0)
    stored, beside = rain(1) * packing[0] + packing[1], rain(2) * right[0] + right[1]
    assert fits_only_repacked(stored, repacked(stored, packing, right), beside) is unfit


def test_another_packing_of_the_same_rain_is_right() -> None:
    stored = rain(1) * 20 * 0.005  # more digits, as a service may choose
    assert (
        fits_only_repacked(stored, repacked(stored, (0.005, 0.0), (0.1, 0.0)), rain(2) * 0.1)
        is False
    )
    assert fits_only_repacked(rain(1, 0.0), rain(1, 0.0), rain(2) * 0.1) is None, (
        "too little rain to tell"
    )


Write = Callable[..., Path]


def test_a_packing_that_makes_impossible_numbers_of_a_good_file_says_nothing_of_it(
    write: Write,
) -> None:
    """By the offset of the file next to it, 0 stands for -200 dBZ; the file itself is right."""
    write(
        "0.nc",
        rain(0).astype("i2")[np.newaxis],
        [0],
        scale_factor=0.5,
        add_offset=-32.0,
        units="dBZ",
    )
    folder = write(
        "1.nc",
        rain(1).astype("i2")[np.newaxis],
        [5],
        scale_factor=0.5,
        add_offset=-200.0,
        units="dBZ",
    ).parent
    options = ReadOptions(zr=(200.0, 1.6))
    first, second = describe_files(sorted(folder.glob("*.nc")), KnownFiles(options).describe)
    stored = rain(0)[np.newaxis] * 0.5 - 32.0
    assert np.isnan(rate_by(second.layout.packing, stored, first, options)).all()
    assert np.isfinite(rate_by(first.layout.packing, stored, first, options)).all()


def packed(write: Write, *scales: float) -> Path:
    """A file of int16 for each scale, five minutes apart."""
    paths = [
        write(f"{k}.nc", rain(k).astype("i2")[np.newaxis], [5 * k], scale_factor=scale)
        for k, scale in enumerate(scales)
    ]
    return paths[0].parent


@pytest.mark.parametrize(
    ("scales", "odd"),
    [
        ((0.1, 0.1, 2.0, 0.1, 0.1), [2]),
        ((0.1, 0.1, 0.1, 2.0), [3]),
        ((0.1, 0.1, 0.1, 0.2, 0.2, 0.2), []),  # a service that changed its packing
        ((0.1, 0.2, 0.3, 0.4, 0.5), []),  # each file by its own range
        ((0.1, 2.0), []),
    ],
)
def test_one_or_two_files_packed_otherwise_are_odd(
    write: Write, scales: tuple[float, ...], odd: list[int]
) -> None:
    paths = sorted(packed(write, *scales).glob("*.nc"))
    files = list(describe_files(paths, KnownFiles(ReadOptions()).describe))
    assert [k for k, _ in odd_packings(files)] == odd


def test_a_series_with_a_wrong_scale_is_refused_and_one_with_a_new_scale_is_not(
    write: Write, tmp_path: Path
) -> None:
    folder = packed(write, 0.1, 0.1, 2.0, 0.1, 0.1)
    with pytest.raises(
        DataError,
        match=r"2.nc: is packed with scale 2 and offset 0, but the files around it with 0.1",
    ):
        open_grid(folder)
    write("2.nc", (rain(2) * 2).astype("i2")[np.newaxis], [10], scale_factor=0.05)
    np.testing.assert_allclose(
        open_grid(folder).precipitation_rate[2].values, rain(2) * 0.1, rtol=1e-6
    )


@pytest.mark.parametrize("lacking", [0, 2])
def test_a_grid_mapping_that_lacks_an_attribute_is_another(write: Write, lacking: int) -> None:
    import netCDF4

    mapping = {"grid_mapping_name": "polar_stereographic",
        "straight_vertical_longitude_from_pole": 10.0,
               "latitude_of_projection_origin": 90.0, "standard_parallel": 60.0,
               "earth_radius": 6370040.0}  # fmt: skip
    for k in range(4):
        said = {
            key: value for key, value in mapping.items() if k != lacking or key != "earth_radius"
        }

        def place(file: netCDF4.Dataset, said: dict[str, object] = said) -> None:
            file.createVariable("crs", "i4", ()).setncatts(said)
            file["rain"].grid_mapping = "crs"

        path = write(f"{k}.nc", np.ones((1, 3, 4), "f4"), [5 * k], extra=place)
    with pytest.raises(DataError, match="their grid mappings differ: earth_radius"):
        open_grid(path.parent)
