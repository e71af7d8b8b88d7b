"""Training: the loop, losses, precision and checkpoints.

What only training needs is not imported here, for a forecast starts sooner without: `from
nowcast.training.loop import Trainer`, `from nowcast.training.optimizers import …`.
"""

from nowcast.training.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from nowcast.training.losses import LOSSES
from nowcast.training.precision import Precision, choose_precision
from nowcast.training.signals import stop_request

__all__ = [
    "LOSSES",
    "Checkpoint",
    "Precision",
    "choose_precision",
    "read_checkpoint",
    "stop_request",
    "write_checkpoint",
]
