"""Networks of installed packages: a check of the forecasts that they return."""

from typing import Any

import torch
from torch import Tensor, nn

from nowcast.errors import InternalError

_SHAPE = "(b, lead, c, h, w)"


def refuse_other_shape(network: nn.Module, name: str, channels: int) -> None:
    """Let a network check the shape of each forecast that it returns.

    channels: of a forecast frame.
    Errors, when it is called: InternalError with the expected and the returned shape.
    """

    def check(_: nn.Module, given: tuple[Any, ...], forecast: Any) -> None:
        if torch.compiler.is_compiling() or len(given) < 2:
            return
        frames, lead_steps = given[:2]
        b, _, _, h, w = frames.shape
        expected = (b, lead_steps, channels, h, w)
        got = tuple(forecast.shape) if isinstance(forecast, Tensor) else type(forecast).__name__
        if got != expected:
            raise InternalError(
                f"model {name!r}: its forward must return {_SHAPE} = {expected}, but it returned"
                f" {got}; correct it in its package."
            )

    network.register_forward_hook(check)
