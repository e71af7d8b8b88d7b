"""Training: the loop, losses, precision and checkpoints."""

from nowcast.training.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from nowcast.training.loop import Plan, Row, Trainer, as_json, best_row
from nowcast.training.losses import LOSSES
from nowcast.training.optimizers import build_optimizer, build_schedule
from nowcast.training.precision import Precision, choose_precision
from nowcast.training.signals import stop_request

__all__ = [
    "LOSSES", "Checkpoint", "Plan", "Precision", "Row", "Trainer", "as_json", "best_row", "build_optimizer", "build_schedule",
    "choose_precision", "read_checkpoint", "stop_request", "write_checkpoint",
]  # fmt: skip
