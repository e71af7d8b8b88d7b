"""How long and how to train, and the names of losses and loggers. Nothing heavy is imported,
because the configuration uses it too.
"""

from dataclasses import dataclass

from nowcast.plugins import LOGGERS, LOSSES, plugins

OUR_LOSSES = ("mse", "mae", "balanced", "cross_entropy", "exceedance")
"""Functions of `nowcast.training.losses`."""
OUR_LOGGERS = ("tensorboard",)
"""Built by `nowcast.training.loggers`."""


@dataclass(frozen=True)
class Plan:
    """How long and how to train; as `training` in the configuration.

    batch_size: windows of one step, over all processes.
    accumulate: number of parts in which a process computes its windows of a step, one after the
        other; their gradients are added.
    checkpoint_segments: whether to use gradient checkpointing: back-propagation recomputes
        sequences in segments of about the square root of their steps instead of keeping every step.
    monitor: 'csi' (higher is better) or 'loss' (lower is better), on validation; see `choice.rank`.
    scheduled_sampling: for models that feed their forecasts back, the share of frames replaced by
        true ones, at the first and at the last step of training (Bengio et al. 2015, arXiv
        1506.03099).
    log_every: steps between two values of the training loss that are shown and logged; the training
        does not wait for a GPU in between.
    """

    epochs: int
    batch_size: int
    accumulate: int
    checkpoint_segments: bool
    gradient_clip: float | None
    ema_decay: float
    scheduled_sampling: list[float]
    monitor: str
    patience: int
    workers: int
    log_every: int

    def steps(self, windows: int) -> int:
        """Return the number of steps of a whole training with so many windows per epoch."""
        return self.epochs * -(-windows // self.batch_size)


def loss_names() -> tuple[str, ...]:
    """Return the names of all losses: ours, then those of installed packages."""
    return (*OUR_LOSSES, *(name for name in plugins(LOSSES) if name not in OUR_LOSSES))


def logger_names() -> tuple[str, ...]:
    """Return the names of all loggers: ours, then those of installed packages."""
    return (*OUR_LOGGERS, *(name for name in plugins(LOGGERS) if name not in OUR_LOGGERS))
