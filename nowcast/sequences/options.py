"""Which windows are drawn. Nothing heavy is imported, because the configuration uses it too."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Candidates:
    """Which windows can be drawn; as `validation` in the configuration, which explains them."""

    stride: int
    min_wet_share: float


@dataclass(frozen=True)
class Sampling(Candidates):
    """Which windows an epoch draws; as `sampling` in the configuration, which explains the fields.

    Multiplied rates (`rate_jitter`) imitate other seasons, and radars with another calibration.
    Flips and rotations augment the data if the weather has no preferred direction. Do not use them
    with few crops if mountains or a coast fix the rain in place, or if an input is a vector such as
    wind, whose components would have to be rotated too.
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
"""Each window once, whole and unchanged; use `dataclasses.replace` for variations."""
