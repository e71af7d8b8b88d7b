"""The next-frame model of Keras' examples (keras.io/examples/vision/conv_lstm), made causal."""

from collections.abc import Sequence
from itertools import zip_longest

import torch
from torch import Tensor, nn

from nowcast.model.activations import activation
from nowcast.model.convlstm import ConvLSTM
from nowcast.model.stacks import activate, roll_out

NextFrameState = tuple[list[tuple[Tensor, Tensor]], Tensor]
"""(H, C) of each layer, and what the last layer gave for the two frames before, (b, 2, c', h,
w).
"""


class NextFrame(nn.Module):
    """ConvLSTM layers with batch normalisation between them and a 3×3×3 convolution behind, each
    output the frame to come.

    The layers are Keras' (ReLU, no peepholes, Glorot and orthogonal initialisation, forget bias 1;
    batch normalisation of momentum 0.99 and ε 10⁻³). Their Conv3D pads time on both sides, so that
    its output for frame t knows frame t + 1, which is what it is to forecast; here both zeros are
    before the first frame, and frame t + 1 is forecast from frames ≤ t. Frames further ahead come
    from feeding forecasts back, one at a time, with the states carried along.

    While training, batch normalisation takes its statistics over all frames of a pass: with every
    true frame in `guide` over the whole sequence, as in Keras, else over one frame at a time.

    Args:
        channels: channels of a frame.
        hidden_channels: of each layer.
        kernel_sizes: of each layer, for input and state alike.
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
        """Pixels that one convolution of each layer looks to each side."""
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

        guide: frames (b, lead_steps, c, h, w) to feed back in place of the forecast ones, NaN where
        none.
        """
        return roll_out(self.follow, frames, None, lead_steps, guide)

    def halo(self, input_steps: int, lead_steps: int) -> int:
        """See `nowcast.model.stacks.Local`.

        The longest way from a past pixel to the last forecast one goes through every past state of
        the layer of the largest kernel, and for every forecast frame through all layers and the
        last convolution.
        """
        return (input_steps - 1) * max(self.spreads) + lead_steps * (sum(self.spreads) + 1)

    def follow(
        self, frames: Tensor, state: NextFrameState | None = None
    ) -> tuple[Tensor, NextFrameState]:
        """Frames (b, t, c, h, w) → for each the frame to follow it, and the state after the
        last; zeros where none is given.
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
