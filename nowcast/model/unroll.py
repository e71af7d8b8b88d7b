"""A cell over a whole sequence: step by step as equation (3) is written, or by the fast path, which is equal to it."""

import torch
from torch import Tensor
from torch.nn import functional

from nowcast.model.cell import ConvLSTMCell, State
from nowcast.model.fast_path import has_fast_path, unroll_fast


def unroll(
    cell: ConvLSTMCell,
    frames: Tensor | None,
    steps: int,
    state: State | None,
    lengths: Tensor | None = None,
    recurrent_dropout: float = 0.0,
) -> tuple[Tensor, State]:
    """Frames (t, b, c, *grid) → hidden states (t, b, c', *grid') and the state after the last step.

    Args:
        cell: the weights and the equation.
        frames: of `steps` steps, or one to repeat, (1, b, c, *grid), or None for a cell without input.
        steps: how many steps to take.
        state: (H, C) before the first; zeros where not given.
        lengths: (b,) steps after which each sequence ends; its last state is the one there.
        recurrent_dropout: share of H_{t−1} that the state-to-state convolution does not see, the same at every step.
    """
    if lengths is None and not recurrent_dropout and has_fast_path(cell):
        return unroll_fast(cell, frames, steps, state)
    return unroll_plainly(cell, frames, steps, state, lengths, recurrent_dropout)


def unroll_plainly(
    cell: ConvLSTMCell,
    frames: Tensor | None,
    steps: int,
    state: State | None,
    lengths: Tensor | None = None,
    recurrent_dropout: float = 0.0,
) -> tuple[Tensor, State]:
    """`unroll` step by step; what autograd, `torch.compile`, `torch.export` and `torch.func` understand."""
    gates = _gates(cell, frames, steps, state)
    hidden, memory = cell.zero_state(gates[0]) if state is None else state
    hidden, memory = hidden.to(gates[0].dtype), memory.to(torch.promote_types(memory.dtype, torch.float32))
    mask = functional.dropout(torch.ones_like(hidden), recurrent_dropout) if recurrent_dropout else None
    outputs, memories = [], []
    for x in gates:
        hidden, memory = cell.step(x, hidden, memory, mask)
        outputs.append(hidden)
        if lengths is not None:
            memories.append(memory)
    output = torch.stack(outputs)
    if lengths is None:
        return output, (hidden, memory)
    ends = lengths - 1, torch.arange(len(lengths), device=lengths.device)
    return output, (output[ends], torch.stack(memories)[ends])


def _gates(cell: ConvLSTMCell, frames: Tensor | None, steps: int, state: State | None) -> tuple[Tensor, ...]:
    """The input's share of the gates at each step, from one convolution over all of them."""
    if frames is None:
        assert state is not None
        return (cell.gates_of_bias(state[0].dtype),) * steps
    gates = cell.gates_of_input(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
    return gates.unbind(0) if frames.shape[0] == steps else (gates[0],) * steps
