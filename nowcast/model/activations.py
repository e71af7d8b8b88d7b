"""Activations by name, each with its derivative as a function of its own value, so that
back-propagation keeps one number instead of two.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]


class Activation(NamedTuple):
    """y = value(x), and dy/dx = slope(y).

    `apply_(x)` and `back_(gradient, y)` do the same in place, in as few passes as possible.
    """

    value: Function
    slope: Function
    apply_: Function
    back_: Callable[[Tensor, Tensor], Tensor]


_aten = torch.ops.aten


def hard_sigmoid(x: Tensor) -> Tensor:
    """max(0, min(1, x/6 + 1/2)), as in Keras 3 and PyTorch."""
    return (x / 6 + 0.5).clamp(0, 1)


def identity(x: Tensor) -> Tensor:
    """x itself."""
    return x


ACTIVATIONS: dict[str, Activation] = {
    "tanh": Activation(
        torch.tanh,
        lambda y: 1 - y * y,
        torch.tanh_,
        lambda d, y: _aten.tanh_backward.grad_input(d, y, grad_input=d),
    ),
    "sigmoid": Activation(
        torch.sigmoid,
        lambda y: y * (1 - y),
        torch.sigmoid_,
        lambda d, y: _aten.sigmoid_backward.grad_input(d, y, grad_input=d),
    ),
    "hard_sigmoid": Activation(
        hard_sigmoid,
        lambda y: ((y > 0) & (y < 1)).to(y.dtype) / 6,
        lambda x: x.div_(6).add_(0.5).clamp_(0, 1),
        lambda d, y: d.mul_((y > 0) & (y < 1)).div_(6),
    ),
    "relu": Activation(
        torch.relu, lambda y: (y > 0).to(y.dtype), torch.relu_, lambda d, y: d.mul_(y > 0)
    ),
    "identity": Activation(identity, torch.ones_like, lambda x: x, lambda d, y: d),
}
"""All functions are named, in this module or in torch, so that a layer can be pickled."""


def activation(name_or_function: str | Function) -> Function:
    """Return the function of that name, or the function itself.

    Errors: ValueError for an unknown name.
    """
    if not isinstance(name_or_function, str):
        return name_or_function
    if name_or_function not in ACTIVATIONS:
        raise ValueError(
            f"{name_or_function!r} is not an activation; choose {', '.join(ACTIVATIONS)}, or give"
            " a function."
        )
    return ACTIVATIONS[name_or_function].value
