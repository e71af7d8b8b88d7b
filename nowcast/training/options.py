"""How long and how to train, by which loss, and which loggers watch. Nothing heavy is imported: it
is part of a configuration, too.
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

    batch_size: windows of one step, of all processes together.
    accumulate: parts in which a process takes its windows of a step, one after the other; the
    gradient is that of all.
    checkpoint_segments: whether back-propagation computes sequences again, in segments of about the
    square root of their steps, instead of keeping every step.
    monitor: 'csi' (higher is better) or 'loss' (lower is better), on validation; see `choice.rank`.
    scheduled_sampling: share of true frames that a model which feeds its forecasts back is given in
    their place, at the first and at the last step of training (Bengio et al. 2015, arXiv
    1506.03099).
    log_every: steps from one value of the training loss that is shown and that loggers get to the
    next; between them no GPU is waited for.
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
        """Return the steps of a whole training on so many windows an epoch."""
        return self.epochs * -(-windows // self.batch_size)


def loss_names() -> tuple[str, ...]:
    """Return the names of all losses: ours, then those of installed packages."""
    return (*OUR_LOSSES, *(name for name in plugins(LOSSES) if name not in OUR_LOSSES))


def logger_names() -> tuple[str, ...]:
    """Return the names of all loggers: ours, then those of installed packages."""
    return (*OUR_LOGGERS, *(name for name in plugins(LOGGERS) if name not in OUR_LOGGERS))
