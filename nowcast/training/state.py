"""The state of a training: everything that a checkpoint holds."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Optimizer

from nowcast.probability.calibration import calibration_of
from nowcast.training.checkpoints import Checkpoint
from nowcast.training.choice import best_row_before_ties
from nowcast.training.progress import Progress
from nowcast.training.provenance import versions

if TYPE_CHECKING:
    from nowcast.training.loop import Trainer


def state_of(trainer: "Trainer") -> Checkpoint:
    """Return everything that `restore` and forecasts need."""
    averaged, calibration = trainer.averaged, trainer.calibration
    return {
        "versions": dict(versions()),
        "config": trainer.config,
        "place": trainer.place,
        "region": trainer.region,
        "data": trainer.data,
        "written": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "best_epoch": trainer.best["epoch"] if trainer.best else None,
        "start": trainer.start,
        "packages": dict(trainer.packages),
        "weights": trainer.model.state_dict(),
        "ema": averaged.state_dict() if averaged is not None else None,
        "optimizer": trainer.steps.optimizer.state_dict(),
        "schedule": trainer.steps.schedule.state_dict(),
        "gradient_scaler": trainer.steps.gradient_scaler.state_dict(),
        "rng": torch.get_rng_state(),
        "progress": vars(trainer.progress),
        "calibration": None if calibration is None else calibration.state(),
    }


def restore(trainer: "Trainer", checkpoint: Checkpoint) -> None:
    """Continue a training from a checkpoint."""
    steps, averaged = trainer.steps, trainer.averaged
    trainer.model.load_state_dict(checkpoint["weights"])
    if averaged is not None and checkpoint["ema"] is not None:
        averaged.load_state_dict(checkpoint["ema"])
    elif averaged is not None:  # averaging is new: the average starts from these weights
        averaged.module.load_state_dict(checkpoint["weights"])
    steps.optimizer.load_state_dict(_as_built(checkpoint["optimizer"], steps.optimizer))
    steps.schedule.load_state_dict(checkpoint["schedule"])
    if checkpoint["gradient_scaler"]:  # empty if the precision was not fp16
        steps.gradient_scaler.load_state_dict(checkpoint["gradient_scaler"])
    torch.set_rng_state(checkpoint["rng"])
    trainer.progress = Progress(**checkpoint["progress"])
    if checkpoint["calibration"] is not None:
        trainer.calibration = calibration_of(checkpoint["calibration"])
    trainer.start = checkpoint.get("start")
    rows = trainer.rows
    if rows:
        epoch = checkpoint.get("best_epoch")
        if epoch is None:
            epoch = best_row_before_ties(rows, trainer.plan.monitor)["epoch"]
        trainer.best = next((row for row in rows if row["epoch"] == epoch), None)


def _as_built(state: dict[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """Return an optimizer's state with this optimizer's `fused`, which depends on the device."""
    ways = {key: value for key, value in optimizer.param_groups[0].items() if key == "fused"}
    return {**state, "param_groups": [{**group, **ways} for group in state["param_groups"]]}
