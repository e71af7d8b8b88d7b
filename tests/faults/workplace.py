"""A working folder as a forecaster has it, a fault put into it, the real command run there, and
what must be as it was before.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
from numpy.typing import NDArray
from warm import WarmProcess

from nowcast.radar.synthetic import synthetic_frames

TIMES = np.datetime64("2024-06-01T09:05") + np.arange(36) * np.timedelta64(5, "m")
"""Of all frames there are; the last six lie in `radar/`, all of them in `archive/`."""
LANDED = 6
NEWEST, BEFORE = TIMES[-1], TIMES[-2]
HEIGHT, WIDTH = 24, 28
PATTERN = "radar/rain_%Y%m%d%H%M.nc"
PREDICT = (
    "predict",
    "checkpoint=best.pt",
    f"data.path={PATTERN}",
    "max_wet_ratio=1e9",
    "device=cpu",
    "precision=fp32",
)
"""A forecast from the newest frames.

What a model that has hardly learned forecasts is plausible in no other way.
"""
MADE = f"forecasts/{NEWEST.item():%Y%m%dT%H%MZ}.nc"
EARLIER = f"forecasts/{BEFORE.item():%Y%m%dT%H%MZ}.nc"
TRAIN = (
    "train", "data=radar", "data.path=archive", "data.cache=cache", "model=small",
    "model.hidden_channels=[4,4]", "input_steps=3", "lead_steps=4",
    "data.train=['2024-06-01T09:05','2024-06-01T11:00']",
    "data.validation=['2024-06-01T11:05','2024-06-01T12:00']", "sampling.windows_per_epoch=8",
    "sampling.crop=24", "training.epochs=2", "training.batch_size=4", "thresholds=[1]",
    "device=cpu", "precision=fp32", "output=run",
)  # fmt: skip

LISTED = (
    "unknown key", "wrong type", "out of range", "missing value", "unknown option",
    "comma list without -m", "broken user YAML", "missing folder",
    "none match", "empty", "HTML page in place of data", "truncated", "flipped bytes in a chunk",
    "still being written", "variable absent", "units missing", "units unknown", "units mixed",
    "dBZ for rates", "other grid", "coordinates off by 1e-4", "flipped axes", "transposed axes",
    "other projection than the checkpoint's", "size not divisible", "duplicate times equal",
    "duplicate times differing", "unsorted", "NaT", "no time units", "CET", "360-day calendar",
    "+02:00", "jitter of seconds", "wrong cadence", "one missing frame", "long gap",
    "newest too old", "in the future", "all NaN", "mostly NaN", "all dry", "1e30", "inf",
    "negative", "raw fill values", "integer", "packed", "big-endian", "float64", "NaN forecast",
    "implausible forecast", "hostile pickle", "truncated checkpoint", "empty checkpoint",
    "garbage checkpoint", "one flipped bit", "other architecture", "newer schema",
    "kill -9 of training", "kill -9 of a checkpoint save", "kill -9 of a forecast write", "SIGTERM",
    "second SIGTERM", "two at once", "disk full", "read-only output", "no HOME", "LANG=C",
    "closed stdout", "out of memory on a batch", "CUDA asked and absent", "dead loader worker",
    "clock jump",
)  # fmt: skip
"""All faults that are to be survived, in the order of the table."""

Prepare = Callable[[Path], None]


@dataclass(frozen=True)
class Done:
    """What became of a command. err: what it said; seconds: how long it took."""

    code: int
    err: str
    seconds: float


Tell = Callable[[str, str, Done | str, str], None]
"""Puts a line into the table: the fault, what is broken, what the user saw of it, and what is
there afterwards.
"""


@dataclass(frozen=True)
class Fault:
    """A line of the table.

    name: of the fault, in the words of the list that is to be survived. broken: what is broken
    here.
    code, sees: the exit code, and a piece of what the user sees of it on stderr.
    prepare: breaks it, in the working folder. meanwhile: what happens there while the command runs.
    words, environment: of the command.
    made: None where no forecast is to be there afterwards; else a check of it, given the folder and
    that of the undisturbed.
    often: whether it is run every time, or only with all of them (make faults).
    """

    name: str
    broken: str
    code: int
    sees: str
    prepare: Prepare = lambda folder: None
    words: tuple[str, ...] = PREDICT
    made: Callable[[Path, Path], None] | None = None
    meanwhile: Prepare | None = None
    environment: Mapping[str, str | None] = field(default_factory=dict)
    often: bool = True

    def __str__(self) -> str:
        return f"{self.name}: {self.broken}"


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "nowcast", *words]


def clean_environment(
    folder: Path, changes: Mapping[str, str | None] | None = None
) -> dict[str, str]:
    """Nothing of the environment of these tests but what makes the interpreter run; None takes
    one away.
    """
    kept = {
        name: os.environ[name]
        for name in ("PATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
        if name in os.environ
    }
    ours = {
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONFAULTHANDLER": "1",
    }
    merged = {**kept, **ours, **(changes or {})}
    return {name: value for name, value in merged.items() if value is not None}


Process = subprocess.Popen[str] | WarmProcess

STARTED: list[Process] = []
"""Processes of the test that is running, ended with it."""


def start(
    folder: Path, *words: str, environment: Mapping[str, str | None] | None = None, **more: Any
) -> Process:
    """Start the real command in `folder`: forked from a process with its imports done, unless
    the test changes how it starts.
    """
    process: Process
    if environment is None and not more:
        process = WarmProcess(folder, words, clean_environment(folder))
    else:
        process = subprocess.Popen(
            command(*words), cwd=folder, env=clean_environment(folder, environment),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            **more,
        )  # fmt: skip
    STARTED.append(process)
    return process


def finish(process: Process, timeout: float = 600) -> Done:
    """Wait for its end; one that hangs, however busy the machine, is ended and fails the test."""
    began = time.monotonic()
    try:
        _, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Done(process.returncode, err, time.monotonic() - began)


def run(
    folder: Path, *words: str, environment: Mapping[str, str | None] | None = None, **more: Any
) -> Done:
    return finish(start(folder, *words, environment=environment, **more))


def await_file(process: Process, folder: Path, pattern: str, timeout: float = 600) -> None:
    """Until a file is there that matches, while the process lives."""
    until = time.monotonic() + timeout
    while not next(folder.glob(pattern), None):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until, f"no {pattern} within {timeout} s"
        time.sleep(0.002)


def survive(fault: Fault, base: Path, folder: Path) -> Done:
    """Put the fault into a copy of `base` at `folder`, run its command there, and check all
    that its line of the table promises.
    """
    lay_out(base, folder)
    fault.prepare(folder)
    if fault.meanwhile is None:
        age(folder)
    before = contents(folder)
    helper = threading.Thread(target=fault.meanwhile or (lambda folder: None), args=(folder,))
    helper.start()
    done = run(folder, *fault.words, environment=fault.environment or None)
    helper.join()
    assert done.code == fault.code, f"{done.code}: {done.err}"
    assert fault.sees in done.err, done.err
    check_said(done)
    after = contents(folder)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    if fault.meanwhile is not None:
        changed = {name for name in changed if not name.startswith("radar/")}
    assert changed == ({MADE} if fault.made else set()), done.err
    if fault.made:
        fault.made(folder, base)
    return done


def check_said(done: Done) -> None:
    """A failure is one line, the last; no traceback, and nothing that the program did not mean
    to say.
    """
    lines = done.err.splitlines()
    failures = [
        line for line in lines if line.startswith("nowcast: ") or f"exit code {done.code}" in line
    ]
    assert "Traceback" not in done.err and "fault in nowcast" not in done.err, done.err
    assert failures == (lines[-1:] if done.code else []), done.err


def lay_out(base: Path, folder: Path) -> None:
    """A copy of the working folder; `archive/` and the training run are linked to."""
    for name in ("radar", "forecasts"):
        shutil.copytree(base / name, folder / name)
    shutil.copy2(base / "best.pt", folder / "best.pt")
    (folder / "archive").symlink_to(base / "archive")


def age(folder: Path) -> None:
    """Nothing in `radar/` is of the last minutes, so that it is not taken for what is still
    being written.
    """
    then = time.time() - 3600
    for path in (folder / "radar").rglob("*"):
        os.utime(path, (then, then))


def contents(folder: Path) -> dict[str, str]:
    """The checksum of every file below, hidden ones too; Hydra's record of a run of training is
    none of them.
    """
    files = (path for path in folder.rglob("*") if path.is_file() and ".hydra" not in path.parts)
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def leftovers(folder: Path) -> list[str]:
    """Locks, and what is half written."""
    return sorted(
        str(p.relative_to(folder))
        for p in folder.rglob("*")
        if p.name == ".lock" or p.name.endswith(".tmp")
    )


@cache
def rain() -> NDArray[np.float32]:
    """(36, y, x): whole mm/h, which any type of number can hold."""
    frames: NDArray[np.float32] = np.ceil(
        np.stack(list(synthetic_frames(TIMES.size, HEIGHT, WIDTH, seed=3)))
    ).astype(np.float32)
    return frames


def write_frame(
    path: Path,
    values: NDArray[Any],
    time: np.datetime64,
    *,
    units: str | None = "mm h-1",
    variable: str = "rain",
    time_units: str | None = "minutes since 2024-06-01 00:00",
    calendar: str = "standard",
    minutes: float | None = None,
    dims: tuple[str, ...] = ("time", "y", "x"),
    rows: NDArray[np.float64] | None = None,
    columns: NDArray[np.float64] | None = None,
    crs: Mapping[str, Any] | None = None,
    scale: float | None = None,
    zlib: bool = True,
) -> None:
    """A frame (y, x), a file.

    `dims`: their order in the file; `scale`: of packed numbers; the rest is what the file says.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    places = {
        "y": -4200e3 + 1000.0 * np.arange(values.shape[0]) if rows is None else rows,
        "x": 1000.0 * np.arange(values.shape[1]) if columns is None else columns,
    }
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("time", 1)
        file.createVariable("time", "f8", ("time",))[:] = (
            minutes_of(time) if minutes is None else minutes
        )
        file["time"].setncatts(
            {"calendar": calendar, **({} if time_units is None else {"units": time_units})}
        )
        for name, place in places.items():
            file.createDimension(name, place.size)
            file.createVariable(name, "f8", (name,))[:] = place
            file[name].setncatts(
                {
                    "standard_name": f"projection_{name}_coordinate",
                    "units": "m",
                    "axis": name.upper(),
                }
            )
        file.createVariable("crs", "i4", ()).setncatts(CRS if crs is None else dict(crs))
        endian = "big" if values.dtype.byteorder == ">" else "native"
        shape = dict(compression="zlib", endian=endian) if zlib else dict(endian=endian)
        field = file.createVariable(variable, values.dtype, dims, **shape)
        field.set_auto_maskandscale(False)
        field.setncatts({"grid_mapping": "crs", **({} if units is None else {"units": units})})
        if scale is not None:
            field.scale_factor = scale
        order = [("time", "y", "x").index(name) for name in dims]
        field[:] = values[np.newaxis].transpose(order)


CRS = {
    "grid_mapping_name": "polar_stereographic", "latitude_of_projection_origin": 90.0,
    "straight_vertical_longitude_from_pole": 10.0, "standard_parallel": 60.0, "false_easting": 0.0,
    "false_northing": 0.0, "earth_radius": 6370040.0,
}  # fmt: skip


def minutes_of(time: np.datetime64) -> float:
    return float((time - np.datetime64("2024-06-01")) / np.timedelta64(1, "m"))


def frame_path(folder: Path, time: np.datetime64, within: str = "radar") -> Path:
    return folder / within / f"rain_{time.item():%Y%m%d%H%M}.nc"


def newest_file(folder: Path) -> Path:
    return frame_path(folder, NEWEST)


def written(
    *which: int,
    values: Callable[[NDArray[np.float32]], NDArray[Any]] = lambda frame: frame,
    **changes: Any,
) -> Prepare:
    """Write the frames at these places of the series anew, −1 the newest, otherwise than they
    were; all landed ones by default.
    """

    def prepare(folder: Path) -> None:
        for k in which or range(-LANDED, 0):
            write_frame(frame_path(folder, TIMES[k]), values(rain()[k]), TIMES[k], **changes)

    return prepare


def removed(*which: int) -> Prepare:
    """Take the frames at these places away."""

    def prepare(folder: Path) -> None:
        for k in which:
            frame_path(folder, TIMES[k]).unlink()

    return prepare


def as_parameters(faults: Sequence[Fault]) -> list[Any]:
    """One test each; those that are not for every time are left to `make faults`."""
    return [
        pytest.param(fault, id=str(fault), marks=() if fault.often else pytest.mark.faults)
        for fault in faults
    ]


def shown(text: str) -> str:
    """The last line that a user sees, times of day and numbers of processes left out."""
    lines = text.strip().splitlines()
    return re.sub(r"^[\dT:-]+Z? ", "", lines[-1]).removeprefix("nowcast: ") if lines else "nothing"
