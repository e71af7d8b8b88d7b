"""Settings of a tiny training run, and what a command shows."""

from dataclasses import dataclass

# Four hours to train on, two to validate, two to test, at 5 minutes.
SPLITS = (
    "data.train=['2020-01-01T00:00','2020-01-01T03:55']",
    "data.validation=['2020-01-01T04:00','2020-01-01T05:55']",
    "data.test=['2020-01-01T06:00','2020-01-01T07:55']",
)
TINY = (
    "model=small", "model.hidden_channels=[4,4]", "input_steps=3", "lead_steps=4", "sampling.windows_per_epoch=16", "sampling.crop=24",
    "training.epochs=2", "training.batch_size=4", "validation.stride=4", "thresholds=[0.5,2]", "device=cpu", "precision=fp32",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What a person sees of a command."""

    code: int
    out: str
    err: str
