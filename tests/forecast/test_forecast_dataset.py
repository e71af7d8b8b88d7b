"""The forecast file: what is built is what is read back, by us and by others."""

import math
import shutil
import signal
import subprocess
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import pyproj
import pytest
import xarray as xr
from xarray.backends import locks

from nowcast.errors import (
    CannotCreateError,
    DataError,
    InputOutputError,
    Interrupted,
    MissingInputError,
)
from nowcast.forecast.dataset import (
    build_forecast,
    check_forecast,
    find_forecasts,
    open_forecast,
    read_reference_time,
    write_forecast,
)
from nowcast.radar.grid import build_grid, check_grid
from nowcast.radar.placing.cropping import degrees_of
from nowcast.radar.synthetic import synthetic_grid
from nowcast.signals import Stop

START = np.datetime64("2020-06-01T00:15", "ns")
FIVE_MINUTES = np.timedelta64(300, "s")
PROVENANCE = {
    "checkpoint": "runs/a/best.pt",
    "checkpoint_sha256": "0" * 64,
    "config": {"data": {"path": "data/radar.nc", "zr": [200.0, 1.6]}},
    "inputs": "data/radar.nc",
    "input_times": ["2020-06-01T00:10:00Z", "2020-06-01T00:15:00Z"],
}
KINDS = ("projected", "both", "curvilinear", "degrees", "nowhere")


@cache
def places() -> dict[str, dict[str, xr.Variable]]:
    """What a grid may know of its place: x, y and crs; these and latitude and longitude; the
    latter alone, as in RADOLAN files; one-dimensional degrees; nothing.
    """
    grid = rain()
    projection = pyproj.Proj(pyproj.CRS.from_cf(grid["crs"].attrs))
    longitude, latitude = projection(*np.meshgrid(grid["x"], grid["y"]), inverse=True)
    degrees = {
        "latitude": xr.Variable(
            ("y", "x"), latitude, {"standard_name": "latitude", "units": "degrees_north"}
        ),
        "longitude": xr.Variable(
            ("y", "x"), longitude, {"standard_name": "longitude", "units": "degrees_east"}
        ),
    }
    projected = {name: grid.variables[name] for name in ("x", "y", "crs")}
    one_dimensional = {
        "y": xr.Variable("y", 50 + np.arange(24) / 100, {**degrees["latitude"].attrs, "axis": "Y"}),
        "x": xr.Variable(
            "x", 10 + np.arange(30) / 100, {**degrees["longitude"].attrs, "axis": "X"}
        ),
    }
    both = projected | degrees
    return {
        "projected": projected,
        "both": both,
        "curvilinear": degrees,
        "degrees": one_dimensional,
        "nowhere": {},
    }


@cache
def rain() -> xr.Dataset:
    """Four frames of 24 × 30, with dry pixels and with missing ones."""
    return synthetic_grid(4, 24, 30, coverage=True)


def grid_of(kind: str) -> xr.Dataset:
    """The rain on a grid that knows of its place as much as `places` says."""
    place = {name: variable.copy() for name, variable in places()[kind].items()}
    attrs = {"institution": "A weather service", "license": "CC BY 4.0"}
    return build_grid(
        rain()["precipitation_rate"].values.copy(), rain()["time"].values, place, attrs, 5.0
    )


def forecast_of(kind: str = "projected", timestep: np.timedelta64 = FIVE_MINUTES) -> xr.Dataset:
    """Three lead times from 00:15 on, some pixels NaN and some dry."""
    grid = grid_of(kind)
    return build_forecast(grid["precipitation_rate"].values[:3], grid, START, timestep, PROVENANCE)


def ensemble_of(kind: str = "projected") -> xr.Dataset:
    """The same lead times of two members, the second with twice the rain."""
    rates = forecast_of(kind)["precipitation_rate"].values
    made_by = {"method": "steps", "source": "nowcast: STEPS", "references": "Bowler et al. 2006"}
    return build_forecast(
        np.stack([rates, 2 * rates], axis=1),
        grid_of(kind),
        START,
        FIVE_MINUTES,
        PROVENANCE | made_by,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "forecasts" / "a.nc"


def test_times_by_hand() -> None:
    forecast = forecast_of()
    assert forecast["time"].values.astype("datetime64[m]").astype(str).tolist() == [
        f"2020-06-01T00:{m}" for m in (20, 25, 30)
    ]
    assert forecast["lead_time"].values.tolist() == [5.0, 10.0, 15.0]
    assert forecast["forecast_reference_time"].values == START


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_is_what_was_built(kind: str, path: Path) -> None:
    forecast = forecast_of(kind)
    before = forecast.copy(deep=True)
    write_forecast(forecast, path)
    again = open_forecast(path)
    xr.testing.assert_identical(again, forecast)
    assert (
        again["precipitation_rate"].values.tobytes()
        == forecast["precipitation_rate"].values.tobytes()
    )
    assert np.isnan(again["precipitation_rate"]).any() and (again["precipitation_rate"] == 0).any()
    xr.testing.assert_identical(forecast, before)
    assert all(variable.encoding == {} for variable in forecast.variables.values())
    assert set(again.coords) == set(grid_of(kind).coords) | {"forecast_reference_time", "lead_time"}
    check_grid(again.assign_attrs(timestep_minutes=5.0))


@pytest.mark.parametrize("kind", KINDS)
def test_an_ensemble_is_read_as_it_was_built(kind: str, path: Path) -> None:
    ensemble = ensemble_of(kind)
    write_forecast(ensemble, path)
    again = open_forecast(path)
    xr.testing.assert_identical(again, ensemble)
    rate = again["precipitation_rate"]
    assert rate.dims == ("time", "realization", "y", "x") and again[
        "realization"
    ].values.tolist() == [1, 2]
    np.testing.assert_array_equal(
        rate.sel(realization=2), 2 * forecast_of(kind)["precipitation_rate"].values
    )
    assert np.isnan(rate).any()
    assert set(again.coords) == set(grid_of(kind).coords) | {
        "forecast_reference_time",
        "lead_time",
        "realization",
    }
    with netCDF4.Dataset(path) as file:
        number = file["realization"]
        assert (number.standard_name, number.units, number.dtype) == ("realization", "1", np.int32)
        assert file["precipitation_rate"].chunking() == [1, 1, 24, 30]
        assert "realization" not in file["precipitation_rate"].coordinates.split()


def test_a_file_names_the_method_that_made_it(path: Path) -> None:
    assert "learned" in forecast_of().attrs["source"] and "Shi" in forecast_of().attrs["references"]
    write_forecast(ensemble_of(), path)
    attrs = open_forecast(path).attrs
    assert (attrs["method"], attrs["source"], attrs["references"]) == (
        "steps",
        "nowcast: STEPS",
        "Bowler et al. 2006",
    )


@pytest.mark.parametrize("seconds", [20, 150, 7 * 60 + 1])
def test_times_come_back_exactly(seconds: int, path: Path) -> None:
    forecast = forecast_of(timestep=np.timedelta64(seconds, "s"))
    write_forecast(forecast, path)
    xr.testing.assert_identical(open_forecast(path), forecast)


def test_the_file_says_what_it_is(path: Path) -> None:
    write_forecast(forecast_of("both"), path)
    with netCDF4.Dataset(path) as file:
        assert file.data_model == "NETCDF4"
        rate, time, lead = (file[name] for name in ("precipitation_rate", "time", "lead_time"))
        assert (rate.dimensions, rate.dtype, rate.units) == (
            ("time", "y", "x"),
            np.float32,
            "mm h-1",
        )
        assert (rate.standard_name, rate.grid_mapping) == ("lwe_precipitation_rate", "crs")
        assert rate.coordinates.split() == [
            "forecast_reference_time",
            "latitude",
            "lead_time",
            "longitude",
        ]
        assert rate.chunking() == [1, 24, 30]
        assert rate.filters() | {"zlib": True, "shuffle": True, "complevel": 4} == rate.filters()
        assert np.isnan(rate.getncattr("_FillValue"))
        others = [
            variable for name, variable in file.variables.items() if name != "precipitation_rate"
        ]
        assert not any(
            {"_FillValue", "coordinates"} & set(variable.ncattrs()) for variable in others
        )
        minutes = (
            int(
                (
                    datetime(2020, 6, 1, 0, 15, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
                ).total_seconds()
            )
            // 60
        )
        assert time[:].tolist() == [minutes + 5, minutes + 10, minutes + 15]
        assert time.units.startswith("minutes since 1970-01-01") and time.calendar == "standard"
        assert (
            file["forecast_reference_time"][...] == minutes
            and file["forecast_reference_time"].shape == ()
        )
        assert lead[:].tolist() == [5, 10, 15] and lead.standard_name == "forecast_period"


def test_the_file_says_what_it_was_made_from(path: Path) -> None:
    write_forecast(forecast_of(), path)
    attrs = open_forecast(path).attrs
    assert {
        "Conventions",
        "title",
        "source",
        "history",
        "references",
    } <= attrs.keys()
    assert (attrs["Conventions"], attrs["input_institution"], attrs["input_license"]) == (
        "CF-1.11",
        "A weather service",
        "CC BY 4.0",
    )
    assert not attrs.keys() & {"institution", "license", "contact"}  # the forecast is not theirs
    assert (attrs["checkpoint"], attrs["checkpoint_sha256"]) == ("runs/a/best.pt", "0" * 64)
    assert attrs["config"] == '{"data": {"path": "data/radar.nc", "zr": [200.0, 1.6]}}'
    assert attrs["input_times"] == '["2020-06-01T00:10:00Z", "2020-06-01T00:15:00Z"]'
    assert attrs["history"].endswith("Z nowcast predict")


def test_xarray_opens_it_without_being_told_how(path: Path) -> None:
    write_forecast(forecast_of("both"), path)
    with xr.open_dataset(path, engine="netcdf4") as file:
        assert {"forecast_reference_time", "lead_time", "latitude", "longitude"} <= set(file.coords)
        assert file["lead_time"].dtype == np.float64 and file["lead_time"].values.tolist() == [
            5.0,
            10.0,
            15.0,
        ]
        assert file["time"].values[0] == np.datetime64("2020-06-01T00:20")
        assert "coordinates" not in file.attrs and list(file.data_vars) == [
            "precipitation_rate",
            "crs",
        ]


@pytest.mark.parametrize("build", [forecast_of, ensemble_of])
def test_the_same_forecast_is_the_same_file_but_for_the_time_in_its_history(
    build: Callable[[str], xr.Dataset], tmp_path: Path
) -> None:
    """Nothing else differs but the four bytes of the checksum that HDF5 keeps over the
    attributes; and nothing if the text does not.
    """
    histories = [b"2020-06-01T00:15:00Z nowcast predict", b"2031-12-24T23:58:59Z nowcast predict"]
    files = []
    for k, history in enumerate([*histories, histories[0]]):
        write_forecast(
            build("both").assign_attrs(history=history.decode(), institution="M\u00e9t\u00e9o"),
            tmp_path / f"{k}.nc",
        )
        files.append((tmp_path / f"{k}.nc").read_bytes())
    first, second, again = files
    assert again == first
    assert (first.count(histories[0]), second.count(histories[1])) == (1, 1) and len(second) == len(
        first
    )
    differ = [
        k
        for k, (one, other) in enumerate(zip(first, second.replace(*histories[::-1]), strict=True))
        if one != other
    ]
    assert differ and differ[-1] - differ[0] < 4
    assert len(build("both").attrs["history"]) == len(histories[0])


def test_how_a_radar_file_was_stored_does_not_reach_the_forecast(path: Path) -> None:
    grid = grid_of("curvilinear")
    grid["latitude"].encoding = {"dtype": "int16", "scale_factor": 1.0, "_FillValue": -1}
    write_forecast(
        build_forecast(grid["precipitation_rate"].values, grid, START, FIVE_MINUTES, {}), path
    )
    np.testing.assert_array_equal(open_forecast(path)["latitude"], grid["latitude"])


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forecast = forecast_of()
    write_forecast(forecast, path)
    before = path.read_bytes()
    genuine = xr.Dataset.to_netcdf

    def full_disk(dataset: xr.Dataset, target: Path, **options: object) -> None:
        genuine(dataset, target, **options)
        raise RuntimeError("NetCDF: HDF error")

    def stopped(dataset: xr.Dataset, target: Path, **options: object) -> None:
        target.write_bytes(b"half a fi")
        raise KeyboardInterrupt

    for failing, error in ((full_disk, InputOutputError), (stopped, KeyboardInterrupt)):
        monkeypatch.setattr(xr.Dataset, "to_netcdf", failing)
        with pytest.raises(error):
            write_forecast(forecast.assign_attrs(title="another"), path)
        assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_where_no_file_can_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.nc").mkdir()
    for path in (tmp_path / "file" / "a.nc", tmp_path / "folder.nc"):
        with pytest.raises(CannotCreateError, match=r"choose another"):
            write_forecast(forecast_of(), path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.nc"]
    assert list((tmp_path / "folder.nc").iterdir()) == []


def refusal(path: Path, error: type[Exception]) -> str:
    with pytest.raises(error) as raised:
        open_forecast(path)
    message = str(raised.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message


def test_what_is_no_forecast_file_is_refused(path: Path) -> None:
    path.parent.mkdir()
    assert "no such forecast file" in refusal(path, MissingInputError)
    assert "is a folder; give a file" in refusal(path.parent, MissingInputError)
    for content in (b"", b"not NetCDF at all", b"\x89HDF\r\n\x1a\n and no more"):
        path.write_bytes(content)
        assert "not a whole NetCDF file" in refusal(path, DataError)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(share: float, path: Path) -> None:
    write_forecast(forecast_of(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "not a whole NetCDF file" in refusal(path, DataError)


@pytest.mark.parametrize("build", [forecast_of, ensemble_of])
@pytest.mark.parametrize("kind", KINDS)
def test_all_but_scalars_has_checksums(
    kind: str, build: Callable[[str], xr.Dataset], path: Path
) -> None:
    write_forecast(build(kind), path)
    with netCDF4.Dataset(path) as file:
        checked = {
            name
            for name, variable in file.variables.items()
            if variable.filters() and variable.filters()["fletcher32"]
        }
        assert (
            checked
            == {name for name, variable in file.variables.items() if variable.ndim}
            > {"precipitation_rate", "time"}
        )


def test_one_flipped_bit_in_any_chunk_is_refused_or_changes_no_value(path: Path) -> None:
    """Of each chunk at five places.

    Of a few bits of what is compressed nothing depends, as of which of two equal bytes one is a
    copy.
    """
    ensemble = ensemble_of("both")
    write_forecast(ensemble, path)
    content = path.read_bytes()
    with h5py.File(path) as file:
        stored = {name: variable.id for name, variable in file.items() if variable.chunks}
        chunks = {
            (name, k): one.get_chunk_info(k)
            for name, one in stored.items()
            for k in range(one.get_num_chunks())
        }
    assert len(stored) == 8 and len(chunks) == 7 + 3 * 2
    refused = 0
    for place in chunks.values():
        for byte in np.linspace(0, place.size - 1, 5).astype(int):
            flipped = bytearray(content)
            flipped[place.byte_offset + byte] ^= 1
            path.write_bytes(flipped)
            try:
                again = open_forecast(path)
            except DataError as error:
                assert "not a whole NetCDF file" in str(error)
                refused += 1
            else:
                xr.testing.assert_identical(again, ensemble)
    assert refused >= 0.9 * 5 * len(chunks)


def test_a_damaged_attribute_is_refused(path: Path) -> None:
    write_forecast(forecast_of(), path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"Precipitation forecast", b"Precipitation_forecast"))
    assert "not a whole NetCDF file" in refusal(path, DataError)


def test_a_damaged_reference_time_is_refused_for_lead_times_tell_it_again(path: Path) -> None:
    write_forecast(forecast_of(), path)
    with netCDF4.Dataset(path, "a") as file:
        file["forecast_reference_time"][...] += 1440
    assert "'lead_time' is not the time since 'forecast_reference_time'" in refusal(path, DataError)


@pytest.mark.parametrize(
    ("steps", "said"),
    [([], "lead time"), ([1, 0], "does not rise"), ([0, 0, 1], "does not rise")],
)
def test_a_forecast_without_rising_lead_times_is_refused(
    path: Path, steps: list[int], said: str
) -> None:
    forecast = forecast_of().isel(time=steps)
    write_forecast(forecast, path)
    assert said in refusal(path, DataError)
    with pytest.raises(DataError, match=said):
        check_forecast(forecast)


def test_the_reference_time_of_our_files_alone_is_read_without_the_rest(
    path: Path, tmp_path: Path
) -> None:
    write_forecast(forecast_of(), path)
    content = bytearray(path.read_bytes())
    assert read_reference_time(path) == START
    (tmp_path / "link.nc").symlink_to(path)
    assert read_reference_time(tmp_path / "link.nc") == START
    other = tmp_path / "other.nc"
    for attrs in ({"title": "Radar"}, {"source": "another model"}):
        write_forecast(forecast_of().assign_attrs(attrs), other)
        assert read_reference_time(other) is None
    forecast_of().drop_vars("forecast_reference_time").to_netcdf(other, engine="netcdf4")
    assert read_reference_time(other) is None
    for damaged in (
        b"",
        b"no NetCDF",
        content[: len(content) // 2],
        content.replace(b"learned extrapol", b"learned-extrapol"),
    ):
        other.write_bytes(damaged)
        assert read_reference_time(other) is None
    assert (
        read_reference_time(tmp_path) is None and read_reference_time(tmp_path / "none.nc") is None
    )


@pytest.mark.parametrize("minutes", [math.nan, math.inf, 1e300, -1e300, 1e12])
def test_a_reference_time_beyond_all_calendars_is_none(minutes: float, path: Path) -> None:
    write_forecast(forecast_of(), path)
    with netCDF4.Dataset(path, "r+") as file:
        file["forecast_reference_time"][...] = minutes
    assert read_reference_time(path) is None


def test_attributes_that_are_text_are_text_whatever_a_stranger_wrote(path: Path) -> None:
    write_forecast(forecast_of(), path)
    with netCDF4.Dataset(path, "r+") as file:
        file["crs"].grid_mapping_name, file["x"].standard_name, file.comment = (
            np.zeros(0),
            np.zeros(2),
            np.zeros(2),
        )
    forecast = open_forecast(path)
    assert isinstance(forecast.attrs["comment"], str)
    with pytest.raises(DataError, match=r"a\.nc: no projection can be made from its grid mapping"):
        degrees_of({name: forecast[name].variable for name in ("x", "y", "crs")}, "a.nc")


def test_of_times_that_cannot_be_decoded_only_the_refusal_tells(
    path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    write_forecast(forecast_of(), path)
    with netCDF4.Dataset(path, "r+") as file:
        file["time"].units = "minutes since -99999999-01-01"
    with pytest.raises(DataError, match="'time' holds no times"):
        open_forecast(path)
    assert not recwarn.list


def test_a_damaged_frame_is_refused(path: Path) -> None:
    noise = np.random.default_rng(0).gamma(0.5, 2.0, (1, 200, 200)).astype(np.float32)
    write_forecast(build_forecast(noise, xr.Dataset(), START, FIVE_MINUTES, {}), path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255  # within the frame, for it is most of the file
    path.write_bytes(content)
    assert "not a whole NetCDF file" in refusal(path, DataError)


def test_a_forecast_of_another_program_is_read_where_it_says_the_same_in_other_words(
    path: Path,
) -> None:
    forecast = forecast_of("nowhere")
    path.parent.mkdir()
    other = forecast.drop_vars("lead_time").assign(
        precipitation_rate=forecast["precipitation_rate"].assign_attrs(units="mm/hr")
    )
    other.to_netcdf(path, engine="netcdf4")
    again = open_forecast(path)
    np.testing.assert_array_equal(again["lead_time"], forecast["lead_time"])
    np.testing.assert_array_equal(again["precipitation_rate"], forecast["precipitation_rate"])
    assert again["precipitation_rate"].attrs["units"] == "mm h-1"


def test_other_netcdf_files_are_refused_by_what_they_lack(path: Path) -> None:
    forecast = forecast_of("nowhere")
    path.parent.mkdir()
    rate = forecast["precipitation_rate"]
    others = {
        "it has no lead times": xr.Dataset({"other": ("x", [1.0])}),
        "it has no 'precipitation_rate'": forecast.drop_vars("precipitation_rate"),
        "it has no 'forecast_reference_time'": forecast.drop_vars("forecast_reference_time"),
        "'precipitation_rate' has the dimensions": forecast.transpose("x", "y", "time"),
        "'time' holds no times": forecast.assign_coords(time=[1.0, 2.0, 3.0]),
        "'precipitation_rate' is not in 'mm h-1'": forecast.assign(
            precipitation_rate=rate.assign_attrs(units="dBZ")
        ),
        "'precipitation_rate' holds infinite values": forecast.assign(
            precipitation_rate=rate.copy(data=np.full_like(rate.values, np.inf))
        ),
        "'precipitation_rate' holds values below 0": forecast.assign(
            precipitation_rate=rate.copy(data=rate.values - 9999)
        ),
        "'precipitation_rate' holds no numbers": forecast.assign(
            precipitation_rate=rate.copy(data=np.full(rate.shape, "wet"))
        ),
        "'lead_time' holds no numbers": forecast.assign_coords(lead_time=("time", ["a", "b", "c"])),
    }
    ensemble = ensemble_of("nowhere")
    others["'precipitation_rate' has the dimensions ('realization', 'time'"] = ensemble.transpose(
        "realization", "time", "y", "x"
    )
    others["it has no 'realization'"] = ensemble.drop_vars("realization")
    for reason, other in others.items():
        other.to_netcdf(path, engine="netcdf4")
        assert f"not a forecast file ({reason}" in refusal(path, DataError)


def test_forecast_files_are_found_by_file_folder_or_glob(tmp_path: Path) -> None:
    for name in (
        "b.nc",
        "a.nc",
        "[c].nc",
        ".hidden.nc",
        ".a.nc.1234.tmp",
        "notes.txt",
        "latest.nc",
    ):
        (tmp_path / name).touch()
    (tmp_path / "folder.nc").mkdir()
    everything = [tmp_path / name for name in ("[c].nc", "a.nc", "b.nc")]
    assert find_forecasts(str(tmp_path)) == everything
    assert find_forecasts(f"{tmp_path}/*.nc") == everything
    assert find_forecasts(f"{tmp_path}/[ab].nc") == everything[1:]
    assert find_forecasts(f"{tmp_path}/[c].nc") == everything[:1]
    assert find_forecasts(f"{tmp_path}/latest.nc") == [tmp_path / "latest.nc"]
    for nothing in ("folder.nc", "none.nc", "*.grib"):
        with pytest.raises(MissingInputError, match="no forecast files found"):
            find_forecasts(str(tmp_path / nothing))


@pytest.mark.parametrize("build", [forecast_of, ensemble_of])
@pytest.mark.parametrize("kind", KINDS)
def test_cf_compliant_to_the_letter(
    kind: str, build: Callable[[str], xr.Dataset], path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checker's own
        runner = pytest.importorskip("compliance_checker.runner")
        write_forecast(build(kind), path)
        runner.CheckSuite.load_all_available_checkers()
        passed, failed = runner.ComplianceChecker.run_checker(str(path), ["cf:1.11"], 0, "strict")
    report = capsys.readouterr().out
    assert passed and not failed and "All tests passed!" in report, report


def printed(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.parametrize(
    ("kind", "geometry"),
    [("projected", "projection"), ("curvilinear", "curvilinear"), ("degrees", "lonlat")],
)
def test_cdo_knows_grid_and_times(kind: str, geometry: str, path: Path) -> None:
    write_forecast(forecast_of(kind), path)
    text = printed("cdo", "-s", "sinfo", str(path))
    assert f"{geometry} " in text and "points=720 (30x24)" in text
    assert "ForecastRefTime =  2020-06-01T00:15:00" in text
    assert "2020-06-01 00:20:00  2020-06-01 00:25:00  2020-06-01 00:30:00" in text
    assert ("mapping : polar_stereographic" in text) == (kind == "projected")


def test_cdo_knows_members_as_levels(path: Path) -> None:
    write_forecast(ensemble_of("projected"), path)
    text = printed("cdo", "-s", "sinfo", str(path))
    assert "levels=2" in text and "realization : 1 to 2" in text and "time : 3 steps" in text
    assert "2020-06-01 00:20:00  2020-06-01 00:25:00  2020-06-01 00:30:00" in text
    text = printed("gdalinfo", str(path))
    assert "Polar Stereographic" in text and text.count("\nBand ") == 6


def test_gdal_knows_projection_and_pixels(path: Path) -> None:
    write_forecast(forecast_of("projected"), path)
    text = printed("gdalinfo", str(path))
    assert "Polar Stereographic" in text and "Size is 30, 24" in text and text.count("\nBand ") == 3
    assert "Origin = (-15000.000000000000000,-4188000.000000000000000)" in text
    assert "Pixel Size = (1000.000000000000000,-1000.000000000000000)" in text
    write_forecast(forecast_of("curvilinear"), path)
    text = printed("gdalinfo", f"NETCDF:{path}:precipitation_rate")
    assert "Geolocation:" in text and ":longitude" in text and ":latitude" in text


def test_a_signal_amid_xarrays_locks_leaves_none_of_them_locked(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes them in Python, where a signal may come before the block that gives them back;
    who next closes a file would wait for ever.
    """
    write_forecast(forecast_of(), path)
    stop, acquire = Stop(), locks.SerializableLock.acquire

    def acquire_and_hear(*given: Any, **named: Any) -> bool:
        got = acquire(*given, **named)
        stop(signal.SIGTERM, None)
        return bool(got)

    for work in (lambda: write_forecast(forecast_of(), path),) * 2:
        stop.raised = -math.inf
        with monkeypatch.context() as patched, pytest.raises(Interrupted):
            patched.setattr(locks.SerializableLock, "acquire", acquire_and_hear)
            work()
        assert not (locks.HDF5_LOCK.locked() or locks.NETCDFC_LOCK.locked())
    open_forecast(path)
