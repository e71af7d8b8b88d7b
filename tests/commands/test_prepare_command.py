"""`nowcast prepare`: raw files become a store, which a kill, new files and bad ones leave whole."""

import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import netCDF4
import numpy as np
import pytest
from helpers import Outcome

from nowcast.files import only_writer
from nowcast.radar import ReadOptions, open_grid, write_synthetic
from nowcast.radar.series.building import build_series
from nowcast.radar.series.cadence import targets_of
from nowcast.radar.series.describing import KnownFiles
from nowcast.radar.store.preparation import Preparation, make_day, plan_days
from nowcast.radar.store.speckle import remove_speckle
from nowcast.radar.store.store import day_path, read_records

Run = Callable[..., Outcome]
STEPS = 8  # frames a file, three hours apart: a day


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Three days of a file each, 1 to 3 January 2020, 20 × 24 pixels, every three hours from
    midnight.
    """
    for day in (1, 2, 3):
        a_day(tmp_path / "raw", day)
    return tmp_path / "raw"


def a_day(
    folder: Path, day: int, seed: int | None = None, size: tuple[int, int] = (20, 24)
) -> Path:
    path = folder / f"{day}.nc"
    start = f"2020-01-{day:02}"
    return write_synthetic(
        path, STEPS, *size, seed=seed or day, start=start, timestep_minutes=180, coverage=True
    )


def contents(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(store.glob("*.nc"))}


def same_rain(one: Path, other: Path) -> bool:
    a, b = open_grid(one), open_grid(other)
    assert np.array_equal(a["time"], b["time"])
    return a["precipitation_rate"].values.tobytes() == b["precipitation_rate"].values.tobytes()


def prepared(run: Run, raw: Path | str, store: Path, *words: str) -> Outcome:
    return run("prepare", f"data.path={raw}", f"output={store}", "workers=1", *words)


def test_the_store_holds_every_frame_a_day_a_file(run: Run, raw: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    outcome = prepared(run, raw, store)
    assert outcome.code == 0, outcome.err
    assert list(contents(store)) == ["2020-01-01.nc", "2020-01-02.nc", "2020-01-03.nc"]
    assert same_rain(raw, store)
    assert "24 frames written" in outcome.out and f"data=radar data.path={store}" in outcome.out
    assert outcome.err == ""  # no bar where no one watches


def test_a_second_run_writes_nothing_and_says_so(run: Run, raw: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    prepared(run, raw, store)
    before = contents(store), [path.stat().st_mtime_ns for path in sorted(store.glob("*.nc"))]
    outcome = prepared(run, raw, store)
    assert outcome.code == 0 and "nothing to do" in outcome.out
    assert (
        contents(store),
        [path.stat().st_mtime_ns for path in sorted(store.glob("*.nc"))],
    ) == before


def test_new_files_add_days_and_rewrite_those_they_touch_alone(
    run: Run, raw: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    later = raw / "3.nc"
    late = later.rename(tmp_path / "3.nc")
    prepared(run, raw, store)
    first = contents(store)
    late.rename(later)
    a_day(raw, 2, seed=7)  # the service has sent the second day again
    outcome = prepared(run, raw, store)
    assert "16 frames written" in outcome.out, outcome
    now = contents(store)
    assert (
        now["2020-01-01.nc"] == first["2020-01-01.nc"]
        and now["2020-01-02.nc"] != first["2020-01-02.nc"]
    )
    assert same_rain(raw, store)


def test_days_and_frames_outlive_their_files(run: Run, raw: Path, tmp_path: Path) -> None:
    """An archive that is cleared does not clear the store, nor does a narrower period."""
    store = tmp_path / "store"
    prepared(run, raw, store, "period=['2020-01-01','2020-01-02T09:00']")
    assert {day: record.times.size for day, record in read_records(store).items()} == {
        np.datetime64("2020-01-01"): 8, np.datetime64("2020-01-02"): 4,
    }  # fmt: skip
    whole = tmp_path / "whole"
    prepared(run, raw, whole)
    (raw / "1.nc").unlink()
    outcome = prepared(run, raw, store, "period=['2020-01-02T12:00','2020-01-03']")
    assert "12 frames written" in outcome.out, outcome
    assert same_rain(whole, store)


@pytest.fixture(scope="module")
def eight_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("raw") / "rain.nc"
    return write_synthetic(path, 8 * 72, 64, 64, seed=4, start="2020-01-01", timestep_minutes=20)


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGKILL, 1), (signal.SIGTERM, 2)])
def test_a_kill_leaves_whole_days_and_the_next_run_completes(
    number: signal.Signals, workers: int, run: Run, eight_days: Path, tmp_path: Path
) -> None:
    raw, store = eight_days, tmp_path / "store"
    command = [
        sys.executable,
        "-m",
        "nowcast",
        "prepare",
        f"data.path={raw}",
        f"output={store}",
        f"workers={workers}",
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    deadline = time.monotonic() + 120
    while not list(store.glob("*.nc")) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    finished = contents(store)
    assert 1 <= len(finished) < 8
    if number == signal.SIGTERM:
        assert process.returncode == 143 and errors == "nowcast: stopped.\n"
        assert {path.name for path in store.iterdir()} == {*finished}  # nothing half-written
    else:
        assert process.returncode == -signal.SIGKILL
    assert open_grid(store).sizes["time"] == 72 * len(finished)

    assert prepared(run, raw, store).code == 0
    assert {
        name: content for name, content in contents(store).items() if name in finished
    } == finished
    assert {path.name for path in store.iterdir()} == {
        f"2020-01-{day:02}.nc" for day in range(1, 9)
    }
    assert same_rain(raw, store)


def test_two_workers_make_what_one_makes(run: Run, raw: Path, tmp_path: Path) -> None:
    prepared(run, raw, tmp_path / "one", "speckle_neighbours=2")
    outcome = run(
        "prepare",
        f"data.path={raw}",
        f"output={tmp_path / 'two'}",
        "workers=2",
        "speckle_neighbours=2",
    )
    assert outcome.code == 0, outcome.err
    assert same_rain(tmp_path / "one", tmp_path / "two")


def test_a_store_that_another_process_writes_is_left_alone(
    run: Run, raw: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    with only_writer(store):
        outcome = prepared(run, raw, store)
    assert outcome.code == 75 and "another process is writing to this folder" in outcome.err
    assert prepared(run, raw, store).code == 0


def test_other_settings_and_other_rain_are_refused(run: Run, raw: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    prepared(run, raw, store)
    before = contents(store)
    outcome = prepared(run, raw, store, "speckle_neighbours=2", "pixel_size=2000")
    assert (
        outcome.code == 78
        and "pixel_size is 2000" in outcome.err
        and "speckle_neighbours is 2" in outcome.err
    )
    other = a_day(tmp_path / "other", 5, size=(20, 26))
    outcome = prepared(run, other, store)
    assert outcome.code == 78 and "grid is 20 x 26 pixels" in outcome.err
    assert contents(store) == before
    outcome = prepared(run, tmp_path, store)
    assert outcome.code == 78 and "is inside data.path" in outcome.err


def damage(path: Path) -> None:
    """Break the stored rain of a file, not its description."""
    with netCDF4.Dataset(path) as file:
        compressed = file["precipitation_rate"].shape
    assert compressed[0] == STEPS
    content = bytearray(path.read_bytes())
    start = content.index(b"\x78\x5e") if b"\x78\x5e" in content else content.index(b"\x78\x9c")
    content[start + 40 : start + 200] = bytes(160)
    path.write_bytes(bytes(content))


def test_bad_files_are_refused_or_listed(run: Run, raw: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    (raw / "4.nc").write_bytes((raw / "3.nc").read_bytes()[:3000])
    a_day(raw, 5, size=(9, 9))
    damage(raw / "2.nc")
    outcome = prepared(run, raw, store)
    assert (
        outcome.code == 65
        and f"{raw / '4.nc'}: " in outcome.err
        and "on_bad_file=skip" in outcome.err
    )
    assert not contents(store)

    outcome = prepared(run, raw, store, "on_bad_file=skip")
    assert outcome.code == 0, outcome.err
    assert list(contents(store)) == ["2020-01-01.nc", "2020-01-03.nc"]
    listed = [line for line in outcome.err.splitlines() if "left out" in line]
    assert any("4.nc" in line for line in listed) and any(
        "5.nc" in line and "(9, 9)" in line for line in listed
    )
    # described well, and not one frame can be read
    assert sum(f"{raw / '2.nc'}: " in line for line in listed) == STEPS
    assert "left out: 2 files, and 8 frames" in outcome.out


def test_a_damaged_frame_refuses_its_day_or_is_left_out_of_it(
    run: Run, raw: Path, tmp_path: Path
) -> None:
    """The second day comes in two files, of which the later one is damaged inside."""
    write_synthetic(raw / "2.nc", 4, 20, 24, seed=2, start="2020-01-02", timestep_minutes=180)
    late = write_synthetic(
        raw / "2b.nc", STEPS, 20, 24, seed=8, start="2020-01-02T12:00", timestep_minutes=180
    )
    (raw / "3.nc").unlink()
    good = late.read_bytes()
    damage(late)
    outcome = prepared(run, raw, tmp_path / "store")
    assert (
        outcome.code == 65
        and "2b.nc: this NetCDF or HDF5 file is truncated or damaged" in outcome.err
    )
    assert list(contents(tmp_path / "store")) == ["2020-01-01.nc"]

    outcome = prepared(run, raw, tmp_path / "store", "on_bad_file=skip")
    assert outcome.code == 0, outcome.err
    assert "and 8 frames that could not be read" in outcome.out
    assert open_grid(tmp_path / "store").sizes["time"] == 12
    assert "2020-01-02T12:00: " in outcome.err
    before = contents(tmp_path / "store")
    outcome = prepared(run, raw, tmp_path / "store", "on_bad_file=skip")
    # still said
    assert contents(tmp_path / "store") == before and "2020-01-02T12:00: " in outcome.err

    late.write_bytes(good)
    assert prepared(run, raw, tmp_path / "store").code == 0
    assert same_rain(raw, tmp_path / "store")


def test_speckle_crop_pixels_and_cadence_work_together(run: Run, raw: Path, tmp_path: Path) -> None:
    """Against the same by plain means: blocks of 2 × 2 of cleaned frames, two frames a mean."""
    store = tmp_path / "store"
    outcome = prepared(
        run, raw, store, "speckle_neighbours=3", "pixel_size=2000", "timestep_minutes=360"
    )
    assert outcome.code == 0, outcome.err
    grid, got = open_grid(raw), open_grid(store)
    cleaned = [remove_speckle(frame, 3) for frame in grid["precipitation_rate"].values]
    assert (
        "speckle made dry:"
        f" {sum(removed for k, (_, removed) in enumerate(cleaned) if k > 0 and k < 23)} pixels"
        in outcome.out
    )
    edges = [float(grid[axis][0]) - 500 for axis in ("y", "x")]
    assert [edge % 2000 for edge in edges] == [0, 0]
    fine = np.stack([rate for rate, _ in cleaned]).astype(float)
    blocks = fine.reshape(24, 10, 2, 12, 2)
    covered = (~np.isnan(blocks)).mean(axis=(2, 4))
    mean = np.where(
        covered >= 0.5, np.nansum(blocks, axis=(2, 4)) / np.maximum(4 * covered, 1), np.nan
    )
    # (0, 6] from the frames of 3 and 6 h, …; of midnight's half is missing
    by_hand = (mean[1:-1:2] + mean[2::2]) / 2
    np.testing.assert_allclose(got["precipitation_rate"].values, by_hand, rtol=1e-6)
    assert (
        got["time"].values[0] == np.datetime64("2020-01-01T06:00")
        and got.attrs["timestep_minutes"] == 360
    )


def test_a_crop_and_another_grid(run: Run, raw: Path, tmp_path: Path) -> None:
    outcome = prepared(run, raw, tmp_path / "crop", "crop=[9.95,40,10.05,60]")
    assert outcome.code == 0, outcome.err
    assert (
        0 < open_grid(tmp_path / "crop").sizes["x"] < 24
        and open_grid(tmp_path / "crop").sizes["y"] == 20
    )
    outcome = prepared(run, raw, tmp_path / "nowhere", "crop=[100,10,101,11]")
    assert outcome.code == 65 and "no pixel lies in the crop" in outcome.err
    outcome = prepared(run, raw, tmp_path / "same", f"grid={tmp_path / 'crop'}")
    assert outcome.code == 0, outcome.err
    assert same_rain(tmp_path / "crop", tmp_path / "same")


def test_a_crop_across_the_seam_of_a_global_grid_joins_both_ends(run: Run, tmp_path: Path) -> None:
    raw, lon = tmp_path / "world.nc", np.arange(0.0, 360.0, 30.0)
    with netCDF4.Dataset(raw, "w") as file:
        for name, values, units in (("time", [0.0, 60.0], "minutes since 2020-01-01"), ("lat",
            [10.0, -10.0], "degrees_north"),
                                    ("lon", lon, "degrees_east")):  # fmt: skip
            file.createDimension(name, len(values))
            file.createVariable(name, "f8", (name,)).units = units
            file[name][:] = values
        rain = file.createVariable("rain", "f4", ("time", "lat", "lon"))
        rain.units, rain[:] = "mm/h", np.broadcast_to(np.arange(12.0), (2, 2, 12))
    outcome = prepared(run, raw, tmp_path / "store", "crop=[-60,-20,30,20]")
    assert outcome.code == 0, outcome.err
    grid = open_grid(tmp_path / "store")
    assert grid.x.values.tolist() == [-60.0, -30.0, 0.0, 30.0]
    assert grid.precipitation_rate.values[0].tolist() == [[10.0, 11.0, 0.0, 1.0]] * 2


def test_a_grid_is_taken_over_from_a_file_whatever_it_measures(
    run: Run, raw: Path, tmp_path: Path
) -> None:
    """FMI's PGM has but dBZ, and 4 × 3 pixels far north of the rain."""
    place = ("type stereographic", "centrallongitude 25", "centrallatitude 90", "truelatitude 60",
        "metersperpixel_x 1000",
             "metersperpixel_y 1000", "bottomleft 24.965275289 58.974107236",
             "topright 25.034756307 59.000955971")  # fmt: skip
    header = "P5\n" + "".join(
        f"# {line}\n" for line in ("obstime 202001010000", "param CorrectedReflectivity", *place)
    )
    (tmp_path / "a.pgm").write_bytes(f"{header}4 3\n255\n".encode() + bytes(12))
    outcome = prepared(run, raw, tmp_path / "store", f"grid={tmp_path / 'a.pgm'}")
    assert outcome.code == 0, outcome.err
    grid = open_grid(tmp_path / "store")
    assert (
        grid["precipitation_rate"].shape == (24, 3, 4)
        and grid["crs"].attrs["straight_vertical_longitude_from_pole"] == 25
    )
    assert np.isnan(grid["precipitation_rate"].values).all()


def test_memory_does_not_grow_with_the_day(tmp_path: Path) -> None:
    def peak(name: str, steps: int) -> int:
        path = write_synthetic(
            tmp_path / f"{name}.nc", steps, 100, 100, start="2020-01-01", timestep_minutes=4
        )
        options = ReadOptions()
        series = build_series([KnownFiles(options).describe(path)], options)
        everything = slice(0, 100)
        preparation = Preparation(
            tmp_path / name, series, options, False, everything, everything, 0, None,
            series.files[0].place, {}, {}
        )  # fmt: skip
        (plan,) = plan_days(targets_of(series.times, 4.0, 8.0), series, ["0"], {})
        make_day(preparation, plan, lambda count: None)
        day_path(tmp_path / name, plan.day).unlink()
        tracemalloc.start()
        make_day(preparation, plan, lambda count: None)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    short, long = peak("short", 60), peak("long", 300)
    # half of what the frames themselves would take
    assert long < 1.15 * short and long < 300 * 100 * 100 * 4 / 2
