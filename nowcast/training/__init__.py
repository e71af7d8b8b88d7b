"""Training: the loop, losses, precision and checkpoints.

What only training needs is not imported here, for a forecast starts sooner without: `from
nowcast.training.loop import Trainer`, `from nowcast.training.optimizers import …`."""
