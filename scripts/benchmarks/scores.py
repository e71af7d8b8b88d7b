"""Measure the speed of scoring forecasts.

nowcast is compared with pysteps and `scores`, on one thread, in one process, in turn.

    make bench, or python scripts/benchmarks/scores.py [--cases 40] [--size 256] [--leads 12]

A case is a forecast with its observations, 12 lead times of 256 × 256 pixels of synthetic rain,
scored at 5 thresholds: all categorical scores, and the continuous ones. Each case is a round: every
contestant adds it to its sums, one after the other, in one order and then in the reverse order.
Ratios are computed within a round, and the table shows the median and the quartiles over the
rounds. The FSS, at the 5 thresholds and 5 scales, is measured on every tenth case. Fields are made
when needed, so that memory is that of the sums; it is printed after a tenth, a half and all of the
cases.

The libraries are used as in their manuals: pysteps with its …_init, …_accum and …_compute; `scores`
with a contingency manager for each threshold, whose counts are added, and with its functions of
errors. A missing library is skipped with a message. All give the same scores, except for pixels
exactly at a threshold: an event for nowcast and `scores`, none for pysteps.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ[
    "MKL_NUM_THREADS"
] = "1"

import argparse
import contextlib
import importlib
import io
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from tqdm import tqdm

from nowcast.verification.continuous import error_sums
from nowcast.verification.counts import Counts, joint_histogram
from nowcast.verification.neighbourhood import fss_sums
from nowcast.verification.scores import fss
from nowcast.verification.scoring import CATEGORICAL, CONTINUOUS

THRESHOLDS = (0.5, 2.0, 5.0, 10.0, 30.0)
SCALES = (1, 5, 11, 21, 41)
Case = tuple[torch.Tensor, torch.Tensor]
"""Forecast and observed, (lead, h, w) float32 each, mm/h, NaN = not covered."""


@dataclass
class Contestant:
    """Adds cases to its sums, and computes the scores of all cases so far."""

    add: Callable[[Case], None]
    scores: Callable[[], dict[str, NDArray[Any]]]


def make_cases(number: int, leads: int, size: int) -> Iterator[Case]:
    """Make rain with a power-law spectrum within the range of a radar, a quarter of it wet;
    forecasts get worse with lead time.
    """
    generator = np.random.default_rng(0)
    frequencies = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    frequencies[0, 0] = np.inf
    filter_ = (frequencies**-1.7).astype(np.float32)
    y, x = np.indices((size, size)) - size / 2
    covered = np.hypot(y, x) < 0.6 * size
    skill = np.linspace(0.95, 0.5, leads)[:, None, None]

    def noise() -> NDArray[np.float32]:
        spectrum = (
            np.fft.rfft2(generator.standard_normal((leads, size, size), dtype=np.float32)) * filter_
        )
        field = np.fft.irfft2(spectrum, (size, size))
        return np.asarray(field / field.std(), np.float32)

    def rain(field: NDArray[Any]) -> torch.Tensor:
        rates = np.where(field > 0.7, 0.2 * np.exp(2.2 * (field - 0.7)), 0.0)
        return torch.from_numpy(np.where(covered, rates, np.nan).astype(np.float32))

    for _ in range(number):
        observed = noise()
        yield rain(skill * observed + np.sqrt(1 - skill**2) * noise()), rain(observed)


def build_nowcast() -> Contestant:
    sums: dict[str, torch.Tensor] = {}

    def add(case: Case) -> None:
        forecast, observed = (field[None] for field in case)
        parts = {
            "joint": joint_histogram(forecast, observed, THRESHOLDS),
            **error_sums(forecast, observed),
        }
        for name, part in parts.items():
            sums[name] = sums.get(name, 0) + part[0]

    def scores() -> dict[str, NDArray[Any]]:
        counts = Counts(THRESHOLDS, sums["joint"])
        all_sums = {**sums, "pixels": counts.pixels, "frames": 1}
        return {name: score.function(counts) for name, score in CATEGORICAL.items()} | {
            name: score.function(all_sums) for name, score in CONTINUOUS.items()
        }

    return Contestant(add, scores)


def build_pysteps() -> Contestant:
    with contextlib.redirect_stdout(io.StringIO()):  # it prints on import
        categorical = importlib.import_module("pysteps.verification.detcatscores")
        continuous = importlib.import_module("pysteps.verification.detcontscores")
    tables = [categorical.det_cat_fct_init(threshold, axis=(1, 2)) for threshold in THRESHOLDS]
    errors = continuous.det_cont_fct_init(axis=(1, 2))

    def add(case: Case) -> None:
        forecast, observed = (field.numpy() for field in case)
        for table in tables:
            categorical.det_cat_fct_accum(table, forecast, observed)
        continuous.det_cont_fct_accum(errors, forecast, observed)

    def scores() -> dict[str, NDArray[Any]]:
        csi = np.stack(
            [categorical.det_cat_fct_compute(table, "CSI")["CSI"] for table in tables], axis=-1
        )
        return {"csi": csi, "mae": continuous.det_cont_fct_compute(errors, "MAE")["MAE"]}

    return Contestant(add, scores)


def build_scores() -> Contestant:
    categorical, continuous = (
        importlib.import_module("scores.categorical"),
        importlib.import_module("scores.continuous"),
    )
    tables: list[Any] = [0] * len(THRESHOLDS)
    errors: dict[str, list[Any]] = {"mse": [], "mae": [], "mean_error": [], "pearson": []}
    functions = {name: getattr(continuous, name) for name in ("mse", "mae", "mean_error")}
    functions["pearson"] = continuous.correlation.pearsonr

    def add(case: Case) -> None:
        forecast, observed = (
            xr.DataArray(field.numpy(), dims=("lead", "y", "x")) for field in case
        )
        for k, threshold in enumerate(THRESHOLDS):
            manager = categorical.ThresholdEventOperator().make_contingency_manager(
                forecast, observed, event_threshold=threshold
            )
            tables[k] = tables[k] + xr.Dataset(
                manager.transform(preserve_dims=["lead"]).get_counts()
            )
        for name, function in functions.items():
            errors[name].append(function(forecast, observed, preserve_dims=["lead"]).values)

    def scores() -> dict[str, NDArray[Any]]:
        managers = [categorical.BasicContingencyManager(dict(table)) for table in tables]
        csi = np.stack([manager.critical_success_index().values for manager in managers], axis=-1)
        return {"csi": csi, "mae": np.mean(errors["mae"], axis=0)}

    return Contestant(add, scores)


def build_nowcast_fss() -> Contestant:
    sums: dict[str, torch.Tensor] = {}

    def add(case: Case) -> None:
        for name, part in fss_sums(case[0][None], case[1][None], THRESHOLDS, SCALES).items():
            sums[name] = sums.get(name, 0) + part[0]

    return Contestant(
        add, lambda: {"fss": fss(sums["fss_difference"].numpy(), sums["fss_reference"].numpy())}
    )


def build_pysteps_fss() -> Contestant:
    with contextlib.redirect_stdout(io.StringIO()):
        spatial = importlib.import_module("pysteps.verification.spatialscores")
    sums: dict[tuple[int, float, int], Any] = {}

    def add(case: Case) -> None:
        for lead, (forecast, observed) in enumerate(zip(*case, strict=True)):
            for threshold in THRESHOLDS:
                for scale in SCALES:
                    one = sums.setdefault(
                        (lead, threshold, scale), spatial.fss_init(threshold, scale)
                    )
                    spatial.fss_accum(one, forecast.numpy(), observed.numpy())

    def scores() -> dict[str, NDArray[Any]]:
        values = np.array([spatial.fss_compute(one) for one in sums.values()])
        return {"fss": values.reshape(-1, len(THRESHOLDS), len(SCALES))}

    return Contestant(add, scores)


def build_installed(builders: dict[str, Callable[[], Contestant]]) -> dict[str, Contestant]:
    """Return the contestants whose libraries are installed; print the names of the others."""
    contestants = {}
    for name, build in builders.items():
        try:
            contestants[name] = build()
        except ImportError:
            print(
                f"{name} is not installed, so nowcast is not compared with it; `make oracles`"
                " installs it."
            )
    return contestants


def race(contestants: dict[str, Contestant], case: Case, backwards: bool) -> dict[str, float]:
    """Return the seconds that each contestant takes to add a case."""
    seconds = {}
    for name in reversed(contestants) if backwards else contestants:
        started = time.perf_counter()
        contestants[name].add(case)
        seconds[name] = time.perf_counter() - started
    return seconds


def rows(what: str, rounds: Sequence[dict[str, float]]) -> list[str]:
    """Return the rows of the table; nowcast, the first contestant, is 1."""
    lines = []
    for name in rounds[0]:
        ratios = [one[name] / one["nowcast"] for one in rounds]
        low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        each = statistics.median(one[name] for one in rounds)
        lines.append(
            f"| {what} | {name} | {each * 1e3:.1f} | **{middle:.2f}** ({low:.2f}–{high:.2f}) |"
        )
    return lines


def held_megabytes() -> float:
    """Return the memory of this process now, or its peak if the system does not report it."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        2**20 if sys.platform == "darwin" else 2**10
    )


def largest_difference(contestants: dict[str, Contestant]) -> dict[str, float]:
    """Return the largest difference between nowcast and any other contestant, by score."""
    ours = contestants["nowcast"].scores()
    differences: dict[str, float] = {}
    for one in contestants.values():
        for name, values in one.scores().items():
            if one is not contestants["nowcast"]:
                differences[name] = max(
                    differences.get(name, 0.0), float(np.nanmax(np.abs(values - ours[name])))
                )
    return differences


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in {"cases": 40, "leads": 12, "size": 256}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    a = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of empty tables, from the libraries
    points = build_installed(
        {"nowcast": build_nowcast, "pysteps": build_pysteps, "scores": build_scores}
    )
    windows = build_installed(
        {
            "nowcast": build_nowcast_fss,
            **({"pysteps": build_pysteps_fss} if "pysteps" in points else {}),
        }
    )
    marks = {max(1, a.cases // 10), max(1, a.cases // 2), a.cases}
    rounds, fss_rounds, memory = [], [], []
    cases = make_cases(a.cases, a.leads, a.size)
    for k, case in enumerate(tqdm(cases, "cases", a.cases, disable=None, leave=False)):
        rounds.append(race(points, case, backwards=bool(k % 2)))
        if k % 10 == 0:
            fss_rounds.append(race(windows, case, backwards=bool(k % 20)))
        if k + 1 in marks:
            memory.append(f"{held_megabytes():.0f} MB after {k + 1} cases")
    print(
        f"\n{a.cases} cases of {a.leads} × {a.size} × {a.size}, {len(THRESHOLDS)} thresholds; FSS"
        f" at {len(SCALES)} scales, ",
        end="",
    )
    print(
        f"of {len(fss_rounds)} cases; one thread\n\n| scores | by | ms a case | times as long as"
        " nowcast |\n|---|---|---|---|"
    )
    print("\n".join([*rows("categorical and continuous", rounds), *rows("FSS", fss_rounds)]))
    differences = {**largest_difference(points), **largest_difference(windows)}
    if differences:
        print(
            "\nLargest difference of "
            + ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
        )
    print("\nMemory of the process: " + ", ".join(memory))


if __name__ == "__main__":
    main()
