"""The next-frame model of Keras' examples (keras.io/examples/vision/conv_lstm), made causal."""

from collections.abc import Sequence
from itertools import zip_longest

import torch
from torch import Tensor, nn

from nowcast.model.activations import activation
from nowcast.model.convlstm import ConvLSTM
from nowcast.model.stacks import activate, roll_out

NextFrameState = tuple[list[tuple[Tensor, Tensor]], Tensor]
"""(H, C) of each layer, and the last layer's output for the two previous frames (b, 2, c', h, w).
"""


class NextFrame(nn.Module):
    """ConvLSTM layers with batch normalisation between them, followed by a 3×3×3 convolution; each
    output is the next frame.

    The layers are as in Keras' example (ReLU, no peepholes, Glorot and orthogonal initialisation,
    forget bias 1; batch normalisation with momentum 0.99 and ε 10⁻³). Its Conv3D pads time on both
    sides, so that the output for frame t sees frame t + 1, the very frame to forecast. Here all
    padding comes before the first frame, so that frame t + 1 is forecast from frames ≤ t. Later
    frames are forecast by feeding forecasts back, one at a time, together with the states.

    In training, batch normalisation uses the statistics of all frames of a pass: of the whole
    sequence if `guide` has every true frame, as in Keras, else of one frame at a time.

    Args:
        channels: channels of a frame.
        hidden_channels: hidden channels of each layer.
        kernel_sizes: of each layer, for both input and state.
        output_activation: 'sigmoid' for frames that are probabilities, or 'identity'.

    Example:
        >>> import torch
        >>> model = NextFrame(1, hidden_channels=[4], kernel_sizes=[3])
        >>> model(torch.rand(2, 5, 1, 8, 8), lead_steps=3).shape
        torch.Size([2, 3, 1, 8, 8])
    """

    def __init__(
        self,
        channels: int,
        hidden_channels: Sequence[int],
        kernel_sizes: Sequence[int],
        output_activation: str = "identity",
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            ConvLSTM(
                c, hidden, kernel, activation="relu", peephole="none",
                input_init="glorot", recurrent_init="orthogonal", unit_forget_bias=True,
            )
            for c, hidden, kernel in zip([channels, *hidden_channels[:-1]], hidden_channels,
            kernel_sizes, strict=True)
        )  # fmt: skip
        self.multiple = 1
        self.spreads = [kernel // 2 for kernel in kernel_sizes]
        """Pixels that one convolution of each layer reaches to each side."""
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(hidden, eps=1e-3, momentum=0.01) for hidden in hidden_channels[:-1]
        )
        self.output = nn.Conv3d(hidden_channels[-1], channels, kernel_size=3, padding=(0, 1, 1))
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.zeros_(self.output.bias)  # type: ignore[arg-type]
        self.output_activation = activation(output_activation)

    def forward(self, frames: Tensor, lead_steps: int, guide: Tensor | None = None) -> Tensor:
        """Past frames (b, t, c, h, w), scaled, missing pixels 0 → forecast frames (b, lead_steps,
        c, h, w).

        guide: true frames (b, lead_steps, c, h, w) to feed back instead of the forecast frames; NaN
            where the forecast is fed back.
        """
        return roll_out(self.follow, frames, None, lead_steps, guide)

    def halo(self, input_steps: int, lead_steps: int) -> int:
        """See `nowcast.model.stacks.Local`.

        The longest path from a past pixel to the last forecast pixel goes through every past state
        of the layer with the largest kernel, and for every forecast frame through all layers and
        the last convolution.
        """
        return (input_steps - 1) * max(self.spreads) + lead_steps * (sum(self.spreads) + 1)

    def follow(
        self, frames: Tensor, state: NextFrameState | None = None
    ) -> tuple[Tensor, NextFrameState]:
        """Frames (b, t, c, h, w) and the state before them, by default zeros → for each frame the
        next one, and the state after the last.
        """
        before = [None] * len(self.layers) if state is None else state[0]
        after = []
        sequence = frames
        for layer, norm, layer_state in zip_longest(self.layers, self.norms, before):
            sequence, layer_state = layer(sequence, layer_state)
            after.append(layer_state)
            if norm is not None:
                sequence = norm(sequence.flatten(0, 1)).unflatten(0, sequence.shape[:2])
        two_before = (
            sequence.new_zeros(sequence.shape[0], 2, *sequence.shape[2:])
            if state is None
            else state[1]
        )
        sequence = torch.cat([two_before, sequence], dim=1)
        output = self.output(sequence.transpose(1, 2)).transpose(1, 2)
        return activate(output, self.output_activation), (after, sequence[:, -2:])
