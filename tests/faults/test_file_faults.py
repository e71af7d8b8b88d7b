"""Radar files as they come: what cannot be used is refused by name, and what can be used gives
the forecast of clean ones.
"""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from workplace import (
    BEFORE,
    CRS,
    HEIGHT,
    LANDED,
    MADE,
    NEWEST,
    PREDICT,
    TIMES,
    WIDTH,
    Fault,
    Prepare,
    Tell,
    as_parameters,
    frame_path,
    minutes_of,
    newest_file,
    rain,
    removed,
    survive,
    write_frame,
    written,
)  # fmt: skip

from nowcast.forecast.dataset import REFERENCE_TIME, open_forecast

FOLDER = tuple(word.replace("radar/rain_%Y%m%d%H%M.nc", "radar") for word in PREDICT)
RATE = "precipitation_rate"
ROWS, COLUMNS = -4200e3 + 1000.0 * np.arange(HEIGHT), 1000.0 * np.arange(WIDTH)
OBLIQUE = {**CRS, "straight_vertical_longitude_from_pole": -30.0}


def equal(folder: Path, base: Path) -> None:
    """The forecast of the undisturbed folder, in every bit and on the same grid."""
    made, wanted = open_forecast(folder / MADE), undisturbed(base)
    xr.testing.assert_identical(made[RATE], wanted[RATE])
    assert made[REFERENCE_TIME] == wanted[REFERENCE_TIME]


def undisturbed(base: Path) -> xr.Dataset:
    return open_forecast(base / "undisturbed" / Path(MADE).name)


def whole(folder: Path, base: Path) -> None:
    """A forecast with all that the undisturbed one has but for the rain: same times and grid,
    finite and not negative where covered.
    """
    made, wanted = open_forecast(folder / MADE), undisturbed(base)
    xr.testing.assert_equal(made[RATE].drop_vars(RATE, errors="ignore") * 0, wanted[RATE] * 0)
    assert (made[RATE] >= 0).all()


def of_method(name: str, reason: str) -> Callable[[Path, Path], None]:
    def check(folder: Path, base: Path) -> None:
        whole(folder, base)
        attrs = open_forecast(folder / MADE).attrs
        assert attrs["method"] == name and reason in attrs["method_reason"]

    return check


def persistence(folder: Path, base: Path) -> None:
    of_method("persistence", "no frame at")(folder, base)
    assert (open_forecast(folder / MADE)[RATE] == rain()[-1]).all()


def filled(folder: Path, base: Path) -> None:
    whole(folder, base)
    assert str(BEFORE)[:16] in open_forecast(folder / MADE).attrs["filled_input_times"]


def turned(folder: Path, base: Path) -> None:
    """The same forecast on the files' own grid, its rows from north to south."""
    made, wanted = open_forecast(folder / MADE), undisturbed(base)
    np.testing.assert_array_equal(made["y"], wanted["y"][::-1])
    np.testing.assert_array_equal(made[RATE], wanted[RATE][:, ::-1])


def uncovered_but_for_a_corner(folder: Path, base: Path) -> None:
    made = open_forecast(folder / MADE)[RATE]
    # frames before the newest cover the rest, and that is known to the model as dry
    assert np.isfinite(made).all()


def of_other_size(folder: Path, base: Path) -> None:
    made = open_forecast(folder / MADE)[RATE]
    assert made.shape[1:] == (23, 27) and np.isfinite(made).all() and (made >= 0).all()


def one_missing_pixel(folder: Path, base: Path) -> None:
    """As if the file had said that this pixel is missing: nothing of the impossible number is
    in the forecast.
    """
    whole(folder, base)
    assert open_forecast(folder / MADE)[RATE].max() < 1000


def put(content: bytes | str) -> Prepare:
    """This in place of the newest file."""

    def prepare(folder: Path) -> None:
        newest_file(folder).write_bytes(content if isinstance(content, bytes) else content.encode())

    return prepare


def cut(share: float) -> Prepare:
    def prepare(folder: Path) -> None:
        whole_file = newest_file(folder).read_bytes()
        newest_file(folder).write_bytes(whole_file[: int(len(whole_file) * share)])

    return prepare


def flip_in_a_chunk(folder: Path) -> None:
    path = newest_file(folder)
    with h5py.File(path) as file:
        chunk = file["rain"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    for k in random.Random(1).sample(
        range(chunk.byte_offset + 2, chunk.byte_offset + chunk.size), 8
    ):
        content[k] ^= 0xFF
    path.write_bytes(content)


def complete_later(folder: Path) -> None:
    """The rest of the newest file lands while the command is at work."""
    time.sleep(5)
    write_frame(newest_file(folder), rain()[-1], NEWEST)


def without_time_or_with(number: float, **attrs: Any) -> Prepare:
    return written(-1, minutes=number, **attrs)


def same_time_again(values: Callable[[NDArray[np.float32]], NDArray[Any]]) -> Prepare:
    """The newest frame in a second file of another name."""

    def prepare(folder: Path) -> None:
        write_frame(folder / "radar/again.nc", values(rain()[-1]), NEWEST)

    return prepare


def unsorted(folder: Path) -> None:
    """The names are in another order than the times."""
    landed = range(-LANDED, 0)
    for k in landed:
        frame_path(folder, TIMES[k]).unlink()
    for name, k in zip("caebdf", landed, strict=True):
        write_frame(folder / f"radar/{name}.nc", rain()[k], TIMES[k])


def shifted(seconds: float) -> Prepare:
    """Each time stamp is off by up to so many seconds."""

    def prepare(folder: Path) -> None:
        for k in range(-LANDED, 0):
            off = seconds / 60 * (-1) ** k
            write_frame(
                frame_path(folder, TIMES[k]),
                rain()[k],
                TIMES[k],
                minutes=minutes_of(TIMES[k]) + off,
            )

    return prepare


def every_ten_minutes(folder: Path) -> None:
    removed(*range(-LANDED, 0))(folder)
    for k in range(LANDED):
        at = NEWEST - np.timedelta64(10, "m") * k
        write_frame(frame_path(folder, at), rain()[-1 - k], at)


def one_in_the_future(folder: Path) -> None:
    write_frame(
        frame_path(folder, np.datetime64("2094-06-01T12:05")),
        rain()[0],
        np.datetime64("2094-06-01T12:05"),
        time_units=FAR,
        minutes=0,
    )


FAR = "minutes since 2094-06-01 12:05"


def pixel(number: float, k: int = -1) -> Prepare:
    """One pixel of the newest frame is this number."""

    def change(frame: NDArray[np.float32]) -> NDArray[np.float32]:
        changed = frame.copy()
        changed[5, 7] = number
        return changed

    return written(k, values=change)


def no_pixel(frame: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.full_like(frame, np.nan)


def a_corner(frame: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(
        np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) < 8, frame, np.float32(np.nan)
    )


def several(*steps: Prepare) -> Prepare:
    def prepare(folder: Path) -> None:
        for step in steps:
            step(folder)

    return prepare


def renamed_variable(folder: Path) -> None:
    with netCDF4.Dataset(newest_file(folder), "a") as file:
        file.renameVariable("rain", "text")
        file["text"].units = "1"


LAST = f"radar/{newest_file(Path()).name}"
FAULTS = [
    Fault("none match", "radar/ is empty", 66, "no file matches this time pattern",
    removed(*range(-LANDED, 0))), Fault("none match", "radar/ is empty, and is given itself", 66,
    "radar: no radar file", removed(*range(-LANDED, 0)), FOLDER, often=False), Fault("empty",
    "the newest file has 0 bytes", 65, f"{LAST}: ", put(b"")), Fault("HTML page in place of data",
    "the newest file is one", 65, f"{LAST}: ", put("<!DOCTYPE html><title>503</title>")), Fault(
        "HTML page in place of data", "the newest file is one, on_bad_file=skip", 0, LAST,
        put("<!DOCTYPE html><title>503</title>"), (*PREDICT, "on_bad_file=skip"), often=False,
    ),
    Fault("truncated", "half of the newest file", 65, f"{LAST}: ", cut(0.5)),
    Fault("truncated", "all but the last bytes of the newest file", 65, f"{LAST}: ", cut(0.98),
    often=False), Fault("flipped bytes in a chunk", "of the newest file", 65, f"{LAST}: ",
    flip_in_a_chunk), Fault(
        "still being written", "the rest of the newest file lands 5 s later", 0, "", cut(0.5),
        (*PREDICT, "retry=60"), equal, complete_later,
    ),
    Fault(
        "still being written", "the rest never comes, retry=1", 65, f"{LAST}: ", cut(0.5),
        (*PREDICT, "retry=1"), None, lambda folder: newest_file(folder).touch(), often=False,
    ),
    Fault("variable absent", "data.variable=precipitation", 65, "has no field 'precipitation'",
    words=(*PREDICT, "data.variable=precipitation")), Fault("variable absent",
    "the newest file holds no rain", 65, f"{LAST}: ", renamed_variable, often=False),
    Fault("units missing", "in all files", 65, "'rain' has no units", written(units=None)),
    Fault("units missing", "data.units says them", 0, "", written(units=None), (*PREDICT,
    "data.units=mm h-1"), equal, often=False), Fault("units unknown", "furlongs", 65,
    "'rain' is in 'furlongs'", written(units="furlongs")), Fault("units mixed",
    "the newest file is in mm/day", 65, f"{LAST}: units 'mm day-1', but 'mm h-1'", written(-1,
    units="mm day-1")), Fault("dBZ for rates", "no Z–R relation is known", 65, "data.zr",
    written(units="dBZ")), Fault("dBZ for rates", "the newest file alone", 65, f"{LAST}: ",
    written(-1, units="dBZ"), (*PREDICT, "data.zr=marshall_palmer"), often=False),
    Fault("other grid", "the newest frame has a row less", 65, f"{LAST}: its grid is (23, 28)",
    written(-1, values=lambda frame: frame[1:])), Fault("other grid",
    "the newest frame lies 10 km further north", 65, f"{LAST}: not on the grid of", written(-1,
    rows=ROWS + 1e4), often=False), Fault("coordinates off by 1e-4", "of a pixel: rounding", 0, "",
    written(-1, rows=ROWS + 0.1), made=equal, often=False), Fault("coordinates off by 1e-4",
    "of their own: 420 m", 65, "'y' differs", written(-1, rows=ROWS * (1 + 1e-4))),
    Fault("flipped axes", "the newest frame runs from north to south", 65, "'y' differs",
    written(-1, values=lambda frame: frame[::-1], rows=ROWS[::-1])), Fault("flipped axes",
    "all frames do", 0, "", written(values=lambda frame: frame[::-1], rows=ROWS[::-1]), made=turned,
    often=False), Fault("transposed axes", "all frames lie as (time, x, y)", 0, "",
    written(dims=("time", "x", "y")), made=equal), Fault("other projection than the checkpoint's",
    "turned by 40°", 65, "other_grid", written(crs=OBLIQUE)),
    Fault("other projection than the checkpoint's", "pixels of 2 km", 65, "other_grid",
    written(rows=2 * ROWS, columns=2 * COLUMNS), often=False), Fault(
        "other projection than the checkpoint's", "other_grid=true", 0, "", written(crs=OBLIQUE),
        (*PREDICT, "other_grid=true"), lambda folder, base: open_forecast(folder / MADE).close(),
        often=False,
    ),
    Fault("size not divisible", "23×27 pixels, not a multiple of the patch", 0, "",
    written(values=lambda frame: frame[:23, :27]), made=of_other_size),
    Fault("duplicate times equal", "the newest frame in two files", 0, "exists twice",
    same_time_again(lambda frame: frame), FOLDER, equal), Fault("duplicate times differing",
    "two newest frames", 65, "two different frames for", same_time_again(lambda frame: frame + 1),
    FOLDER), Fault("unsorted", "names in another order than times", 0, "", unsorted, FOLDER, equal),
    Fault("NaT", "the newest frame has no time", 65, f"{LAST}: frame 0 has no time",
    without_time_or_with(np.nan)), Fault("no time units", "of the newest frame", 65,
    f"{LAST}: 'time' has no units", written(-1, time_units=None)), Fault("CET",
    "minutes since … CET", 65, f"{LAST}: its times", written(-1,
    time_units="minutes since 2024-06-01 00:00 CET")), Fault("360-day calendar",
    "of the newest frame", 65, "in the calendar '360_day'", written(-1, calendar="360_day")),
    Fault("+02:00", "minutes since … +02:00", 0, "", without_time_or_with(minutes_of(NEWEST) + 120,
    time_units="minutes since 2024-06-01 00:00 +02:00"), made=equal), Fault("jitter of seconds",
    "times up to 7 s off", 0, "off the 5-minute clock and were moved onto it", shifted(7), made=equal),
    Fault("wrong cadence", "a frame every ten minutes", 65,
    "frames every 10 minutes, but the model was trained on 5", every_ten_minutes),
    Fault("one missing frame", "the last but one", 66, f"no frame at {BEFORE}", removed(-2)),
    Fault("one missing frame", "max_gap=10", 0, f"{BEFORE}", removed(-2), (*PREDICT, "max_gap=10"),
    filled), Fault("one missing frame", "fallback=[model,persistence]", 0, "persistence",
    removed(-2), (*PREDICT, "fallback=[model,persistence]"), persistence, often=False), Fault(
        "one missing frame", "fallback=[model,persistence] fallback_exit_code=75", 75,
        "not by the model", removed(-2), (*PREDICT, "fallback=[model,persistence]",
        "fallback_exit_code=75"), persistence, often=False,
    ),
    Fault("one missing frame", "fallback=[model,none]", 75, "no frame at", removed(-2), (*PREDICT,
    "fallback=[model,none]"), often=False), Fault("long gap", "20 minutes, max_gap=10", 66,
    "no frame at", removed(-4, -3, -2), (*PREDICT, "max_gap=10")), Fault("newest too old",
    "it is of 2024, max_age=15", 75, "older than max_age=15 minutes", words=(*PREDICT,
    "max_age=15")), Fault("in the future", "the newest frame is of 2094", 0, "2094-06-01",
    one_in_the_future, made=equal), Fault("all NaN", "the newest frame", 66,
    "holds no measured pixel", written(-1, values=no_pixel)), Fault("mostly NaN",
    "the newest frame except a corner", 65, "covers 5% of its pixels", written(-1,
    values=a_corner)), Fault("mostly NaN", "the two newest frames except a corner", 0, "",
    written(-2, -1, values=a_corner), made=uncovered_but_for_a_corner), Fault("all dry",
    "all frames", 0, "", written(values=np.zeros_like), made=whole), Fault("1e30",
    "a pixel of the newest frame", 0, "above data.max_rate=1000 mm/h and count as missing",
    pixel(1e30), made=one_missing_pixel), Fault("inf", "a pixel of the newest frame", 0,
    "above data.max_rate=1000 mm/h and count as missing", pixel(np.inf), made=one_missing_pixel,
    often=False), Fault("negative", "a pixel of the newest frame is −5", 65, "'rain' is -5 at",
    pixel(-5)), Fault("raw fill values", "an undeclared −9999", 65, "set data.missing_value=-9999",
    pixel(-9999)), Fault("raw fill values", "data.missing_value=-9999", 0, "", pixel(-9999),
    (*PREDICT, "data.missing_value=-9999"), one_missing_pixel, often=False),
    Fault("raw fill values", "9.97e36, netCDF's own", 0, "", pixel(9.969209968386869e36),
    made=one_missing_pixel, often=False), Fault("integer",
    "a frame of each kind: the newest of int16", 0, "", several(
        written(-1, values=lambda frame: frame.astype("i2")), written(-2,
        values=lambda frame: (frame * 10).astype("u2"), scale=0.1), written(-3,
        values=lambda frame: frame.astype(">f4")), written(-4,
        values=lambda frame: frame.astype("f8")),
    ), made=equal),
    Fault("packed", "all frames, of scale 0.1", 0, "",
    written(values=lambda frame: (frame * 10).astype("u2"), scale=0.1), made=equal, often=False),
    Fault("big-endian", "all frames", 0, "", written(values=lambda frame: frame.astype(">f4")),
    made=equal, often=False), Fault("float64", "all frames", 0, "",
    written(values=lambda frame: frame.astype("f8")), made=equal, often=False),
]  # fmt: skip


@pytest.mark.parametrize("fault", as_parameters(FAULTS))
def test_a_file_is_refused_by_name_or_gives_the_forecast_of_a_clean_one(
    fault: Fault, base: Path, tmp_path: Path, tell: Tell
) -> None:
    done = survive(fault, base, tmp_path / "work")
    tell(fault.name, fault.broken, done, THERE.get(fault.made, "all as it was"))


THERE: dict[Any, str] = {
    equal: "the forecast of the undisturbed files, bit for bit",
    whole: "a forecast",
    persistence: "the newest frame as forecast, which says why",
    filled: "a forecast that says which frame was filled in",
    turned: "a forecast on the files' own grid",
    uncovered_but_for_a_corner: "a forecast",
    of_other_size: "a forecast of that size",
    one_missing_pixel: "a forecast without that number",
}
