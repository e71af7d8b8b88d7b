"""Real files, where they are at hand; the facts were measured independently, with other tools."""

from pathlib import Path

import numpy as np
import pytest
from pytest import approx

from nowcast.errors import DataError
from nowcast.radar import check_grid, open_grid

DATA = Path(__file__).parents[3] / "shared" / "data"


def sample(*parts):
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip("the sample data are not at hand")
    return path


def facts(rate):
    """(share missing, share of the rest above 0.1 mm/h, maximum), read in blocks."""
    missing = wet = valid = 0
    top = 0.0
    for start in range(0, rate.sizes["time"], 200):
        block = rate[start : start + 200].values
        there = ~np.isnan(block)
        missing, valid, wet = missing + int((~there).sum()), valid + int(there.sum()), wet + int((block[there] > 0.1).sum())
        top = max(top, float(block[there].max()))
    return missing / rate.size, wet / valid, top


def test_radolan_yw_opens_as_it_is():
    grid = open_grid(sample("radolan_yw_netcdf"))
    check_grid(grid)
    assert grid.precipitation_rate.shape == (2016, 190, 228)
    assert (grid.time.values[0], grid.time.values[-1]) == (np.datetime64("2018-05-10T00:00"), np.datetime64("2018-05-16T23:55"))
    assert grid.attrs["timestep_minutes"] == 5.0
    assert grid.attrs["converted_from"] == "rainfall_amount [mm per 5 min]"
    assert set(grid.coords) == {"time", "latitude", "longitude"}
    assert facts(grid.precipitation_rate) == (approx(0.025, abs=5e-4), approx(0.096, abs=5e-4), approx(236.9, abs=0.05))


def test_radolan_ry_opens_with_units_and_minutes():
    path = sample("radolan_ry_netcdf")
    with pytest.raises(DataError, match="'RY' has no units"):
        open_grid(path)
    grid = open_grid(path, units="mm", accumulation_minutes=5)
    assert grid.precipitation_rate.shape == (12, 900, 900)
    assert facts(grid.precipitation_rate) == (approx(0.224, abs=5e-4), approx(0.118, abs=5e-4), approx(101.6, abs=0.05))


def test_openmrg_opens_with_units_and_knows_its_projection():
    grid = open_grid(sample("openmrg_netcdf"), units="mm h-1")
    assert grid.precipitation_rate.shape == (36, 48, 37)
    assert facts(grid.precipitation_rate) == (0.0, approx(0.402, abs=5e-4), approx(68.7, abs=0.05))
    assert grid.crs.attrs["grid_mapping_name"] == "polar_stereographic"
    assert np.diff(grid.x.values)[0] == approx(2000.0)


def test_bom_opens_as_a_folder_of_single_frames():
    path = sample("bom_rf3_netcdf")
    grid = open_grid(path)  # its start_time says: sums over 10 minutes
    assert grid.precipitation_rate.shape == (144, 512, 512)
    assert grid.attrs["timestep_minutes"] == 10.0
    assert np.diff(grid.x.values)[0] == approx(500.0)
    with pytest.raises(DataError, match=r"data\.missing_value=-2"):  # an undeclared flag, in few pixels
        grid.precipitation_rate.load()
    missing, wet, top = facts(open_grid(path, missing_value=-2).precipitation_rate)
    assert (missing, wet, top) == (approx(0.0, abs=1e-4), approx(0.127, abs=5e-4), approx(91.8, abs=0.05))
