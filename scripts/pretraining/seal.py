"""Put a trained model into the package, with its model card: CHECKPOINT [--table SCORES].

SCORES, by default scores.csv next to this script, is the table that `score.py` fills.
"""

import argparse
import json
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from card import MODEL, TABLE, read_table, scores_in_markdown
from sources import RADARS, VALIDATION, radars_of

from nowcast.errors import NowcastError
from nowcast.files import sha256, written_whole
from nowcast.forecast.any_grid import LONGEST_MINUTES, PIXEL_KM, TIMESTEP_MINUTES
from nowcast.pretrained import FOLDER, PRETRAINED
from nowcast.training.checkpoints import forecast_weights, read_checkpoint, write_checkpoint

LIMITS = (
    "It sees only radar frames of the last 16 minutes or more: no weather model, no gauges.",
    "It was trained on a few days of rain from each radar, without snow and tropical cyclones.",
    "Its rates are chosen for the best CSI, so where rain is rare they cover more than the observed"
    " area; rate=median covers less.",
    "Pixels of 0.5 km were interpolated from 1 km; those of 5 km were averaged.",
)


def main(checkpoint: Path, table: Path) -> None:
    rows, path = read_table(table), FOLDER / f"{PRETRAINED}.pt"
    scores = scores_in_markdown(rows)
    try:
        made = read_checkpoint(checkpoint)
    except NowcastError as error:
        raise SystemExit(str(error)) from error
    radars = radars_of(made["config"]["data"].get("path", ""), checkpoint)
    refuse_other_scores(rows, checkpoint)
    weights = forecast_weights(made)
    write_checkpoint(path, {
        **{key: value for key, value in made.items() if key != "schema"},
        "known_days": [list(radar.known) for radar in radars.values()],
        "weights": weights, "ema": None, "optimizer": {}, "schedule": {}, "gradient_scaler": {},
    })  # fmt: skip
    card = {
        "summary": (
            f"any radar in mm/h, pixels of {PIXEL_KM[0]:g} to {PIXEL_KM[1]:g} km, frames every"
            f" {TIMESTEP_MINUTES[0]:g} to {TIMESTEP_MINUTES[1]:g} minutes, up to"
            f" {LONGEST_MINUTES:g} minutes ahead"
        ),
        "sealed": f"{datetime.now(UTC):%Y-%m-%d}",
        "sha256": sha256(path),
        "bytes": path.stat().st_size,
        "parameters": sum(one.numel() for one in weights.values()),
        "licence": "that of nowcast; name the data sources, whose licences are listed",
        "pixel_km": list(PIXEL_KM),
        "timestep_minutes": list(TIMESTEP_MINUTES),
        "longest_minutes": LONGEST_MINUTES,
        "trained_on": [
            {"radar": name, "days": radar.about, "licence": radar.licence}
            for name, radar in radars.items()
        ],
        "limits": list(LIMITS),
    }
    texts = {
        ".json": json.dumps(card, indent=1, ensure_ascii=False) + "\n",
        ".md": in_markdown(card, scores, validation_days(radars)),
    }
    for suffix, text in texts.items():
        with written_whole(path.with_suffix(suffix)) as temporary:
            temporary.write_text(text)
    print(path, path.stat().st_size)


def refuse_other_scores(table: pd.DataFrame, checkpoint: Path) -> None:
    """Exit if rows of the model in the package are scores of another checkpoint."""
    models = table.xs(MODEL, level="forecast")
    others = models[(models["without"] == "") & (models["sha256"] != sha256(checkpoint))]
    if len(others):
        raise SystemExit(
            f"{checkpoint}: the scores of {', '.join(others.index)} are of another checkpoint;"
            " score this one by score.py first."
        )


def validation_days(radars: Collection[str]) -> str:
    """Return the validation days in words."""
    periods = [
        f"{' to '.join(dict.fromkeys(days))} ({copy.radar})"
        for copy, days in ((copy, days or RADARS[copy.radar].known) for copy, days, _ in VALIDATION)
        if copy.radar in radars
    ]
    return ", ".join(periods)


def in_markdown(card: dict[str, object], scores: str, validated_on: str) -> str:
    """Return the model card in Markdown."""
    rows = [f"| {one['radar']} | {one['days']} | {one['licence']} |" for one in card["trained_on"]]
    return "\n".join([
        "# The model that comes with nowcast", "",
        f"It forecasts {card['summary']}. The grid may have any number of pixels and its first row"
        " in the north or south.", "",
        "A ConvLSTM encoder–forecaster (Shi et al. 2015) in the moving frame of reference, with a"
        f" head for probabilities: {card['parameters']:,} parameters. Its inputs include the pixel"
        " size, the time step and the speed of the rain.", "",
        "## Data", "", "| radar | days | licence |", "|---|---|---|", *rows, "",
        "Augmentation: averaged and resampled copies, events played backwards, flips, rotations,"
        " missing frames, and rates multiplied by a random factor. The epoch, the calibration and"
        f" the cuts were chosen on {validated_on}.", "",
        "## Limits", "", *(f"- {one}" for one in card["limits"]), "",
        "## Scores", "", scores, "",
        "## Licence", "", f"The licence of the weights is {card['licence']} above.", "",
        f"Sealed {card['sealed']}: {card['bytes']:,} bytes, SHA-256 {card['sha256']}.", "",
    ])  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--table", type=Path, default=TABLE)
    given = parser.parse_args()
    main(given.checkpoint, given.table)
