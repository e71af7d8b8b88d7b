"""Training: the loop, losses, precision and checkpoints.

Modules that only training needs are not imported here, so that a forecast starts faster; import
them directly: `from nowcast.training.loop import Trainer`, `from nowcast.training.optimizers
import …`.
"""

from typing import TYPE_CHECKING

from nowcast.startup import lazily

if TYPE_CHECKING:
    from nowcast.training.checkpoints import read_checkpoint, write_checkpoint
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "checkpoints": (
                "read_checkpoint",
                "write_checkpoint",
            ),
        },
    )

__all__ = ["read_checkpoint", "write_checkpoint"]

FACE = {
    "options": "how long and how to train",
    "loop": "epochs of training and validation",
    "progress": "the progress of a training, and how it is shown",
    "losses": "the losses by name",
    "optimizers": "optimizers and schedules by name",
    "precision": "the device and its arithmetic",
    "distribution": "several processes that train one model",
    "provenance": "the versions recorded with a run",
    "checkpoints": "writing and reading checkpoints",
    "resuming": "resuming a training",
    "choice": "the best epoch",
    "signals": "Ctrl-C, SIGTERM and SIGUSR1",
    "loggers": "loggers such as TensorBoard",
    "examples": "validation cases to look at",
}
"""The modules that other packages may import, and what they offer."""
