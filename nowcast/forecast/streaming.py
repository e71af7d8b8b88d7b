"""Forecasts of successive windows, each one frame later than the one before."""

import torch
from torch import Tensor

from nowcast.forecast.forecaster import Forecaster
from nowcast.model.stacks import CellStates, Streaming
from nowcast.model.watched import runs_only_forward
from nowcast.probability.forecast import Forecast


class WarmForecaster:
    """A `Forecaster` that encodes the older frames of the next window in advance, so that a new
    frame needs only one step.

    The forecast equals that of the forecaster, for any past. If the first frames are not those that
    were encoded, because one came late or is missing, all are encoded again. So are those of a
    model that is not `Streaming`, or that has hooks, which would not be called. In the moving frame
    all past frames are advected again with each newest one, so nothing can be encoded in advance.

    A window begins at a state of zero, as in training. Carrying a state on for ever would be
    cheaper still, but the model has never seen one of more than `input_steps` frames, and its
    forecast would differ.
    """

    def __init__(self, forecaster: Forecaster) -> None:
        self.forecaster = forecaster
        self._next: Tensor | None = None
        """The frames that the next window begins with, if it is this one moved by one frame."""
        self._taken_in: tuple[Tensor, CellStates] | None = None
        """Encoded frames, and the states after them."""

    @torch.inference_mode()
    def __call__(self, past: Tensor) -> Tensor:
        """Return the forecast rates; see `Forecaster.__call__`."""
        return self.forecast(past).rates

    @torch.inference_mode()
    def forecast(self, past: Tensor) -> Forecast:
        """Return the forecast; see `Forecaster.forecast`."""
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
        """Encode the frames that the next window will begin with.

        Called again without a new forecast, it does nothing.
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
        """Return the states after exactly these frames, if they are encoded, else None."""
        if self._taken_in is None or self._taken_in[0].shape != frames.shape:
            return None
        known, states = self._taken_in
        return (
            states if bool(((known == frames) | (known.isnan() & frames.isnan())).all()) else None
        )
