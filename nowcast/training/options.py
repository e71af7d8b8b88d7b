"""How long and how to train. Nothing heavy is imported: it is part of a configuration, too."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """How long and how to train; as `training` in the configuration.

    monitor: 'csi' (higher is better) or 'loss' (lower is better), on validation; see `choice.rank`.
    scheduled_sampling: share of true frames that a model which feeds its forecasts back is given in
    their place, at the first and at the last step of training (Bengio et al. 2015, arXiv
    1506.03099).
    """

    epochs: int
    batch_size: int
    gradient_clip: float | None
    ema_decay: float
    scheduled_sampling: list[float]
    monitor: str
    patience: int
    workers: int
