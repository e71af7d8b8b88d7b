"""One step of a convolutional LSTM: equation (3) of Shi et al. 2015 (arXiv 1506.04214) and its
common variants.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict, cast

import torch
from torch import Tensor, nn

from nowcast.model.activations import Function, activation
from nowcast.model.convolution import (
    Padding,
    Shape,
    Size,
    convolve,
    grid_after,
    per_axis,
    unit,
    whole,
)

CellState = tuple[Tensor, Tensor]
"""Hidden state H (b, proj or hidden, *grid) and cell state C (b, hidden, *grid)."""

Peephole = Literal["none", "channel", "pixel"]


def _uniform(weight: Tensor) -> None:
    bound = 1 / math.sqrt(weight[0].numel())
    nn.init.uniform_(weight, -bound, bound)


INITIALISATIONS: dict[str, Callable[[Tensor], object]] = {
    "uniform": _uniform,
    "glorot": nn.init.xavier_uniform_,
    "orthogonal": nn.init.orthogonal_,
}
"""'uniform': within ±1/√(fan-in), as in PyTorch's convolutions; 'glorot' and 'orthogonal': as in
Keras' layers.
"""


@dataclass(frozen=True)
class Variant:
    """The variant of a ConvLSTM; `ConvLSTM2d` explains each field.

    Example:
        >>> Variant(peephole="none").padding
        'same'
    """

    bias: bool = True
    proj_size: int = 0
    stride: Size = 1
    padding: Padding = "same"
    dilation: Size = 1
    activation: str | Function = "tanh"
    recurrent_activation: str | Function = "sigmoid"
    peephole: Peephole = "channel"
    unit_forget_bias: bool = False
    input_init: str = "uniform"
    recurrent_init: str = "uniform"

    def __post_init__(self) -> None:
        if self.padding not in ("same", "valid"):
            raise ValueError(f"padding: 'same' or 'valid', not {self.padding!r}.")
        if self.peephole not in ("none", "channel", "pixel"):
            raise ValueError(f"peephole: 'none', 'channel' or 'pixel', not {self.peephole!r}.")
        for name in ("input_init", "recurrent_init"):
            if getattr(self, name) not in INITIALISATIONS:
                raise ValueError(
                    f"{name}: {getattr(self, name)!r} is not one of {', '.join(INITIALISATIONS)}."
                )
        if self.unit_forget_bias and not self.bias:
            raise ValueError("unit_forget_bias: needs bias=True.")
        if whole(self.proj_size, "proj_size") < 0:
            raise ValueError(f"proj_size: must be 0 (none) or more, not {self.proj_size}.")

    @property
    def named_activations(self) -> tuple[str, str]:
        """Both activations of a variant that names them."""
        return cast(str, self.activation), cast(str, self.recurrent_activation)


class VariantOptions(TypedDict, total=False):
    """The fields of `Variant` as keywords."""

    bias: bool
    proj_size: int
    stride: Size
    padding: Padding
    dilation: Size
    activation: str | Function
    recurrent_activation: str | Function
    peephole: Peephole
    unit_forget_bias: bool
    input_init: str
    recurrent_init: str


class ConvLSTMCell(nn.Module):
    """One layer of a ConvLSTM in one direction: its weights and its step.

        i_t = σ(W_xi * X_t + W_hi * H_{t−1} + W_ci ∘ C_{t−1} + b_i)
        f_t = σ(W_xf * X_t + W_hf * H_{t−1} + W_cf ∘ C_{t−1} + b_f)
        C_t = f_t ∘ C_{t−1} + i_t ∘ tanh(W_xc * X_t + W_hc * H_{t−1} + b_c)
        o_t = σ(W_xo * X_t + W_ho * H_{t−1} + W_co ∘ C_t + b_o)
        H_t = o_t ∘ tanh(C_t)                                   (times W_hr if proj_size is given)

    Gates are stacked along the channels in the order i, f, g, o (as in `torch.nn.LSTM`); g is the
    tanh(…) of the third line. `ConvLSTM2d` documents the arguments.

    Attributes:
        weight_ih: W_x·, (4 hidden, input, *input kernel); None if input_channels is 0.
        weight_hh: W_h·, (4 hidden, proj or hidden, *kernel).
        bias: (4 hidden), or None.
        peephole: W_ci, W_cf, W_co, (3, hidden, *ones or *grid), or None.
        weight_hr: W_hr, (proj, hidden, *ones); None without projection.

    Example:
        >>> cell = ConvLSTMCell(1, 4, 3)
        >>> cell.weight_ih.shape, cell.bias.shape
        (torch.Size([16, 1, 3, 3]), torch.Size([16]))
    """

    weight_ih: nn.Parameter | None
    bias: nn.Parameter | None
    peephole: nn.Parameter | None
    weight_hr: nn.Parameter | None

    def __init__(
        self,
        input_channels: int,
        hidden_channels: int,
        kernel_size: Size,
        input_kernel_size: Size | None = None,
        *,
        dimensions: int = 2,
        grid_size: Size | None = None,
        variant: Variant = Variant(),
    ) -> None:
        super().__init__()
        input_channels, hidden_channels = (
            whole(input_channels, "input_channels"),
            whole(hidden_channels, "hidden_channels"),
        )
        if hidden_channels < 1 or input_channels < 0:
            raise ValueError(
                "input_channels must be 0 or more and hidden_channels 1 or more, not"
                f" {input_channels}, {hidden_channels}."
            )
        self.input_channels, self.hidden_channels, self.dimensions, self.variant = (
            input_channels,
            hidden_channels,
            dimensions,
            variant,
        )
        kernel = per_axis(kernel_size, dimensions, "kernel_size")
        self.input_kernel = (
            kernel
            if input_kernel_size is None
            else per_axis(input_kernel_size, dimensions, "input_kernel_size")
        )
        self.input_shape = Shape(
            per_axis(variant.stride, dimensions, "stride"),
            variant.padding,
            per_axis(variant.dilation, dimensions, "dilation"),
        )
        self.output_channels = whole(variant.proj_size, "proj_size") or hidden_channels
        self.activation, self.recurrent_activation = (
            activation(variant.activation),
            activation(variant.recurrent_activation),
        )

        gates, ones = 4 * hidden_channels, (1,) * dimensions
        self.weight_ih = (
            nn.Parameter(torch.empty(gates, input_channels, *self.input_kernel))
            if input_channels
            else None
        )
        self.weight_hh = nn.Parameter(torch.empty(gates, self.output_channels, *kernel))
        self.bias = nn.Parameter(torch.empty(gates)) if variant.bias else None
        self.weight_hr = (
            nn.Parameter(torch.empty(variant.proj_size, hidden_channels, *ones))
            if variant.proj_size
            else None
        )
        self.grid_size: tuple[int, ...] | None = None
        if variant.peephole == "none":
            self.peephole = None
        elif variant.peephole == "channel":
            self.peephole = nn.Parameter(torch.empty(3, hidden_channels, *ones))
        else:
            if grid_size is None:
                raise ValueError(
                    "grid_size: peephole='pixel' has a weight for every pixel; give the size of the"
                    " frames."
                )
            grid = per_axis(grid_size, dimensions, "grid_size")
            self.grid_size = (
                grid_after(grid, self.input_kernel, self.input_shape) if input_channels else grid
            )
            self.peephole = nn.Parameter(torch.empty(3, hidden_channels, *self.grid_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise all weights again. Biases and peepholes start at 0; with unit_forget_bias
        the forget gate's bias starts at 1.
        """
        if self.weight_ih is not None:
            INITIALISATIONS[self.variant.input_init](self.weight_ih)
        INITIALISATIONS[self.variant.recurrent_init](self.weight_hh)
        if self.weight_hr is not None:
            INITIALISATIONS[self.variant.input_init](self.weight_hr)
        if self.peephole is not None:
            nn.init.zeros_(self.peephole)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
            if self.variant.unit_forget_bias:
                nn.init.ones_(self.bias[self.hidden_channels : 2 * self.hidden_channels])

    def forward(
        self,
        frame: Tensor | None,
        state: CellState | None = None,
        recurrent_mask: Tensor | None = None,
    ) -> CellState:
        """One frame (b, c, *grid) and the state before it, by default zeros → the state after it.

        recurrent_mask: as in `step`. Errors: ValueError, as in `check`.
        """
        self.check(None if frame is None else frame.shape, state)
        x = (
            self.gates_of_bias(cast(CellState, state)[0].dtype)
            if frame is None
            else self.gates_of_input(frame)
        )
        hidden, cell = self.zero_state(x) if state is None else state
        return self.step(
            x,
            hidden.to(x.dtype),
            cell.to(torch.promote_types(cell.dtype, torch.float32)),
            recurrent_mask,
        )

    def check(self, frame: Sequence[int] | None, state: CellState | None) -> None:
        """Check that a frame of shape (b, c, *grid) and a state fit each other and the cell.

        Errors: ValueError if not.
        """
        if state is not None and not (
            isinstance(state, tuple | list) and len(state) == 2 and all(map(torch.is_tensor, state))
        ):
            raise ValueError("state: give both, as (h_0, c_0), not one of them.")
        if (frame is None) != (self.input_channels == 0):
            raise ValueError(
                f"a cell of {self.input_channels} input channels takes"
                f" {'no frame' if frame is not None else 'a frame'}."
            )
        if frame is not None:
            if len(frame) != self.dimensions + 2 or frame[1] != self.input_channels:
                raise ValueError(
                    f"frame: must be (b, {self.input_channels}, *grid) with {self.dimensions} grid"
                    f" axes, not {tuple(frame)}."
                )
            b, grid = frame[0], grid_after(frame[2:], self.input_kernel, self.input_shape)
        elif state is not None:
            b, grid = state[0].shape[0], tuple(state[0].shape[2:])
        else:
            raise ValueError("a layer without input needs a state.")
        if self.grid_size is not None and grid != self.grid_size:
            raise ValueError(
                f"peephole='pixel': its weights are for states of {self.grid_size} pixels, but"
                f" these have {grid}. Set grid_size to the size of the frames, or use"
                " peephole='channel', which fits any grid."
            )
        parts = (
            ()
            if state is None
            else zip(
                state, ("h_0", "c_0"), (self.output_channels, self.hidden_channels), strict=True
            )
        )
        for part, name, channels in parts:
            if part.shape != (b, channels, *grid):
                raise ValueError(
                    f"state: {name} of a layer must be (b, c, *grid) = {(b, channels, *grid)},"
                    f" not {tuple(part.shape)}."
                )

    def gates_of_input(self, frames: Tensor) -> Tensor:
        """W_x· * X + b: (n, c, *grid) → (n, 4 hidden, *grid of the state); n may count all steps
        of all sequences.
        """
        assert self.weight_ih is not None
        return convolve(frames, self.weight_ih, self.bias, self.input_shape)

    def gates_of_bias(self, dtype: torch.dtype) -> Tensor:
        """Only b, for a layer without input: (1, 4 hidden, *ones)."""
        bias = (
            self.weight_hh.new_zeros(4 * self.hidden_channels) if self.bias is None else self.bias
        )
        return bias.to(dtype).reshape(1, -1, *(1,) * self.dimensions)

    def step(
        self, x: Tensor, hidden: Tensor, cell: Tensor, recurrent_mask: Tensor | None = None
    ) -> CellState:
        """One step of equation (3). x = W_x· * X_t + b (b, 4 hidden, *grid) is the input's part of
        the gates.

        recurrent_mask: (b, proj or hidden, *grid), multiplied with H_{t−1} before the convolution.
        """
        seen = hidden if recurrent_mask is None else hidden * recurrent_mask
        x_i, x_f, x_g, x_o = (
            x + convolve(seen, self.weight_hh, None, unit(self.dimensions))
        ).chunk(4, dim=1)
        w_ci, w_cf, w_co = self.peephole if self.peephole is not None else (None, None, None)
        i = self.recurrent_activation(x_i if w_ci is None else x_i + w_ci * cell)
        f = self.recurrent_activation(x_f if w_cf is None else x_f + w_cf * cell)
        cell = f * cell + i * self.activation(x_g)
        o = self.recurrent_activation(x_o if w_co is None else x_o + w_co * cell)
        hidden = (o * self.activation(cell)).to(x.dtype)
        return (
            hidden
            if self.weight_hr is None
            else convolve(hidden, self.weight_hr, None, unit(self.dimensions))
        ), cell

    def zero_state(self, x: Tensor) -> CellState:
        """Return the initial state for gates (b, 4 hidden, *grid): H in their precision, C in
        float32 or wider.
        """
        b, _, *grid = x.shape
        dtype = torch.promote_types(x.dtype, torch.float32)
        hidden = torch.zeros(b, self.output_channels, *grid, dtype=x.dtype, device=x.device)
        return hidden, torch.zeros(b, self.hidden_channels, *grid, dtype=dtype, device=x.device)

    def extra_repr(self) -> str:
        kernels: list[Sequence[int]] = [
            w.shape[2:] for w in (self.weight_ih, self.weight_hh) if w is not None
        ]
        sizes = " and ".join("×".join(map(str, k)) for k in dict.fromkeys(map(tuple, kernels)) if k)
        return f"{self.input_channels} → {self.hidden_channels}" + (f", {sizes}" if sizes else "")
