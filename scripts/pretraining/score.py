"""Score trained models on radars not used for training: COPIES RAW OUTPUT NAME=CHECKPOINT …

Each event is scored completely by `nowcast evaluate`, unless OUTPUT already contains its scores for
these checkpoints. Two Markdown tables of means over lead times are printed: the CSI at 0.5, 1, 2, 5
and 10 mm/h, and the scores of probabilities.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import xarray as xr
from sources import EVENTS

from nowcast.files import sha256
from nowcast.pretrained import checkpoint_path

BASELINES = "[extrapolation,sprog,linda]"
LEAST_DAYS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("copies", type=Path)
    parser.add_argument("raw", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("checkpoints", nargs="+", metavar="NAME=CHECKPOINT", type=named)
    parser.add_argument("--events", nargs="+", choices=EVENTS, default=list(EVENTS))
    parser.add_argument("--baselines", default=BASELINES)
    given = parser.parse_args()
    scored = {name: evaluated(name, given) for name in given.events}
    print(skill_table(scored), probability_table(scored), sep="\n\n")


def named(text: str) -> tuple[str, str]:
    name, path = text.split("=", 1)
    return name, checkpoint_path(path)


def evaluated(name: str, given: argparse.Namespace) -> xr.Dataset:
    """Return the scores of an event; run `nowcast evaluate` if they do not exist yet."""
    checkpoints = ", ".join(f"{name}: {path}" for name, path in given.checkpoints)
    event, output = EVENTS[name], given.output / name
    if (output / "scores.nc").exists():
        refuse_other_forecasts(output, dict(given.checkpoints), given.baselines)
    else:
        path = event.path.format(copies=given.copies, raw=given.raw)
        command = [
            sys.executable, "-m", "nowcast", "evaluate", f"checkpoint={{{checkpoints}}}",
            "data=radar", f"data.path={path}",
            f"data.cache={given.copies / 'cache'}", f"baseline={given.baselines}",
            "thresholds=[0.5,1,2,5,10]", "fss_scales=[]", "batch_size=1",
            f"output={output}", *event.settings,
        ]  # fmt: skip
        subprocess.run(command, check=True)
    return xr.load_dataset(output / "scores.nc").sel(part="all")


def refuse_other_forecasts(folder: Path, checkpoints: Mapping[str, str], baselines: str) -> None:
    """Exit if the scores in a folder are for other checkpoints or baselines."""
    scores = xr.load_dataset(folder / "scores.nc")
    wanted = {*checkpoints, *re.findall(r"[^][, ]+", baselines)}
    said = scores.attrs.get("checkpoint_sha256", "")
    same = all(f'"{name}": "{sha256(path)}"' in said for name, path in checkpoints.items())
    if {*scores["forecast"].values.tolist()} != wanted or not same:
        raise SystemExit(
            f"{folder}: holds scores of other checkpoints or baselines; remove it, or give another"
            " OUTPUT."
        )


def skill_table(scored: Mapping[str, xr.Dataset]) -> str:
    """Return a table of the mean CSI over lead times of each forecast at each threshold; in
    brackets the 95 % interval at 1 mm/h (bootstrap over days), if the event has enough days.
    """
    names = [str(name) for name in next(iter(scored.values()))["forecast"].values]
    rows = [["radar", "cases", *names], ["---"] * (2 + len(names))]
    for event, scores in scored.items():
        cells = [short(scores["csi"].sel(forecast=name).mean("lead_time")) for name in names]
        if scores.attrs["blocks"] >= LEAST_DAYS:
            for k, name in enumerate(names):
                ends = (scores[f"csi_mean_{end}"].sel(forecast=name) for end in ("low", "high"))
                cells[k] += " [" + " ".join(short(one.sel(threshold=[1.0])) for one in ends) + "]"
        rows.append([event, str(int(scores["cases"])), *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def probability_table(scored: Mapping[str, xr.Dataset]) -> str:
    """Return a table of CRPS in mm/h, Brier score at each threshold, and distance from the diagonal
    of the reliability diagram, for each probability forecast.
    """
    rows = [["radar", "forecast", "CRPS", "Brier score × 1000", "reliability"], ["---"] * 5]
    for event, scores in scored.items():
        for name in scores["forecast"].values:
            one = scores.sel(forecast=name).mean("lead_time")
            if not one["brier"].isnull().all():
                brier = " ".join(f"{1000 * value:.1f}" for value in one["brier"].values)
                cells = [f"{float(one['crps']):.4f}", brier, short(one["reliability_distance"])]
                rows.append([event, str(name), *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def short(values: xr.DataArray) -> str:
    """Return numbers from 0 to 1 with three decimals."""
    return " ".join(f"{value:.3f}".removeprefix("0") for value in values.values)


if __name__ == "__main__":
    main()
