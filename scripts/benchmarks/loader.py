"""Measure the speed of loading windows.

The packed cache is compared with a bare memory map and plain xarray, in one process, in turn.

    make bench, or python scripts/benchmarks/loader.py [--frames 400] [--size 512] [--crop 256]
    [--steps 18] [--windows 40] [--rounds 15]

Every contestant returns the same windows as separate arrays. Each round runs every contestant once,
one after the other. Ratios are computed within a round, and the table shows the median and the
quartiles over the rounds. The bare memory map of the packed file, `np.array(np.load(path,
mmap_mode="r")[…])`, is 1. All files are in the page cache, because one round runs before the
measurement. A packed file smaller than half of the memory stays mapped as a whole; in a larger file
each window is mapped separately. Both ways are measured.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from tqdm import tqdm

from nowcast.periods import Period
from nowcast.radar import RATE, open_grid, write_synthetic
from nowcast.sequences import stored
from nowcast.sequences.options import EVERY_WINDOW
from nowcast.sequences.packed import PackedRates, pack
from nowcast.sequences.scaling import Scaling
from nowcast.sequences.windows import Pick, RadarWindows

ALWAYS = Period(np.datetime64("1990-01-01", "ns"), np.datetime64("2090-01-01", "ns"))
Read = Callable[[Pick], NDArray[np.float32]]


def build_contestants(
    folder: Path, frames: int, size: int, crop: int, steps: int
) -> tuple[dict[str, Read], RadarWindows]:
    """Return the functions that read the window of a pick, by name, the bare map first; and the
    windows to pick from.
    """
    path = folder / "rain.nc"
    write_synthetic(path, frames, size, size)
    with open_grid(path) as grid:
        rates = pack(grid, ALWAYS, folder, "benchmark")
    assert isinstance(rates.frames, stored.StoredArray)
    bare = np.load(rates.frames.path, mmap_mode="r")
    plain = xr.open_dataset(path, engine="netcdf4")[RATE]

    def parts(pick: Pick) -> tuple[slice, slice, slice]:
        return (
            slice(pick.start, pick.start + steps),
            slice(pick.top, pick.top + crop),
            slice(pick.left, pick.left + crop),
        )

    def windows(series: PackedRates) -> RadarWindows:
        sampling = replace(EVERY_WINDOW, windows_per_epoch=1000, crop=crop)
        scaling = Scaling("linear", 1.0, 1.0)
        return RadarWindows(
            series, ALWAYS, input_steps=steps - 1, lead_steps=1, scaling=scaling, sampling=sampling
        )

    whole, by_piece = windows(rates), windows(replace(rates, frames=in_pieces(rates.frames.path)))
    contestants: dict[str, Read] = {
        "bare memory map": lambda pick: np.array(bare[parts(pick)]),
        "nowcast, mapped whole": lambda pick: whole[pick][:, 0].numpy(),
        "nowcast, mapped by the window": lambda pick: by_piece[pick][:, 0].numpy(),
        "plain xarray": lambda pick: (
            plain.isel(dict(zip(("time", "y", "x"), parts(pick), strict=True))).values
        ),
    }
    return contestants, whole


def in_pieces(path: Path) -> stored.StoredArray:
    """Open the array of a file as if it were too large to be mapped as a whole."""
    limit, stored._MAP_WHOLE_BYTES = stored._MAP_WHOLE_BYTES, 0
    try:
        return stored.StoredArray(path)
    finally:
        stored._MAP_WHOLE_BYTES = limit


def seconds(read: Read, picks: Sequence[Pick]) -> float:
    started = time.perf_counter()
    for pick in picks:
        read(pick)
    return time.perf_counter() - started


def measure(contestants: dict[str, Read], picks: Sequence[Pick], rounds: int) -> list[str]:
    """Return the rows of the table."""
    for read in contestants.values():
        seconds(read, picks)
    times = [
        {name: seconds(read, picks) for name, read in contestants.items()}
        for _ in tqdm(range(rounds), "windows", disable=None, leave=False)
    ]
    rows = []
    for name in contestants:
        ratios = [one["bare memory map"] / one[name] for one in times]
        low, middle, high = statistics.quantiles(ratios, n=4) if rounds > 1 else ratios * 3
        faster = statistics.median(one["plain xarray"] / one[name] for one in times)
        each = statistics.median(one[name] for one in times) / len(picks)
        rows.append(
            f"| {name} | {each * 1e3:.2f} | **{middle:.2f}** ({low:.2f}–{high:.2f}) |"
            f" {faster:.1f} |"
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in {
        "frames": 400,
        "size": 512,
        "crop": 256,
        "steps": 18,
        "windows": 40,
        "rounds": 15,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        contestants, windows = build_contestants(Path(folder), a.frames, a.size, a.crop, a.steps)
        picks = windows.epoch(0)[: a.windows]
        print(
            f"\nWindows of {a.steps} × {a.crop} × {a.crop} from {a.frames} frames of {a.size} ×"
            f" {a.size}; {a.rounds} rounds\n"
        )
        print(
            "| read by | ms a window | of the bare map's rate | of plain xarray's rate"
            " |\n|---|---|---|---|"
        )
        print("\n".join(measure(contestants, picks, a.rounds)))


if __name__ == "__main__":
    main()
