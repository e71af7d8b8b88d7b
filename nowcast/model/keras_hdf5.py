"""The weights of ConvLSTM cells in Keras' HDF5 files, of today and of old: each cell by its place
in the file.

Today a cell's weights stand in `…/cell/vars/0` and on. In the older format, which
`model.save("model.h5")` of TensorFlow and Keras wrote, each layer is a group whose attribute
`weight_names` lists them, as `conv_lstm2d/kernel:0`.
"""

import json
from collections.abc import Iterator
from typing import Any

import numpy
import torch
from torch import Tensor

Array = numpy.ndarray[Any, Any] | Tensor
"""A tensor where NumPy lacks the precision."""

Arrays = list[Array]

_KINDS = ("kernel", "recurrent_kernel", "bias")


def cells_of(file: Any) -> Iterator[tuple[str, dict[str, Array], str | None]]:
    """Of each group `…/cell/vars`: its place, the arrays by their number, which shards share,
    and the layer's name if it is told.
    """
    groups: list[str] = []
    file.visit(lambda name: groups.append(name) if name.endswith("/cell/vars") else None)
    for name in groups:
        arrays = {key: _array(file[name][key]) for key in file[name] if key in ("0", "1", "2")}
        own = file.get(name.removesuffix("cell/vars") + "vars")
        told = own.attrs["name"] if own and "name" in own.attrs else None
        yield (
            name.removesuffix("/cell/vars").replace("_layer_checkpoint_dependencies", "layers"),
            arrays,
            told,
        )


def is_old(file: Any) -> bool:
    """Whether the file is of the older format: a whole model, or the weights of one."""
    return "model_weights" in file or "layer_names" in file.attrs


def old_cells_of(file: Any) -> Iterator[tuple[str, str, Arrays]]:
    """Of each ConvLSTM in a file of the older format: the layer of the model, its own name
    within that, and kernel, recurrent kernel and perhaps bias.
    """
    root = file.get("model_weights", file)
    for layer in map(_text, root.attrs["layer_names"]):
        cells: dict[str, dict[str, Array]] = {}
        for weight in map(_text, root[layer].attrs["weight_names"]):
            place, _, kind = weight.rpartition("/")
            cells.setdefault(place, {})[kind.partition(":")[0]] = _array(root[layer][weight])
        for place, one in cells.items():
            arrays = [one[kind] for kind in _KINDS if kind in one]
            if set(one) <= set(_KINDS) and is_conv_lstm(arrays):
                parts = [part for part in place.split("/") if part and "lstm_cell" not in part]
                yield layer, (parts or [layer])[-1], arrays


def is_conv_lstm(arrays: Arrays) -> bool:
    """Whether these are kernel and recurrent kernel of a convolution."""
    return len(arrays) > 1 and arrays[0].ndim > 2 and arrays[1].ndim == arrays[0].ndim


def old_configuration(file: Any) -> tuple[dict[str, Any] | None, str]:
    """The model's configuration, if the older file has it, and the version of Keras that wrote
    it.
    """
    root = file.get("model_weights", file)
    written = file.attrs.get("model_config")
    version = file.attrs.get("keras_version", root.attrs.get("keras_version", ""))
    return (None if written is None else json.loads(_text(written))["config"]), _text(version)


def as_bfloat16(numbers: numpy.ndarray[Any, Any]) -> Tensor:
    """Numbers of 16 bits that HDF5 or an extension of NumPy holds as the tensor that they are."""
    return torch.from_numpy(numbers.view(numpy.int16).copy()).view(torch.bfloat16)


def _array(dataset: Any) -> Array:
    found: numpy.ndarray[Any, Any] = dataset[()]
    return as_bfloat16(found) if dataset.attrs.get("dtype") == "bfloat16" else found


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
