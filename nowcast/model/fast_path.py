"""A cell over a whole sequence as one autograd function with hand-written back-propagation
through time.

It is fast because it uses channels last throughout; convolves X and H together if both convolutions
are alike, else X for several steps at once; computes the gradients of the weights for several steps
at once; skips the state-to-state convolution while H is 0; and keeps only the gates, C and H of
each step.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
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
    convolve,
    grid_after,
    many_times,
    unit,
)
from nowcast.model.pointwise import stepper
from nowcast.model.watched import is_untouched, is_watched

PIXELS_AT_ONCE = 2**12
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
    output: Tensor
    """H of every step as images, (t, b, hidden, *grid)."""
    hidden: Tensor
    """The same memory in rows, (t, b, p, hidden)."""
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
        None if cell.weight_ih is None else cell.weight_ih.to(dtype),
        cell.weight_hh.to(dtype),
        cell.bias,
        cell.peephole,
        hidden,
        memory,
    )
    with torch.autocast(device, enabled=False) if autocast else nullcontext():
        if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in inputs):
            output, hidden, memory = _Unrolled.apply(cell, steps, *inputs)  # type: ignore[no-untyped-call]
            return output, (hidden, memory)
        tape = _forward(cell, steps, inputs, keep=False)
    return tape.output, (tape.output[-1].clone(), _images(tape.cells[-1], tape.grid))


class _Unrolled(torch.autograd.Function):
    """Output (t, b, hidden, *grid), and H and C after the last step."""

    @staticmethod
    def forward(
        ctx: Any, cell: ConvLSTMCell, steps: int, *inputs: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        tape = _forward(cell, steps, StepInputs(*inputs), keep=True)  # type: ignore[arg-type]
        ctx.cell, ctx.grid = cell, tape.grid
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, tape.output, *tape.gates, *tape.cells)
        # a copy: the caller may change it in place, and back-propagation reads the saved one
        given = tape.output.clone()
        return given, tape.output[-1].clone(), _images(tape.cells[-1], tape.grid).clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        # read only once: reading may unpack or recompute the tensors
        n, saved = len(StepInputs._fields), ctx.saved_tensors
        inputs, output, rest = StepInputs(*saved[:n]), saved[n], saved[n + 1 :]
        wanted = ctx.needs_input_grad[2:]
        batched = any(
            gradient is not None and torch._C._functorch.is_legacy_batchedtensor(gradient)
            for gradient in gradients
        )
        # gradients of many losses at once, or gradients that are differentiated again
        if batched or torch.is_grad_enabled():
            with torch.enable_grad():
                return (
                    None,
                    None,
                    *_differentiable_backward(ctx.cell, len(output), inputs, gradients, wanted),
                )
        hidden = _rows(output.flatten(0, 1)).unflatten(0, output.shape[:2])
        tape = Tape(ctx.grid, output, hidden, rest[: len(output)], rest[len(output) :])
        return None, None, *_Backward(ctx.cell, inputs, tape, wanted).run(gradients)


def _forward(cell: ConvLSTMCell, steps: int, x: StepInputs, keep: bool) -> Tape:
    """Run all steps; with `keep`, keep what back-propagation needs."""
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
        weight.new_zeros(shape, dtype=torch.promote_types(weight.dtype, torch.float32))
        if x.cell is None
        else _rows(x.cell)
    )
    peephole = None if x.peephole is None else _rows(x.peephole).to(memory.dtype)
    activation, gate = cell.variant.named_activations
    step = stepper(activation, gate, memory, steps, training=keep).forward

    images = b, cell.hidden_channels, *grid
    sums = _gate_sums(cell, steps, x, images, _steps_at_once(memory) if keep else 1)
    output = _empty(weight, (steps, *images))
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
    return Tape(grid, output, hidden, kept_gates, cells)


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
    cell: ConvLSTMCell, steps: int, x: StepInputs, images: Sequence[int], at_once: int
) -> Callable[[int, Tensor | None], Tensor]:
    """Return a function of t and H_{t−1} (`images` (b, hidden, *grid), or None for 0) that returns
    W_x· * X_t + W_h· * H_{t−1} + b, (b, p, 4 hidden).

    Call it for each t in turn; the result may be overwritten.
    """
    once, (b, size, *grid) = unit(cell.dimensions), images
    bias = None if x.bias is None else x.bias.to(x.weight_hh.dtype)
    if not _are_joined(cell, steps, x):
        has_input = x.frames is not None and x.weight_ih is not None
        bases = _bases(cell, steps, x, bias, at_once) if has_input else None
        recur = many_times(x.weight_hh, None if has_input else bias, once, images)

        def apart(t: int, seen: Tensor | None) -> Tensor:
            if bases is None:  # without input, seen is never None
                return _rows(recur(cast(Tensor, seen)))
            base = next(bases)
            return base.clone() if seen is None else _rows(recur(seen)).add_(base)

        return apart

    frames, weight_ih = cast(Tensor, x.frames), cast(Tensor, x.weight_ih)
    channels = frames.shape[2]
    weight = torch.cat([weight_ih, x.weight_hh], dim=1)
    read = many_times(weight, bias, once, (b, channels + size, *grid))
    del weight  # free the memory before the next allocation
    both = frames.new_empty(b, math.prod(grid), channels + size)

    def joined(t: int, seen: Tensor | None) -> Tensor:
        if seen is None:
            return _rows(convolve(channels_last(frames[t]), channels_last(weight_ih), bias, once))
        both[..., :channels] = _rows(frames[t])
        both[..., channels:] = _rows(seen)
        return _rows(read(_images(both, tuple(grid))))

    return joined


def _bases(
    cell: ConvLSTMCell, steps: int, x: StepInputs, bias: Tensor | None, at_once: int
) -> Iterator[Tensor]:
    """Yield W_x· * X + b of each step, (b, p, 4 hidden)."""
    frames, weight = cast(Tensor, x.frames), cast(Tensor, x.weight_ih)
    t, b, *image = frames.shape
    read = many_times(weight, bias, cell.input_shape, (min(t, at_once) * b, *image))
    for start in range(0, t, at_once):
        some = frames[start : start + at_once]
        bases = _rows(read(some.flatten(0, 1))).unflatten(0, some.shape[:2])
        yield from bases if t == steps else (bases[0],) * steps
        del bases  # free the memory before the next ones


class _Backward:
    """Back-propagation through time.

    The gradients of everything that the steps share are summed here, in float32 or wider.
    """

    def __init__(
        self, cell: ConvLSTMCell, x: StepInputs, tape: Tape, wanted: Sequence[bool]
    ) -> None:
        self.cell, self.x, self.tape, self.wanted = cell, x, tape, StepInputs(*wanted)  # type: ignore[arg-type]
        self.memory = memory = tape.cells[-1]
        gates = 4 * cell.hidden_channels
        self.once = unit(cell.dimensions)
        self.frames = (
            torch.zeros_like(x.frames) if self.wanted.frames and x.frames is not None else None
        )
        self.weight_ih = (
            None if x.weight_ih is None else torch.zeros_like(x.weight_ih, dtype=memory.dtype)
        )
        self.weight_hh = torch.zeros_like(x.weight_hh, dtype=memory.dtype)
        self.bias = memory.new_zeros(gates)
        self.peephole = memory.new_zeros(3, *memory.shape) if self.wanted.peephole else None
        repeats = x.frames is not None and len(x.frames) < len(tape.hidden)
        self.repeated = memory.new_zeros(*memory.shape[:2], gates) if repeats else None
        self.joined = bool(self.wanted.weight_ih) and _are_joined(cell, len(tape.hidden), x)

    def run(self, gradients: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
        """Gradients of the output, H and C after the last step → gradients of the inputs."""
        output, last_hidden, last_cell = gradients
        x, tape, memory, cell = self.x, self.tape, self.memory, self.cell
        peephole = None if x.peephole is None else _rows(x.peephole).to(memory.dtype)
        weight = channels_last(x.weight_hh)
        names, steps = cell.variant.named_activations, len(tape.hidden)
        step = stepper(*names, memory, steps, training=True).backward
        dcell = torch.zeros_like(memory)
        if last_cell is not None:
            dcell.copy_(_rows(last_cell))
        dhidden = (
            torch.zeros_like(tape.hidden[-1]) if last_hidden is None else _rows(last_hidden).clone()
        )
        at_once = _steps_at_once(memory)
        for end in range(steps, 0, -at_once):
            start = max(0, end - at_once)
            dgates = tape.hidden.new_empty(end - start, *memory.shape[:2], 4 * cell.hidden_channels)
            for t in reversed(range(start, end)):
                step(
                    tape.gates[t], peephole, tape.cells[t], tape.cells[t + 1],
                    None if output is None else _rows(output[t]), dhidden, dcell,
                    dgates[t - start], self.peephole,
                )  # fmt: skip
                if t > 0 or self.wanted.hidden:
                    seen = _images(tape.hidden[t], tape.grid)
                    dhidden = _rows(self._of_x(dgates[t - start], seen, weight, self.once))
            self._add(start, end, dgates)
        return self._sums(dhidden, dcell)

    def _add(self, start: int, end: int, dgates: Tensor) -> None:
        """Add the steps from `start` to `end` to the sums; dgates (t, b, p, 4 hidden)."""
        x, tape = self.x, self.tape
        first = start
        if start == 0:  # H before the first step is an input, or 0
            if x.hidden is not None:
                self._add_weights(dgates[0], x.hidden)
            elif self.wanted.bias:
                self.bias += dgates[0].sum((0, 1), dtype=self.bias.dtype)
            first = 1
        if first < end:
            seen = tape.hidden[first - 1 : end - 1].flatten(0, 1)
            if self.joined:
                read = cast(Tensor, x.frames)[first:end].flatten(0, 1)
                seen = torch.cat([_rows(read), seen], dim=-1)
            self._add_weights(dgates[first - start :].flatten(0, 1), _images(seen, tape.grid))
        if self.repeated is not None:
            self.repeated += dgates.sum(0, dtype=self.repeated.dtype)
        elif self.wanted.frames or self.wanted.weight_ih:
            # _add_weights has already added W_x· of the joined steps
            weighed = first - start if self.joined else end - start
            self._add_input(slice(start, end), dgates.flatten(0, 1), weighed)

    def _add_weights(self, dgates: Tensor, seen: Tensor) -> None:
        """Add the gradients of W_h·, or of W_x· and W_h· if joined, to the sums, and of the bias,
        which is cheapest in the same call.

        dgates: (n, p, 4 hidden). seen: H, or X and H, (n, hidden or channels + hidden, *grid).
        """
        wanted = False, self.joined or bool(self.wanted.weight_hh), bool(self.wanted.bias)
        if not any(wanted):
            return
        size = self.cell.hidden_channels
        # only the shape is used
        kernel = self.x.weight_hh.shape[2:]
        like = self.x.weight_hh.new_empty(1).expand(4 * size, seen.shape[1], *kernel)
        _, dweight, dbias = convolution_gradients(
            _images(dgates, self.tape.grid), seen, like, self.once, wanted
        )
        if dweight is not None:
            self.weight_hh += dweight[:, -size:]
            if self.weight_ih is not None and seen.shape[1] > size:
                self.weight_ih += dweight[:, :-size]
        if dbias is not None:
            self.bias += dbias

    def _add_input(self, steps: slice, dgates: Tensor, weighed: int) -> None:
        """Add the gradients of the input-to-state convolution at these steps; for W_x· only those
        of the first `weighed` steps. dgates (t · b, p, 4 hidden).
        """
        frames, weight, shape = (
            cast(Tensor, self.x.frames)[steps],
            cast(Tensor, self.x.weight_ih),
            self.cell.input_shape,
        )
        flat = channels_last(frames.flatten(0, 1))
        if self.wanted.weight_ih and self.weight_ih is not None and weighed:
            n = weighed * frames.shape[1]
            gradient = _images(dgates[:n], self.tape.grid)
            _, dweight, _ = convolution_gradients(
                gradient, flat[:n], weight, shape, (False, True, False)
            )
            self.weight_ih += cast(Tensor, dweight)
        if self.wanted.frames and self.frames is not None:
            self.frames[steps] = self._of_x(dgates, flat, weight, shape).unflatten(
                0, frames.shape[:2]
            )

    def _of_x(self, dgates: Tensor, x: Tensor, weight: Tensor, shape: Shape) -> Tensor:
        gradient = _images(dgates, self.tape.grid)
        return cast(
            Tensor, convolution_gradients(gradient, x, weight, shape, (True, False, False))[0]
        )

    def _sums(self, dhidden: Tensor, dcell: Tensor) -> tuple[Tensor | None, ...]:
        x, grid = self.x, self.tape.grid
        if self.repeated is not None:
            self._add_input(slice(0, 1), self.repeated.to(x.weight_hh.dtype), 1)
        found = StepInputs(
            self.frames,
            self.weight_ih,
            self.weight_hh,
            self.bias,
            None if self.peephole is None else _like(self.peephole, cast(Tensor, x.peephole)),
            _images(dhidden, grid),
            _images(dcell, grid),
        )
        return tuple(
            None if gradient is None or not wanted else gradient.to(cast(Tensor, given).dtype)
            for gradient, wanted, given in zip(found, self.wanted, x, strict=True)
        )


def _differentiable_backward(
    cell: ConvLSTMCell,
    steps: int,
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
    used = {
        name: weight.to(x.weight_hh.dtype) for name, weight in weights.items() if weight is not None
    }
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


def _empty(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Allocate images (t, b, c, *grid), channels last. The result is not a view, as autograd
    requires of an output.
    """
    t, b, c, *grid = shape
    strides = like.new_empty(t, b, *grid, c, device="meta").movedim(-1, 2).stride()
    return torch.empty_strided(shape, strides, dtype=like.dtype, device=like.device)


def _like(gradient: Tensor, peephole: Tensor) -> Tensor:
    """Sum the gradient at every pixel of every image (3, b, p, hidden) to the shape of the
    peepholes (3, hidden, *grid or ones).
    """
    summed = gradient.sum(1)
    if math.prod(peephole.shape[2:]) == 1:
        summed = summed.sum(1, keepdim=True)
    return summed.transpose(1, 2).reshape(peephole.shape)
