"""Run a cell over a whole sequence: step by step as equation (3) is written, or by the equivalent
fast path.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from nowcast.model.cell import CellState, ConvLSTMCell
from nowcast.model.convolution import grid_after
from nowcast.model.fast_path import has_fast_path, unroll_fast

_segmented: ContextVar[bool] = ContextVar("segmented", default=False)


@contextmanager
def in_segments(segmented: bool) -> Iterator[None]:
    """Use gradient checkpointing within the block: a sequence of T steps is split into √T segments
    of √T steps. Only their outputs and last states are kept; back-propagation recomputes the rest
    (Chen et al. 2016, arXiv 1604.06174). This needs less memory and more time for the same
    gradient.
    """
    token = _segmented.set(segmented)
    try:
        yield
    finally:
        _segmented.reset(token)


def unroll(
    cell: ConvLSTMCell,
    frames: Tensor | None,
    steps: int,
    state: CellState | None,
    lengths: Tensor | None = None,
    recurrent_dropout: float = 0.0,
) -> tuple[Tensor, CellState]:
    """Frames (t, b, c, *grid) → hidden states (t, b, c', *grid') and the state after the last step.

    Args:
        cell: the weights and the equation.
        frames: frames of `steps` steps, one frame (1, b, c, *grid) to repeat, or None for a cell
            without input.
        steps: number of steps.
        state: (H, C) before the first step; by default zeros.
        lengths: (b,) number of steps of each sequence; the returned state is that at its end.
        recurrent_dropout: dropout rate on H_{t−1} before the state-to-state convolution, with the
            same mask at every step.
    """
    if lengths is not None or recurrent_dropout:
        return unroll_plainly(cell, frames, steps, state, lengths, recurrent_dropout)
    # a compiler traces the plain equation, and cannot read context variables
    in_parts = not torch.compiler.is_compiling() and _segmented.get() and torch.is_grad_enabled()
    if in_parts and steps > 3:
        return _unroll_in_segments(cell, frames, steps, state)
    return _unroll_whole(cell, frames, steps, state)


def _unroll_whole(
    cell: ConvLSTMCell, frames: Tensor | None, steps: int, state: CellState | None
) -> tuple[Tensor, CellState]:
    if has_fast_path(cell, frames, *(state or ())):
        return unroll_fast(cell, frames, steps, state)
    return unroll_plainly(cell, frames, steps, state)


def _unroll_in_segments(
    cell: ConvLSTMCell, frames: Tensor | None, steps: int, state: CellState | None
) -> tuple[Tensor, CellState]:
    count = math.isqrt(steps)
    ends = [steps * k // count for k in range(count + 1)]
    outputs = []
    for begin, end in pairwise(ends):
        own = frames if frames is None or len(frames) < steps else frames[begin:end]
        output, state = checkpoint(
            _unroll_whole, cell, own, end - begin, state, use_reentrant=False
        )
        outputs.append(output)
    return torch.cat(outputs), cast(CellState, state)


def unroll_plainly(
    cell: ConvLSTMCell,
    frames: Tensor | None,
    steps: int,
    state: CellState | None,
    lengths: Tensor | None = None,
    recurrent_dropout: float = 0.0,
) -> tuple[Tensor, CellState]:
    """`unroll` step by step: the cell is called as a module at each step, so that its hooks run and
    tracers see the equation.
    """
    mask = _recurrent_mask(cell, frames, state, recurrent_dropout) if recurrent_dropout else None
    outputs, memories = [], []
    for frame in _each_step(frames, steps):
        state = cell(frame, state, mask) if recurrent_dropout else cell(frame, state)
        hidden, memory = cast(CellState, state)
        outputs.append(hidden)
        if lengths is not None:
            memories.append(memory)
    output = torch.stack(outputs)
    if lengths is None:
        return output, (hidden.clone(), memory.clone())  # the caller may change them in place
    ends = lengths - 1, torch.arange(lengths.shape[0], device=lengths.device)
    return output, (output[ends], torch.stack(memories)[ends])


def _each_step(frames: Tensor | None, steps: int) -> Sequence[Tensor | None]:
    """Return the frame (b, c, *grid) of each step, from (t or 1, b, c, *grid)."""
    if frames is None:
        return (None,) * steps
    each = frames.unbind(0)
    if torch.compiler.is_compiling() and torch.is_grad_enabled():
        # copy by an operation that Inductor does not optimise away: it cannot keep a view of
        # unknown size for back-propagation
        each = tuple(frame.clamp(min=-math.inf) for frame in each)
    return each if len(each) == steps else each * steps


def _recurrent_mask(
    cell: ConvLSTMCell, frames: Tensor | None, state: CellState | None, share: float
) -> Tensor:
    """Return a dropout mask (b, proj or hidden, *grid): zero for this share of its values, else the
    factor that keeps the mean.
    """
    if state is not None:
        return functional.dropout(torch.ones_like(state[0]), share)
    assert frames is not None
    grid = grid_after(frames.shape[3:], cell.input_kernel, cell.input_shape)
    return functional.dropout(frames.new_ones(frames.shape[1], cell.output_channels, *grid), share)
