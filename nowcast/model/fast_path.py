"""A cell over a whole sequence as one autograd function with hand-written back-propagation
through time.

It is fast because it uses channels last throughout; convolves X and H together if both convolutions
are alike, else X for several steps at once; computes the gradients of the weights for several steps
at once; skips the state-to-state convolution while H is 0; and keeps only the gates and C of each
step, which give H again.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any, NamedTuple, TypeGuard, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from nowcast.model.activations import ACTIVATIONS
from nowcast.model.cell import CellState, ConvLSTMCell
from nowcast.model.convolution import (
    Shape,
    channels_last,
    convolution_gradients,
    grid_after,
    many_times,
    unit,
)
from nowcast.model.pointwise import stepper
from nowcast.model.watched import is_untouched, is_watched

PIXELS_AT_ONCE = 3 * 2**10
"""Pixels that are convolved together if steps are independent: as many steps as contain so many
pixels, at least two. More cost memory, fewer cost time. A forecast takes one step at a time.
"""

DEVICES = ("cpu", "cuda", "meta")
"""Devices on which the fast path is tested against the plain one; others use the plain one."""


class StepInputs(NamedTuple):
    """All inputs of a sequence: frames (t or 1, b, c, *grid), the weights of a `ConvLSTMCell`, and
    H and C before the first step.
    """

    frames: Tensor | None
    weight_ih: Tensor | None
    weight_hh: Tensor
    bias: Tensor | None
    peephole: Tensor | None
    hidden: Tensor | None
    cell: Tensor | None


class Tape(NamedTuple):
    """The results of a sequence that back-propagation needs, in rows of p pixels, channels last."""

    grid: tuple[int, ...]
    gates: Sequence[Tensor]
    """i, f, g, o of every step, (b, p, 4 hidden); empty if they are not kept."""
    cells: Sequence[Tensor]
    """C before the first step and after every step, (b, p, hidden); only the last if they are not
    kept.
    """


def has_fast_path(cell: nn.Module, *inputs: Tensor | None) -> TypeGuard[ConvLSTMCell]:
    """Return whether the hand-written gradient supports this cell, and the cell and its inputs are
    neither changed nor watched; see `nowcast.model.watched`.
    """
    if is_watched(inputs) or not is_untouched(cell):
        return False
    assert isinstance(cell, ConvLSTMCell)
    named = (
        (cell.variant.activation, cell.activation),
        (cell.variant.recurrent_activation, cell.recurrent_activation),
    )
    known = all(
        name in ACTIVATIONS and ACTIVATIONS[name].value is function for name, function in named
    )
    return known and not cell.variant.proj_size and cell.weight_hh.device.type in DEVICES


def unroll_fast(
    cell: ConvLSTMCell, frames: Tensor | None, steps: int, state: CellState | None
) -> tuple[Tensor, CellState]:
    """`nowcast.model.unroll.unroll` for a cell for which `has_fast_path` is true."""
    device, dtype = cell.weight_hh.device.type, cell.weight_hh.dtype
    autocast = device != "meta" and torch.is_autocast_enabled(device) and dtype != torch.float64
    if autocast:
        dtype = torch.get_autocast_dtype(device)
    hidden, memory = (
        (None, None)
        if state is None
        else (state[0].to(dtype), state[1].to(torch.promote_types(dtype, torch.float32)))
    )
    inputs = StepInputs(
        None if frames is None else frames.to(dtype),
        cell.weight_ih,
        cell.weight_hh,
        cell.bias,
        cell.peephole,
        hidden,
        memory,
    )
    with torch.autocast(device, enabled=False) if autocast else nullcontext():
        if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in inputs):
            output, hidden, memory = _Unrolled.apply(cell, steps, dtype, *inputs)  # type: ignore[no-untyped-call]
            return output, (hidden, memory)
        output, tape = _forward(cell, steps, dtype, inputs, keep=False)
    return output, (output[-1].clone(), _images(tape.cells[-1], tape.grid))


class _Unrolled(torch.autograd.Function):
    """Output (t, b, hidden, *grid), and H and C after the last step."""

    @staticmethod
    def forward(
        ctx: Any, cell: ConvLSTMCell, steps: int, dtype: torch.dtype, *inputs: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = StepInputs(*inputs)  # type: ignore[arg-type]
        output, tape = _forward(cell, steps, dtype, x, keep=True)
        ctx.cell, ctx.grid, ctx.steps, ctx.dtype = cell, tape.grid, steps, dtype
        ctx.set_materialize_grads(False)
        # not the output, which the caller may change in place: the gates and C give it again; the
        # weights themselves, also under autocast, so they may not change before the gradient
        ctx.save_for_backward(*inputs, *tape.gates, *tape.cells)
        return output, output[-1].clone(), _images(tape.cells[-1], tape.grid).clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        # read only once: reading may unpack or recompute the tensors
        n, saved, steps = len(StepInputs._fields), ctx.saved_tensors, ctx.steps
        inputs, tape = StepInputs(*saved[:n]), Tape(ctx.grid, saved[n:][:steps], saved[n:][steps:])
        wanted = ctx.needs_input_grad[3:]
        batched = any(
            gradient is not None and torch._C._functorch.is_legacy_batchedtensor(gradient)
            for gradient in gradients
        )
        # gradients of many losses at once, or gradients that are differentiated again
        if batched or torch.is_grad_enabled():
            with torch.enable_grad():
                found = _differentiable_backward(
                    ctx.cell, steps, ctx.dtype, inputs, gradients, wanted
                )
        else:
            found = _Backward(ctx.cell, ctx.dtype, inputs, tape, wanted).run(gradients)
            found = tuple(
                None if gradient is None or not want else gradient.to(cast(Tensor, given).dtype)
                for gradient, want, given in zip(found, wanted, inputs, strict=True)
            )
        return None, None, None, *found


def _forward(
    cell: ConvLSTMCell, steps: int, dtype: torch.dtype, x: StepInputs, keep: bool
) -> tuple[Tensor, Tape]:
    """Return H of every step as images, (t, b, hidden, *grid), and the tape; with `keep` it holds
    what back-propagation needs.
    """
    weight, seen = x.weight_hh, x.hidden
    if x.frames is not None and x.weight_ih is not None:
        b, grid = (
            x.frames.shape[1],
            grid_after(x.frames.shape[3:], x.weight_ih.shape[2:], cell.input_shape),
        )
    else:
        assert x.hidden is not None
        b, grid = x.hidden.shape[0], tuple(x.hidden.shape[2:])
    shape = b, math.prod(grid), cell.hidden_channels
    memory = (
        weight.new_zeros(shape, dtype=torch.promote_types(dtype, torch.float32))
        if x.cell is None
        else _rows(x.cell)
    )
    peephole = None if x.peephole is None else _rows(x.peephole).to(memory.dtype)
    activation, gate = cell.variant.named_activations
    step = stepper(activation, gate, memory, steps, training=keep).forward

    images = b, cell.hidden_channels, *grid
    sums = _gate_sums(cell, steps, dtype, x, images, _steps_at_once(memory) if keep else 1)
    output = _empty(weight, dtype, (steps, *images))
    hidden = output.movedim(2, -1).reshape(steps, *shape)  # the same memory
    kept_gates, cells = [], [memory]
    for t in range(steps):
        gates, memory = step(sums(t, seen), peephole, memory, hidden[t], keep)
        seen = _images(hidden[t], grid)
        if keep:
            kept_gates.append(cast(Tensor, gates))
            cells.append(memory)
        else:
            cells[0] = memory
            del gates  # free the memory before the next gates
    return output, Tape(grid, kept_gates, cells)


def _steps_at_once(memory: Tensor) -> int:
    return max(2, PIXELS_AT_ONCE // max(1, memory.shape[0] * memory.shape[1]))


def _are_joined(cell: ConvLSTMCell, steps: int, x: StepInputs) -> bool:
    """Return whether X_t and H_{t−1} are convolved alike, so that one convolution can do both."""
    return (
        x.frames is not None
        and x.weight_ih is not None
        and len(x.frames) == steps
        and x.weight_ih.shape[2:] == x.weight_hh.shape[2:]
        and cell.input_shape == unit(cell.dimensions)
    )


def _gate_sums(
    cell: ConvLSTMCell,
    steps: int,
    dtype: torch.dtype,
    x: StepInputs,
    images: Sequence[int],
    at_once: int,
) -> Callable[[int, Tensor | None], Tensor]:
    """Return a function of t and H_{t−1} (`images` (b, hidden, *grid), or None for 0) that returns
    W_x· * X_t + W_h· * H_{t−1} + b, (b, p, 4 hidden).

    Call it for each t in turn; the result may be overwritten.
    """
    once, (b, size, *grid) = unit(cell.dimensions), images
    bias = None if x.bias is None else x.bias.to(dtype)
    if not _are_joined(cell, steps, x):
        has_input = x.frames is not None and x.weight_ih is not None
        bases = _bases(cell, steps, dtype, x, bias, at_once) if has_input else None
        recur = many_times(x.weight_hh.to(dtype), None if has_input else bias, once, images)

        def apart(t: int, seen: Tensor | None) -> Tensor:
            if bases is None:  # without input, seen is never None
                return _rows(recur(cast(Tensor, seen)))
            base = next(bases)
            return base.clone() if seen is None else _rows(recur(seen)).add_(base)

        return apart

    frames, weight_ih = cast(Tensor, x.frames), cast(Tensor, x.weight_ih)
    channels = frames.shape[2]
    # before the joined weights take memory
    first = (
        many_times(weight_ih.to(dtype), bias, once, (b, channels, *grid))(frames[0])
        if x.hidden is None
        else None
    )
    weight = _joined_weights(dtype, weight_ih, x.weight_hh)
    read = many_times(weight, bias, once, (b, channels + size, *grid))
    del weight  # free the memory before the next allocation
    both = frames.new_empty(b, math.prod(grid), channels + size)

    def joined(t: int, seen: Tensor | None) -> Tensor:
        nonlocal first
        if seen is None:
            found, first = _rows(cast(Tensor, first)), None  # not kept here after this step
            return found
        both[..., :channels] = _rows(frames[t])
        both[..., channels:] = _rows(seen)
        return _rows(read(_images(both, tuple(grid))))

    return joined


def _joined_weights(dtype: torch.dtype, weight_ih: Tensor, weight_hh: Tensor) -> Tensor:
    """Return W_x· and W_h· side by side (4 hidden, channels + hidden, *kernel), channels last."""
    gates, channels, *kernel = weight_ih.shape
    shape = gates, *kernel, channels + weight_hh.shape[1]
    both = weight_ih.new_empty(shape, dtype=dtype).movedim(-1, 1)
    both[:, :channels], both[:, channels:] = weight_ih, weight_hh
    return both


def _bases(
    cell: ConvLSTMCell,
    steps: int,
    dtype: torch.dtype,
    x: StepInputs,
    bias: Tensor | None,
    at_once: int,
) -> Iterator[Tensor]:
    """Yield W_x· * X + b of each step, (b, p, 4 hidden)."""
    frames, weight = cast(Tensor, x.frames), cast(Tensor, x.weight_ih).to(dtype)
    t, b, *image = frames.shape
    read = many_times(weight, bias, cell.input_shape, (min(t, at_once) * b, *image))
    for start in range(0, t, at_once):
        some = frames[start : start + at_once]
        bases = _rows(read(some.flatten(0, 1))).unflatten(0, some.shape[:2])
        yield from bases if t == steps else (bases[0],) * steps
        del bases  # free the memory before the next ones


class _Places:
    """Assigns the steps of back-propagation to the `count` places of a buffer.

    Back-propagation through step t gives H_t, which the gradient of the weights at step t + 1
    needs, so all but the newest step are complete. When the buffer is full, they are added together
    from places side by side: the buffer is filled from one end to the other and back.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._taken: dict[int, int] = {}
        """Place → step that is not added yet, the newest last."""
        self._last, self._way = -1, 1

    def take(self, t: int) -> tuple[int, int]:
        """Return the places of steps t and t + 1, or that of t twice if t is the last step."""
        later, here = self._last, self._last + self._way
        self._last, self._taken[here] = here, t
        if here in (0, self.count - 1):
            self._way = 1 if here == 0 else -1
        return here, max(later, 0)

    def complete(self, at_end: bool) -> Iterator[tuple[list[int], slice]]:
        """Yield steps to be added, in the order of their places, and these places."""
        *complete, newest = self._taken
        if complete and (at_end or len(complete) == self.count - 1):
            first, last = min(complete), max(complete)
            yield [self._taken.pop(k) for k in range(first, last + 1)], slice(first, last + 1)
        if at_end:
            yield [self._taken.pop(newest)], slice(newest, newest + 1)


class _Backward:
    """Back-propagation through time.

    The gradients of everything that the steps share are summed here, in float32 or wider.
    """

    def __init__(
        self,
        cell: ConvLSTMCell,
        dtype: torch.dtype,
        x: StepInputs,
        tape: Tape,
        wanted: Sequence[bool],
    ) -> None:
        self.cell, self.dtype, self.x, self.tape = cell, dtype, x, tape
        self.wanted = StepInputs(*wanted)  # type: ignore[arg-type]
        self.memory = memory = tape.cells[-1]
        gates = 4 * cell.hidden_channels
        self.once = unit(cell.dimensions)
        self.frames = (
            torch.zeros_like(x.frames) if self.wanted.frames and x.frames is not None else None
        )
        self.joined = bool(self.wanted.weight_ih) and _are_joined(cell, len(tape.gates), x)
        self.wants_weights = self.joined or bool(self.wanted.weight_hh), bool(self.wanted.bias)
        of_x = cast(Tensor, x.weight_ih).shape[1] if self.joined else 0
        _, size, *kernel = x.weight_hh.shape
        # W_h·, or W_x· and W_h· if joined
        self.weights = memory.new_zeros(gates, *kernel, of_x + size).movedim(-1, 1)
        self.weight_hh = self.weights[:, of_x:]
        self.weight_ih = self.weights[:, :of_x] if self.joined else None
        if self.wanted.weight_ih and not self.joined:
            self.weight_ih = torch.zeros_like(cast(Tensor, x.weight_ih), dtype=memory.dtype)
        self.bias = memory.new_zeros(gates)
        self.peephole = memory.new_zeros(3, *memory.shape) if self.wanted.peephole else None
        repeats = x.frames is not None and len(x.frames) < len(tape.gates)
        self.repeated = memory.new_zeros(*memory.shape[:2], gates) if repeats else None

    def run(self, gradients: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
        """Gradients of the output, H and C after the last step → gradients of the inputs."""
        output, last_hidden, last_cell = gradients
        x, tape, memory, cell = self.x, self.tape, self.memory, self.cell
        peephole = None if x.peephole is None else _rows(x.peephole).to(memory.dtype)
        weight = self._weight(x.weight_hh)
        names, steps = cell.variant.named_activations, len(tape.gates)
        step = stepper(*names, memory, steps, training=True).backward
        dcell = torch.zeros_like(memory)
        if last_cell is not None:
            dcell.copy_(_rows(last_cell))
        dhidden = (
            torch.zeros_like(memory, dtype=weight.dtype)
            if last_hidden is None
            else _rows(last_hidden).clone()
        )
        places = _Places(min(steps, _steps_at_once(memory) + 1))
        shape = places.count, *memory.shape[:2]
        hidden = dhidden.new_empty(*shape, cell.hidden_channels)
        dgates = dhidden.new_empty(*shape, 4 * cell.hidden_channels)
        for t in reversed(range(steps)):
            here, later = places.take(t)
            step(
                tape.gates[t], peephole, tape.cells[t], tape.cells[t + 1],
                None if output is None else _rows(output[t]), dhidden, dcell,
                dgates[here], self.peephole, hidden[later],
            )  # fmt: skip
            if t > 0 or self.wanted.hidden:
                like = _images(dhidden, tape.grid)  # only the shape is used
                dhidden = _rows(self._of_x(dgates[here], like, weight, self.once))
            for some, those in places.complete(at_end=t == 0):
                self._add(some, dgates[those], hidden[those])
        return self._sums(dhidden, dcell)

    def _add(self, steps: Sequence[int], dgates: Tensor, hidden: Tensor) -> None:
        """Add the gradients of some steps t, either only step 0 or only later ones, to the sums.

        dgates: (t, b, p, 4 hidden) of these steps. hidden: (t, b, p, hidden) H_{t−1}, not used for
        step 0.
        """
        x, flat, is_first = self.x, dgates.flatten(0, 1), steps[0] == 0
        if not is_first:
            self._add_weights(flat, self._seen(steps, hidden))
        elif x.hidden is not None:
            self._add_weights(flat, x.hidden)
        elif self.wanted.bias:
            self.bias += flat.sum((0, 1), dtype=self.bias.dtype)
        if self.repeated is not None:
            self.repeated += dgates.sum(0, dtype=self.repeated.dtype)
        elif x.frames is not None:
            self._add_input(steps, flat, weigh=is_first or not self.joined)

    def _seen(self, steps: Sequence[int], hidden: Tensor) -> Tensor:
        """Return H_{t−1}, or X_t and H_{t−1} if joined, as images of all these steps."""
        if not self.joined:
            return _images(hidden.flatten(0, 1), self.tape.grid)
        frames = cast(Tensor, self.x.frames)
        channels = frames.shape[2]
        both = hidden.new_empty(*hidden.shape[:3], channels + hidden.shape[3])
        for row, t in zip(both, steps, strict=True):
            row[..., :channels] = _rows(frames[t])
        both[..., channels:] = hidden
        return _images(both.flatten(0, 1), self.tape.grid)

    def _add_weights(self, dgates: Tensor, seen: Tensor) -> None:
        """Add the gradients of W_h·, or of W_x· and W_h· if joined, to the sums, and of the bias,
        which is cheapest in the same call.

        dgates: (n, p, 4 hidden). seen: H, or X and H, (n, hidden or channels + hidden, *grid).
        """
        if not any(self.wants_weights):
            return
        channels, wanted = seen.shape[1], (False, *self.wants_weights)
        _, dweight, dbias = convolution_gradients(
            _images(dgates, self.tape.grid), seen, self._like_weights(channels), self.once, wanted
        )
        if dweight is not None:
            self.weights[:, -channels:] += dweight
        if dbias is not None:
            self.bias += dbias

    def _like_weights(self, channels: int) -> Tensor:
        """Return a tensor (4 hidden, channels, *kernel) in place of weights, where only their shape
        is used. It shares memory with the sums, because PyTorch would copy an expanded number.
        """
        gates, _, *kernel = self.weights.shape
        memory = self.weights.movedim(1, -1).flatten().view(self.dtype)
        shape = gates, *kernel, channels
        return memory[: math.prod(shape)].view(shape).movedim(-1, 1)

    def _add_input(self, steps: Sequence[int], dgates: Tensor, weigh: bool) -> None:
        """Add the gradients of the input-to-state convolution at these steps, and of W_x· if
        `weigh`. dgates (t · b, p, 4 hidden).
        """
        frames, shape = cast(Tensor, self.x.frames), self.cell.input_shape
        if self.weight_ih is not None and weigh:
            read = torch.cat([channels_last(frames[t]) for t in steps])
            _, dweight, _ = convolution_gradients(
                _images(dgates, self.tape.grid), read, self._input_weight, shape,
                (False, True, False),
            )  # fmt: skip
            self.weight_ih += cast(Tensor, dweight)
        if self.frames is not None:
            # only the shape is used
            like = channels_last(frames[min(steps) : max(steps) + 1].flatten(0, 1))
            found = self._of_x(dgates, like, self._input_weight, shape)
            for t, gradient in zip(steps, found.chunk(len(steps)), strict=True):
                self.frames[t] = gradient

    @cached_property
    def _input_weight(self) -> Tensor:
        return self._weight(cast(Tensor, self.x.weight_ih))

    def _weight(self, weight: Tensor) -> Tensor:
        return channels_last(weight.to(self.dtype))

    def _of_x(self, dgates: Tensor, x: Tensor, weight: Tensor, shape: Shape) -> Tensor:
        gradient = _images(dgates, self.tape.grid)
        return cast(
            Tensor, convolution_gradients(gradient, x, weight, shape, (True, False, False))[0]
        )

    def _sums(self, dhidden: Tensor, dcell: Tensor) -> tuple[Tensor | None, ...]:
        x, grid = self.x, self.tape.grid
        if self.repeated is not None:
            self._add_input([0], self.repeated.to(self.dtype), weigh=True)
        found = StepInputs(
            self.frames,
            None if self.weight_ih is None else self.weight_ih.contiguous(),
            self.weight_hh.contiguous(),
            self.bias,
            None if self.peephole is None else _like(self.peephole, cast(Tensor, x.peephole)),
            _images(dhidden, grid),
            _images(dcell, grid),
        )
        return found


def _differentiable_backward(
    cell: ConvLSTMCell,
    steps: int,
    dtype: torch.dtype,
    x: StepInputs,
    gradients: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the inputs by autograd through the cell's own equation, so that they
    can be differentiated again.
    """
    weights = {
        "weight_ih": x.weight_ih,
        "weight_hh": x.weight_hh,
        "bias": x.bias,
        "peephole": x.peephole,
    }
    used = {name: weight.to(dtype) for name, weight in weights.items() if weight is not None}
    state = None if x.hidden is None else (x.hidden, x.cell)
    outputs = []
    for t in range(steps):
        frame = None if x.frames is None else x.frames[t if len(x.frames) == steps else 0]
        state = functional_call(cell, used, (frame, state))
        outputs.append(state[0])
    results = [
        (y, d)
        for y, d in zip((torch.stack(outputs), *cast(CellState, state)), gradients, strict=True)
        if d is not None
    ]
    sources = [
        source for source, want in zip(x, wanted, strict=True) if want and source is not None
    ]
    found = iter(
        torch.autograd.grad(
            [y for y, _ in results],
            sources,
            [d for _, d in results],
            create_graph=True,
            allow_unused=True,
        )
    )
    return tuple(next(found) if want else None for want in wanted)


def _rows(x: Tensor) -> Tensor:
    """(n, c, *grid) → (n, p, c); no copy if the channels are last in memory."""
    return x.movedim(1, -1).reshape(x.shape[0], math.prod(x.shape[2:]), x.shape[1])


def _images(rows: Tensor, grid: tuple[int, ...]) -> Tensor:
    """(…, p, c) → (…, c, *grid), the channels last in memory."""
    return rows.reshape(*rows.shape[:-2], *grid, rows.shape[-1]).movedim(-1, rows.ndim - 2)


def _empty(like: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """Allocate images (t, b, c, *grid), channels last. The result is not a view, as autograd
    requires of an output.
    """
    t, b, c, *grid = shape
    strides = like.new_empty(t, b, *grid, c, device="meta").movedim(-1, 2).stride()
    return torch.empty_strided(shape, strides, dtype=dtype, device=like.device)


def _like(gradient: Tensor, peephole: Tensor) -> Tensor:
    """Sum the gradient at every pixel of every image (3, b, p, hidden) to the shape of the
    peepholes (3, hidden, *grid or ones).
    """
    summed = gradient.sum(1)
    if math.prod(peephole.shape[2:]) == 1:
        summed = summed.sum(1, keepdim=True)
    return summed.transpose(1, 2).reshape(peephole.shape)
