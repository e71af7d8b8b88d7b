"""Which windows are drawn. Nothing heavy is imported: it is part of a configuration, too."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Candidates:
    """Which windows there are to draw from; as `validation` in the configuration, where the
    fields are explained.
    """

    stride: int
    min_wet_share: float


@dataclass(frozen=True)
class Sampling(Candidates):
    """Which windows an epoch draws; as `sampling` in the configuration, where the fields are
    explained.

    Rates that are multiplied make, of a few days, the rain of more seasons, and of radars that see
    more or less. Flips and turns make new weather of old where the weather has no side of its own:
    not if mountains or a coast hold the rain in place and crops are few, nor if an input is a
    vector, such as wind, whose components would have to turn too.
    """

    windows_per_epoch: int | None
    rain_power: float
    unbiased: bool
    crop: int | None
    flip: bool
    rotate: bool
    frame_dropout: float
    rate_jitter: float
    noise: float


EVERY_WINDOW = Sampling(
    stride=1, min_wet_share=0.0, windows_per_epoch=None, rain_power=0.0, unbiased=False, crop=None,
    flip=False, rotate=False, frame_dropout=0.0, rate_jitter=0.0, noise=0.0,
)  # fmt: skip
"""Each window once, whole and unchanged; other ways are made of it by `dataclasses.replace`."""
