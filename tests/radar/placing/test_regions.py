"""Regions of a tiling, and their location on another grid."""

import numpy as np
import pytest

from nowcast.errors import ConfigError, DataError
from nowcast.radar import synthetic_grid
from nowcast.radar.placing.grid_match import Turn
from nowcast.radar.placing.regions import (
    Region,
    find_region,
    region_at,
    region_for_checkpoint,
    regions_of,
)

GRID = synthetic_grid(1, 20, 30)
REGION = Region(slice(4, 12), slice(10, 22))
STORED = region_for_checkpoint(GRID, REGION)


@pytest.mark.parametrize(
    ("size", "step", "rows", "columns"),
    [
        (10, 5, [0, 5, 10], [0, 5, 10, 15, 20]),
        (12, 6, [0, 6, 8], [0, 6, 12, 18]),
        (20, 20, [0], [0, 10]),
        (24, 12, [0], [0, 6]),
    ],
)
def test_a_tiling_covers_the_grid_and_its_last_region_ends_with_it(
    size: int, step: int, rows: list[int], columns: list[int]
) -> None:
    regions = regions_of(size, step, (20, 30))
    starts = [(one.rows.start, one.columns.start) for one in regions]
    assert starts == [(row, column) for row in rows for column in columns]
    covered = np.zeros((20, 30), int)
    for one in regions:
        assert one.size == (min(size, 20), min(size, 30))
        covered[one.rows, one.columns] += 1
    assert covered.min() >= 1


def test_an_index_out_of_range_says_how_many_there_are() -> None:
    assert region_at(10, 5, 6, (20, 30)) == Region(slice(5, 15), slice(5, 15))
    with pytest.raises(
        ConfigError, match=r"15 does not exist: .* have 15 regions of 10 pixels every 5"
    ):
        region_at(10, 5, 15, (20, 30))


def test_a_region_is_found_where_it_was() -> None:
    assert find_region(STORED, GRID, "x") == REGION


def test_a_region_is_found_by_its_place_on_a_part_of_the_grid() -> None:
    part = GRID.isel(y=slice(2, None), x=slice(5, 28))
    assert find_region(STORED, part, "x") == Region(slice(2, 10), slice(5, 17))


def test_a_region_is_found_on_a_grid_whose_rows_run_the_other_way() -> None:
    """Flipped back for the model, it is the region of the training."""
    found = find_region(STORED, GRID.isel(y=slice(None, None, -1)), "x")
    assert found == Region(slice(8, 16), slice(10, 22))
    assert found.turned(Turn(rows=True), (20, 30)) == REGION


def test_a_region_beyond_the_grid_is_refused() -> None:
    with pytest.raises(DataError, match="x: the grid does not contain all of the model's region"):
        find_region(STORED, GRID.isel(x=slice(11, None)), "x")
    shifted = GRID.copy()
    shifted["crs"] = GRID["crs"].assign_attrs(false_easting=5000.0)
    with pytest.raises(DataError, match="not the projection of the model's region"):
        find_region(STORED, shifted, "x")


def test_without_axes_a_region_lies_in_frames_of_the_same_size() -> None:
    bare = GRID.drop_vars(["x", "y", "crs"])
    stored = region_for_checkpoint(bare, REGION)
    assert find_region(stored, bare, "x") == REGION
    with pytest.raises(DataError, match=r"frames have \[20, 29\] pixels"):
        find_region(stored, bare.isel(x=slice(1, None)), "x")


def test_a_region_is_widened_as_far_as_the_grid_goes() -> None:
    wider = REGION.widened(7, 4, (20, 30))
    assert wider == Region(slice(0, 19), slice(0, 29))
    assert REGION.within(wider) == REGION
    assert REGION.widened(2, 4, (20, 30)) == Region(slice(0, 14), slice(8, 24))
