"""The encoder–forecaster of Shi et al. 2015 (arXiv 1506.04214), section 3.2 and figure 3."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nowcast.model.activations import activation
from nowcast.model.convlstm import ConvLSTM
from nowcast.model.detail import REACH, Detail
from nowcast.model.stacks import (
    CellStates,
    activate,
    from_patches,
    refuse_guide,
    roll_out,
    to_patches,
)


class EncoderForecaster(nn.Module):
    """Stacked ConvLSTM layers that encode the past into their states, and as many that unfold the
    forecast from these states.

    The last states of encoder layer k are the first states of forecaster layer k. The forecaster
    runs its layers in reverse order: the innermost has no input, each other layer takes the hidden
    states of the layer run before it. A 1×1 convolution over the hidden states of all forecaster
    layers gives each frame.

    Before encoding, patch_size × patch_size pixels become the channels of one cell. Grids of any
    size are padded with zeros (dry) to a multiple of patch_size and cropped back at the end.

    With feedback the innermost forecaster layer takes the previous frame as input: first the newest
    observed frame, then each forecast frame (the conditional decoder of Srivastava et al. 2015,
    arXiv 1502.04681).

    Args:
        channels: channels of a frame.
        hidden_channels: of each layer, from the frames inward.
        kernel_size: of the state-to-state convolutions.
        input_kernel_size: of the input-to-state convolutions.
        patch_size: pixels along each side of a patch.
        output_activation: 'identity', or 'sigmoid' for frames that are probabilities.
        feedback: whether the forecaster takes the previous frame as input.
        output_channels: channels of a forecast frame; None: as many as in a past frame.
        ahead_channels: channels of fields known for each lead time, which the innermost forecaster
            layer takes as patches; 0: none, as in the paper.
        output_grid: 'pixels': the last convolution gives every pixel of a patch, as in the paper;
            'cells': it gives one value per patch, and pixels are interpolated between them;
            'refined': like 'cells', plus a `Detail` of the newest frames.

    Errors: ValueError if frames that are fed back would have other channels than past frames.

    Example:
        >>> import torch
        >>> model = EncoderForecaster(1, [4, 4], kernel_size=3, input_kernel_size=3, patch_size=2)
        >>> model(torch.rand(2, 5, 1, 8, 8), lead_steps=3).shape
        torch.Size([2, 3, 1, 8, 8])
    """

    def __init__(
        self,
        channels: int,
        hidden_channels: Sequence[int],
        kernel_size: int,
        input_kernel_size: int,
        patch_size: int,
        output_activation: str = "identity",
        feedback: bool = False,
        output_channels: int | None = None,
        ahead_channels: int = 0,
        output_grid: str = "pixels",
    ) -> None:
        super().__init__()
        if feedback and output_grid != "pixels":
            raise ValueError(f"output_grid: {output_grid} cannot be fed back as frames.")
        if feedback and output_channels not in (None, channels):
            raise ValueError(
                f"output_channels: {output_channels} cannot be fed back as frames of {channels}"
                " channels."
            )
        if feedback and ahead_channels:
            raise ValueError("ahead_channels: a model with feedback takes no fields ahead.")
        self.patch_size, self.feedback, self.ahead_channels = patch_size, feedback, ahead_channels
        self.multiple, self.output_grid = patch_size, output_grid
        self.spread, self.input_spread = kernel_size // 2, input_kernel_size // 2
        """Cells that one convolution reaches to each side."""
        patch_channels = channels * patch_size**2

        def layers(inputs: list[int]) -> nn.ModuleList:
            return nn.ModuleList(
                ConvLSTM(c, hidden, kernel_size, input_kernel_size=input_kernel_size)
                for c, hidden in zip(inputs, hidden_channels, strict=True)
            )

        self.encoder = layers([patch_channels, *hidden_channels[:-1]])
        innermost = (patch_channels if feedback else 0) + ahead_channels * patch_size**2
        self.forecaster = layers([*hidden_channels[1:], innermost])
        values = patch_size**2 if output_grid == "pixels" else 1
        self.output = nn.Conv2d(
            sum(hidden_channels), (output_channels or channels) * values, kernel_size=1
        )
        refined = output_grid == "refined"
        self.detail = Detail(channels, output_channels or channels) if refined else None
        self.output_activation = activation(output_activation)

    def forward(
        self,
        frames: Tensor,
        lead_steps: int,
        guide: Tensor | None = None,
        ahead: Tensor | None = None,
    ) -> Tensor:
        """Past frames (b, t, c, h, w), scaled, missing pixels 0 → forecast frames (b, lead_steps,
        c, h, w).

        guide: with feedback, true frames (b, lead_steps, c, h, w) to feed back instead of the
            forecast frames; NaN where the forecast is fed back.
        ahead: fields (b, lead_steps, ahead_channels, h, w), scaled, missing pixels 0; None: zeros.
        """
        states, newest = self.encode(frames), frames[:, -1:]
        if self.detail is None:
            return self.unfold(states, newest, lead_steps, guide, ahead)
        refuse_guide(guide)
        patches, detail = (
            self._ahead_patches(newest, lead_steps, ahead),
            self.detail(frames, torch.arange(1, lead_steps + 1, device=frames.device)),
        )
        return self._unfold(patches, lead_steps, states, newest.shape[-2:], detail)[0]

    def encode(self, frames: Tensor, states: CellStates | None = None) -> CellStates:
        """See `nowcast.model.stacks.Streaming`."""
        before: Sequence[tuple[Tensor, Tensor] | None] = states or [None] * len(self.encoder)
        after: CellStates = []
        sequence = to_patches(frames, self.patch_size)
        for layer, state in zip(self.encoder, before, strict=True):
            sequence, state = layer(sequence, state)
            after.append(state)
        return after

    def unfold(
        self,
        states: CellStates,
        newest: Tensor,
        lead_steps: int,
        guide: Tensor | None = None,
        ahead: Tensor | None = None,
    ) -> Tensor:
        """See `nowcast.model.stacks.Streaming`. The values of the newest frame matter only with
        feedback. Raises ValueError with a `Detail`, which needs more than one frame.
        """
        if self.detail is not None:
            raise ValueError("output_grid: refined needs all past frames; call the model itself.")
        if self.feedback:
            return roll_out(self._follow, newest, states, lead_steps, guide)
        refuse_guide(guide)
        patches = self._ahead_patches(newest, lead_steps, ahead)
        return self._unfold(patches, lead_steps, states, newest.shape[-2:])[0]

    def halo(self, input_steps: int, lead_steps: int) -> int:
        """See `nowcast.model.stacks.Local`.

        The longest path from a past cell to the last forecast cell goes through every
        state-to-state convolution of one layer, and once down and up through the input-to-state
        convolutions of all layers. With feedback each further frame may instead go through the
        input-to-state convolutions of the forecaster again.
        """
        layers = len(self.encoder)
        fed_back = layers * self.input_spread if self.feedback else 0
        cells = input_steps * self.spread + (2 * layers - 1) * self.input_spread
        cells += self.output_grid != "pixels"  # for the interpolation between cells
        pixels = self.patch_size * (cells + (lead_steps - 1) * max(self.spread, fed_back))
        return pixels if self.detail is None else max(pixels, REACH)

    def _ahead_patches(
        self, newest: Tensor, lead_steps: int, ahead: Tensor | None
    ) -> Tensor | None:
        """Return the input of the innermost layer for each lead time; None without fields ahead."""
        if not self.ahead_channels:
            return None
        if ahead is None:
            shape = len(newest), lead_steps, self.ahead_channels, *newest.shape[-2:]
            ahead = newest.new_zeros(shape)
        return to_patches(ahead, self.patch_size)

    def _follow(self, frames: Tensor, states: CellStates) -> tuple[Tensor, CellStates]:
        """Frames (b, n, c, h, w) → the frame that follows each, and the states after the last."""
        return self._unfold(
            to_patches(frames, self.patch_size), frames.shape[1], states, frames.shape[-2:]
        )

    def _unfold(
        self,
        patches: Tensor | None,
        steps: int,
        states: CellStates,
        size: Sequence[int],
        detail: Tensor | None = None,
    ) -> tuple[Tensor, CellStates]:
        """Input of the innermost layer (b, steps, c·p·p, h/p, w/p), if any → frames (b, steps, c,
        h, w), with `detail` added, and the states after the last.
        """
        hidden_states: list[Tensor] = []
        after: CellStates = []
        sequence = patches
        for layer, state in zip(reversed(self.forecaster), reversed(states), strict=True):
            sequence, state = layer(sequence, state, steps=steps if sequence is None else None)
            hidden_states.insert(0, sequence)
            after.insert(0, state)
        output = self.output(torch.cat(hidden_states, dim=2).flatten(0, 1))
        output = self._to_pixels(output)[..., : size[0], : size[1]]
        frames = output.unflatten(0, (hidden_states[0].shape[0], steps))
        if detail is not None:
            frames = frames + detail
        return activate(frames, self.output_activation), after

    def _to_pixels(self, output: Tensor) -> Tensor:
        """Output of the last convolution (n, c, h/p, w/p) → pixels (n, c, h, w)."""
        if self.output_grid == "pixels":
            return from_patches(output, self.patch_size)
        # float32 or wider: the gradients of many pixels add up in each cell
        cells = output.to(torch.promote_types(output.dtype, torch.float32))
        return functional.interpolate(cells, scale_factor=self.patch_size, mode="bilinear")
