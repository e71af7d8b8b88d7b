"""Convert trained ConvLSTM layers of other libraries to ours, and ours to Keras, in one line.

    layer = convert.from_ndrplz(old.state_dict())

Each function takes exactly the weights of one layer: DataError names the first weight that is
missing, unexpected or of the wrong shape. Weights are copied and keep their precision and device.
Options that weights do not contain are given as `options`, named as in `ConvLSTM2d` (batch_first,
dropout, return_sequences, …).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from nowcast.errors import DataError
from nowcast.model.cell import ConvLSTMCell
from nowcast.model.convlstm import ConvLSTM1d, ConvLSTM2d, ConvLSTM3d, ConvLSTMNd
from nowcast.model.keras_files import read_layer
from nowcast.model.keras_hdf5 import as_bfloat16

Cell = dict[str, Tensor]
"""The parameters of one `ConvLSTMCell` by name."""

OPTIONS = {  # "dropout" acts between layers, so only stacks have it
    "batch_first", "dropout", "input_dropout", "recurrent_dropout", "stride", "padding", "dilation",
    "activation", "recurrent_activation", "return_sequences", "return_state", "go_backwards",
    "stateful",
}  # fmt: skip

KERAS_DEFAULTS = {"padding": "valid", "return_sequences": False, "return_state": False}
"""Keras' defaults that differ from ours."""

KINDS: dict[int, type[ConvLSTMNd]] = {1: ConvLSTM1d, 2: ConvLSTM2d, 3: ConvLSTM3d}


class _Weights:
    """A library's weights by name. Each is handed out once, so that unused ones are found."""

    def __init__(self, library: str, weights: Mapping[str, Tensor]) -> None:
        if not isinstance(weights, Mapping) or not all(
            isinstance(weight, Tensor) for weight in weights.values()
        ):
            raise DataError(
                f"{library}: give tensors by name, as module.state_dict() returns them."
            )
        self.library, self.left = library, dict(weights)

    def take(self, name: str, *shape: int | None) -> Tensor:
        """Return and remove the weight of that name and shape; None in a shape is any number.

        Errors: DataError if it is missing or does not fit.
        """
        weight = self.look(name, *shape)
        del self.left[name]
        return weight

    def look(self, name: str, *shape: int | None) -> Tensor:
        """`take` without removing the weight."""
        if name not in self.left:
            raise DataError(
                f"{self.library}: weight {name!r} is missing among"
                f" {', '.join(map(repr, self.left)) or 'none'}."
            )
        weight = self.left[name].detach()
        if len(weight.shape) != len(shape) or any(
            n not in (None, m) for n, m in zip(shape, weight.shape, strict=True)
        ):
            raise self.misshapen(
                name, weight, f"({', '.join('any' if n is None else str(n) for n in shape)})"
            )
        if not weight.is_floating_point():
            raise DataError(
                f"{self.library}: weight {name!r} is {weight.dtype}, not floating-point."
            )
        return weight

    def misshapen(self, name: str, weight: Tensor, wanted: str) -> DataError:
        return DataError(
            f"{self.library}: weight {name!r} has shape {tuple(weight.shape)}; expected {wanted}."
        )

    def drop(self, name: str) -> None:
        self.left.pop(name, None)

    def finish(self) -> None:
        if self.left:
            raise DataError(
                f"{self.library}: its layer has no weight named {', '.join(map(repr, self.left))}."
            )


def from_ndrplz(state_dict: Mapping[str, Tensor], **options: Any) -> ConvLSTM2d:
    """Convert a layer of ndrplz/ConvLSTM_pytorch (`ConvLSTM` or one `ConvLSTMCell`).

    Layout: `cell_list.{k}.conv.weight` (4h, c + h, kh, kw), channels of X before those of H, and
    optionally `.bias` (4h); gates in the order i, f, o, g; no peepholes. That library's default is
    batch_first=False.
    """

    def read(weights: _Weights, prefix: str) -> Cell:
        weight = weights.take(f"{prefix}conv.weight", None, None, None, None)
        h = weight.shape[0] // 4
        if weight.shape[0] != 4 * h or weight.shape[1] <= h:
            raise weights.misshapen(
                f"{prefix}conv.weight", weight, "(4 hidden, input + hidden, height, width)"
            )
        c = weight.shape[1] - h
        cell = {"weight_ih": weight[:, :c], "weight_hh": weight[:, c:]}
        if f"{prefix}conv.bias" in weights.left:
            cell["bias"] = weights.take(f"{prefix}conv.bias", 4 * h)
        return {name: _in_our_order(stacked, "ifog") for name, stacked in cell.items()}

    return _stack(
        "ndrplz/ConvLSTM_pytorch", state_dict, "cell_list.{}.", "conv.weight", read, options
    )


def from_automan000(state_dict: Mapping[str, Tensor], **options: Any) -> ConvLSTM2d:
    """Convert a layer of automan000/Convolutional_LSTM_PyTorch (`ConvLSTM` or one `ConvLSTMCell`).

    Layout: `cell{k}.Wx·.weight` (h, c, kh, kw), `.Wx·.bias` (h) and `.Wh·.weight` (h, h, kh, kw)
    for the gates i, f, c, o; optionally `.Wci`, `.Wcf`, `.Wco` (1, h, height, width). That library
    keeps the latter at zero and out of its state dict: without them the layer has no peepholes,
    with them peephole='pixel'. Its `step` and `effective_step` are arguments of the call here:
    `layer(frame, steps=…, effective_steps=…)`.
    """

    def read(weights: _Weights, prefix: str) -> Cell:
        h, c, *kernel = weights.look(f"{prefix}Wxi.weight", None, None, None, None).shape

        def stacked(name: str, *shape: int) -> Tensor:
            return torch.cat([weights.take(prefix + name.format(gate), *shape) for gate in "ifco"])

        cell = {
            "weight_ih": stacked("Wx{}.weight", h, c, *kernel),
            "weight_hh": stacked("Wh{}.weight", h, h, *kernel),
            "bias": stacked("Wx{}.bias", h),
        }
        if any(f"{prefix}Wc{gate}" in weights.left for gate in "ifo"):
            first = weights.take(f"{prefix}Wci", 1, h, None, None)
            cell["peephole"] = torch.cat(
                [first, *(weights.take(f"{prefix}Wc{gate}", *first.shape) for gate in "fo")]
            )
        return cell

    return _stack(
        "automan000/Convolutional_LSTM_PyTorch", state_dict, "cell{}.", "Wxi.weight", read, options
    )


def from_openstl(
    state_dict: Mapping[str, Tensor], *, forget_bias: float = 0.0, **options: Any
) -> ConvLSTM2d:
    """Convert the layers of OpenSTL's `ConvLSTM_Model` (or one `ConvLSTMCell`) without layer_norm.

    Layout: `cell_list.{k}.conv_x.0.weight` (4h, c, kh, kw) and `.conv_h.0.weight` (4h, h, kh, kw);
    gates in the order i, f, g, o; no biases, no peepholes. OpenSTL never uses a cell's `conv_o` and
    `conv_last`, so they are dropped. So is the model's own `conv_last`, the 1×1 `torch.nn.Conv2d`
    that turns the last layer's H into a frame: the caller has to keep it.

    Args:
        forget_bias: added to the forget gate before its σ. OpenSTL's ConvLSTM has a `_forget_bias`
            of 1 but never adds it; use 1.0 for copies of the cell that do.
    """

    def read(weights: _Weights, prefix: str) -> Cell:
        if any(
            key.startswith((f"{prefix}conv_x.1.", f"{prefix}conv_h.1.")) for key in weights.left
        ):
            raise DataError(
                f"{weights.library}: {prefix}conv_x.1 is a layer norm (layer_norm=True), which our"
                " layer does not have."
            )
        weight_ih = weights.take(f"{prefix}conv_x.0.weight", None, None, None, None)
        h = weight_ih.shape[0] // 4
        if weight_ih.shape[0] != 4 * h:
            raise weights.misshapen(
                f"{prefix}conv_x.0.weight", weight_ih, "(4 hidden, input, height, width)"
            )
        cell = {
            "weight_ih": weight_ih,
            "weight_hh": weights.take(f"{prefix}conv_h.0.weight", 4 * h, h, *weight_ih.shape[2:]),
        }
        if forget_bias:
            cell["bias"] = weight_ih.new_tensor([0.0, forget_bias, 0.0, 0.0]).repeat_interleave(h)
        for unused in (f"{prefix}conv_o.0.weight", f"{prefix}conv_last.weight", "conv_last.weight"):
            weights.drop(unused)
        return cell

    return _stack("OpenSTL", state_dict, "cell_list.{}.", "conv_x.0.weight", read, options)


def from_keras(weights: Sequence[Any], **options: Any) -> ConvLSTMNd:
    """Convert a ConvLSTM1D, 2D or 3D of Keras to a ConvLSTM1d, 2d or 3d with the same results.

    Layout: `layer.get_weights()`, that is kernel (*kernel, c, 4h), recurrent kernel (*kernel, h,
    4h) and, with use_bias, bias (4h); gates in the order i, f, c, o; no peepholes. Our frames have
    channels first, (b, t, c, *grid), whatever data_format was.

    Options default to Keras' defaults (padding='valid', return_sequences=False,
    return_state=False). Keras' names translate as strides → stride, dilation_rate → dilation,
    dropout → input_dropout. The 'hard_sigmoid' of Keras 2, the default of its gates, is
    `nowcast.model.keras_files.hard_sigmoid_of_keras_2`. Results differ only in training with
    dropout, which Keras draws for each gate.
    """
    return _from_keras("Keras", weights, options)


def from_keras_file(path: str | Path, layer: str | None = None, **options: Any) -> ConvLSTMNd:
    """Convert a ConvLSTM layer from a file of Keras or TensorFlow; Keras itself is not needed.

    Args:
        path: a file written by `model.save` or `model.save_weights`: `.keras`, `.h5`,
            `.weights.h5`, or the `.weights.json` of sharded weights. The file of a whole model
            contains the layer's options (initialisers, regularisers and constraints are ignored);
            a file of weights contains none.
        layer: name of the layer in the model; needed if the model has several ConvLSTM layers.
        options: options that the file does not contain or that override it, in our names.

    Errors: MissingInputError if the file is missing; DataError if it is damaged or not a Keras
    file, has no such layer or several, or if the layer has an unknown activation and `options`
    gives no other.
    """
    weights, told = read_layer(path, layer, options)
    return _from_keras(str(path), weights, {**told, **options})


def to_keras(layer: ConvLSTMNd | ConvLSTMCell) -> list[numpy.ndarray[Any, Any]]:
    """Return kernel, recurrent kernel and bias, if any, for `set_weights` of a Keras ConvLSTM; see
    `from_keras` for the layout.

    Convert a stack cell by cell: `to_keras(stack.cells[k])`. Errors: DataError for features that
    Keras lacks: nonzero peepholes, a projection, kernels of two sizes, a layer without input.
    """
    if isinstance(layer, ConvLSTMNd):
        if len(layer.cells) != 1:
            raise DataError(
                f"a Keras layer is one cell, but this layer has {len(layer.cells)}; convert each:"
                " to_keras(layer.cells[k])."
            )
        return to_keras(layer.cells[0])  # type: ignore[arg-type]
    if layer.weight_ih is None:
        raise DataError("a Keras ConvLSTM has an input, but this layer has none.")
    if layer.weight_hr is not None:
        raise DataError("a Keras ConvLSTM has no projection (proj_size).")
    if layer.peephole is not None and layer.peephole.any():
        raise DataError("a Keras ConvLSTM has no peepholes, but this layer's are not zero.")
    if layer.weight_ih.shape[2:] != layer.weight_hh.shape[2:]:
        sizes = " and ".join(str(tuple(w.shape[2:])) for w in (layer.weight_ih, layer.weight_hh))
        raise DataError(f"a Keras ConvLSTM has kernels of one size, but these are {sizes}.")
    kernels = [w.movedim((0, 1), (-1, -2)) for w in (layer.weight_ih, layer.weight_hh)]
    arrays = (*kernels, *([] if layer.bias is None else [layer.bias]))
    return [_numbers(weight.detach().cpu()).contiguous().numpy().copy() for weight in arrays]


def _numbers(weight: Tensor) -> Tensor:
    """Return the same numbers in a precision that NumPy supports."""
    return weight.float() if weight.dtype == torch.bfloat16 else weight


def _from_keras(source: str, weights: Sequence[Any], options: Mapping[str, Any]) -> ConvLSTMNd:
    if len(weights) not in (2, 3):
        raise DataError(
            f"{source}: a ConvLSTM has a kernel, a recurrent kernel and an optional bias, not"
            f" {len(weights)} weights."
        )
    names = ("kernel", "recurrent_kernel", "bias")
    tensors = {
        name: _tensor(source, name, weight) for name, weight in zip(names, weights, strict=False)
    }
    named = _Weights(source, tensors)
    dimensions = tensors["kernel"].ndim - 2
    kernel = named.take("kernel", *(None,) * (dimensions + 2))
    if dimensions not in KINDS or kernel.shape[-1] % 4:
        raise named.misshapen(
            "kernel", kernel, "(*kernel, input, 4 hidden) with a kernel of one to three axes"
        )
    h = kernel.shape[-1] // 4
    recurrent = named.take("recurrent_kernel", *kernel.shape[:-2], h, 4 * h)
    cell = {
        "weight_ih": kernel.movedim((-1, -2), (0, 1)),
        "weight_hh": recurrent.movedim((-1, -2), (0, 1)),
    }
    if named.left:
        cell["bias"] = named.take("bias", 4 * h)
    return _build(source, KINDS[dimensions], [cell], {**KERAS_DEFAULTS, **options})


def _tensor(source: str, name: str, weight: Any) -> Tensor:
    if isinstance(weight, Tensor):
        return weight
    array = numpy.array(weight)
    if array.dtype.name == "bfloat16":
        return as_bfloat16(array)
    if array.dtype.kind != "f":
        raise DataError(f"{source}: weight {name!r} is {array.dtype}, not floating-point.")
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))


def _in_our_order(stacked: Tensor, order: str) -> Tensor:
    """Gates stacked in the given order → stacked as i, f, g, o."""
    gates = dict(zip(order, stacked.chunk(4), strict=True))
    return torch.cat([gates[gate] for gate in "ifgo"])


def _stack(
    library: str,
    state_dict: Mapping[str, Tensor],
    prefix: str,
    first: str,
    read: Callable[[_Weights, str], Cell],
    options: Mapping[str, Any],
) -> ConvLSTM2d:
    """Build the layers numbered from 0 under the prefix, or the one cell of a state dict without
    prefix.
    """
    weights = _Weights(library, state_dict)
    weights.left = _without_prefix(weights.left, prefix, first)
    cells: list[Cell] = []
    while any(key.startswith(prefix.format(len(cells))) for key in weights.left):
        cells.append(read(weights, prefix.format(len(cells))))
    if not cells:
        cells.append(read(weights, "" if first in weights.left else prefix.format(0)))
    weights.finish()
    for k, cell in enumerate(cells):
        kernel = tuple(cell["weight_hh"].shape[2:])
        if any(n % 2 == 0 for n in kernel):
            raise DataError(
                f"{library}: layer {k} has a kernel of {kernel}; an even kernel changes the size"
                " of the grid with this library's padding."
            )
    return _build(library, ConvLSTM2d, cells, options)  # type: ignore[return-value]


def _without_prefix(weights: Mapping[str, Tensor], prefix: str, first: str) -> dict[str, Tensor]:
    """Remove the prefix that a wrapper puts before every name: 'module.' (DataParallel), 'model.'
    (Lightning), '_orig_mod.' (torch.compile).

    prefix, first: as in `_stack`. Names without a common prefix are unchanged, and rejected later.
    """
    numbered = "[0-9]+".join(map(re.escape, prefix.split("{}")))
    layer = re.compile(rf"(^|.*?\.){numbered}")
    cell = re.compile(rf"(^|.*?\.){re.escape(first)}$")
    for begin in (layer, cell):
        before = {match[1] for name in weights if (match := begin.match(name))}
        if before:
            break
    if len(before) != 1 or not all(name.startswith(tuple(before)) for name in weights):
        return dict(weights)
    return {name.removeprefix(*before): weight for name, weight in weights.items()}


def _build(
    library: str, kind: type[ConvLSTMNd], cells: Sequence[Cell], options: Mapping[str, Any]
) -> ConvLSTMNd:
    """Build a layer of the cells' sizes with their weights."""
    allowed = OPTIONS if len(cells) > 1 else OPTIONS - {"dropout"}
    if strangers := set(options) - allowed:
        raise TypeError(
            f"{', '.join(sorted(strangers))}: unknown option; the options are"
            f" {', '.join(sorted(allowed))}."
        )
    for k, (below, above) in enumerate(pairwise(cells)):
        if below["weight_hh"].shape[1] != above["weight_ih"].shape[1]:
            gives, takes = below["weight_hh"].shape[1], above["weight_ih"].shape[1]
            raise DataError(
                f"{library}: layer {k} returns {gives} channels, but layer {k + 1} takes {takes}."
            )
        if below.keys() != above.keys():
            raise DataError(
                f"{library}: layers {k} and {k + 1} must both have"
                f" {', '.join(below.keys() ^ above.keys())}, or neither."
            )
        if "peephole" in below and below["peephole"].shape[2:] != above["peephole"].shape[2:]:
            raise DataError(
                f"{library}: the peepholes of layers {k} and {k + 1} are for grids of two sizes."
            )
    if len(precisions := {str(weight.dtype) for cell in cells for weight in cell.values()}) > 1:
        raise DataError(
            f"{library}: all weights must have one precision, not"
            f" {' and '.join(sorted(precisions))}."
        )
    first = cells[0]
    layer = kind(
        first["weight_ih"].shape[1],
        [cell["weight_hh"].shape[1] for cell in cells],
        [tuple(cell["weight_hh"].shape[2:]) for cell in cells],
        bias="bias" in first,
        peephole="pixel" if "peephole" in first else "none",
        grid_size=tuple(first["peephole"].shape[2:]) if "peephole" in first else None,
        device=first["weight_ih"].device,
        dtype=first["weight_ih"].dtype,
        **options,
    )
    layer.load_state_dict(
        {
            f"cells.{k}.{name}": weight
            for k, cell in enumerate(cells)
            for name, weight in cell.items()
        }
    )
    return layer
