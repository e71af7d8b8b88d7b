"""Score trained models on radars not used for training: COPIES RAW OUTPUT NAME=CHECKPOINT …

Each event is scored completely by `nowcast evaluate`, unless OUTPUT already contains its scores for
these checkpoints. The means over lead times go into scores.csv, from which `seal.py` makes the
tables of the model card: the checkpoint of the model is named `model`, and that of the Lagrangian
probability forecast `lagrangian`. Other names are for comparisons of your own.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import xarray as xr
from card import ENDS, EXTRAPOLATION, TABLE, THRESHOLDS, column, columns, read_table
from sources import EVENTS, RADARS, radars_of

from nowcast.errors import NowcastError
from nowcast.files import sha256, written_whole
from nowcast.pretrained import checkpoint_path
from nowcast.training.checkpoints import read_checkpoint

BASELINES = "[extrapolation,sprog,linda]"
ROUNDING = 1e-5
"""Largest difference of two CSI of which one has been rounded in the table."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("copies", type=Path)
    parser.add_argument("raw", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("checkpoints", nargs="+", metavar="NAME=CHECKPOINT", type=named)
    parser.add_argument("--events", nargs="+", choices=EVENTS, default=list(EVENTS))
    parser.add_argument("--baselines", default=BASELINES)
    parser.add_argument("--table", type=Path, default=TABLE)
    given = parser.parse_args()
    baselines = names_in(given.baselines)
    names = [name for name, _ in given.checkpoints] + baselines
    if len(set(names)) < len(names):
        parser.error(f"give each forecast a name of its own, not {', '.join(names)}.")
    if EXTRAPOLATION not in baselines:
        parser.error(f"--baselines: {EXTRAPOLATION} is needed, to which all others are compared.")
    if given.table.exists():
        read_table(given.table)  # before hours of scoring
    without = {name: groups_without(path) for name, path in given.checkpoints}
    for event in given.events:
        rows = rows_of(event, evaluated(event, given), without)
        print(rows.to_string())
        table = merged(read_table(given.table), rows) if given.table.exists() else rows
        with written_whole(given.table) as temporary:
            table.to_csv(temporary, float_format="%.6g")


def named(text: str) -> tuple[str, str]:
    name, _, path = text.partition("=")
    if not name or not path:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=CHECKPOINT, as model=best.pt.")
    return name, checkpoint_path(path)


def names_in(baselines: str) -> list[str]:
    """Return the names in a list such as `[sprog, linda]`."""
    return re.findall(r"[^][, ]+", baselines)


def groups_without(checkpoint: str) -> str:
    """Return the groups of radars that a training left out, joined by '+'."""
    try:
        config = read_checkpoint(checkpoint)["config"]
    except NowcastError as error:
        raise SystemExit(str(error)) from error
    used = radars_of(config["data"].get("path", ""), checkpoint)
    left = dict.fromkeys(radar.group for name, radar in RADARS.items() if name not in used)
    return "+".join(left)


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
        if code := subprocess.run(command).returncode:  # the command has said why
            raise SystemExit(code)
    return xr.load_dataset(output / "scores.nc").sel(part="all")


def refuse_other_forecasts(folder: Path, checkpoints: Mapping[str, str], baselines: str) -> None:
    """Exit if the scores in a folder are for other checkpoints or baselines."""
    scores = xr.load_dataset(folder / "scores.nc")
    wanted = {*checkpoints, *names_in(baselines)}
    digests = json.loads(scores.attrs.get("checkpoint_sha256", "{}"))
    same = all(digests.get(name) == sha256(path) for name, path in checkpoints.items())
    if {*scores["forecast"].values.tolist()} != wanted or not same:
        raise SystemExit(
            f"{folder}: holds scores of other checkpoints or baselines; remove it, or give another"
            " OUTPUT."
        )


def rows_of(event: str, scores: xr.Dataset, without: Mapping[str, str]) -> pd.DataFrame:
    """Return a row for each forecast of an event: the means over lead times."""
    found = {
        "csi": scores["csi_mean"],
        "brier": scores["brier_mean"],
        "reliability": scores["reliability_distance_mean"],
    }
    for end in ENDS:
        found[end] = scores[f"csi_mean_{end}"]
        difference = scores[f"csi_mean_difference_{end}"]
        found[f"difference {end}"] = difference.sel(other_forecast=EXTRAPOLATION)
    digests = json.loads(scores.attrs["checkpoint_sha256"])
    rows = {
        (event, name): {
            "without": without.get(name, ""),
            "sha256": digests.get(name, ""),
            "cases": int(scores["cases"]),
            "days": int(scores.attrs["blocks"]),
            "crps": float(scores["crps_mean"].sel(forecast=name)),
            **{
                column(what, limit): float(values.sel(forecast=name, threshold=limit))
                for what, values in found.items()
                for limit in THRESHOLDS
            },
        }
        for name in map(str, scores["forecast"].values)
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["event", "forecast"])


def merged(before: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which new rows of an event replace those of the same forecasts. Exit if the
    rows that stay were scored on other cases or pixels: then extrapolation has other scores.
    """
    kept = before.drop(rows.index, errors="ignore")
    for event, name in rows.index.intersection(before.index):
        if name == EXTRAPOLATION and event in kept.index:
            one, other = (table.loc[(event, name), columns("csi")] for table in (before, rows))
            if (one - other).abs().max() > ROUNDING:
                raise SystemExit(
                    f"{event}: extrapolation has other scores than in the table, so the pixels are"
                    f" others; use the same baselines, or delete the rows of {event} first."
                )
    place = list(EVENTS).index
    return pd.concat([kept, rows]).sort_index(
        level="event", key=lambda names: names.map(place), sort_remaining=False, kind="stable"
    )


if __name__ == "__main__":
    main()
