"""Convolutions over grids of one to three dimensions, padded as in Keras; a matrix product if
there is no dimension.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from operator import index
from typing import Literal, NamedTuple, SupportsIndex, cast

import torch
from torch import Tensor
from torch.nn import functional

Size = int | tuple[int, ...]
"""One number for every axis, or one for each."""

Padding = Literal["same", "valid"]

_CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


class Shape(NamedTuple):
    """Stride, padding and dilation of a convolution along each axis."""

    stride: tuple[int, ...]
    padding: Padding
    dilation: tuple[int, ...]


def whole(value: SupportsIndex, name: str) -> int:
    """Return an integer of Python or NumPy as a Python int.

    Errors: ValueError if it is not an integer.
    """
    try:
        return index(value)
    except TypeError:
        raise ValueError(f"{name}: give a whole number, not {value!r}.") from None


def as_size(size: Size, name: str) -> Size:
    """Return the size in Python ints. Errors: ValueError as `whole`."""
    # NumPy arrays without axes count as iterable too
    several = isinstance(size, Iterable) and getattr(size, "ndim", 1) > 0
    return (
        tuple(whole(n, name) for n in cast(Iterable[int], size))
        if several
        else whole(cast(int, size), name)
    )


def per_axis(size: Size, dimensions: int, name: str) -> tuple[int, ...]:
    """Return `size` along each of `dimensions` axes.

    Errors: ValueError if it is below 1 or has another number of axes.
    """
    found = as_size(size, name)
    sizes = (found,) * dimensions if isinstance(found, int) else found
    if len(sizes) != dimensions or min(sizes, default=1) < 1:
        raise ValueError(
            f"{name}: give a number above 0, or {dimensions} of them, one per axis, not {size}."
        )
    return sizes


def unit(dimensions: int) -> Shape:
    """Return the shape of a convolution that keeps the size of the grid."""
    return Shape((1,) * dimensions, "same", (1,) * dimensions)


def channels_last(x: Tensor) -> Tensor:
    """Return x with the channels last in memory, for grids of two or three axes; no copy if they
    are last already.
    """
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return x.contiguous(memory_format=formats[x.ndim]) if x.ndim in formats else x


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, shape: Shape) -> Tensor:
    """(n, c, *grid) → (n, out, *grid after), `weight` (out, c, *kernel)."""
    if weight.ndim == 2:
        return functional.linear(x, weight, bias)
    before, after = paddings(x.shape[2:], weight.shape[2:], shape)
    # in a torch.jit trace of a strided convolution the padding must depend on the grid of each
    # later call
    traced = max(shape.stride) > 1 and not torch.compiler.is_compiling() and torch._C._is_tracing()
    if traced or before != after:
        x = functional.pad(x, both_sides(before, after))
        before = [0] * len(before)
    return _CONVOLUTIONS[weight.ndim - 2](x, weight, bias, shape.stride, before, shape.dilation)


def many_times(
    weight: Tensor, bias: Tensor | None, shape: Shape, images: Sequence[int]
) -> Callable[[Tensor], Tensor]:
    """Return `convolve` with this weight for images (n, c, *grid) of this size, without gradient.

    On a CPU the weight of a plain 2-D convolution is brought into oneDNN's memory layout once;
    `conv2d` does so at each call.
    """
    before, after = paddings(images[2:], weight.shape[2:], shape)
    # with packed weights oneDNN gives wrong results for some strides
    usual = before == after and max(shape.stride, default=1) == 1 and 0 not in images
    if usual and _can_be_packed(weight):
        layout = before, shape.stride, shape.dilation, 1
        packed = torch.ops.mkldnn._reorder_convolution_weight(weight, *layout, list(images))
        return lambda x: torch.ops.mkldnn._convolution_pointwise(
            channels_last(x), packed, bias, *layout, "none", [], ""
        )
    weight = channels_last(weight)
    return lambda x: convolve(channels_last(x), weight, bias, shape)


def _can_be_packed(weight: Tensor) -> bool:
    return (
        weight.ndim == 4
        and weight.device.type == "cpu"
        and bool(torch.backends.mkldnn.enabled)
        and torch._C._len_torch_dispatch_stack() == 0
        and _packs(weight.dtype)
    )


@cache
def _packs(dtype: torch.dtype) -> bool:
    """Return whether this PyTorch packs weights: tested, since the operators are private."""
    if dtype not in (torch.float32, torch.bfloat16) or not torch.backends.mkldnn.is_available():
        return False
    x, weight = torch.ones(2, 1, 1, 3, 3, dtype=dtype, device="cpu")
    layout = [1, 1], [1, 1], [1, 1], 1
    try:
        if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return False
        packed = torch.ops.mkldnn._reorder_convolution_weight(weight, *layout, [1, 1, 3, 3])
        found = torch.ops.mkldnn._convolution_pointwise(x, packed, None, *layout, "none", [], "")
    except (AttributeError, RuntimeError, TypeError):
        return False
    return torch.equal(found, functional.conv2d(x, weight, padding=1))


def paddings(
    grid: Sequence[int], kernel: Sequence[int], shape: Shape
) -> tuple[list[int], list[int]]:
    """Return the number of zeros before and after the grid along each axis; an odd one out comes
    after it, as in Keras.
    """
    if shape.padding == "valid":
        return [0] * len(grid), [0] * len(grid)
    before, after = [], []
    for n, k, stride, dilation in zip(grid, kernel, shape.stride, shape.dilation, strict=True):
        total = (
            (-(-n // stride) - 1) * stride + (k - 1) * dilation + 1 - n
            if stride > 1
            else (k - 1) * dilation
        )
        # max(total, 0) as a formula: a trace would keep the branch that max() took
        total = (total + abs(total)) // 2
        before.append(total // 2)
        after.append(total - total // 2)
    return before, after


def both_sides(before: Sequence[int], after: Sequence[int]) -> list[int]:
    """Return the paddings in the order of `torch.nn.functional.pad`: last axis first."""
    return [n for pair in zip(reversed(before), reversed(after), strict=True) for n in pair]


def grid_after(grid: Sequence[int], kernel: Sequence[int], shape: Shape) -> tuple[int, ...]:
    """Return the size of the grid after the convolution.

    Errors: ValueError if nothing is left of it.
    """
    before, after = paddings(grid, kernel, shape)
    sizes = tuple(
        (n + p + q - (k - 1) * dilation - 1) // stride + 1
        for n, p, q, k, stride, dilation in zip(
            grid, before, after, kernel, shape.stride, shape.dilation, strict=True
        )
    )
    if any(n < 1 for n in sizes):
        raise ValueError(
            f"a kernel of {tuple(kernel)} with padding={shape.padding!r} leaves nothing of a grid"
            f" of {tuple(grid)}."
        )
    return sizes


def convolution_gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, shape: Shape, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the wanted gradients of the sum over `convolve(x, weight, bias, shape) * gradient`,
    with respect to x, the weight and the bias.
    """
    wants_x, wants_weight, wants_bias = wanted
    if weight.ndim == 2:
        return (
            gradient @ weight if wants_x else None,
            gradient.t() @ x if wants_weight else None,
            gradient.sum(0) if wants_bias else None,
        )
    grid = x.shape[2:]
    before, after = paddings(grid, weight.shape[2:], shape)
    even = before == after
    if not even:
        x = functional.pad(x, both_sides(before, after))
    layout = (
        shape.stride, before if even else [0] * len(before), shape.dilation, False,
        [0] * len(grid), 1,
    )  # fmt: skip
    back, size = torch.ops.aten.convolution_backward, weight.shape[:1]
    if (wants_weight or wants_bias) and _is_wrong_in_half(x, shape):
        dx = back(gradient, x, weight, size, *layout, (wants_x, False, False))[0]
        full = gradient.float(), x.float(), weight.float()
        _, dweight, dbias = back(*full, size, *layout, (False, wants_weight, wants_bias))
    else:
        dx, dweight, dbias = back(gradient, x, weight, size, *layout, wanted)
    if wants_x and not even:
        for axis, (start, length) in enumerate(zip(before, grid, strict=True), start=2):
            dx = dx.narrow(axis, start, length)
    # gradients that are not wanted come back too, with another shape
    return (
        dx if wants_x else None,
        dweight if wants_weight else None,
        dbias if wants_bias else None,
    )


def _is_wrong_in_half(x: Tensor, shape: Shape) -> bool:
    """Return whether oneDNN's gradients of weight and bias may be wrong in half precision: in three
    dimensions, if the kernel is deeper than the grid, and with strides.
    """
    half = x.device.type == "cpu" and x.dtype in (torch.bfloat16, torch.float16)
    return half and (x.ndim == 5 or max(shape.stride) > 1)
