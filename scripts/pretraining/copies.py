"""Make copies of the radars' data with other pixel sizes and time steps: RAW COPIES."""

import sys
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from sources import COPIES, RADARS, SCORED_ONLY, VALIDATION, Copy, Radar

from nowcast.periods import parse_period
from nowcast.radar import open_grid

MOST = 300.0  # mm/h; higher values are not rain
LAND_OF_THE_NETHERLANDS = slice(240, 592), slice(235, 513)
CROPS = {
    # the middle of the United States, 3000 × 3000 of 7000 × 3500 pixels
    "mrms": (slice(300, 3300), slice(2500, 5500)),
    "knmi2010": LAND_OF_THE_NETHERLANDS,
    "knmi2011": LAND_OF_THE_NETHERLANDS,
}

Frames = NDArray[np.float32]


def main(raw: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    validated = (copy for copy, _, _ in VALIDATION)
    wanted = {copy.name: copy for copy in (*COPIES, *validated, *SCORED_ONLY)}
    for copy in wanted.values():
        path = folder / f"{copy.name}.nc"
        if not path.exists():
            write(copied(copy, raw), path)
            print(path, flush=True)


def copied(copy: Copy, raw: Path) -> xr.Dataset:
    """Return the frames of a copy, (time, y, x) in mm/h, NaN = missing."""
    radar = RADARS[copy.radar]
    grid = open_grid(str(raw / radar.path), **radar.settings)
    rates, times = grid["precipitation_rate"], grid["time"].values
    rows, columns = CROPS.get(copy.radar, (slice(None), slice(None)))
    frames, ends = [], []
    for group in groups_of(times, float(grid.attrs["timestep_minutes"]), copy):
        read = np.stack([rates[k].values[rows, columns] for k in group])
        frames.append(resampled(np.minimum(read, MOST).mean(axis=0), copy.pixel_km))
        ends.append(times[group[-1]])
    if copy.how == "back":
        frames, ends = backwards(frames, ends, radar)
    height, width = frames[0].shape
    metres = 1000.0 * copy.pixel_km
    axes = {
        name: (
            name,
            np.arange(size) * metres,
            {"units": "m", "standard_name": f"projection_{name}_coordinate"},
        )
        for name, size in (("y", height), ("x", width))
    }
    rate = (
        ("time", "y", "x"),
        np.stack(frames),
        {"units": "mm h-1", "standard_name": "rainfall_rate"},
    )
    return xr.Dataset({"precipitation_rate": rate}, {"time": np.array(ends), **axes})


def backwards(
    frames: list[Frames], times: list[np.datetime64], radar: Radar
) -> tuple[list[Frames], list[np.datetime64]]:
    """Return the frames of the training days in reverse order, with the same gaps."""
    if radar.days is not None:
        days = parse_period("days", list(radar.days))
        kept = [k for k, time in enumerate(times) if time in days]
        frames, times = [frames[k] for k in kept], [times[k] for k in kept]
    return frames[::-1], [times[0] + (times[-1] - time) for time in reversed(times)]


def groups_of(times: NDArray[np.datetime64], minutes: float, copy: Copy) -> list[list[int]]:
    """Return the indices of the frames from which each frame of a copy is made."""
    every = round(copy.minutes / minutes)
    step = np.timedelta64(round(minutes * 60), "s")
    ticks = ((times - times[0]) // step).tolist()
    place = {tick: k for k, tick in enumerate(ticks)}
    if every == 1:
        return [[k] for k in range(len(times))]
    if copy.how == "mean":
        ends = [tick for tick in ticks if tick % every == every - 1]
        runs = [range(end - every + 1, end + 1) for end in ends]
        return [[place[tick] for tick in run] for run in runs if set(run) <= place.keys()]
    first = 1 if copy.how == "second" else 0
    return [[place[tick]] for tick in ticks if tick % every == first]


def resampled(frame: Frames, pixel_km: float) -> Frames:
    """Average or interpolate a frame with pixels of 1 km to another pixel size."""
    if pixel_km == 1:
        return frame
    if pixel_km < 1:
        return finer(frame, round(1 / pixel_km))
    of = int(pixel_km)
    height, width = (length // of for length in frame.shape)
    blocks = frame[: height * of, : width * of].reshape(height, of, width, of)
    measured = np.isfinite(blocks).sum(axis=(1, 3))
    means = np.nansum(blocks, axis=(1, 3)) / np.maximum(measured, 1)
    return np.where(2 * measured >= of * of, means, np.nan).astype(np.float32)


def finer(frame: Frames, times: int) -> Frames:
    """Interpolate a frame to pixels so many times smaller."""
    rates = torch.from_numpy(frame)[None, None]
    missing = rates.isnan()
    enlarge = torch.nn.functional.interpolate
    smooth = enlarge(rates.nan_to_num(0.0), scale_factor=times, mode="bilinear")
    unknown = enlarge(missing.float(), scale_factor=times, mode="nearest") > 0.5
    return smooth.masked_fill(unknown, torch.nan)[0, 0].numpy()


def write(dataset: xr.Dataset, path: Path) -> None:
    """Write a copy completely or not at all."""
    size = dataset["precipitation_rate"].shape[1:]
    encoding = {"zlib": True, "complevel": 1, "chunksizes": (1, *size), "dtype": "float32"}
    temporary = path.with_suffix(".part")
    dataset.to_netcdf(temporary, encoding={"precipitation_rate": encoding})
    temporary.rename(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
