"""The faults of the soak test, and the ways in which frames arrive: at once, by rename, in pieces,
or damaged.
"""

import os
import random
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import netCDF4
import numpy as np
import xarray as xr

Time = np.datetime64

MISSING = ("missing frame", "outage")
SPOILT = ("truncated file", "HTML page", "flipped bytes", "all-NaN frame", "other grid")
RESTARTING = ("kill -9", "SIGTERM", "stale temporary", "damaged forecast")
OTHERS = (
    "late frame",
    "equal duplicate",
    "differing duplicate",
    "future frame",
    "two at once",
    "dangling latest.nc",
    "disk full",
)
KINDS = (*RESTARTING, *OTHERS, *MISSING, *SPOILT)

LATE_BY = 2  # cycles
OUTAGE = 3  # frames in a row
# number of frames before its reference time on which a forecast may depend: the input frames, and
# those from which a gap is filled
REACH = 8
# faults after which a frame is usable in some cycles only; no forecast depends on two of them
_PASSING = ("late frame", "differing duplicate")
_MOST_RESTARTS = 2


@dataclass(frozen=True)
class Plan:
    """The cycles of a day, in order, and the fault of some of them."""

    times: tuple[Time, ...]
    faults: dict[Time, str]

    @property
    def unusable(self) -> set[Time]:
        """Frames that never arrive, or arrive damaged."""
        return {at for at, kind in self.faults.items() if kind in (*MISSING, *SPOILT)}

    def late_at(self, cycle: Time) -> set[Time]:
        """Return the frames that have not arrived yet when that cycle runs."""
        place = self.times.index(cycle)
        return {
            at
            for at in self.times[max(0, place - LATE_BY + 1) : place + 1]
            if self.faults.get(at) == "late frame"
        }

    def is_disturbed(self, cycle: Time) -> bool:
        """Return whether a fault is within reach of the forecast."""
        place = self.times.index(cycle)
        return any(at in self.faults for at in self.times[max(0, place - REACH) : place + 1])

    def doubtful_at(self, cycle: Time) -> set[Time]:
        """Return the earlier frames that arrived twice with different contents, so that neither is
        used any more.
        """
        place = self.times.index(cycle)
        return {
            at
            for at in self.times[max(0, place - REACH) : place]
            if self.faults.get(at) == "differing duplicate"
        }


def make_plan(times: Iterable[Time], kinds: Iterable[str], share: float, seed: int) -> Plan:
    """Draw faults for about that share of the cycles, equally often of each kind, and at least once
    if possible.

    Faults that end the process occur at most twice per kind, and outside the middle half of the
    day, so that one process runs long enough to show whether it grows.
    """
    times, draw, faults = tuple(times), random.Random(seed), dict[int, str]()
    kinds = [kind for kind in KINDS if kind in set(kinds)]  # most restricted kinds first
    free = set(range(1, len(times) - LATE_BY - 1))
    each = max(1, round(share * len(times) / max(1, len(kinds))))
    for kind in kinds:
        for _ in range(min(each, _MOST_RESTARTS) if kind in RESTARTING else each):
            length = OUTAGE if kind == "outage" else 1
            fits = [
                k
                for k in free
                if set(range(k, k + length)) <= free and _allowed(kind, k, len(times), faults)
            ]
            if fits:
                first = draw.choice(sorted(fits))
                faults |= dict.fromkeys(range(first, first + length), kind)
                free -= set(range(first, first + length))
    return Plan(times, {times[k]: faults[k] for k in sorted(faults)})


def _allowed(kind: str, cycle: int, cycles: int, faults: dict[int, str]) -> bool:
    if kind in RESTARTING:
        return not cycles / 4 < cycle < cycles * 3 / 4
    return kind not in _PASSING or all(
        abs(cycle - k) > REACH for k, other in faults.items() if other in _PASSING
    )


def frame_name(at: Time) -> str:
    return f"{at.astype('datetime64[s]').item():%Y%m%d_%H%M.nc}"


def split_frames(data: Path, folder: Path, times: Iterable[Time]) -> None:
    """Write a file for each frame of a series, unchanged, with a checksum.

    Errors: KeyError if a frame is missing in the series.
    """
    folder.mkdir(parents=True)
    with xr.open_dataset(data, engine="netcdf4", mask_and_scale=False) as series:
        for at in times:
            frame = series.sel(time=[at]).load()
            write_frame(frame, folder / frame_name(at))


def write_frame(frame: xr.Dataset, path: Path) -> None:
    for variable in frame.variables.values():
        variable.encoding = (
            {"units": "minutes since 1970-01-01", "dtype": "float64"}
            if variable.dtype.kind == "M"
            else {}
        )
        if variable.ndim == 3:
            variable.encoding = {"fletcher32": True, "chunksizes": variable.shape}
    frame.to_netcdf(path, engine="netcdf4")


def rain_of(frame: xr.Dataset) -> str:
    return next(str(name) for name, variable in frame.data_vars.items() if variable.ndim == 3)


def spoil(kind: str, frame: Path) -> bytes:
    """Return the content that arrives instead of an intact frame."""
    whole = frame.read_bytes()
    if kind == "truncated file":
        return whole[: len(whole) * 3 // 5]
    if kind == "HTML page":
        return b"<!DOCTYPE html>\n<html><body><h1>504 Gateway Time-out</h1></body></html>\n"
    if kind == "flipped bytes":
        return _flipped(frame, whole)
    if kind == "all-NaN frame":
        return _changed(frame, _empty)
    if kind == "other grid":
        return _changed(frame, lambda one: one.isel({one[rain_of(one)].dims[1]: slice(0, -3)}))
    if kind == "differing duplicate":
        return _changed(frame, _shifted)
    raise ValueError(kind)


def _flipped(frame: Path, whole: bytes) -> bytes:
    """Flip three bytes in the middle of the only chunk of rain, which is found by its content
    because it is not compressed.
    """
    with netCDF4.Dataset(frame) as file:
        file.set_auto_maskandscale(False)
        rain = next(variable for variable in file.variables.values() if variable.ndim == 3)
        stored = rain[:].tobytes()
    middle = whole.index(stored) + len(stored) // 2
    return (
        whole[:middle]
        + bytes(byte ^ 0x55 for byte in whole[middle : middle + 3])
        + whole[middle + 3 :]
    )


def _changed(frame: Path, change: Callable[[xr.Dataset], xr.Dataset]) -> bytes:
    beside = frame.with_name(".changed.nc")
    with xr.open_dataset(frame, engine="netcdf4", mask_and_scale=False) as file:
        write_frame(change(file.load()), beside)
    try:
        return beside.read_bytes()
    finally:
        beside.unlink()


def _empty(frame: xr.Dataset) -> xr.Dataset:
    rain = frame[rain_of(frame)]
    return frame.assign(
        {rain.name: rain.copy(data=np.full_like(rain.values, rain.attrs.get("_FillValue", np.nan)))}
    )


def _shifted(frame: xr.Dataset) -> xr.Dataset:
    rain = frame[rain_of(frame)]
    return frame.assign({rain.name: rain.copy(data=np.roll(rain.values, 5, axis=-1))})


def far_off(frame: Path) -> bytes:
    """Return the frame with a time far in the future."""
    return _changed(
        frame,
        lambda one: one.assign_coords(time=one["time"].copy(data=[Time("2099-01-01T00:00", "ns")])),
    )


def land(content: bytes, path: Path, draw: random.Random, pause: float = 0.04) -> None:
    """Write a file as radar services do: at once, under another name and then renamed, or in pieces
    under its own name.
    """
    way = draw.choice(("at once", "renamed", "in pieces"))
    if way == "at once":
        path.write_bytes(content)
    elif way == "renamed":
        beside = path.with_name(f"{path.name}.part")
        beside.write_bytes(content)
        beside.rename(path)
    else:
        with path.open("wb", buffering=0) as file:
            for piece in (
                content[: len(content) // 3],
                content[len(content) // 3 : len(content) // 2],
                content[len(content) // 2 :],
            ):
                file.write(piece)
                time.sleep(pause)


def fill_disk(folder: Path) -> Path:
    """Fill the file system of `folder`; return the file to remove afterwards."""
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        free = os.statvfs(folder)
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)
    return ballast


def damage(path: Path) -> None:
    """Flip a byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def mislead(link: Path) -> None:
    """Let a link point to a missing file, as after an incomplete restore of a folder."""
    link.unlink(missing_ok=True)
    link.symlink_to("20010101T0000Z.nc")


def copy_frames(source: Path, target: Path, without: set[Time]) -> None:
    """Copy the frames of a folder, except those in `without`."""
    names = {frame_name(at) for at in without}
    target.mkdir(parents=True)
    for path in source.iterdir():
        if path.name not in names:
            shutil.copyfile(path, target / path.name)
