"""The convolutional LSTM of Shi et al. 2015 (arXiv 1506.04214) as a layer: `torch.nn.LSTM` for
images.
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from inspect import signature
from operator import index
from typing import Any, ClassVar, Unpack, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from nowcast.model.cell import CellState, ConvLSTMCell, Variant, VariantOptions
from nowcast.model.convolution import Size, as_size, whole
from nowcast.model.unroll import unroll

Stacked = Tensor | tuple[Tensor, ...]
"""States of all layers and directions in the order of `torch.nn.LSTM`: one tensor (layers ·
directions, b, c, *grid), or a tuple of tensors (b, c, *grid) if the layers differ in size.
"""


_SHOWN = (
    "batch_first", "dropout", "bidirectional", "input_dropout", "recurrent_dropout",
    "return_sequences", "return_state", "go_backwards", "stateful",
)  # fmt: skip


class ConvLSTMNd(nn.Module):
    """The base class of ConvLSTM1d, ConvLSTM2d and ConvLSTM3d, which differ only in the number of
    axes of the grid.
    """

    dimensions: ClassVar[int]

    def __init__(
        self,
        input_channels: int,
        hidden_channels: int | Sequence[int],
        kernel_size: Size | list[Size],
        num_layers: int | None = None,
        *,
        variant: Variant | None = None,
        input_kernel_size: Size | list[Size] | None = None,
        batch_first: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        grid_size: Size | None = None,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = True,
        return_state: bool = True,
        go_backwards: bool = False,
        stateful: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Unpack[VariantOptions],
    ) -> None:
        super().__init__()
        hidden = [
            whole(size, "hidden_channels")
            for size in _each_layer(hidden_channels, num_layers, "hidden_channels")
        ]
        kernels = _each_layer(kernel_size, len(hidden), "kernel_size")
        input_kernels = (
            kernels
            if input_kernel_size is None
            else _each_layer(input_kernel_size, len(hidden), "input_kernel_size")
        )
        for name, share in (
            ("dropout", dropout),
            ("input_dropout", input_dropout),
            ("recurrent_dropout", recurrent_dropout),
        ):
            if not 0 <= share < 1:
                raise ValueError(f"{name}: must be at least 0 and below 1, not {share}.")
        if dropout and len(hidden) == 1:
            warnings.warn(
                f"dropout={dropout}: acts between layers, so it does nothing with one layer; use"
                " input_dropout, or more layers.",
                stacklevel=2,
            )
        if bidirectional and (go_backwards or stateful):
            raise ValueError(
                "bidirectional: reads the whole sequence from both ends, so it cannot be combined"
                " with go_backwards or stateful."
            )
        self.input_channels, self.hidden_channels, self.num_layers = (
            whole(input_channels, "input_channels"),
            hidden,
            len(hidden),
        )
        self.batch_first, self.bidirectional, self.dropout = batch_first, bidirectional, dropout
        self.input_dropout, self.recurrent_dropout = input_dropout, recurrent_dropout
        self.return_sequences, self.return_state = return_sequences, return_state
        self.go_backwards, self.stateful = go_backwards, stateful
        self.variant = _variant(variant, options)
        self.directions = 2 if bidirectional else 1
        self.cells = nn.ModuleList()
        """One cell for each layer and direction, in the order of the states of `torch.nn.LSTM`."""
        channels, grid = self.input_channels, grid_size
        for size, kernel, input_kernel in zip(hidden, kernels, input_kernels, strict=True):
            for _ in range(self.directions):
                cell = ConvLSTMCell(
                    channels,
                    size,
                    kernel,
                    input_kernel,
                    dimensions=self.dimensions,
                    grid_size=grid,
                    variant=self.variant,
                )
                self.cells.append(cell)
            channels, grid = cell.output_channels * self.directions, cell.grid_size
        self._carried: list[CellState] | None = None
        if device is not None or dtype is not None:
            self.to(device=device, dtype=dtype)

    def forward(
        self,
        frames: Tensor | PackedSequence | None,
        state: tuple[Stacked, Stacked] | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        steps: int | None = None,
        effective_steps: Sequence[int] | None = None,
    ) -> Any:
        """Frames (b, t, c, *grid) → `(output, (h_n, c_n))`, output (b, t, c', *grid'), c' =
        directions · (proj or hidden).

        Args:
            frames: (b, t, c, *grid); (t, b, c, *grid) with batch_first=False; (t, c, *grid) for one
                sequence; or a PackedSequence. With `steps`, one frame (b, c, *grid) to repeat, or
                None for a layer without input.
            state: (h_0, c_0) in the form of (h_n, c_n), without b for one sequence. By default
                zeros, or the state that a stateful layer carries.
            lengths: number of frames of each sequence, from 1 to t; later outputs are 0, and
                (h_n, c_n) are the states at its end.
            steps: number of steps of a repeated frame, or of a layer without input.
            effective_steps: which steps to return, counted from 0.

        Errors: ValueError if frames, state, lengths or steps do not fit the layer.
        """
        if isinstance(frames, torch.fx.Proxy):
            raise ValueError(
                "torch.fx.symbolic_trace cannot trace a recurrent layer; make it a leaf, or use"
                " torch.export."
            )
        if (frames is None) != (self.input_channels == 0):
            raise ValueError(
                f"frames: a layer of {self.input_channels} input channels takes"
                f" {'no' if frames is not None else 'its'} frames."
            )
        if state is not None and not (
            isinstance(state, tuple | list)
            and len(state) == 2
            and all(part is not None for part in state)
        ):
            raise ValueError("state: give both, as (h_0, c_0), not one of them.")
        if not self.stateful:
            self._carried = None
        carries = state is None and self._carried is not None
        if frames is None and (steps is None or (state is None and not carries)):
            raise ValueError("a layer without input needs a state and a number of steps.")
        sequence, ends, batched = self._time_major(frames, lengths, steps)
        if state is not None and frames is None:
            batched = state[0][0].ndim > self.dimensions + 1
        count = cast(Tensor, sequence).shape[0] if steps is None else whole(steps, "steps")
        self._refuse_steps(effective_steps, count, isinstance(frames, PackedSequence))
        states = self._split(state, batched)
        if self.go_backwards and sequence is not None:
            sequence = _reverse(sequence, ends)

        finals: list[CellState] = []
        for layer in range(self.num_layers):
            if layer:
                sequence = functional.dropout(cast(Tensor, sequence), self.dropout, self.training)
            outputs = []
            for k in range(layer * self.directions, (layer + 1) * self.directions):
                output, final = self._run(k, sequence, states[k], count, ends)
                outputs.append(output)
                finals.append(final)
            sequence = torch.cat(outputs, dim=2) if self.bidirectional else outputs[0]
        if self.stateful:
            self._carried = [
                (hidden.detach().clone(), cell.detach().clone()) for hidden, cell in finals
            ]
        packed = frames if isinstance(frames, PackedSequence) else None
        return self._as_asked(
            cast(Tensor, sequence), finals, packed, ends, batched, effective_steps
        )

    def reset_state(self) -> None:
        """Forget the state that a stateful layer carries from call to call."""
        self._carried = None

    def _run(
        self,
        k: int,
        sequence: Tensor | None,
        state: CellState | None,
        steps: int,
        lengths: Tensor | None,
    ) -> tuple[Tensor, CellState]:
        """Run cell k over frames (t, b, c, *grid), or (1, b, c, *grid) to repeat → outputs in time
        order, and the state after the last step.
        """
        cell = cast(ConvLSTMCell, self.cells[k])
        try:
            cell.check(None if sequence is None else sequence.shape[1:], state)
        except ValueError as error:
            if self._carried is None or state is not self._carried[k]:
                raise
            raise ValueError(
                f"{error} A stateful layer keeps its state from call to call until reset_state()."
            ) from None
        backwards = k % self.directions == 1
        if sequence is not None and backwards:
            sequence = _reverse(sequence, lengths)
        if sequence is not None and self.training and self.input_dropout:
            sequence = sequence * functional.dropout(
                torch.ones_like(sequence[0]), self.input_dropout
            )
        recurrent_dropout = self.recurrent_dropout if self.training else 0.0
        output, final = unroll(cell, sequence, steps, state, lengths, recurrent_dropout)
        return _reverse(output, lengths) if backwards else output, final

    def _time_major(
        self,
        frames: Tensor | PackedSequence | None,
        lengths: Tensor | Sequence[int] | None,
        steps: int | None,
    ) -> tuple[Tensor | None, Tensor | None, bool]:
        """Return the frames as (t, b, c, *grid), or (1, b, c, *grid) of a frame to repeat; the
        length of each sequence; and whether the frames have a batch axis.
        """
        if steps is not None and steps < 1:
            raise ValueError(f"steps: 1 or more, not {steps}.")
        packed = isinstance(frames, PackedSequence)
        if (packed and (steps is not None or lengths is not None)) or (
            steps is not None and lengths is not None
        ):
            raise ValueError(
                "steps, lengths: a PackedSequence has its own lengths, and a repeated frame always"
                " runs for all steps."
            )
        if frames is None:
            return None, None, True
        if isinstance(frames, PackedSequence):
            sequence, lengths = pad_packed_sequence(frames)
            return sequence, lengths.to(sequence.device), True
        axes = self.dimensions + (2 if steps is None else 1)
        if frames.ndim not in (axes, axes + 1):
            kind = (
                "a sequence (b, t, c, *grid)"
                if steps is None
                else "one frame (b, c, *grid) to repeat"
            )
            raise ValueError(
                f"frames: must be {kind} with {self.dimensions} spatial axes, not a tensor of shape"
                f" {tuple(frames.shape)}."
            )
        batched = frames.ndim > axes
        if steps is not None:
            sequence = (frames if batched else frames[None])[None]
        elif batched:
            sequence = frames.transpose(0, 1) if self.batch_first else frames
        else:
            sequence = frames[:, None]
        if sequence.shape[2] != self.input_channels:
            raise ValueError(
                f"frames: must have {self.input_channels} channels, not {sequence.shape[2]}, in"
                f" {tuple(frames.shape)}."
            )
        t, _, *sizes = sequence.shape
        if 0 in (t, *sizes):  # a batch may be empty
            raise ValueError(f"frames: a tensor of shape {tuple(frames.shape)} is empty.")
        dtype = next(self.parameters()).dtype
        device = sequence.device.type
        autocast = (
            device != "meta" and torch.is_autocast_enabled(device) and sequence.is_floating_point()
        )
        if sequence.dtype != dtype and not autocast:
            raise ValueError(
                f"frames: are {sequence.dtype}, but the weights are {dtype}; convert them with"
                f" frames.to({dtype})."
            )
        if lengths is None:
            return sequence, None, batched
        ends = torch.as_tensor(lengths, device=sequence.device)
        whole_steps = not ends.is_floating_point()
        ends = ends.long()  # 8-bit numbers would be taken for a mask
        known = (
            not torch.compiler.is_compiling()
            and type(ends) is Tensor
            and ends.device.type != "meta"
            and ends.numel() > 0
        )
        if (
            not whole_steps
            or ends.shape != sequence.shape[1:2]
            or (known and (ends.min() < 1 or ends.max() > sequence.shape[0]))
        ):
            raise ValueError(
                f"lengths: give {sequence.shape[1]} numbers from 1 to {sequence.shape[0]}, one per"
                f" sequence, not {lengths}."
            )
        return _zero_past(sequence, ends), ends, batched

    def _refuse_steps(
        self, effective_steps: Sequence[int] | None, count: int, packed: bool
    ) -> None:
        """Errors: ValueError if these steps cannot be returned."""
        if effective_steps is None:
            return
        if packed or not self.return_sequences:
            raise ValueError(
                "effective_steps: not available for a PackedSequence or with"
                " return_sequences=False."
            )
        whole = all(
            hasattr(step, "__index__") and not isinstance(step, bool) for step in effective_steps
        )
        if not whole or not all(0 <= index(step) < count for step in effective_steps):
            raise ValueError(
                f"effective_steps: must be from 0 to {count - 1} for {count} steps, not"
                f" {list(effective_steps)}."
            )

    def _split(
        self, state: tuple[Stacked, Stacked] | None, batched: bool
    ) -> list[CellState | None]:
        """Return the state of each cell; by default what the layer carries."""
        if state is None:
            if self._carried is None:
                return [None] * len(self.cells)
            device = next(self.parameters()).device  # the layer may have moved since
            self._carried = [
                (_usable(h.to(device)), _usable(c.to(device))) for h, c in self._carried
            ]
            return [*self._carried]
        hidden, cell = (tuple(part) for part in state)
        if len(hidden) != len(self.cells) or len(cell) != len(self.cells):
            raise ValueError(
                f"state: h_0 and c_0 must hold {len(self.cells)} layers and directions, not"
                f" {len(hidden)} and {len(cell)}."
            )
        pairs = [(_usable(h), _usable(c)) for h, c in zip(hidden, cell, strict=True)]
        return [(h, c) if batched else (h[None], c[None]) for h, c in pairs]

    def _as_asked(
        self,
        output: Tensor,
        finals: list[CellState],
        packed: PackedSequence | None,
        ends: Tensor | None,
        batched: bool,
        effective_steps: Sequence[int] | None,
    ) -> Any:
        """Return the result of `forward` in the form of its input."""
        if ends is not None:
            output = _zero_past(output, ends)
        if effective_steps is not None:
            output = output[[index(step) for step in effective_steps]]
        result: Tensor | PackedSequence
        if not self.return_sequences:
            last = torch.cat([hidden for hidden, _ in finals[-self.directions :]], dim=1)
            result = last if batched else last[0]
        elif packed is not None:
            order = (
                torch.arange(output.shape[1])
                if packed.sorted_indices is None
                else packed.sorted_indices
            )
            rows = pack_padded_sequence(output[:, order], cast(Tensor, ends)[order].cpu())
            result = PackedSequence(
                rows.data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices
            )
        elif not batched:
            result = output[:, 0]
        else:
            result = output.transpose(0, 1) if self.batch_first else output
        if not self.return_state:
            return result
        parts = [
            tuple(part if batched else part[0] for part in parts)
            for parts in zip(*finals, strict=True)
        ]
        return result, tuple(
            torch.stack(part) if all(p.shape == part[0].shape for p in part) else part
            for part in parts
        )

    def extra_repr(self) -> str:
        """Return the arguments that differ from the defaults."""
        hidden = (
            self.hidden_channels if len(set(self.hidden_channels)) > 1 else self.hidden_channels[0]
        )
        shown = [
            f"{self.input_channels}, {hidden}",
            *([f"num_layers={self.num_layers}"] if self.num_layers > 1 else []),
        ]
        defaults = {
            name: p.default for name, p in signature(ConvLSTMNd.__init__).parameters.items()
        } | vars(Variant())
        for name in (*_SHOWN, *vars(self.variant)):
            value = getattr(self, name, None) if name in _SHOWN else getattr(self.variant, name)
            if value != defaults[name]:
                shown.append(f"{name}={getattr(value, '__name__', repr(value))}")
        return ", ".join(shown)


class ConvLSTM1d(ConvLSTMNd):
    """`ConvLSTM2d` over grids of one axis: (b, t, c, w).

    Example:
        >>> output, (h, c) = ConvLSTM1d(1, 4, 3)(torch.rand(2, 5, 1, 8))
        >>> output.shape, h.shape
        (torch.Size([2, 5, 4, 8]), torch.Size([1, 2, 4, 8]))
    """

    dimensions = 1


class ConvLSTM2d(ConvLSTMNd):
    """Stacked ConvLSTM layers over sequences of images (b, t, c, h, w): `output, (h_n, c_n) =
    layer(frames, (h_0, c_0))`.

    Each layer takes the hidden states of the layer before it and computes equation (3) of the
    paper, where `*` is a convolution and `∘` a product:

        i_t = σ(W_xi * X_t + W_hi * H_{t−1} + W_ci ∘ C_{t−1} + b_i)
        f_t = σ(W_xf * X_t + W_hf * H_{t−1} + W_cf ∘ C_{t−1} + b_f)
        C_t = f_t ∘ C_{t−1} + i_t ∘ tanh(W_xc * X_t + W_hc * H_{t−1} + b_c)
        o_t = σ(W_xo * X_t + W_ho * H_{t−1} + W_co ∘ C_t + b_o)
        H_t = o_t ∘ tanh(C_t)

    Weights are in `cells`, one `ConvLSTMCell` for each layer and direction. A size is one number,
    or a tuple with one number per axis; a list gives one size per layer. Unlike `torch.nn.LSTM`,
    batch_first is the default and a gate has one bias.

    Args:
        input_channels: channels of X; 0 for a layer without input, driven only by its state.
        hidden_channels: channels of H and C; a list gives one number per layer.
        kernel_size: of the state-to-state convolution W_h·, which always keeps the size of the
            grid.
        num_layers: number of stacked layers; by default the length of a list, or 1.
        variant: the kind of layer, as `Variant(bias=False, stride=2)`; or its fields as keywords:
            bias, proj_size, stride, padding, dilation, activation, recurrent_activation, peephole,
            unit_forget_bias, input_init and recurrent_init. Not both.
        input_kernel_size: of the input-to-state convolution W_x·; by default `kernel_size`.
        bias: whether gates have a bias.
        batch_first: whether sequences are (b, t, …) or (t, b, …). States are never batch first.
        dropout: dropout rate on the output of each layer except the last, drawn for each step.
        bidirectional: whether a second cell in each layer reads the sequence from its end; its
            channels follow those of the first.
        proj_size: channels of H after a 1×1 convolution (arXiv 1402.1128); 0 for none.
        stride, padding, dilation: of the input-to-state convolution; padding is 'same' (the grid
            divided by the stride, rounded up) or 'valid' (no padding).
        activation: of the cell: 'tanh', 'relu', 'identity', … or any function of a tensor.
        recurrent_activation: of the gates: 'sigmoid', 'hard_sigmoid' (max(0, min(1, x/6 + 1/2)), as
            in Keras 3), … or any function; Keras 2 had `lambda x: (0.2 * x + 0.5).clamp(0, 1)`.
        peephole: W_c·: 'channel' (one number per channel, so that the layer fits any grid), 'pixel'
            (one number per channel and pixel, as in the paper's equation), or 'none'.
        grid_size: height and width of the frames; needed for peephole='pixel'.
        unit_forget_bias: whether the forget gate's bias starts at 1 instead of 0.
        input_init, recurrent_init: initialisation of W_x· and W_h·: 'uniform' (±1/√fan-in),
            'glorot', or 'orthogonal'. Keras has 'glorot' and 'orthogonal'.
        input_dropout, recurrent_dropout: dropout rates on X and H_{t−1} before their convolutions,
            in training; one mask for a whole sequence (arXiv 1512.05287) and for all gates.
        return_sequences: whether output holds every step, or only the last, (b, c, h, w).
        return_state: whether to return `(output, (h_n, c_n))` or only output.
        go_backwards: whether to read the sequence from its last frame to its first; output is in
            the order of reading.
        stateful: whether a call continues from the state of the previous call, until
            `reset_state()`; gradients do not cross calls.

    In place of Keras' regularisers and constraints use PyTorch's weight decay for a group of
    parameters, and a parametrization of a weight:

        torch.optim.AdamW([
            {"params": layer.cells[0].weight_hh, "weight_decay": 1e-3},
            {"params": layer.cells[0].weight_ih},
        ])
        torch.nn.utils.parametrizations.spectral_norm(layer.cells[0], "weight_hh")

    Example:
        >>> output, (h, c) = ConvLSTM2d(1, 4, 3)(torch.rand(2, 5, 1, 8, 9))
        >>> output.shape, c.shape
        (torch.Size([2, 5, 4, 8, 9]), torch.Size([1, 2, 4, 8, 9]))
    """

    dimensions = 2


class ConvLSTM3d(ConvLSTMNd):
    """`ConvLSTM2d` over grids of three axes: (b, t, c, d, h, w).

    Example:
        >>> ConvLSTM3d(1, 4, 3)(torch.rand(2, 5, 1, 4, 4, 4))[0].shape
        torch.Size([2, 5, 4, 4, 4, 4])
    """

    dimensions = 3


ConvLSTM = ConvLSTM2d


def _each_layer(value: Any, layers: int | None, name: str) -> list[Any]:
    """Return one value per layer: a list unchanged, anything else repeated.

    Errors: ValueError if the length of a list is not the number of layers.
    """
    layers = None if layers is None else whole(layers, "num_layers")
    if name == "hidden_channels" and isinstance(as_size(value, name), tuple):
        value = list(value)
    if not isinstance(value, list):
        value = [value] * (1 if layers is None else layers)
    if not value or (layers is not None and len(value) != layers):
        raise ValueError(f"{name}: give one value, or a list with one per layer, not {value}.")
    return value  # type: ignore[no-any-return]


def _variant(variant: Variant | None, options: VariantOptions) -> Variant:
    """Return the variant given as a value or as keywords, its sizes as plain numbers.

    Errors: ValueError if it is given both ways; TypeError for an unknown keyword.
    """
    if variant is not None and options:
        raise ValueError(
            f"variant: given together with {', '.join(options)}; put all in Variant(...), or give"
            " all as keywords."
        )
    unknown = [name for name in options if name not in VariantOptions.__annotations__]
    if unknown:
        raise TypeError(f"{unknown[0]}: not an argument of a ConvLSTM; see ConvLSTM2d.")
    given = variant or Variant(**options)
    return replace(
        given,
        proj_size=whole(given.proj_size, "proj_size"),
        stride=as_size(given.stride, "stride"),
        dilation=as_size(given.dilation, "dilation"),
    )


def _usable(state: Tensor) -> Tensor:
    """Return the state as a tensor that autograd accepts: it rejects tensors made under
    `torch.inference_mode`.
    """
    if (
        torch.compiler.is_compiling()
        or torch.is_inference_mode_enabled()
        or not state.is_inference()
    ):
        return state
    return state.clone()


def _zero_past(sequence: Tensor, lengths: Tensor) -> Tensor:
    """Set (t, b, …) to zero past the end of each sequence."""
    past = torch.arange(sequence.shape[0], device=sequence.device)[:, None] >= lengths
    return sequence.masked_fill(past.reshape(*past.shape, *(1,) * (sequence.ndim - 2)), 0.0)


def _reverse(sequence: Tensor, lengths: Tensor | None) -> Tensor:
    """Reverse each sequence of (t, b, …) within its own length."""
    if lengths is None:
        return sequence.flip(0)
    t = torch.arange(sequence.shape[0], device=sequence.device)[:, None]
    return sequence[
        torch.where(t < lengths, lengths - 1 - t, t),
        torch.arange(sequence.shape[1], device=sequence.device),
    ]
