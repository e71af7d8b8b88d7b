"""Training: the loop, losses, precision and checkpoints.

What only training needs is not imported here, for a forecast starts sooner without: `from
nowcast.training.loop import Trainer`, `from nowcast.training.optimizers import …`."""

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
    "progress": "how far a training has come, and how that is told",
    "losses": "the losses by name",
    "optimizers": "optimizers and schedules by name",
    "precision": "the device and its arithmetic",
    "distribution": "several processes that train one model",
    "provenance": "the versions that a run is recorded with",
    "checkpoints": "checkpoints, written and read",
    "resuming": "training that goes on",
    "choice": "the best epoch",
    "signals": "Ctrl-C, SIGTERM and SIGUSR1",
    "loggers": "what watches a training",
    "examples": "validation cases to look at",
}
"""The modules that other rooms may import, and what they give."""
