"""Helpers that the networks share: grids of any size, output activations, and feeding frames
back.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from nowcast.model.activations import Function
from nowcast.motion.spacing import Spacing

StateT = TypeVar("StateT")


@runtime_checkable
class Local(Protocol):
    """A model whose forecast depends only on nearby pixels of the past, so that a grid can be
    forecast in tiles.
    """

    multiple: int
    """Pixels: a tile must start at a multiple of it to have the same cells as the whole grid."""

    def halo(self, input_steps: int, lead_steps: int) -> int:
        """Return how many pixels around such a tile `lead_steps` forecast frames depend on; pixels
        further away have no effect.
        """


CellStates = list[tuple[Tensor, Tensor]]
"""(H, C) of each layer, from the frames inward."""


@runtime_checkable
class Streaming(Protocol):
    """A model that encodes past frames one after the other, so that older frames can be encoded
    before the newest one arrives.

    `model(frames, lead_steps, guide)` equals `model.unfold(model.encode(frames), frames[:, -1:],
    lead_steps, guide)`, also with `ahead`. `encode(new, encode(old))` equals `encode` of both
    concatenated.
    """

    def encode(self, frames: Tensor, states: CellStates | None = None) -> CellStates:
        """Frames (b, t, c, h, w), scaled, missing pixels 0, and the states before them, by default
        zeros → the states after them.
        """

    def unfold(
        self, states: CellStates, newest: Tensor, lead_steps: int, guide: Tensor | None = None
    ) -> Tensor:
        """The states after the newest frame (b, 1, c, h, w), and that frame → forecast frames
        (b, lead_steps, c, h, w).
        """


def call_model(
    model: nn.Module,
    frames: Tensor,
    lead_steps: int,
    guide: Tensor | None = None,
    ahead: Tensor | None = None,
    newest: Tensor | None = None,
    spacing: Spacing | None = None,
) -> Tensor:
    """Call a model with the further inputs that it declares.

    A model with `ahead_channels` is given fields known for each lead time. With `wants_newest` it
    is given the rates (b, h, w) of the newest frame in mm/h, NaN = missing. With `wants_spacing` it
    is given the pixel size and the time step.
    """
    declares = getattr(model, "module", model)  # the model inside an average of its weights
    wanted: dict[str, Any] = {"ahead": ahead} if getattr(declares, "ahead_channels", 0) else {}
    if getattr(declares, "wants_newest", False):
        wanted["newest"] = newest
    if spacing is not None and getattr(declares, "wants_spacing", False):
        wanted["spacing"] = spacing
    guides = () if guide is None else (guide,)
    forecast: Tensor = model(frames, lead_steps, *guides, **wanted)
    return forecast


def pad_to_multiple(frames: Tensor, multiple: int) -> Tensor:
    """(…, h, w) → the same with dry rows below and dry columns to the right, up to a multiple."""
    height, width = frames.shape[-2:]
    return functional.pad(frames, (0, -width % multiple, 0, -height % multiple))


def to_patches(frames: Tensor, size: int) -> Tensor:
    """(…, c, h, w) → (…, c · size², ⌈h / size⌉, ⌈w / size⌉), padded; also of empty batches, which
    PyTorch returns unchanged.
    """
    frames = pad_to_multiple(frames, size)
    *batch, c, h, w = frames.shape
    if 0 in batch:
        return frames.reshape(*batch, c * size**2, h // size, w // size)
    return functional.pixel_unshuffle(frames, size)


def from_patches(patches: Tensor, size: int) -> Tensor:
    """The inverse of `to_patches`: (…, c · size², h, w) → (…, c, h · size, w · size)."""
    *batch, c, h, w = patches.shape
    if 0 in batch:
        return patches.reshape(*batch, c // size**2, h * size, w * size)
    return functional.pixel_shuffle(patches, size)


def activate(output: Tensor, activation: Function) -> Tensor:
    """Apply the output activation in float32 or wider, whatever the precision of the layers."""
    return activation(output.to(torch.promote_types(output.dtype, torch.float32)))


def refuse_guide(guide: Tensor | None) -> None:
    """Errors: ValueError if a guide is given."""
    if guide is not None:
        raise ValueError("guide: this model does not feed frames back, so it takes no true frames.")


def roll_out(
    advance: Callable[[Tensor, StateT], tuple[Tensor, StateT]],
    frames: Tensor,
    state: StateT,
    lead_steps: int,
    guide: Tensor | None,
) -> Tensor:
    """Forecast frame by frame, each fed back to forecast the next: (b, lead, c, h, w).

    Gradients flow through all steps.

    Args:
        advance: frames (b, n, c, h, w) and the state before them → the forecast of the next frame
            for each, and the state after them.
        frames: (b, n, c, h, w), the observed frames that `state` does not include, at least the
            newest one.
        state: before `frames`.
        lead_steps: frames to forecast.
        guide: (b, lead, c, h, w), true frames to feed back instead of the forecast frames; NaN
            where the forecast is fed back. If none is NaN, all are processed in a single pass.

    Errors: ValueError if lead_steps is below 1 or the guide has another shape.
    """
    if lead_steps < 1:
        raise ValueError(f"lead_steps: must be 1 or more, not {lead_steps}.")
    expected = (frames.shape[0], lead_steps, *frames.shape[2:])
    if guide is not None and guide.shape != expected:
        raise ValueError(
            f"guide: must have shape {expected}, one frame for each forecast frame, not"
            f" {tuple(guide.shape)}."
        )
    if guide is not None and not guide[:, :-1].isnan().any():
        return advance(torch.cat([frames, guide[:, :-1]], dim=1), state)[0][:, -lead_steps:]
    forecasts: list[Tensor] = []
    for step in range(lead_steps):
        followers, state = advance(frames, state)
        frames = followers[:, -1:]
        forecasts.append(frames)
        if guide is not None:
            true = guide[:, step : step + 1]
            frames = torch.where(true.isnan(), frames, true)
    return torch.cat(forecasts, dim=1)
