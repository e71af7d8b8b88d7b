"""Windows side by side as the tensors a model takes."""

from dataclasses import dataclass

from torch import Tensor

from nowcast.sequences.scaling import Scaling


@dataclass(frozen=True)
class Batch:
    """Windows side by side, each (b, t, c, h, w); the first `input_steps` frames are the past, the others the future.

    rates: as measured [mm/h], NaN = missing.
    frames: the same, scaled, 0 where missing.
    mask: True where something was measured.
    """

    rates: Tensor
    frames: Tensor
    mask: Tensor
    input_steps: int

    def __post_init__(self) -> None:
        if self.rates.ndim != 5 or not self.rates.shape == self.frames.shape == self.mask.shape:
            shapes = [tuple(x.shape) for x in (self.rates, self.frames, self.mask)]
            raise ValueError(f"rates, frames and mask must all be (b, t, c, h, w), not {shapes}")

    @property
    def past(self) -> Tensor:
        return self.frames[:, : self.input_steps]

    @property
    def future(self) -> Tensor:
        return self.frames[:, self.input_steps :]

    @property
    def future_mask(self) -> Tensor:
        return self.mask[:, self.input_steps :]

    @property
    def future_rates(self) -> Tensor:
        return self.rates[:, self.input_steps :]


def build_batch(rates: Tensor, scaling: Scaling, input_steps: int) -> Batch:
    """Rates (b, t, c, h, w) in mm/h, NaN where missing → Batch."""
    return Batch(rates, scaling.scale(rates).nan_to_num(0.0), ~rates.isnan(), input_steps)
