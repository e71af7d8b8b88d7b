"""Remarks on scored days that a model was trained or validated on."""

import xarray as xr

from nowcast.periods import Period, parse_period
from nowcast.pretrained import card_of, checkpoint_path, model_names
from nowcast.training.checkpoints import Checkpoint, read_checkpoint


def remarks_on_known_days(period: Period, checkpoint: Checkpoint, name: str) -> list[str]:
    """Return a remark for each group of training or validation days that a period overlaps.

    name: of the checkpoint; the card of the pretrained model has its days in words.
    """
    trained_on = checkpoint["config"]["data"]
    splits = {key: trained_on.get(key) for key in ("train", "validation")}
    known_splits = {
        key: parse_period(f"data.{key}", days)
        for key, days in splits.items()
        if isinstance(days, list)
    }
    remarks = [
        f"the scored period {period} overlaps the {key} days of this model ({known}): its scores"
        " are too good"
        for key, known in known_splits.items()
        if _overlap(period, known)
    ]
    known_days = [parse_period("known_days", days) for days in checkpoint.get("known_days", [])]
    rows = card_of(name).get("trained_on", []) if name in model_names() else []
    for place, known in enumerate(known_days):
        if not _overlap(period, known):
            continue
        seen = f"{rows[place]['radar']}: {rows[place]['days']}" if place < len(rows) else known
        remarks.append(
            f"the scored period {period} overlaps days that this model was trained or validated on"
            f" ({seen}): its scores are too good if these are data of that radar"
        )
    return remarks


def remarks_on_forecasts(forecast: xr.Dataset, period: Period) -> list[str]:
    """Return the remarks for forecasts of a file that a model in nowcast made; of other models the
    days are not known here.
    """
    checksum = forecast.attrs.get("checkpoint_sha256")
    name = next((one for one in model_names() if card_of(one)["sha256"] == checksum), None)
    if name is None:
        return []
    return remarks_on_known_days(period, read_checkpoint(checkpoint_path(name)), name)


def _overlap(one: Period, other: Period) -> bool:
    return bool(one.start <= other.end and other.start <= one.end)
