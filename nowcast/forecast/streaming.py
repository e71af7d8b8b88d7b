"""Forecasts of one window after the other, where each is the one before, moved on by a frame."""

import torch
from torch import Tensor

from nowcast.forecast.forecaster import Forecaster
from nowcast.model.stacks import CellStates, Streaming
from nowcast.model.watched import runs_only_forward
from nowcast.probability.forecast import Forecast


class WarmForecaster:
    """A `Forecaster` that between two forecasts takes in all frames of the next but its newest, so
    that this alone is left.

    The forecast is that of the forecaster, of any past: where its first frames are not those that
    were taken in, as one came late or is missing, all are taken in anew, and so are those of a
    model that is not `Streaming`, or has hooks, which would not be called. In the moving frame all
    past frames are taken along again with each newest one, so nothing can be taken in before.

    A window begins at a state of zero, as in training. A state that was carried on from frame to
    frame for ever would save that work altogether, but the model has never seen one of more than
    `input_steps` frames, and its forecast would not be the same.
    """

    def __init__(self, forecaster: Forecaster) -> None:
        self.forecaster = forecaster
        self._next: Tensor | None = None
        """The frames that the next window begins with, if it is this one moved on by a frame."""
        self._taken_in: tuple[Tensor, CellStates] | None = None
        """Frames, and the states after them."""

    @torch.inference_mode()
    def __call__(self, past: Tensor) -> Tensor:
        """As `Forecaster.__call__`."""
        return self.forecast(past).rates

    @torch.inference_mode()
    def forecast(self, past: Tensor) -> Forecast:
        """As `Forecaster.forecast`."""
        forecaster, model = self.forecaster, self.forecaster.model
        steps = forecaster.input_steps
        states = self._after(past[:, : steps - 1])
        self._next = past[:, 1:steps]
        if states is None or not isinstance(model, Streaming):
            return forecaster.forecast(past)
        newest = forecaster.inputs.frames(past[:, steps - 1 : steps], forecaster.scaling)
        ahead = forecaster.inputs.ahead_frames(past, steps)
        wanted = {} if ahead is None else {"ahead": ahead}
        values = model.unfold(model.encode(newest, states), newest, forecaster.lead_steps, **wanted)
        return Forecast(forecaster.rates(values, past))

    @torch.inference_mode()
    def prepare(self) -> None:
        """Take in the frames that the next window will begin with.

        Once is enough: without a new forecast this does nothing.
        """
        forecaster, model, frames = self.forecaster, self.forecaster.model, self._next
        if (
            frames is not None
            and frames.shape[1]
            and isinstance(model, Streaming)
            and not forecaster.moving
            and runs_only_forward(model)
        ):
            self._taken_in = (
                frames,
                model.encode(forecaster.inputs.frames(frames, forecaster.scaling)),
            )
        self._next = None

    def _after(self, frames: Tensor) -> CellStates | None:
        """The states after just these frames, where they have been taken in."""
        if self._taken_in is None or self._taken_in[0].shape != frames.shape:
            return None
        known, states = self._taken_in
        return (
            states if bool(((known == frames) | (known.isnan() & frames.isnan())).all()) else None
        )
