"""The encoder–forecaster of the HKO-7 benchmark: Shi et al. 2017 (arXiv 1706.03458)."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from nowcast.model.activations import activation
from nowcast.model.convlstm import ConvLSTM
from nowcast.model.stacks import CellStates, activate, pad_to_multiple, refuse_guide


class StridedEncoderForecaster(nn.Module):
    """ConvLSTM layers alternating with strided convolutions: an encoder on coarser and coarser
    grids, and a forecaster back to the full grid.

    In the encoder, convolution k makes the grid strides[k] times coarser and ConvLSTM k runs on its
    output. The last states of encoder layer k are the first states of forecaster layer k. The
    innermost forecaster layer has no input; a transposed convolution after each layer refines the
    grid for the next one. Two convolutions, 3×3 and 1×1, give the frames. Leaky ReLU (0.2) follows
    every convolution except the last. In the paper 480 × 480 pixels become 96 × 96, 32 × 32 and
    16 × 16. Other grids are padded with zeros (dry) to a multiple of the product of the strides and
    cropped back at the end.

    Args:
        channels: channels of a frame.
        hidden_channels: of each ConvLSTM, from the frames inward.
        outer_channels: between the frames and the first ConvLSTM, on the way in and on the way out.
        strides: of each convolution, from the frames inward.
        conv_kernel_sizes: of each convolution on the way in, from 3 to its stride + 2; on the way
            out all are stride + 2.
        kernel_size: of the convolutions within the ConvLSTMs.
        output_activation: 'identity', or 'sigmoid' for frames that are probabilities.
        output_channels: channels of a forecast frame; None: as many as in a past frame.

    Example:
        >>> import torch
        >>> model = StridedEncoderForecaster(
        ...     1, [4], outer_channels=2, strides=[2], conv_kernel_sizes=[3], kernel_size=3
        ... )
        >>> model(torch.rand(2, 5, 1, 8, 8), lead_steps=3).shape
        torch.Size([2, 3, 1, 8, 8])
    """

    def __init__(
        self,
        channels: int,
        hidden_channels: Sequence[int],
        outer_channels: int,
        strides: Sequence[int],
        conv_kernel_sizes: Sequence[int],
        kernel_size: int,
        output_activation: str = "identity",
        output_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.multiple, self.strides = math.prod(strides), list(strides)
        self.spread = kernel_size // 2
        """Cells that one convolution within a ConvLSTM reaches to each side."""
        outside = [outer_channels, *hidden_channels[1:]]
        """Input channels of encoder layer k."""
        self.downs = nn.ModuleList(
            nn.Conv2d(c, out, kernel, stride, padding=1)
            for c, out, kernel, stride in zip(
                [channels, *hidden_channels[:-1]], outside, conv_kernel_sizes, strides, strict=True
            )
        )
        self.encoder = nn.ModuleList(
            ConvLSTM(c, hidden, kernel_size)
            for c, hidden in zip(outside, hidden_channels, strict=True)
        )
        inputs = [*hidden_channels[:-1], 0]
        self.forecaster = nn.ModuleList(
            ConvLSTM(c, hidden, kernel_size)
            for c, hidden in zip(inputs, hidden_channels, strict=True)
        )
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(hidden, out, stride + 2, stride, padding=1)
            for hidden, out, stride in zip(
                hidden_channels, [outer_channels, *hidden_channels[:-1]], strides, strict=True
            )
        )
        self.smooth = nn.Conv2d(outer_channels, outer_channels, kernel_size=3, padding=1)
        self.output = nn.Conv2d(outer_channels, output_channels or channels, kernel_size=1)
        self.leaky_relu = nn.LeakyReLU(0.2)
        self.output_activation = activation(output_activation)

    def forward(self, frames: Tensor, lead_steps: int, guide: Tensor | None = None) -> Tensor:
        """Past frames (b, t, c, h, w), scaled, missing pixels 0 → forecast frames (b,
        lead_steps, c, h, w).
        """
        return self.unfold(self.encode(frames), frames[:, -1:], lead_steps, guide)

    def encode(self, frames: Tensor, states: CellStates | None = None) -> CellStates:
        """See `nowcast.model.stacks.Streaming`."""
        before: Sequence[tuple[Tensor, Tensor] | None] = states or [None] * len(self.encoder)
        after: CellStates = []
        sequence = pad_to_multiple(frames, self.multiple)
        for down, layer, state in zip(self.downs, self.encoder, before, strict=True):
            sequence, state = layer(self._each(down, sequence), state)
            after.append(state)
        return after

    def unfold(
        self, states: CellStates, newest: Tensor, lead_steps: int, guide: Tensor | None = None
    ) -> Tensor:
        """See `nowcast.model.stacks.Streaming`. Only the size of the newest frame is used."""
        refuse_guide(guide)
        height, width = newest.shape[-2:]
        unfolded: Tensor | None = None
        for layer, up, state in zip(
            reversed(self.forecaster), reversed(self.ups), reversed(states), strict=True
        ):
            hidden_states, _ = layer(
                unfolded, state, steps=lead_steps if unfolded is None else None
            )
            unfolded = self._each(up, hidden_states)
        assert unfolded is not None
        output = self.output(self.leaky_relu(self.smooth(unfolded.flatten(0, 1))))[
            ..., :height, :width
        ]
        forecast: Tensor = activate(output, self.output_activation).unflatten(
            0, (newest.shape[0], lead_steps)
        )
        return forecast

    def halo(self, input_steps: int, lead_steps: int) -> int:
        """See `nowcast.model.stacks.Local`.

        The path back from a forecast pixel at the edge of a tile: in to the innermost layer, which
        has the widest cells, through all steps there, and out again to the past frames.
        """
        reach = 1  # of the convolution `smooth`, in pixels; from here in cells of each layer
        for stride in self.strides:
            reach = reach // stride + 1 + self.spread
        reach += (input_steps + lead_steps - 1) * self.spread
        for stride in reversed(self.strides):
            reach = reach * stride + 1 + self.spread
        reach -= self.spread  # no ConvLSTM follows outside of the outermost
        return -(-reach // self.multiple) * self.multiple

    def _each(self, convolution: nn.Module, sequence: Tensor) -> Tensor:
        """Apply a convolution and leaky ReLU to every frame of a sequence (b, t, …)."""
        convolved: Tensor = self.leaky_relu(convolution(sequence.flatten(0, 1)))
        return convolved.reshape(*sequence.shape[:2], *convolved.shape[1:])
