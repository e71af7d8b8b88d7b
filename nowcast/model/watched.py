"""Find out whether a cell must really be called: because it was changed, has hooks, or because
something observes every operation.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from nowcast.model.cell import ConvLSTMCell

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_WEIGHTS = ("weight_ih", "weight_hh", "bias", "peephole", "weight_hr")


def runs_only_forward(module: nn.Module) -> bool:
    """Return whether `module(…)` runs only the `forward` of its class: no hooks, no replaced
    `forward`, no `compile()`.
    """
    own = vars(module)
    replaced = "forward" in own or own.get("_compiled_call_impl") is not None
    return not (replaced or _has_any_global_hook() or any(own.get(hooks) for hooks in _HOOKS))


def is_untouched(cell: nn.Module) -> bool:
    """Return whether `cell(…)` is equation (3) with the cell's own parameters.

    False for subclasses, wrapped or parametrised cells, hooks, replaced methods, and weights that
    are not plain parameters: pruned, normalised, or set by `torch.func.functional_call`.
    """
    if type(cell) is not ConvLSTMCell or not runs_only_forward(cell):
        return False
    replaced = any(callable(getattr(ConvLSTMCell, name, None)) for name in vars(cell))
    weights = (getattr(cell, name) for name in _WEIGHTS)
    return not replaced and all(
        weight is None or type(weight) is nn.Parameter for weight in weights
    )


def is_watched(inputs: Iterable[Tensor | None]) -> bool:
    """Return whether something observes or replaces single operations, so that the cells must
    run step by step.

    True under `torch.compile`, `torch.export`, `torch.jit.trace`, `torch.func`, forward-mode
    derivatives, any `TorchFunctionMode` or `TorchDispatchMode`, and for inputs of tensor
    subclasses. A dispatch mode that sets `takes_any_path = True` does not count.
    """
    return (
        torch.compiler.is_compiling()
        or torch._C._is_tracing()
        or torch._C._are_functorch_transforms_active()
        or torch.autograd.forward_ad._current_level >= 0
        or any(type(mode) is not DeviceContext for mode in _get_current_function_mode_stack())
        or any(
            not getattr(mode, "takes_any_path", False)
            for mode in _get_current_dispatch_mode_stack()
        )
        or any(type(x) not in (Tensor, nn.Parameter) for x in inputs if x is not None)
    )
