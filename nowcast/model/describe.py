"""Describe a model layer by layer and gate by gate: shapes, parameters, operations and memory.

The numbers are measured on a dry run of the model on PyTorch's meta device, where tensors have
shapes but no values: one run in training mode and one in forecasting mode. Measured are

- multiply–adds: of all convolutions and matrix products of one forward pass;
- activation memory in training: the tensors that autograd keeps for the backward pass, each storage
  once. A tensor belongs to the layer that created it;
- activation memory in forecasting: the most bytes alive at the same time, including frames and
  forecast; for a layer, the most while it runs.

Not included are the weights, the workspace of convolutions, gradients and the state of the
optimizer.
"""

import copy
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakIdKeyDictionary

from nowcast.model.convlstm import ConvLSTMNd
from nowcast.model.fc_lstm import FCLSTM
from nowcast.model.stacks import Local, call_model
from nowcast.motion.spacing import Spacing

Dimensions = tuple[int, ...]

SMALL_GRID = 64
"""Pixels along each side of the small grid from which the memory of larger ones is extrapolated."""

BETWEEN = "in between"
"""The row of tensors made outside of all layers: frames, patches, concatenations, splits and the
forecast.
"""


@dataclass(frozen=True)
class LayerRow:
    """A layer, or a part of one: a gate, or the projection.

    Shapes are without batch and time; None if the layer lacks the item.

    Attributes:
        name: path in the model; for a gate i, f, g or o.
        kind: ConvLSTM2d, FCLSTM, LSTM, Conv2d, …; gate, projection.
        steps: number of frames or vectors of a sequence that the layer returns.
        input_shape: of X, or of the input of a plain layer.
        kernel_shape: of W_x·, or of the weight of a plain layer.
        recurrent_kernel_shape: of W_h·.
        peephole_shape: of W_c·.
        gates_shape: of the four gates together, or of this gate.
        cell_shape, hidden_shape: of C and H; hidden_shape of a plain layer is that of its output.
        parameters: number of learned parameters.
        multiply_adds: of one forward pass of the whole batch.
        activation_bytes_training, activation_bytes_forecasting: as explained above; None for parts.
        parts: gates in the order i, f, g, o, then the projection, if any.
    """

    name: str
    kind: str
    steps: int | None = None
    input_shape: Dimensions | None = None
    kernel_shape: Dimensions | None = None
    recurrent_kernel_shape: Dimensions | None = None
    peephole_shape: Dimensions | None = None
    gates_shape: Dimensions | None = None
    cell_shape: Dimensions | None = None
    hidden_shape: Dimensions | None = None
    parameters: int = 0
    multiply_adds: int = 0
    activation_bytes_training: int | None = None
    activation_bytes_forecasting: int | None = None
    parts: tuple["LayerRow", ...] = ()


@dataclass(frozen=True)
class Description:
    """A model and its cost for frames of one size.

    Attributes:
        input_shape, output_shape: of the frames (b, t, c, *grid) and of the forecast (b, lead, c,
            *grid).
        parameters, multiply_adds, activation_bytes_training: sums over the layers.
        activation_bytes_forecasting: the maximum over the layers.
        layers: in the order in which they start to run, then the row `BETWEEN`.
    """

    input_shape: Dimensions
    output_shape: Dimensions
    parameters: int
    multiply_adds: int
    activation_bytes_training: int
    activation_bytes_forecasting: int
    layers: tuple[LayerRow, ...]


def describe(
    model: nn.Module, frames_shape: Sequence[int], lead_steps: int | None = None
) -> Description:
    """Describe a model for frames of `frames_shape` (b, t, c, *grid), by a dry run on the meta
    device.

    The model may be on any device, preferably the meta device, and is not changed. Without
    `lead_steps` it is called with the frames only, as for a single layer. Errors: whatever the
    model raises for such frames.
    """
    training = _Run(model, frames_shape, lead_steps, training=True)
    forecasting = _Run(model, frames_shape, lead_steps, training=False)
    layers = {layer.name: layer for layer in forecasting.layers}
    in_order = [layers[name] for name in dict.fromkeys([*forecasting.shapes, *layers])]
    rows = tuple(
        _row(layer, training, forecasting) for layer in [*in_order, _Layer(BETWEEN, "", {})]
    )
    return Description(
        tuple(frames_shape),
        forecasting.output_shape,
        sum(row.parameters for row in rows),
        sum(row.multiply_adds for row in rows),
        training.saved.total(),
        max(forecasting.peaks.values()),
        rows,
    )


def forecasting_memory(
    model: nn.Module,
    frames_shape: Sequence[int],
    lead_steps: int,
    spacing: Spacing | None = None,
) -> int:
    """Return only `Description.activation_bytes_forecasting`, for frames of this shape."""
    run = _Run(model, frames_shape, lead_steps, training=False, spacing=spacing)
    return max(run.peaks.values())


def forecasting_memory_at_most(
    model: nn.Module,
    frames_shape: Sequence[int],
    lead_steps: int,
    spacing: Spacing | None = None,
) -> int:
    """Return an upper bound of `forecasting_memory`, several times too large but quickly computed.

    The model forecasts one frame from one frame, on a small grid if it is `Local`; the memory is
    then multiplied by the number of steps and pixels. The run is on the CPU, because the meta
    device imports PyTorch's compiler, which takes longer than a forecast.
    """
    batch_size, input_steps, channels, *grid = frames_shape
    padded, small = grid, grid
    if isinstance(model, Local):
        padded = [length + -length % model.multiple for length in grid]
        small = [min(length, SMALL_GRID + -SMALL_GRID % model.multiple) for length in padded]
    run = _Run(
        model, [batch_size, 1, channels, *small], 1, training=False, device="cpu", spacing=spacing
    )
    return round(max(run.peaks.values()) * (input_steps + lead_steps) * prod(padded) / prod(small))


class _Layer(NamedTuple):
    """A layer of a model: its name, its kind, and its weights by the names that `ConvLSTMCell`
    uses.
    """

    name: str
    kind: str
    weights: Mapping[str, Tensor]


def _layers_of(model: nn.Module) -> dict[nn.Module, list[_Layer]]:
    """Return all parts of the model that have their own weights, by the module that runs them."""
    layers: dict[nn.Module, list[_Layer]] = {}
    cells: set[nn.Module] = set()
    inner = {
        module.layers: name for name, module in model.named_modules() if isinstance(module, FCLSTM)
    }
    for name, module in model.named_modules():
        name = inner.get(module, name)
        if isinstance(module, ConvLSTMNd):
            cells |= set(module.cells)
            kind = f"ConvLSTM{module.dimensions}d" if module.dimensions else "FCLSTM"
            parts = {
                f"cells.{k}": dict(cell.named_parameters()) for k, cell in enumerate(module.cells)
            }
        elif isinstance(module, nn.LSTM):
            kind, own = "LSTM", list(module.named_parameters())
            ends = [
                f"_l{k}{way}"
                for k in range(module.num_layers)
                for way in ("", "_reverse")[: 1 + module.bidirectional]
            ]
            parts = {
                end[1:]: {role.removesuffix(end): w for role, w in own if role.endswith(end)}
                for end in ends
            }
        else:
            kind, weights = type(module).__name__, dict(module.named_parameters(recurse=False))
            parts = {"": weights} if weights and module not in cells else {}
        for part, weights in parts.items():
            place = f"{name}.{part}".strip(".") if len(parts) > 1 else name
            layers.setdefault(module, []).append(_Layer(place or kind, kind, weights))
    return layers


class _Run(TorchDispatchMode):
    """Run a copy of a model and count the cost of every operation for the layer that it belongs to.

    An operation belongs to the layer whose weights it reads. An operation without weights belongs
    to the layer of the previous operation in the same module.
    """

    takes_any_path = True  # count the operations that really run: see `nowcast.model.watched`

    def __init__(
        self,
        model: nn.Module,
        frames_shape: Sequence[int],
        lead_steps: int | None,
        training: bool,
        device: str = "meta",
        spacing: Spacing | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        model = copy.deepcopy(model).to(device).train(training)
        modules = _layers_of(model)
        self.layers = [layer for layers in modules.values() for layer in layers]
        self.shapes: dict[str, dict[str, Any]] = {}
        """The shapes in a layer's row, known after it ran."""
        self.multiply_adds: Counter[tuple[str, bool]] = Counter()
        """By layer, and whether they belong to the projection."""
        self.saved: Counter[str] = Counter()
        """Bytes that autograd keeps, by the layer that made them."""
        self.peaks: Counter[str] = Counter()
        """The most bytes alive while a layer runs."""
        self._now, self._alive, self._batch_size = BETWEEN, 0, frames_shape[0]
        self._maker: Any = WeakIdKeyDictionary()
        self._kept: dict[int, torch.UntypedStorage] = {}
        self._weights: Any = WeakIdKeyDictionary(
            {buffer.untyped_storage(): (BETWEEN, "") for buffer in model.buffers()}
        )
        for layer in self.layers:
            self._weights.update(
                {
                    weight.untyped_storage(): (layer.name, role)
                    for role, weight in layer.weights.items()
                }
            )
        for module, layers in modules.items():
            self._watch(module, layers)
        with (
            torch.set_grad_enabled(training),
            torch.autograd.graph.saved_tensors_hooks(self._save, _no_backward),
            self,
        ):
            frames = torch.zeros(*frames_shape, device=device)
            if lead_steps is None:
                output = model(frames)
            else:
                output = call_model(
                    model, frames, lead_steps, newest=frames[:, -1, 0], spacing=spacing
                )
        self.output_shape: Dimensions = tuple(
            (output if isinstance(output, Tensor) else output[0]).shape
        )

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: the compiler never sees this mode, and hiding it would import the compiler."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        read = [
            self._weights[storage]
            for storage in _storages((args, kwargs))
            if storage in self._weights
        ]
        self._now = next((layer for layer, _ in read if layer != BETWEEN), self._now)
        output = func(*args, **kwargs)
        if func.overloadpacket in flop_registry:
            of_projection = any(role == "weight_hr" for _, role in read)
            flops = flop_registry[func.overloadpacket](*args, **kwargs, out_val=output)
            self.multiply_adds[self._now, of_projection] += flops // 2
        for storage in _storages(output):
            if storage not in self._weights and storage not in self._maker:
                self._maker[storage] = self._now
                self._alive += storage.nbytes()
                weakref.finalize(storage, self._free, storage.nbytes())
        self.peaks[self._now] = max(self.peaks[self._now], self._alive)
        return output

    def _free(self, size: int) -> None:
        self._alive -= size

    def _save(self, tensor: Tensor) -> None:
        """Count a tensor that autograd keeps; several views of one storage count once."""
        storage = tensor.untyped_storage()
        if storage not in self._weights and storage._cdata not in self._kept:
            self._kept[storage._cdata] = storage
            self.saved[self._maker.get(storage, self._now)] += storage.nbytes()

    def _watch(self, module: nn.Module, layers: list[_Layer]) -> None:
        """Record when the module runs, and the shapes of its inputs and outputs."""
        outer: list[str] = []
        bare = False
        if isinstance(module, ConvLSTMNd):
            # the hook needs the states; the caller does not get them
            bare, module.return_state = not module.return_state, True
        plain = not isinstance(module, ConvLSTMNd | nn.LSTM)
        shapes_of = partial(_plain_shapes, self._batch_size) if plain else _recurrent_shapes

        def enter(module: nn.Module, args: Any) -> None:
            outer.append(self._now)
            self._now = layers[0].name

        def leave(module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
            self._now = outer.pop()
            for layer, shapes in zip(
                layers, shapes_of(module, layers, args, kwargs, output), strict=True
            ):
                shapes["steps"] += self.shapes.get(layer.name, {"steps": 0})["steps"]
                self.shapes[layer.name] = shapes
            return output[0] if bare else output

        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave, with_kwargs=True)


def _recurrent_shapes(
    module: Any, layers: list[_Layer], args: Any, kwargs: Any, output: Any
) -> Iterator[dict[str, Any]]:
    """Yield the shapes of each layer and direction of a ConvLSTM or LSTM, from its arguments and
    the states that it returned.
    """
    frames = args[0] if args else kwargs.get("frames")
    axes = 1 + getattr(module, "dimensions", 0)
    steps = (
        kwargs.get("steps")
        or frames.shape[1 if module.batch_first and frames.ndim > axes + 1 else 0]
    )
    grid = () if frames is None else frames.shape[1 - axes :] if axes > 1 else ()
    directions = 1 + module.bidirectional
    for k, (layer, hidden, cell) in enumerate(zip(layers, *output[1], strict=True)):
        kernel = layer.weights.get("weight_ih")
        yield {
            "steps": steps,
            "input_shape": None if kernel is None else (kernel.shape[1], *grid),
            "gates_shape": (
                layer.weights["weight_hh"].shape[0],
                *hidden.shape[hidden.ndim + 1 - axes :],
            ),
            "cell_shape": tuple(cell.shape[-axes:]),
            "hidden_shape": tuple(hidden.shape[-axes:]),
        }
        if k % directions == directions - 1:
            grid = hidden.shape[hidden.ndim + 1 - axes :]


def _plain_shapes(
    batch_size: int, module: nn.Module, layers: list[_Layer], args: Any, kwargs: Any, output: Any
) -> Iterator[dict[str, Any]]:
    """Yield the shapes of a plain layer, from its arguments: (c, *grid) for a convolution, (n,) for
    a matrix, else everything except the batch.
    """
    weight = layers[0].weights.get("weight")
    frames, output = (
        (*args, *kwargs.values())[0],
        output if isinstance(output, Tensor) else output[0],
    )
    axes = output.ndim - 1 if weight is None or weight.ndim == 1 else weight.ndim - 1
    yield {
        "steps": prod(output.shape[:-axes]) // batch_size,
        "input_shape": tuple(frames.shape[-axes:]),
        "hidden_shape": tuple(output.shape[-axes:]),
    }


def _row(layer: _Layer, training: _Run, forecasting: _Run) -> LayerRow:
    """Return the row of a layer, from its weights and from both runs."""
    weights, shapes = layer.weights, forecasting.shapes.get(layer.name, {})
    parts = _parts(layer, shapes.get("gates_shape"), forecasting) if "weight_hh" in weights else ()
    return LayerRow(
        layer.name,
        layer.kind,
        kernel_shape=_shape(weights.get("weight_ih", weights.get("weight"))),
        recurrent_kernel_shape=_shape(weights.get("weight_hh")),
        peephole_shape=_shape(weights.get("peephole")),
        parameters=sum(weight.numel() for weight in weights.values()),
        multiply_adds=forecasting.multiply_adds[layer.name, False]
        + forecasting.multiply_adds[layer.name, True],
        activation_bytes_training=training.saved[layer.name],
        activation_bytes_forecasting=forecasting.peaks[layer.name],
        parts=parts,
        **shapes,
    )


def _parts(layer: _Layer, gates_shape: Dimensions | None, run: _Run) -> tuple[LayerRow, ...]:
    """Return the rows of the four gates, each with a quarter of the weights and multiply–adds, and
    of the projection, if any.
    """
    weights, parts = layer.weights, []
    quarters = {
        role: weight.chunk(4)
        for role, weight in weights.items()
        if role not in ("peephole", "weight_hr")
    }
    peepholes = dict(zip("ifo", weights.get("peephole", ()), strict=False))
    for k, gate in enumerate("ifgo"):
        own = [
            *(quarter[k] for quarter in quarters.values()),
            *([peepholes[gate]] if gate in peepholes else []),
        ]
        parts.append(LayerRow(
            gate,
            "gate",
            kernel_shape=_shape(quarters["weight_ih"][k]) if "weight_ih" in quarters else None,
            recurrent_kernel_shape=_shape(quarters["weight_hh"][k]),
            peephole_shape=_shape(peepholes.get(gate)),
            gates_shape=gates_shape and (gates_shape[0] // 4, *gates_shape[1:]),
            parameters=sum(weight.numel() for weight in own),
            multiply_adds=run.multiply_adds[layer.name, False] // 4,
        ))  # fmt: skip
    if "weight_hr" in weights:
        projection = weights["weight_hr"]
        parts.append(LayerRow(
            "projection", "projection", kernel_shape=_shape(projection),
            parameters=projection.numel(), multiply_adds=run.multiply_adds[layer.name, True],
        ))  # fmt: skip
    return tuple(parts)


def _shape(tensor: Tensor | None) -> Dimensions | None:
    return None if tensor is None else tuple(tensor.shape)


def _storages(values: Any) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _no_backward(saved: Any) -> Tensor:
    raise RuntimeError("describe runs a model only forward.")
