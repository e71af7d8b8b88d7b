"""ConvLSTM layers in the files of Keras, read without Keras: `.keras` (a zip of JSON and HDF5) and `.weights.h5`.

A layer's weights stand in the group of its place in the model, `layers/conv_lstm2d_1/cell/vars/0` and on, a place being the
layer's class and a running number; `config.json` in a `.keras` file has the layers in that order, with names and options.
Keras 2.12 to 2.15 wrote the same, with `_layer_checkpoint_dependencies` for `layers` at first.
"""

import io
import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy
from torch import Tensor

from nowcast.apart import apart
from nowcast.errors import DataError, MissingInputError
from nowcast.model.activations import ACTIVATIONS, Function
from nowcast.untrusted import refuse_unpacking, refuse_unsound, refuse_unsound_content

Arrays = list[numpy.ndarray[Any, Any]]

OUR_NAMES = {
    "strides": "stride", "padding": "padding", "dilation_rate": "dilation", "activation": "activation",
    "recurrent_activation": "recurrent_activation", "dropout": "input_dropout", "recurrent_dropout": "recurrent_dropout",
    "return_sequences": "return_sequences", "return_state": "return_state", "go_backwards": "go_backwards", "stateful": "stateful",
}  # fmt: skip

DAMAGE = (
    OSError, EOFError, zipfile.BadZipFile, zlib.error, ValueError, KeyError, TypeError, AttributeError, RuntimeError,
)  # fmt: skip
"""What zip, JSON and HDF5 readers raise over a file that is not what it seems."""


class Found(NamedTuple):
    """A ConvLSTM layer of a file: kernel, recurrent kernel, perhaps bias; and its configuration in Keras' words, if told."""

    weights: Arrays
    config: dict[str, Any] | None


def hard_sigmoid_of_keras_2(x: Tensor) -> Tensor:
    """max(0, min(1, x/5 + 1/2)), the gates' default in Keras 2; in Keras 3 the slope is 1/6."""
    return (0.2 * x + 0.5).clamp(0, 1)


def read_layer(path: str | Path, layer: str | None = None, given: Collection[str] = ()) -> tuple[Arrays, dict[str, Any]]:
    """The layer's weights, and its options in the names of `ConvLSTM2d` but for those `given`; see `from_keras_file`."""
    path = Path(path)
    found, keras_2 = _layers_of(path)
    names = ", ".join(found)
    if not found:
        raise DataError(f"{path}: has no ConvLSTM layer.")
    if layer is None and len(found) > 1:
        raise DataError(f"{path}: has several ConvLSTM layers; choose layer= from {names}.")
    if layer is not None and layer not in found:
        raise DataError(f"{path}: has no ConvLSTM layer {layer!r}; it has {names}.")
    name = next(iter(found)) if layer is None else layer
    weights, config = found[name]
    if config is not None:
        return weights, _options(f"{path}: layer {name!r}", config, keras_2, given)
    if path.suffix == ".keras" and not given:
        raise DataError(
            f"{path}: does not tell the options of layer {name!r}, of a model class of its own; give them, as padding='same'."
        )
    return weights, {}


def _layers_of(path: Path) -> tuple[dict[str, Found], bool]:
    """The ConvLSTM layers of the file by name, and whether Keras 2 wrote it."""
    if not path.is_file():
        raise MissingInputError(f"{path}: there is no such file.")
    configs: dict[str, dict[str, Any]] = {}
    keras_2 = False
    content: Path | io.BytesIO = path
    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                refuse_unpacking(sum(member.file_size for member in archive.infolist()), str(path))
                configs = dict(_places(json.loads(archive.read("config.json"))["config"]))
                keras_2 = json.loads(archive.read("metadata.json"))["keras_version"].startswith("2.")
                content = io.BytesIO(archive.read("model.weights.h5"))
        return apart(path, _read_hdf5, path, content, configs), keras_2
    except DAMAGE as error:
        raise DataError(f"{path}: is damaged, or not a .keras or .weights.h5 file of Keras ({error}).") from error


def _read_hdf5(path: Path, content: Path | io.BytesIO, configs: dict[str, dict[str, Any]]) -> dict[str, Found]:
    """Every group `…/cell/vars` with the weights of a ConvLSTM."""
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("reading Keras' files needs h5py: pip install 'nowcast[hdf5]'.", name="h5py") from error
    found = {}
    if isinstance(content, io.BytesIO):
        refuse_unsound_content(content.getvalue(), path)
    else:
        refuse_unsound(path)
    with h5py.File(content, "r", locking=False) as file:
        if "model_weights" in file or "layer_names" in file.attrs:
            raise DataError(f"{path}: is an HDF5 file of Keras' older format; load it in Keras and save it as a .keras file.")
        groups: list[str] = []
        file.visit(lambda name: groups.append(name) if name.endswith("/cell/vars") else None)
        for name in groups:
            weights = [file[name][key][()] for key in sorted(file[name]) if key in ("0", "1", "2")]
            if len(weights) < 2 or weights[0].ndim < 3:
                continue
            place = name.removesuffix("/cell/vars").replace("_layer_checkpoint_dependencies", "layers")
            config = configs.get(place)
            own = file.get(name.removesuffix("cell/vars") + "vars")
            called = config["name"] if config else own.attrs["name"] if own and "name" in own.attrs else place.rpartition("/")[2]
            found[place if called in found else called] = Found(weights, config)
    return found


def _places(model: dict[str, Any], above: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each ConvLSTM in a model's configuration, in models within it too: its group in the file, and its own configuration."""
    seen: Counter[str] = Counter()
    for layer in model.get("layers", []):
        kind, config = layer["class_name"], layer["config"]
        place = f"{above}layers/{kind.lower().replace('convlstm', 'conv_lstm')}" + (f"_{seen[kind]}" if seen[kind] else "")
        seen[kind] += 1
        if kind in ("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"):
            yield place, config
        elif kind == "Bidirectional":
            for key, group in (("layer", "forward_layer"), ("backward_layer", "backward_layer")):
                if key in config:
                    yield f"{place}/{group}", config[key]["config"]
        else:
            yield from _places(config, f"{place}/")


def _options(where: str, config: dict[str, Any], keras_2: bool, given: Collection[str]) -> dict[str, Any]:
    """Keras' configuration of a layer → arguments of `ConvLSTM2d`, but for those given."""
    options = {}
    for theirs, ours in OUR_NAMES.items():
        if theirs not in config or ours in given:
            continue
        value = config[theirs]
        if theirs in ("activation", "recurrent_activation"):
            value = _activation(f"{where} has {theirs}", ours, value, keras_2)
        options[ours] = tuple(value) if isinstance(value, list) else value
    return options


def _activation(where: str, option: str, name: Any, keras_2: bool) -> str | Function:
    if keras_2 and name == "hard_sigmoid":
        return hard_sigmoid_of_keras_2
    name = "identity" if name == "linear" else name
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise DataError(f"{where} {name!r}, which is none of {', '.join(ACTIVATIONS)}; give a function of a tensor as {option}=.")
    return name
