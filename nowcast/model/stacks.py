"""What the networks have in common: grids of any size, a frame as output, and feeding frames
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
    """A model whose forecast depends on the past nearby alone, so that a grid may be forecast
    in tiles.
    """

    multiple: int
    """Pixels: tiles that begin at multiples of it meet the cells of the model as the whole grid
    does.
    """

    def halo(self, input_steps: int, lead_steps: int) -> int:
        """Pixels around such a tile that `lead_steps` forecast frames depend on; none further
        away does anything to it.
        """


CellStates = list[tuple[Tensor, Tensor]]
"""(H, C) of each layer, from the frames inward."""


@runtime_checkable
class Streaming(Protocol):
    """A model that takes past frames in one after the other, so that what it knows of the first
    need not wait for the last.

    `model(frames, lead_steps, guide)` is `model.unfold(model.encode(frames), frames[:, -1:],
    lead_steps, guide)`, and so with `ahead`; and
    `encode(new, encode(old))` is `encode` of both in a row.
    """

    def encode(self, frames: Tensor, states: CellStates | None = None) -> CellStates:
        """Frames (b, t, c, h, w), scaled, missing pixels 0, taken in after `states`, by default
        at the beginning → the states after.
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
    """Call a model with what it declares that it wants.

    A model with `ahead_channels` takes fields that are known for each lead time; one that
    `wants_newest` takes the rates (b, h, w) of the newest frame in mm/h, NaN = missing; one that
    `wants_spacing` is told the pixel size and the time step.
    """
    declares = getattr(model, "module", model)  # within an average of its weights
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
    """(…, c, h, w) → (…, c · size², ⌈h / size⌉, ⌈w / size⌉), padded; of no frames too, which
    PyTorch returns as they are.
    """
    frames = pad_to_multiple(frames, size)
    *batch, c, h, w = frames.shape
    if 0 in batch:
        return frames.reshape(*batch, c * size**2, h // size, w // size)
    return functional.pixel_unshuffle(frames, size)


def from_patches(patches: Tensor, size: int) -> Tensor:
    """The way back: (…, c · size², h, w) → (…, c, h · size, w · size)."""
    *batch, c, h, w = patches.shape
    if 0 in batch:
        return patches.reshape(*batch, c // size**2, h * size, w * size)
    return functional.pixel_shuffle(patches, size)


def activate(output: Tensor, activation: Function) -> Tensor:
    """The activation of the output, taken in float32 at least, whatever precision the layers
    before it computed in.
    """
    return activation(output.to(torch.promote_types(output.dtype, torch.float32)))


def refuse_guide(guide: Tensor | None) -> None:
    """Errors: ValueError where there is one."""
    if guide is not None:
        raise ValueError("guide: this model feeds no frame back, so true frames cannot guide it.")


def roll_out(
    advance: Callable[[Tensor, StateT], tuple[Tensor, StateT]],
    frames: Tensor,
    state: StateT,
    lead_steps: int,
    guide: Tensor | None,
) -> Tensor:
    """Forecast frame after frame, each fed back to give the next: (b, lead, c, h, w).

    Gradients flow through all of it.

    Args:
        advance: frames (b, n, c, h, w) and the state before them → for each the frame forecast to
        follow it, and the state.
        frames: (b, n, c, h, w), the last one observed; the others too where the state does not know
        them.
        state: before `frames`.
        lead_steps: frames to forecast.
        guide: (b, lead, c, h, w), true frames to feed back in place of the forecast ones, NaN where
        there are none. Where all
            are true, a single pass takes them in.

    Errors: ValueError where lead_steps is below 1, or the guide of another shape.
    """
    if lead_steps < 1:
        raise ValueError(f"lead_steps: must be 1 or more, not {lead_steps}.")
    expected = (frames.shape[0], lead_steps, *frames.shape[2:])
    if guide is not None and guide.shape != expected:
        raise ValueError(
            f"guide: must be of shape {expected}, a frame for each that is forecast, not"
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
