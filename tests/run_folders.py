"""Folders as training runs leave them, without a training."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml


def make_run(
    folder: Path,
    overrides: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    *,
    lr: float = 1e-3,
    csi: Sequence[float] = (),
    finished: bool = False,
) -> Path:
    """Make the folder of a run of 5 epochs with this validation CSI in each that is done, 2 s and a
    validation loss of 1 - CSI each. → the folder.
    """
    (folder / ".hydra").mkdir(parents=True, exist_ok=True)
    config = {
        "optimizer": {"lr": lr}, "training": {"epochs": 5, "monitor": "csi"}, **(settings or {}),
    }  # fmt: skip
    (folder / ".hydra/config.yaml").write_text(yaml.safe_dump(config))
    (folder / ".hydra/overrides.yaml").write_text(yaml.safe_dump(list(overrides)))
    rows = [
        {"epoch": epoch, "train_loss": 2 - one, "validation_loss": 1 - one, "validation_csi": one,
         "seconds": 2.0}
        for epoch, one in enumerate(csi, 1)
    ]  # fmt: skip
    if rows:
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if finished:
        summary = {"monitor": "csi", "score": max(csi), "epochs": len(rows)}
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder
