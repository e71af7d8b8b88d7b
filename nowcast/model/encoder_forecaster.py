"""The encoder–forecaster of Shi et al. 2015 (arXiv 1506.04214), section 3.2 and figure 3."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nowcast.model.convlstm import ConvLSTM

OUTPUT_ACTIVATIONS = {"identity": nn.Identity, "sigmoid": nn.Sigmoid}


class EncoderForecaster(nn.Module):
    """Stacked ConvLSTM layers that encode the past into their states, and as many that unfold the future from them.

    The last states of encoder layer k are the first of forecaster layer k. The forecaster runs its layers in reverse
    order: the last one has no input, every other takes the hidden states of the one behind it. A 1×1 convolution over
    the hidden states of all forecaster layers together gives each frame. Frames are patched first: patch_size ×
    patch_size pixels become channels of one cell, padded with zeros (dry) where the grid does not divide, and cropped
    back at the end; so any grid size goes in and comes out.

    Args:
        channels: channels of a frame.
        hidden_channels: of each layer, from the frames inward.
        kernel_size: of the state-to-state convolutions.
        input_kernel_size: of the input-to-state convolutions.
        patch_size: pixels along each side of a patch.
        output_activation: 'identity', or 'sigmoid' for frames that are probabilities.
    """

    def __init__(
        self,
        channels: int,
        hidden_channels: Sequence[int],
        kernel_size: int,
        input_kernel_size: int,
        patch_size: int,
        output_activation: str = "identity",
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        patch_channels = channels * patch_size**2
        inputs = [patch_channels, *hidden_channels[:-1]]
        self.encoder = nn.ModuleList(
            ConvLSTM(c, hidden, kernel_size, input_kernel_size=input_kernel_size)
            for c, hidden in zip(inputs, hidden_channels, strict=True)
        )
        inputs = [*hidden_channels[1:], 0]
        self.forecaster = nn.ModuleList(
            ConvLSTM(c, hidden, kernel_size, input_kernel_size=input_kernel_size)
            for c, hidden in zip(inputs, hidden_channels, strict=True)
        )
        self.output = nn.Conv2d(sum(hidden_channels), patch_channels, kernel_size=1)
        self.output_activation = OUTPUT_ACTIVATIONS[output_activation]()

    def forward(self, frames: Tensor, lead_steps: int) -> Tensor:
        """Past frames (b, t, c, h, w), scaled, missing pixels 0 → forecast frames (b, lead_steps, c, h, w)."""
        b, _, channels, height, width = frames.shape
        states = []
        sequence: Tensor | None = self._to_patches(frames)
        for layer in self.encoder:
            sequence, state = layer(sequence)
            states.append(state)

        hidden_states: list[Tensor] = []
        sequence = None
        for layer, state in zip(reversed(self.forecaster), reversed(states), strict=True):
            sequence, _ = layer(sequence, state, steps=lead_steps if sequence is None else None)
            hidden_states.insert(0, sequence)

        patches = self.output(torch.cat(hidden_states, dim=2).flatten(0, 1))
        forecast: Tensor = functional.pixel_shuffle(patches, self.patch_size)[..., :height, :width]
        forecast = self.output_activation(forecast.type(torch.promote_types(forecast.dtype, torch.float32)))
        return forecast.reshape(b, lead_steps, channels, height, width)

    def _to_patches(self, frames: Tensor) -> Tensor:
        """(b, t, c, h, w) → (b, t, c·p·p, ⌈h/p⌉, ⌈w/p⌉)."""
        b, t, _, height, width = frames.shape
        p = self.patch_size
        padded = functional.pad(frames.flatten(0, 1), (0, -width % p, 0, -height % p))
        patches = functional.pixel_unshuffle(padded, p)
        return patches.reshape(b, t, *patches.shape[1:])
