"""Activations by name, each with its derivative as a function of its own value: what back-propagation needs to keep is one number."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

Function = Callable[[Tensor], Tensor]


class Activation(NamedTuple):
    """y = value(x), and dy/dx = slope(y)."""

    value: Function
    slope: Function


ACTIVATIONS: dict[str, Activation] = {
    "tanh": Activation(torch.tanh, lambda y: 1 - y * y),
    "sigmoid": Activation(torch.sigmoid, lambda y: y * (1 - y)),
    "hard_sigmoid": Activation(functional.hardsigmoid, lambda y: ((y > 0) & (y < 1)).to(y.dtype) / 6),
    "relu": Activation(torch.relu, lambda y: (y > 0).to(y.dtype)),
    "identity": Activation(lambda x: x, torch.ones_like),
}
"""'hard_sigmoid' is Keras 3's and PyTorch's, max(0, min(1, x/6 + 1/2))."""


def activation(name_or_function: str | Function) -> Function:
    """The function of that name, or the function itself. Errors: ValueError for a name that there is not."""
    if not isinstance(name_or_function, str):
        return name_or_function
    if name_or_function not in ACTIVATIONS:
        raise ValueError(f"{name_or_function!r} is no activation; choose {', '.join(ACTIVATIONS)}, or give a function.")
    return ACTIVATIONS[name_or_function].value
