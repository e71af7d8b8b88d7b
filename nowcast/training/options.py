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

    monitor: 'csi' (higher is better) or 'loss' (lower is better), on validation; see `choice.rank`.
    scheduled_sampling: share of true frames that a model which feeds its forecasts back is given in
    their place, at the first and at the last step of training (Bengio et al. 2015, arXiv
    1506.03099).
    log_every: steps from one value of the training loss that loggers get to the next.
    """

    epochs: int
    batch_size: int
    gradient_clip: float | None
    ema_decay: float
    scheduled_sampling: list[float]
    monitor: str
    patience: int
    workers: int
    log_every: int


def loss_names() -> tuple[str, ...]:
    """Return the names of all losses: ours, then those of installed packages."""
    return (*OUR_LOSSES, *(name for name in plugins(LOSSES) if name not in OUR_LOSSES))


def logger_names() -> tuple[str, ...]:
    """Return the names of all loggers: ours, then those of installed packages."""
    return (*OUR_LOGGERS, *(name for name in plugins(LOGGERS) if name not in OUR_LOGGERS))
