"""Which frames a forecast is made from, whatever lands in the folder."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from helpers import Outcome
from omegaconf import OmegaConf

from nowcast.config.data import RadarConfig
from nowcast.config.predict import PredictConfig
from nowcast.errors import DataError, MissingInputError, TryLaterError
from nowcast.periods import Period
from nowcast.radar.series import describing
from nowcast.sequences.scene import Scene
from nowcast.service import retry
from nowcast.service.input_window import Need
from nowcast.service.live_frames import FrameSource
from nowcast.service.timeline import newest_spacing

CONFIGS = Path(__file__).parents[2] / "configs"
START = np.datetime64("2020-01-01", "ns")
FIVE = np.timedelta64(5, "m")


def minutes(*numbers: float) -> list[np.datetime64]:
    return [START + np.timedelta64(round(number * 60), "s") for number in numbers]


def at(number: float) -> np.datetime64:
    return minutes(number)[0]


def source_of(path: Path | str, **settings: Any) -> FrameSource:
    """Settings as they stand in the YAML files, but that nothing is waited for."""
    values, data = (
        {
            key: value
            for key, value in OmegaConf.to_container(OmegaConf.load(CONFIGS / name)).items()
            if key not in drop
        }
        for name, drop in (
            ("predict.yaml", {"defaults", "hydra"}),
            ("data/radar.yaml", {"defaults"}),
        )
    )
    radar = RadarConfig(**{**data, "path": str(path), **settings.pop("data", {})})
    given = {
        "checkpoint": "best.pt",
        "device": "cpu",
        "precision": "fp32",
        "retry": 0.0,
        **settings,
    }
    return FrameSource(PredictConfig(**{**values, "data": radar, **given}))


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write_frames(
        name: str, times: list[float], values: Any = None, *, size: int = 6, units: str = "mm h-1",
        x: float = 1000.0, clock: str = "seconds since 2020-01-01", **attrs: str,
    ) -> Path:  # fmt: skip
        """A file with frames of these minutes, in each of which every pixel is the minute,
        unless values (t,) or (t, y, x) are given.
        """
        rates = np.asarray(times if values is None else values, dtype=np.float32)
        rates = (
            rates
            if rates.ndim == 3
            else np.broadcast_to(rates[:, None, None], (len(times), size, size))
        )
        axis = {"units": "m", "standard_name": "projection_x_coordinate"}
        dataset = xr.Dataset(
            {
                "rain": (
                    ("time", "y", "x"),
                    rates,
                    {"units": units, "standard_name": "rainfall_rate"},
                )
            },
            {
                "time": (
                    "time",
                    np.array(times) * 60,
                    {"units": clock, "standard_name": "time", **attrs},
                ),
                "y": (
                    "y",
                    1000.0 * np.arange(size),
                    axis | {"standard_name": "projection_y_coordinate"},
                ),
                "x": ("x", x * np.arange(size), axis),
            },
        )
        path = tmp_path / "radar" / name
        path.parent.mkdir(exist_ok=True)
        dataset.to_netcdf(
            path,
            engine="netcdf4",
            encoding={"rain": {"zlib": True, "fletcher32": True, "chunksizes": (1, size, size)}},
        )
        return path

    return write_frames


@pytest.fixture
def folder(write: Callable[..., Path]) -> Path:
    """A file each of minutes 0, 5, 10, 15 and 20."""
    for minute in range(0, 25, 5):
        write(f"{minute:02}.nc", [minute])
    return write("20.nc", [20]).parent


def values_of(past: Scene) -> list[float]:
    return [float(frame.mean()) for frame in past.rates]


def described(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files that are described from now on."""
    names: list[str] = []
    describe = describing.describe_file

    def noting(path: Path, options: object) -> object:
        names.append(path.name)
        return describe(path, options)

    monkeypatch.setattr(describing, "describe_file", noting)
    return names


THREE = Need(3, 0, FIVE)

# ---- which frames


def test_the_newest_frames_are_taken_in_the_order_of_time(folder: Path) -> None:
    source = source_of(folder)
    assert source.newest(None) == at(20)
    past = source.scene(at(20), THREE)
    assert past.times.tolist() == np.array(minutes(10, 15, 20)).tolist() and past.timestep == FIVE
    assert values_of(past) == [10, 15, 20] and not past.missing.any() and not past.filled.any()
    assert past.grid.attrs["source_files"] == 3 and past.grid.attrs["timestep_minutes"] == 5
    assert source.take_remarks() == []


def test_a_forecast_of_a_time_is_of_the_same_frames_whatever_lands_later(
    write: Callable[..., Path], folder: Path
) -> None:
    before = source_of(folder).scene(at(20), THREE).grid
    write("25.nc", [25])
    write("30.nc", [30])
    xr.testing.assert_identical(source_of(folder).scene(at(20), THREE).grid, before)


def test_frames_later_than_now_are_left_out(write: Callable[..., Path], folder: Path) -> None:
    late = write("90.nc", [90])
    source = source_of(folder)
    assert source.newest(at(22)) == at(20)
    assert source.take_remarks() == [
        f"{late}: 2020-01-01T01:30 UTC is later than now: frame left out"
    ]
    with pytest.raises(
        TryLaterError,
        match="all frames are in the future, the first at 2020-01-01T00:00 UTC.*check the clock",
    ):
        source.newest(at(-1))


def test_a_frame_of_the_future_is_due_when_its_time_comes(folder: Path) -> None:
    source = source_of(folder)
    source.newest(at(17))
    before = source.landed(at(17))
    assert source.landed(at(19)) == before != source.landed(at(20))


def test_a_newest_frame_that_is_too_old_is_for_later(folder: Path) -> None:
    source = source_of(folder, max_age=10)
    assert source.newest(at(30)) == at(20)
    with pytest.raises(TryLaterError, match="2020-01-01T00:20 UTC, older than max_age=10 minutes"):
        source.newest(at(30.1))


def test_frames_of_the_model_s_spacing_are_enough_where_most_others_are_missing(
    write: Callable[..., Path],
) -> None:
    for minute in (0, 10, 20, 30, 35):
        write(f"{minute}.nc", [minute])
    source = source_of(write("40.nc", [40]).parent)
    assert values_of(source.scene(at(40), THREE)) == [30, 35, 40]


def test_a_single_frame_is_enough_where_one_is_needed(write: Callable[..., Path]) -> None:
    source = source_of(write("0.nc", [0]))
    assert source.reference_times(Period(at(-5), at(5))) == [at(0)] == [source.newest(None)]
    assert values_of(source.scene(at(0), Need(1, 0, FIVE))) == [0]
    with pytest.raises(MissingInputError, match="no frame at 2019-12-31T23:50"):
        source.scene(at(0), THREE)
    with pytest.raises(
        DataError, match="holds a single frame, so the spacing of frames is unknown"
    ):
        source.scene(at(0), Need(1, 0, None))


# ---- known files


def test_an_unchanged_file_is_described_and_read_once(
    write: Callable[..., Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, source = described(monkeypatch), source_of(folder, on_bad_file="skip")
    source.scene(source.newest(None), THREE)
    assert sorted(names) == ["00.nc", "05.nc", "10.nc", "15.nc", "20.nc"]
    write("25.nc", [25])
    write("10.nc", [10], [3])
    reads = []
    monkeypatch.setattr(
        source.files,
        "_read",
        lambda file, *rest, read=source.files._read: (
            reads.append(file.path.name) or read(file, *rest)
        ),
    )
    past = source.scene(source.newest(None), Need(4, 0, FIVE))
    assert sorted(names[5:]) == ["10.nc", "25.nc"] and sorted(reads) == ["10.nc", "25.nc"]
    assert values_of(past) == [3, 15, 20, 25]


def test_what_is_gone_is_forgotten(folder: Path) -> None:
    source = source_of(folder)
    source.newest(None)
    (folder / "00.nc").unlink()
    for _ in range(2):
        source.newest(None)
    assert (
        folder / "00.nc" not in source.files._known._known and len(source.files._known._known) == 4
    )


def test_a_landing_is_noticed(write: Callable[..., Path], folder: Path) -> None:
    source = source_of(folder)
    seen = [source.landed()]
    assert source.landed() == seen[0]
    write("25.nc", [25])
    seen.append(source.landed())
    write("25.nc", [25], [26])
    seen.append(source.landed())
    (folder / ".30.nc.tmp").write_bytes(b"on its way")
    assert len(set(seen)) == 3 and source.landed() == seen[2]
    assert source_of(folder.parent / "%Y%m.nc").landed() is False


# ---- bad files


def spoil(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "truncated":
        content = content[: len(content) // 2]
    elif how == "a web page":
        content = bytearray(b"<html><body>404</body></html>")
    elif how == "empty":
        content = bytearray()
    path.write_bytes(content)


def flip(path: Path) -> None:
    """One bit of the values, as they are stored."""
    import h5py

    with h5py.File(path) as file:
        chunk = file["rain"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 16
    path.write_bytes(content)


BAD: dict[str, tuple[Callable[[Callable[..., Path], str, float], object], str]] = {
    "truncated": (
        lambda write, name, minute: spoil(write(name, [minute]), "truncated"),
        "truncated or damaged",
    ),
    "a web page": (
        lambda write, name, minute: spoil(write(name, [minute]), "a web page"),
        "a web page",
    ),
    "empty": (
        lambda write, name, minute: spoil(write(name, [minute]), "empty"),
        "this file is empty",
    ),
    "flipped": (lambda write, name, minute: flip(write(name, [minute])), "truncated or damaged"),
    "negative": (lambda write, name, minute: write(name, [minute], [-999.0]), "'rain' is -999"),
    "NaT": (lambda write, name, minute: write(name, [np.nan], [1.0]), "frame 0 has no time"),
    "other size": (lambda write, name, minute: write(name, [minute], size=5), "its grid is (5, 5)"),
    "other grid": (lambda write, name, minute: write(name, [minute], x=2000.0), "'x' differs"),
    "other units": (
        lambda write, name, minute: write(name, [minute], units="mm s-1"),
        "units 'mm s-1'",
    ),
    "no rain": (lambda write, name, minute: write(name, [minute], units="K"), "is in 'K'"),
    "no clock": (
        lambda write, name, minute: write(name, [minute], clock="seconds"),
        "not in units like",
    ),
    "other calendar": (
        lambda write, name, minute: write(name, [minute], calendar="360_day"),
        "calendar '360_day'",
    ),
    "off the clock": (
        lambda write, name, minute: write(name, [minute + 2]),
        "does not fit the 5-minute spacing",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_named_or_left_out(
    kind: str, write: Callable[..., Path], folder: Path
) -> None:
    make, reason = BAD[kind]
    make(write, "10.nc", 10)
    with pytest.raises(DataError) as failure:
        source = source_of(folder)
        source.scene(source.newest(None), Need(3, 1, FIVE))
    assert str(failure.value).startswith(f"{folder}/10.nc: ") and reason in str(failure.value)

    source = source_of(folder, on_bad_file="skip")
    past = source.scene(source.newest(None), Need(3, 1, FIVE))
    assert (
        past.missing.tolist() == [True, False, False]
        and np.isnan(values_of(past)[0])
        and values_of(past)[1:] == [15, 20]
    )
    [remark] = source.take_remarks()
    assert remark.startswith(f"{folder}/10.nc: ") and "left out (" in remark and reason in remark
    with pytest.raises(
        MissingInputError,
        match=("no frame at 2020-01-01T00:10 UTC.* or missing_frames=1. Note: .*10.nc: .*left out"),
    ):
        source.scene(at(20), THREE)


@pytest.mark.parametrize(
    "kind", ["truncated", "flipped", "negative", "other grid", "other calendar"]
)
def test_of_a_bad_newest_file_the_frame_before_is_the_newest(
    kind: str, write: Callable[..., Path], folder: Path
) -> None:
    BAD[kind][0](write, "20.nc", 20)
    source = source_of(folder, on_bad_file="skip")
    assert source.newest(None) == at(15)
    assert values_of(source.scene(at(15), THREE)) == [5, 10, 15]
    assert source.frames_left_out() == 1
    assert [remark.split(": ")[0] for remark in source.take_remarks()] == [f"{folder}/20.nc"]


def test_one_bad_frame_of_a_file_is_one_missing_frame(write: Callable[..., Path]) -> None:
    path = write("all.nc", [0, 5, 10, 15, 20], [0, 5, -999, 15, 20])
    source = source_of(path, on_bad_file="skip")
    past = source.scene(source.newest(None), Need(3, 1, FIVE))
    assert past.missing.tolist() == [True, False, False] and values_of(past)[1:] == [15, 20]


@pytest.mark.parametrize("on_bad_file", ["skip", "fail"])
def test_a_frame_without_a_measured_pixel_is_missing(
    on_bad_file: str, write: Callable[..., Path], folder: Path
) -> None:
    write("15.nc", [15], [np.nan])
    source = source_of(folder, on_bad_file=on_bad_file)
    assert source.scene(source.newest(None), Need(3, 1, FIVE)).missing.tolist() == [
        False,
        True,
        False,
    ]
    assert source.take_remarks() == [
        f"{folder}/15.nc: the frame of 2020-01-01T00:15 UTC holds no measured pixel"
    ]
    with pytest.raises(
        MissingInputError, match="the frame at 2020-01-01T00:15 UTC holds no measured pixel"
    ):
        source.scene(at(20), THREE)
    write("20.nc", [20], [np.nan])
    assert source.newest(None) == at(10 if on_bad_file == "skip" else 20)


def test_of_two_files_that_are_not_alike_the_first_is_kept(write: Callable[..., Path]) -> None:
    write("0.nc", [0, 5])
    source = source_of(write("1.nc", [10], x=2000.0).parent, on_bad_file="skip")
    assert source.newest(None) == at(5)


def test_a_time_that_comes_twice_is_used_where_both_are_the_same(
    write: Callable[..., Path], folder: Path
) -> None:
    again = write("again.nc", [15])
    source = source_of(folder)
    assert values_of(source.scene(at(20), THREE)) == [10, 15, 20]
    assert source.take_remarks() == [
        f"{folder}/15.nc and {again}: the same frame of 2020-01-01T00:15 UTC exists twice"
    ]
    write("again.nc", [15], [16.0])
    with pytest.raises(
        DataError, match="15.nc and .*again.nc: two different frames for 2020-01-01T00:15"
    ):
        source.scene(at(20), THREE)
    source = source_of(folder, on_bad_file="skip")
    assert source.scene(at(20), Need(3, 1, FIVE)).missing.tolist() == [False, True, False]
    assert "both left out" in source.take_remarks()[0]
    spoil(again, "truncated")
    assert values_of(source.scene(at(20), THREE)) == [10, 15, 20]


def test_where_no_file_can_be_used_it_says_why(folder: Path) -> None:
    for path in folder.iterdir():
        spoil(path, "empty")
    with pytest.raises(
        MissingInputError,
        match=("none of its 5 files can be used; the first: .*00.nc: left out .this file is empty"),
    ):
        source_of(folder, on_bad_file="skip").newest(None)


def test_a_jitter_of_seconds_is_put_on_the_clock_and_said(
    write: Callable[..., Path], folder: Path
) -> None:
    write("15.nc", [15 + 12 / 60], [15])
    source = source_of(folder)
    assert values_of(source.scene(source.newest(None), THREE)) == [10, 15, 20]
    assert source.take_remarks() == [
        "1 frames were up to 12 s off the 5-minute clock and were moved onto it"
    ]


def test_rates_above_the_limit_are_said(write: Callable[..., Path], folder: Path) -> None:
    write("20.nc", [20], np.where(np.eye(6)[None] == 1, 2000.0, 1.0))
    source = source_of(folder)
    past = source.scene(source.newest(None), THREE)
    assert int(past.grid["precipitation_rate"].isnull().sum()) == 6
    assert (
        "6 values at 2020-01-01T00:20 UTC are above data.max_rate=1000 mm/h and count as missing"
        in source.take_remarks()[0]
    )


# ---- files still being written


def later(seconds: float, do: Callable[[], object]) -> threading.Thread:
    thread = threading.Timer(seconds, do)
    thread.start()
    return thread


@pytest.mark.parametrize("on_bad_file", ["skip", "fail"])
@pytest.mark.parametrize("unfinished", ["truncated", "empty", "no values"])
def test_a_file_still_being_written_is_waited_for(
    unfinished: str, on_bad_file: str, write: Callable[..., Path], folder: Path
) -> None:
    path = write("25.nc", [25])
    whole = path.read_bytes()
    if unfinished == "no values":
        write("25.nc", [25], [np.nan])
    else:
        spoil(path, unfinished)
    thread = later(0.5, lambda: path.write_bytes(whole))
    source = source_of(folder, on_bad_file=on_bad_file, retry=60.0)
    assert source.newest(None) == at(25)
    assert values_of(source.scene(at(25), THREE)) == [15, 20, 25]
    assert source.take_remarks() == []
    thread.join()


def test_an_old_bad_file_is_not_waited_for(folder: Path) -> None:
    path = folder / "20.nc"
    spoil(path, "truncated")
    os.utime(path, (time.time() - 120,) * 2)
    start = time.monotonic()
    with pytest.raises(DataError):
        source_of(folder, retry=60.0).newest(None)
    assert time.monotonic() - start < 30


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> Callable[[], float]:
    """The seconds that were waited since this was last called: by a clock that goes on in
    waiting alone.
    """
    clock = [0.0, 0.0]

    def wait(seconds: float) -> None:
        clock[1] += seconds

    def since() -> float:
        seconds, clock[0] = clock[1] - clock[0], clock[1]
        return seconds

    monkeypatch.setattr(retry, "time", SimpleNamespace(monotonic=lambda: clock[1], sleep=wait))
    return since


def test_a_file_is_waited_for_once_unless_it_changes(
    waited: Callable[[], float], folder: Path
) -> None:
    spoil(folder / "20.nc", "truncated")
    source = source_of(folder, on_bad_file="skip", retry=10.0)
    for seconds in (10, 0, 0):
        assert source.newest(None) == at(15) and waited() == pytest.approx(seconds)
        source.scene(at(15), THREE)
        [remark] = source.take_remarks()
        assert remark.startswith(f"{folder}/20.nc: left out") and waited() == 0
    spoil(folder / "20.nc", "truncated")
    source.newest(None)
    assert waited() == pytest.approx(10)


def test_a_cycle_waits_no_longer_however_many_files_are_bad(
    waited: Callable[[], float], folder: Path
) -> None:
    spoil(folder / "20.nc", "truncated")
    source = source_of(folder, on_bad_file="skip", retry=10.0)
    source.newest(None)
    spoil(folder / "15.nc", "truncated")
    assert source.newest(None) == at(10) and waited() == pytest.approx(10)
    source.take_remarks()
    source.newest(None)
    assert 9 < waited() <= 10  # for the second, as it was not waited for


def test_a_file_that_grows_is_waited_for_in_each_cycle(
    waited: Callable[[], float], folder: Path
) -> None:
    source = source_of(folder, on_bad_file="skip", retry=10.0)
    for size in (100, 200):
        (folder / "20.nc").write_bytes(b"x" * size)
        source.newest(None)
        assert waited() == pytest.approx(10)
        source.take_remarks()


def test_a_file_that_goes_while_it_is_looked_at_is_a_missing_frame(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(folder)
    find = source.files.newest
    gone = folder / "15.nc"

    def find_and_lose(count: int) -> list[Path]:
        paths = find(count)
        gone.unlink(missing_ok=True)
        return paths

    monkeypatch.setattr(source.files, "newest", find_and_lose)
    assert source.scene(at(20), Need(3, 1, FIVE)).missing.tolist() == [False, True, False]


def test_a_file_replaced_while_it_is_looked_at_is_looked_at_again(
    write: Callable[..., Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the values of the new file would be taken for those of the time that the old one had."""
    source = source_of(folder, retry=60.0, on_bad_file="skip")
    read, replaced = source.files._read, []

    def read_another(file: Any, *rest: Any) -> object:
        if file.path.name == "15.nc" and not replaced:
            replaced.append(write("15.nc", [115]))
        return read(file, *rest)

    monkeypatch.setattr(source.files, "_read", read_another)
    past = source.scene(at(20), Need(3, 1, FIVE))
    assert past.missing.tolist() == [False, True, False]


# ---- gaps


@pytest.mark.parametrize(
    ("gone", "max_gap", "missing", "filled"),
    [
        ((10,), 10, ".....", "..x.."),
        ((10,), 9, "..m..", "....."),
        ((5, 10), 15, ".....", ".xx.."),
        ((5, 10), 10, ".mm..", "....."),
        ((0,), 10, ".....", "x...."),  # by the frame before the first that is needed
        ((0, -5), 15, ".....", "x...."),
        ((0, -5), 10, "m....", "....."),
        ((0, 5, -5), 20, ".....", "xx..."),
        ((20,), 30, "", ""),  # the newest never
    ],
)
@pytest.mark.parametrize("kind", ["folder", "pattern"])
def test_short_gaps_are_filled(
    gone: tuple[int, ...],
    max_gap: float,
    missing: str,
    filled: str,
    kind: str,
    write: Callable[..., Path],
) -> None:
    """Rain that grows by 1 mm/h a minute, from 100 mm/h on."""
    for minute in set(range(-20, 30, 5)) - set(gone) - {25}:
        path = write(
            f"{at(minute).astype('datetime64[s]').item():%Y%m%d%H%M}.nc", [minute], [100 + minute]
        )
    source = source_of(path.parent / ("" if kind == "folder" else "%Y%m%d%H%M.nc"), max_gap=max_gap)
    need = Need(5, 4, FIVE)
    if not missing:
        with pytest.raises(MissingInputError, match="no frame at 2020-01-01T00:20"):
            source.scene(at(20), need)
        return
    past = source.scene(at(20), need)
    assert "".join("m" if one else "." for one in past.missing) == missing
    assert "".join("x" if one else "." for one in past.filled) == filled
    expected = np.where(past.missing, np.nan, 100.0 + np.arange(0, 25, 5))
    np.testing.assert_allclose(values_of(past), expected, rtol=1e-6)
    assert ["filled by interpolation" in remark for remark in source.take_remarks()] == [
        True
    ] * int(past.filled.any())


def test_a_gap_of_bad_frames_is_filled_too(write: Callable[..., Path], folder: Path) -> None:
    flip(write("10.nc", [10]))
    write("15.nc", [15], [np.nan])
    source = source_of(folder, on_bad_file="skip", max_gap=15)
    past = source.scene(at(20), THREE)
    assert past.filled.tolist() == [True, True, False] and not past.missing.any()
    np.testing.assert_allclose(values_of(past), [10, 15, 20], rtol=1e-6)
    assert (
        source.take_remarks()[-1]
        == "no frame at 2020-01-01T00:10, 2020-01-01T00:15 UTC: filled by interpolation from the"
        " surrounding frames"
    )


def test_a_filled_gap_stands_in_the_forecast(
    run: Callable[..., Outcome], radar_file: Path, tmp_path: Path
) -> None:
    with xr.open_dataset(radar_file, engine="netcdf4") as whole:
        whole.isel(time=[*range(90, 94), 95]).to_netcdf(tmp_path / "gap.nc", engine="netcdf4")
    words = [
        "predict",
        "model=extrapolation",
        "input_steps=3",
        "lead_steps=2",
        "data=radar",
        f"data.path={tmp_path}/gap.nc",
    ]
    filling = ["max_gap=10", "gap_filling=advection"]
    outcome = run(*words, *filling, f"output={tmp_path}/a.nc")
    assert outcome.code == 0 and "2020-01-01T07:50 UTC: filled by advection" in outcome.err
    with xr.open_dataset(tmp_path / "a.nc", engine="netcdf4") as forecast:
        assert forecast.attrs["filled_input_times"] == '["2020-01-01T07:50:00Z"]'
        assert forecast.attrs["missing_input_times"] == "[]"
    assert run(*words, f"output={tmp_path}/b.nc").code == 66


# ---- what is said of missing frames

FALLBACK = "fallback=[model,extrapolation,persistence]"
FILES = "Give the missing files, or another 'at'"


@pytest.mark.parametrize(
    ("there", "steps", "settings", "says"),
    [
        ((0, 5, 15, 20), 3, {}, f"no frame at 2020-01-01T00:10 UTC; the forecast needs 3 frames up to 2020-01-01T00:20. {FILES}, or set max_gap=10, {FALLBACK} or missing_frames=1."),
        ((0, 5, 20), 3, {}, f"{FILES}, or set max_gap=15, {FALLBACK} or missing_frames=2."),
        ((0, 5, 20), 3, {"missing_frames": 1}, f"{FILES}, or set max_gap=15, {FALLBACK} or missing_frames=2."),
        ((0, 10, 20), 4, {"max_gap": 5.0}, f"{FILES}, or set max_gap=10, {FALLBACK} or missing_frames=2."),
        # 00:00 stays missing
        ((5, 20), 5, {"missing_frames": 2}, f"{FILES}, or set max_gap=15, {FALLBACK} or missing_frames=3."),
        ((-10, 20), 3, {}, f"{FILES}, or set max_gap=30, {FALLBACK} or missing_frames=2."),
        # too long a gap to be advised to fill it
        ((-15, 20), 3, {}, f"{FILES}, or set {FALLBACK} or missing_frames=2."),
        ((10, 15, 20), 5, {}, f"no frame at 2020-01-01T00:00, 2020-01-01T00:05 UTC; the forecast needs 5 frames up to 2020-01-01T00:20; the data hold 2020-01-01T00:10 to 2020-01-01T00:20. {FILES}, or set {FALLBACK} or missing_frames=2."),
        ((5, 10, 20), 2, {"checkpoint": None, "baseline": "extrapolation"}, f"{FILES}, or set max_gap=10."),
        ((10, 20), 4, {"checkpoint": None, "baseline": "extrapolation"}, f"{FILES}."),
        ((10, 15, 25), 3, {"missing_frames": 2}, "no frame at 2020-01-01T00:20 UTC. Wait for its file, or give another 'at'."),
        ((5, 10), 3, {}, "no frame at 2020-01-01T00:20 UTC; the data hold 2020-01-01T00:05 to 2020-01-01T00:10. Wait for its file, or give another 'at'."),
    ],
)  # fmt: skip
def test_the_advice_on_missing_frames_is_what_would_help(
    there: tuple[int, ...],
    steps: int,
    settings: dict[str, Any],
    says: str,
    write: Callable[..., Path],
) -> None:
    folder = [write(f"{minute}.nc", [minute], [100 + minute]) for minute in there].pop().parent
    need = Need(steps, settings.get("missing_frames", 0), FIVE)
    with pytest.raises(MissingInputError) as failure:
        source_of(folder, **settings).scene(at(20), need)
    said = str(failure.value).removeprefix(f"{folder}: ")
    assert said.startswith("no frame at ") and said.endswith(says) and len(said) < 320
    if "max_gap=" in says:
        enough = float(says.partition("max_gap=")[2].partition(",")[0].rstrip("."))
        assert source_of(folder, **{**settings, "max_gap": enough}).scene(at(20), need).filled.any()
        with pytest.raises(MissingInputError):
            source_of(folder, **{**settings, "max_gap": enough - 1}).scene(at(20), need)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "Give another 'at', or set on_bad_file=skip."),
        ({"at": "2020-01-01T00:20"}, "Give another 'at'."),
        ({"on_bad_file": "skip"}, "Give another 'at'."),
    ],
)
def test_the_advice_on_a_newest_frame_without_a_measured_pixel(
    settings: dict[str, str], says: str, write: Callable[..., Path], folder: Path
) -> None:
    write("20.nc", [20], [np.nan])
    with pytest.raises(MissingInputError) as failure:
        source_of(folder, **settings).scene(at(20), THREE)
    assert (
        str(failure.value)
        == f"{folder}: the frame at 2020-01-01T00:20 UTC holds no measured pixel. {says}"
    )


# ---- patterns of times


@pytest.fixture
def pattern(write: Callable[..., Path]) -> str:
    """A file every five minutes of three hours."""
    for minute in range(0, 180, 5):
        path = write(f"{at(minute).astype('datetime64[s]').item():%Y%m%d%H%M}.nc", [minute])
    return str(path.parent / "%Y%m%d%H%M.nc")


def test_of_a_pattern_only_the_newest_files_are_looked_at(
    pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, source = described(monkeypatch), source_of(pattern)
    assert values_of(source.scene(source.newest(None), THREE)) == [165, 170, 175]
    # eight tell the spacing
    assert sorted(names) == [f"2020010102{minute}.nc" for minute in range(20, 60, 5)]


def test_of_a_pattern_more_are_looked_at_where_the_newest_cannot_be_used(pattern: str) -> None:
    for minute in range(30, 60, 5):
        spoil(Path(pattern).with_name(f"2020010102{minute}.nc"), "truncated")
    source = source_of(pattern, on_bad_file="skip")
    assert source.newest(None) == at(145)
    assert values_of(source.scene(at(145), THREE)) == [135, 140, 145]
    assert source.newest(at(122)) == at(120)
    assert values_of(source.scene(at(120), THREE)) == [110, 115, 120]


# ---- back-fill


def test_the_reference_times_of_a_period_are_those_of_its_clock(pattern: str) -> None:
    # a frame that is missing is a time all the same
    Path(pattern).with_name("202001010100.nc").unlink()
    for source in (source_of(pattern), source_of(Path(pattern).parent)):
        assert source.reference_times(Period(at(57), at(71))) == minutes(60, 65, 70)
        assert source.reference_times(Period(at(-600), at(8))) == minutes(0, 5)
        assert source.reference_times(Period(at(171), at(999))) == minutes(175)
        with pytest.raises(MissingInputError, match="to 2020-01-02"):
            source.reference_times(Period(at(1000), at(1440)))


def test_bad_files_of_a_period_are_skipped_or_named(pattern: str) -> None:
    spoil(Path(pattern).with_name("202001010105.nc"), "truncated")
    period = Period(at(60), at(70))
    with pytest.raises(DataError, match="202001010105.nc: "):
        source_of(pattern).reference_times(period)
    assert source_of(pattern, on_bad_file="skip").reference_times(period) == minutes(60, 65, 70)


# ---- a frame that differs from those around it


def covering(share: float, minute: float) -> np.ndarray:
    """(1, 6, 6) of the minute, of which only so many rows are covered."""
    values = np.full((1, 6, 6), float(minute), np.float32)
    values[:, round(6 * share) :] = np.nan
    return values


def test_a_coverage_that_no_frame_around_shares_is_bad_until_the_next_shows_it(
    write: Callable[..., Path],
) -> None:
    for minute in (0, 5, 10, 15):
        write(f"{minute:02}.nc", [minute], covering(2 / 3, minute))
    folder = write("20.nc", [20], covering(1, 20)).parent
    with pytest.raises(
        DataError,
        match=r"20.nc: covers 100% of its pixels at 2020-01-01T00:20 UTC, the frames around it 67%",
    ):
        source_of(folder).scene(at(20), THREE)
    source = source_of(folder, on_bad_file="skip")
    assert source.newest(None) == at(15) and "20.nc: the frame of" in source.take_remarks()[0]
    write("25.nc", [25], covering(1, 25))
    assert source.newest(None) == at(25)
    assert np.nanmax(source.scene(at(25), THREE).grid["precipitation_rate"].values) == 25
    write("25.nc", [25], covering(1 / 6, 25))
    assert source.newest(None) == at(15), (
        "neither the frame that covers more nor the one that covers less"
    )


def scaled(write: Callable[..., Path], minute: int, scale: float, right: float = 0.1) -> Path:
    """The same rain in each frame, packed as `right`, and said to be packed as `scale`."""
    import netCDF4

    rain = np.where(np.arange(36) % 3, 10.0 + np.arange(36), 0.0).reshape(1, 6, 6)
    path = write(f"{minute:02}.nc", [minute], np.round(rain / right))
    with netCDF4.Dataset(path, "a") as file:
        file["rain"].scale_factor = scale
    return path


def test_a_scale_by_which_rain_does_not_fit_is_bad_and_a_new_one_by_which_it_does_is_said(
    write: Callable[..., Path],
) -> None:
    for minute in (0, 5, 10, 15):
        scaled(write, minute, 0.1)
    folder = scaled(write, 20, 2.0).parent
    with pytest.raises(
        DataError,
        match=(
            r"20.nc: is packed with scale 2 .*, but the files around it with 0.1 .*rain would fit"
            r" theirs"
        ),
    ):
        source_of(folder, max_wet_ratio=1e9).scene(at(20), THREE)
    source = source_of(folder, on_bad_file="skip")
    assert source.newest(None) == at(15)
    source.take_remarks()
    scaled(write, 20, 0.05, right=0.05)
    assert source.newest(None) == at(20)
    assert source.take_remarks() == [
        f"{folder}/20.nc: has another packing (scale and offset) than most files before it; it is used"
    ]


def test_a_new_packing_by_which_the_old_one_makes_no_sense_is_taken(
    write: Callable[..., Path],
) -> None:
    """Half dBZ from -32 on, then hundredths of dBZ, of which -3200 would stand for -1632 dBZ
    before.
    """
    import netCDF4

    dbz = np.where(np.arange(36) % 3, 20.0 + np.arange(36) / 2, -32.0).reshape(1, 6, 6)
    for minute in (0, 5, 10, 15, 20):
        scale, offset = (0.01, 0.0) if minute == 20 else (0.5, -32.0)
        path = write(f"{minute:02}.nc", [minute], np.round((dbz - offset) / scale), units="dBZ")
        with netCDF4.Dataset(path, "a") as file:
            file["rain"].scale_factor, file["rain"].add_offset = scale, offset
    source = source_of(path.parent, data={"zr": [200.0, 1.6]}, on_bad_file="skip")
    assert source.newest(None) == at(20)
    past = source.scene(at(20), THREE).grid["precipitation_rate"].values
    np.testing.assert_allclose(past[2], past[0], rtol=1e-6)


# ---- the spacing of the newest frames


@pytest.mark.parametrize(
    ("times", "minutes"),
    [
        ([0, 5, 10, 15], 5),
        ([0, 1, 2, 3, 4, 5, 10, 15], 5),
        ([0, 10, 20, 30, 35, 40], 5),
        ([0, 5, 10, 15, 20, 25, 35, 45], 10),
        ([0, 5, 10, 15, 20, 25, 30, 40], 5),  # one frame is missing
        ([0, 5, 10, 15, 25, 30], 5),
        ([0, 5, 12, 15, 20], 5),
        ([0, 0.5, 1.0, 1.5], 0.5),
        ([0, 10], 10),
    ],
)
def test_the_newest_frames_tell_the_spacing(times: list[float], minutes: float) -> None:
    assert newest_spacing(np.array([at(time) for time in times])) == minutes


@pytest.mark.parametrize(
    "older", [list(range(-40, -10)), list(range(-120, -10, 10)), list(range(-31, -10, 5))]
)
@pytest.mark.parametrize("on_bad_file", ["skip", "fail"])
def test_frames_of_an_earlier_clock_refuse_nothing(
    older: list[int], on_bad_file: str, write: Callable[..., Path]
) -> None:
    for minute in [*older, -10, -5, 0, 5, 10]:
        write(f"{minute + 200:03}.nc", [minute])
    folder = write("210.nc", [10]).parent
    source = source_of(folder, on_bad_file=on_bad_file)
    assert source.newest(None) == at(10)
    past = source.scene(at(10), Need(3, 0, None))
    assert values_of(past) == [0, 5, 10] and past.timestep == FIVE
    assert source.reference_times(Period(at(-1), at(10))) == minutes(0, 5, 10)


def test_a_folder_on_another_grid_before_refuses_nothing(write: Callable[..., Path]) -> None:
    for minute in range(-100, 0, 5):
        write(f"{minute + 200:03}.nc", [minute], size=5)
    for minute in range(0, 45, 5):
        write(f"{minute + 200:03}.nc", [minute])
    source = source_of(write("240.nc", [40]).parent)
    assert source.newest(None) == at(40) and values_of(source.scene(at(40), THREE)) == [30, 35, 40]
