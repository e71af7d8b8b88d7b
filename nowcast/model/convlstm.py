"""The convolutional LSTM of Shi et al. 2015 (arXiv 1506.04214), equation (3), as one layer over sequences of images."""

import torch
from torch import Tensor, nn

State = tuple[Tensor, Tensor]
"""Hidden state H and cell state C, each (b, hidden, h, w)."""


class ConvLSTM(nn.Module):
    """One ConvLSTM layer with peepholes: images to it are what vectors are to `torch.nn.LSTM`.

    Equation (3) of the paper, `*` a convolution with "same" padding and `∘` a product channel by channel:

        i_t = σ(W_xi * X_t + W_hi * H_{t−1} + W_ci ∘ C_{t−1} + b_i)
        f_t = σ(W_xf * X_t + W_hf * H_{t−1} + W_cf ∘ C_{t−1} + b_f)
        C_t = f_t ∘ C_{t−1} + i_t ∘ tanh(W_xc * X_t + W_hc * H_{t−1} + b_c)
        o_t = σ(W_xo * X_t + W_ho * H_{t−1} + W_co ∘ C_t + b_o)
        H_t = o_t ∘ tanh(C_t)

    The peepholes W_c· hold one number a channel, so a trained layer fits a grid of any size. Gates are stacked along
    the channels in the order i, f, g, o (as in `torch.nn.LSTM`), g being the tanh(…) of the third line.

    Args:
        input_channels: channels of X; 0 for a layer that has no input and is driven by its state alone.
        hidden_channels: channels of H and C.
        kernel_size: of the state-to-state convolution W_h·; odd.
        input_kernel_size: of the input-to-state convolution W_x·; odd; `kernel_size` where not given.
    """

    def __init__(self, input_channels: int, hidden_channels: int, kernel_size: int, input_kernel_size: int | None = None) -> None:
        super().__init__()
        self.input_channels = input_channels
        self.hidden_channels = hidden_channels
        gates = 4 * hidden_channels
        input_kernel_size = input_kernel_size or kernel_size
        if kernel_size % 2 == 0 or input_kernel_size % 2 == 0:
            raise ValueError(f"kernel sizes must be odd to keep the size of the grid, not {kernel_size} and {input_kernel_size}")
        self.from_input = (
            nn.Conv2d(input_channels, gates, input_kernel_size, padding="same", bias=False) if input_channels else None
        )
        self.from_hidden = nn.Conv2d(hidden_channels, gates, kernel_size, padding="same", bias=False)
        self.bias = nn.Parameter(torch.zeros(gates, 1, 1))
        self.peephole = nn.Parameter(torch.zeros(3, hidden_channels, 1, 1))
        """W_ci, W_cf, W_co."""

    def forward(self, frames: Tensor | None, state: State | None = None, steps: int | None = None) -> tuple[Tensor, State]:
        """Frames (b, t, c, h, w) → hidden states (b, t, hidden, h, w) and the last state (H, C).

        Args:
            frames: the sequence X; None for a layer without input, which then needs `state` and `steps`.
            state: (H, C) before the first step; zeros where not given.
            steps: number of steps of a layer without input.
        """
        if frames is not None:
            hidden, cell = state or self.zero_state(frames)
            from_input = self._input_gates(frames)
        elif state is not None and steps is not None:
            hidden, cell = state
            from_input = (self.bias,) * steps
        else:
            raise ValueError("a layer without input needs a state and a number of steps")
        outputs = []
        for x in from_input:
            hidden, cell = self.step(x, hidden, cell)
            outputs.append(hidden)
        return torch.stack(outputs, dim=1), (hidden, cell)

    def step(self, x: Tensor, hidden: Tensor, cell: Tensor) -> State:
        """One step of equation (3), from the input's share of the gates x = W_x· * X_t + b (b, 4 hidden, h, w)."""
        x_i, x_f, x_g, x_o = (x + self.from_hidden(hidden)).chunk(4, dim=1)
        w_ci, w_cf, w_co = self.peephole
        i = torch.sigmoid(x_i + w_ci * cell)
        f = torch.sigmoid(x_f + w_cf * cell)
        cell = f * cell + i * torch.tanh(x_g)
        o = torch.sigmoid(x_o + w_co * cell)
        return o * torch.tanh(cell), cell

    def zero_state(self, frames: Tensor) -> State:
        """The state before anything was seen: (b, hidden, h, w) of zeros, in float32 whatever the precision of the frames."""
        b, _, _, height, width = frames.shape
        dtype = torch.promote_types(frames.dtype, torch.float32)
        zeros = torch.zeros(b, self.hidden_channels, height, width, dtype=dtype, device=frames.device)
        return zeros, zeros

    def _input_gates(self, frames: Tensor) -> tuple[Tensor, ...]:
        """W_x· * X_t + b for all steps in one convolution: (b, t, c, h, w) → t tensors (b, 4 hidden, h, w)."""
        assert self.from_input is not None
        b, t = frames.shape[:2]
        gates: Tensor = self.from_input(frames.flatten(0, 1)) + self.bias
        return gates.reshape(b, t, *gates.shape[1:]).unbind(1)

    def extra_repr(self) -> str:
        return f"{self.input_channels} → {self.hidden_channels}"
