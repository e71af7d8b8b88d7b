"""The elementwise part of a ConvLSTM step, between its convolutions, forward and backward, on rows
(b, p, c): b images of p pixels with c channels.

It is written twice: as formulas that `torch.compile` turns into one kernel each, and as in-place
operations that need no compiler. `stepper` chooses.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nowcast.model.activations import ACTIVATIONS, Activation
from nowcast.model.compiling import keep_cache_private

log = logging.getLogger(__name__)

WORTH_COMPILING = 2**16
"""Size of a cell state, in numbers, from which a compiled kernel is faster than in-place
operations.
"""

COMPILED_AFTER = 2**31
"""Numbers processed by steps, forward or backward, before the kernels are compiled. On a CPU each
number costs about 7 ns more in place than in a kernel, so 2³¹ cost the 15 to 30 s that compiling
takes. A process that makes one forecast of a usual grid never waits for the compiler; a process
that makes many loses at most the same time again.
"""

LAYERS = 4
"""Assumed number of layers of a network: each layer only knows its own size."""

_planned: ContextVar[int | None] = ContextVar("planned", default=None)


@contextmanager
def planned_batches(batches: int) -> Iterator[None]:
    """Announce the total number of batches of a training, resumed or not. On a CPU kernels are then
    compiled at the start or never, so that a run resumed with the same plan gives identical bits.
    """
    token = _planned.set(batches)
    try:
        yield
    finally:
        _planned.reset(token)


class Stepper(NamedTuple):
    """One step forward and backward.

    Gates are in the order i, f, g, o along the channels; cell states are float32 or wider.

    forward(summed, peephole, cell, hidden, keep) → (gates after their activations (b, p, 4
    hidden), C_t)
        summed: W_x· * X_t + W_h· * H_{t−1} + b, (b, p, 4 hidden); may be overwritten. peephole:
        (3, 1 or p, hidden) or None. cell: C_{t−1}. hidden: receives H_t. keep: False in a forecast,
        which does not need the gates; the compiled kernel then returns None for them.
    backward(gates, peephole, before, after, doutput, dhidden, dcell, dgates, dpeephole, hidden)
        before, after: C_{t−1} and C_t. doutput, dhidden: gradients of H_t as output (or None) and
        as input of the next step; they are added. dcell: gradient of C_t, replaced by that of
        C_{t−1}. dgates: receives the gradient before the activations. dpeephole: (3, b, p, hidden),
        added to, or None. hidden: receives H_t, up to the rounding of the gates.
    """

    forward: Callable[..., tuple[Tensor | None, Tensor]]
    backward: Callable[..., None]


def stepper(
    activation: str, recurrent_activation: str, cell: Tensor, steps: int, training: bool
) -> Stepper:
    """Return the faster implementation for these activations and for `steps` steps of cell states
    like `cell` (b, p, hidden): compiled kernels, unless compiling takes longer than they save.
    """
    functions = ACTIVATIONS[activation], ACTIVATIONS[recurrent_activation]
    in_place = Stepper(
        partial(_forward_in_place, *functions), partial(_backward_in_place, *functions)
    )
    # under a dispatch mode nothing can be compiled
    watched = torch._C._len_torch_dispatch_stack() > 0
    if (
        watched
        or cell.device.type not in ("cpu", "cuda")
        or cell.numel() < WORTH_COMPILING
        or not ((training and cell.is_cuda) or _is_worth_it(steps * cell.numel()))
    ):
        return in_place
    kernels = partial(_compiled, activation, recurrent_activation)
    return Stepper(partial(_try, 0, kernels, in_place), partial(_try, 1, kernels, in_place))


def _is_worth_it(numbers: int) -> bool:
    """Return whether compiling pays off for the planned batches of so many numbers, forward and
    backward. Without a plan, count these numbers and return whether kernels exist already or
    enough numbers were processed.
    """
    batches = _planned.get()
    if batches is not None:
        return 2 * batches * numbers * LAYERS >= COMPILED_AFTER
    _taken[0] += numbers
    return _compiled.cache_info().currsize > 0 or _taken[0] >= COMPILED_AFTER


def forward(
    activation: Activation,
    gate: Activation,
    summed: Tensor,
    peephole: Tensor | None,
    cell: Tensor,
    hidden: Tensor,
    keep: bool = True,
) -> tuple[Tensor | None, Tensor]:
    """Equation (3) after the convolutions; see `Stepper.forward`."""
    x_i, x_f, x_g, x_o = (part.type(cell.dtype) for part in summed.chunk(4, dim=-1))
    w_ci, w_cf, w_co = (0.0, 0.0, 0.0) if peephole is None else peephole
    i, f = gate.value(x_i + w_ci * cell), gate.value(x_f + w_cf * cell)
    g = activation.value(x_g)
    after = f * cell + i * g
    o = gate.value(x_o + w_co * after)
    hidden.copy_(o * activation.value(after))
    return (_side_by_side((i, f, g, o), hidden.dtype) if keep else None), after


def backward(
    activation: Activation, gate: Activation, gates: Tensor, peephole: Tensor | None,
    before: Tensor, after: Tensor, doutput: Tensor | None, dhidden: Tensor, dcell: Tensor,
    dgates: Tensor, dpeephole: Tensor | None, hidden: Tensor,
) -> None:  # fmt: skip
    """The chain rule through `forward`; see `Stepper.backward`."""
    i, f, g, o = gates.type(before.dtype).chunk(4, dim=-1)
    w_ci, w_cf, w_co = (0.0, 0.0, 0.0) if peephole is None else peephole
    squashed = activation.value(after)
    hidden.copy_(o * squashed)
    if doutput is not None:
        dhidden = dhidden.type(before.dtype) + doutput
    do = dhidden * squashed * gate.slope(o)
    dc = dcell + dhidden * o * activation.slope(squashed) + w_co * do
    di, df, dg = dc * g * gate.slope(i), dc * before * gate.slope(f), dc * i * activation.slope(g)
    dgates.copy_(_side_by_side((di, df, dg, do), dgates.dtype))
    dcell.copy_(dc * f + w_ci * di + w_cf * df)
    if dpeephole is not None:
        dpeephole.add_(torch.stack((di * before, df * before, do * after)))


def _side_by_side(parts: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """Four times (…, c) → (…, 4 c). Rounding before concatenating lets the compiler write all parts
    in one loop; rounding afterwards would need a second loop.
    """
    return torch.cat([part.type(dtype) for part in parts], dim=-1)


def _forward_in_place(
    activation: Activation, gate: Activation, summed: Tensor, peephole: Tensor | None,
    cell: Tensor, hidden: Tensor, keep: bool = True,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    size = cell.shape[-1]
    gates = summed.type(cell.dtype)
    i, f, g, o = gates.chunk(4, dim=-1)
    if peephole is not None:
        i.addcmul_(peephole[0], cell)
        f.addcmul_(peephole[1], cell)
    gate.apply_(gates[..., : 2 * size])
    activation.apply_(g)
    after = (f * cell).addcmul_(i, g)
    if peephole is not None:
        o.addcmul_(peephole[2], after)
    gate.apply_(o)
    hidden.copy_(activation.apply_(after.clone()).mul_(o))
    return gates.type(hidden.dtype), after


def _backward_in_place(
    activation: Activation, gate: Activation, gates: Tensor, peephole: Tensor | None,
    before: Tensor, after: Tensor, doutput: Tensor | None, dhidden: Tensor, dcell: Tensor,
    dgates: Tensor, dpeephole: Tensor | None, hidden: Tensor,
) -> None:  # fmt: skip
    size = after.shape[-1]
    if doutput is not None:
        dhidden = dhidden.type(after.dtype) + doutput
    gates = gates.type(after.dtype)
    out = dgates if dgates.dtype == after.dtype else torch.empty_like(gates)
    i, f, g, o = gates.chunk(4, dim=-1)
    di, df, dg, do = out.chunk(4, dim=-1)
    squashed = activation.apply_(after.clone())
    torch.mul(o, squashed, out=do)
    hidden.copy_(do)
    gate.back_(torch.mul(dhidden, squashed, out=do), o)
    dcell.add_(activation.back_(o * dhidden, squashed))
    if peephole is not None:
        dcell.addcmul_(peephole[2], do)
    torch.mul(dcell, g, out=di)
    torch.mul(dcell, before, out=df)
    gate.back_(out[..., : 2 * size], gates[..., : 2 * size])
    activation.back_(torch.mul(dcell, i, out=dg), g)
    dcell.mul_(f)
    if peephole is not None:
        dcell.addcmul_(peephole[0], di).addcmul_(peephole[1], df)
    if dpeephole is not None:
        for part, gradient, seen in zip(
            dpeephole, (di, df, do), (before, before, after), strict=True
        ):
            part.addcmul_(gradient, seen)
    if out is not dgates:
        dgates.copy_(out)


@cache
def _compiled(activation: str, recurrent_activation: str) -> Stepper:
    log.info(
        "compiling the kernels of the ConvLSTM; this takes some seconds, less if they are cached"
    )
    keep_cache_private()
    functions = _to_compile(activation), _to_compile(recurrent_activation)

    # functions, not partial(…): the compiler limits the recompilations of each function, and counts
    # all partial objects, and many modules of the user, as one
    @partial(torch.compile, fullgraph=True)
    def rows(*arguments: Any) -> tuple[Tensor | None, Tensor]:
        return forward(*functions, *arguments)

    @partial(torch.compile, fullgraph=True)
    def back(*arguments: Any) -> None:
        backward(*functions, *arguments)

    def forward_of_images(
        summed: Tensor, peephole: Tensor | None, cell: Tensor, hidden: Tensor, keep: bool = True
    ) -> tuple[Tensor | None, Tensor]:
        gates, after = rows(
            _in_rows(summed.contiguous()),
            _peepholes_in_rows(peephole, cell), _in_rows(cell.contiguous()), _in_rows(hidden), keep,
        )  # fmt: skip
        return None if gates is None else gates.view(*cell.shape[:-1], -1), after.view(cell.shape)

    def backward_of_images(
        gates: Tensor, peephole: Tensor | None, before: Tensor, after: Tensor,
        doutput: Tensor | None, dhidden: Tensor, dcell: Tensor, dgates: Tensor,
        dpeephole: Tensor | None, hidden: Tensor,
    ) -> None:  # fmt: skip
        back(
            _in_rows(gates), _peepholes_in_rows(peephole, before), _in_rows(before.contiguous()),
            _in_rows(after), None if doutput is None else _in_rows(doutput.contiguous()),
            _in_rows(dhidden.contiguous()), _in_rows(dcell), _in_rows(dgates),
            None if dpeephole is None else _of_any_length(dpeephole.flatten(1, 2), 1),
            _in_rows(hidden),
        )  # fmt: skip

    return Stepper(forward_of_images, backward_of_images)


def _to_compile(name: str) -> Activation:
    """Return the activation in the form that compiles to the fastest loop: with vector units σ is
    faster than tanh. Both agree to 1.2e-7.
    """
    found = ACTIVATIONS[name]
    return found._replace(value=_tanh_by_sigmoid) if name == "tanh" else found


def _tanh_by_sigmoid(x: Tensor) -> Tensor:
    return 2 * torch.sigmoid(2 * x) - 1


def _in_rows(x: Tensor) -> Tensor:
    """(b, p, c) → (b · p, c), the same memory. One kernel serves any number of rows; each number of
    channels has its own kernel, with loops of fixed length.
    """
    return _of_any_length(x.view(-1, x.shape[-1]), 0)


def _peepholes_in_rows(peephole: Tensor | None, cell: Tensor) -> Tensor | None:
    """(3, 1 or p, c) → (3, 1 or b · p, c)."""
    if peephole is None or peephole.shape[1] == 1:
        return peephole
    b, p, c = cell.shape
    return _of_any_length(peephole[:, None].expand(3, b, p, c).reshape(3, b * p, c), 1)


def _of_any_length(x: Tensor, dimension: int) -> Tensor:
    torch._dynamo.maybe_mark_dynamic(x, dimension)
    return x


_taken = [0]
"""Numbers that this process has processed without a plan, in layers worth compiling."""

_no_compiler: list[str] = []
"""Why nothing can be compiled in this process, once compiling has failed."""


def _try(way: int, kernels: Callable[[], Stepper], in_place: Stepper, *arguments: Any) -> Any:
    """Run the kernel if it can be compiled; else log that once and run the in-place operations."""
    if _no_compiler:
        return in_place[way](*arguments)
    from torch._dynamo import config
    from torch._dynamo.exc import FailOnRecompileLimitHit

    try:
        if config.disable:
            raise RuntimeError("TORCH_COMPILE_DISABLE is set.")
        with config.patch(recompile_limit=64):  # a process may hold many kinds of layers
            return kernels()[way](*arguments)
    except FailOnRecompileLimitHit:
        return in_place[way](*arguments)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except (
        Exception
        # the compiler, its cache and its subprocesses raise many classes of errors, always before
        # anything has run
    ) as error:
        _no_compiler.append((str(error) or type(error).__name__).splitlines()[0])
        log.warning(
            "kernels cannot be compiled here, so the ConvLSTM runs uncompiled, which is slower: %s",
            _no_compiler[0],
        )
        return in_place[way](*arguments)
