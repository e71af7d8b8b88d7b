"""Read the weights of ConvLSTM cells from Keras' HDF5 files, in the current and the older format.

The current format has a cell's weights in `…/cell/vars/0` and following. In the older format,
written by `model.save("model.h5")` of TensorFlow and Keras, each layer is a group whose attribute
`weight_names` lists the weights, such as `conv_lstm2d/kernel:0`.
"""

import json
from collections.abc import Iterator
from typing import Any

import numpy
import torch
from torch import Tensor

Array = numpy.ndarray[Any, Any] | Tensor
"""A tensor if NumPy lacks the precision."""

Arrays = list[Array]

_KINDS = ("kernel", "recurrent_kernel", "bias")


def cells_of(file: Any) -> Iterator[tuple[str, dict[str, Array], str | None]]:
    """Yield for each group `…/cell/vars` its place in the model, its arrays by number (shards may
    hold some of them each), and the layer's name if the file contains it.
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
    """Return whether the file has the older format: a whole model, or only weights."""
    return "model_weights" in file or "layer_names" in file.attrs


def old_cells_of(file: Any) -> Iterator[tuple[str, str, Arrays]]:
    """Yield for each ConvLSTM in a file of the older format the layer of the model, its own name
    within that layer, and kernel, recurrent kernel and bias, if any.
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
    """Return whether these are the kernel and recurrent kernel of a ConvLSTM."""
    return len(arrays) > 1 and arrays[0].ndim > 2 and arrays[1].ndim == arrays[0].ndim


def old_configuration(file: Any) -> tuple[dict[str, Any] | None, str]:
    """Return the model's configuration, if the older file contains it, and the version of Keras
    that wrote the file.
    """
    root = file.get("model_weights", file)
    written = file.attrs.get("model_config")
    version = file.attrs.get("keras_version", root.attrs.get("keras_version", ""))
    return (None if written is None else json.loads(_text(written))["config"]), _text(version)


def as_bfloat16(numbers: numpy.ndarray[Any, Any]) -> Tensor:
    """Return 16-bit numbers, read by HDF5 or an extension of NumPy, as a bfloat16 tensor."""
    return torch.from_numpy(numbers.view(numpy.int16).copy()).view(torch.bfloat16)


def _array(dataset: Any) -> Array:
    found: numpy.ndarray[Any, Any] = dataset[()]
    return as_bfloat16(found) if dataset.attrs.get("dtype") == "bfloat16" else found


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
