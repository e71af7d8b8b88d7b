"""Read ConvLSTM layers from Keras files without Keras: `.keras` (a zip of JSON and HDF5),
`.weights.h5`, `.weights.json` with its shards, and the older `.h5` of TensorFlow and Keras.

The group of a layer's weights is named by its place in the model, such as
`layers/conv_lstm2d_1/cell/vars/0`: the layer's class and a running number. `config.json` in a
`.keras` file lists the layers in that order, with names and options. Keras 2.12 to 2.15 wrote the
same format, early versions with `_layer_checkpoint_dependencies` instead of `layers`.
"""

import io
import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from nowcast.errors import DataError, MissingInputError
from nowcast.model.activations import ACTIVATIONS, Function
from nowcast.model.keras_hdf5 import (
    Array,
    Arrays,
    cells_of,
    is_conv_lstm,
    is_old,
    old_cells_of,
    old_configuration,
)
from nowcast.untrusted.files import refuse_unpacking, refuse_unsound, refuse_unsound_content
from nowcast.untrusted.isolation import isolated

OUR_NAMES = {
    "strides": "stride", "padding": "padding", "dilation_rate": "dilation",
    "activation": "activation", "recurrent_activation": "recurrent_activation",
    "dropout": "input_dropout", "recurrent_dropout": "recurrent_dropout",
    "return_sequences": "return_sequences", "return_state": "return_state",
    "go_backwards": "go_backwards", "stateful": "stateful",
}  # fmt: skip

DAMAGE = (
    OSError, EOFError, zipfile.BadZipFile, zlib.error, ValueError, KeyError, TypeError,
    AttributeError, RuntimeError,
)  # fmt: skip
"""Errors that zip, JSON and HDF5 readers raise for damaged files."""


class Found(NamedTuple):
    """A ConvLSTM layer of a file: kernel, recurrent kernel and bias, if any; and its Keras
    configuration, if the file contains it.
    """

    weights: Arrays
    config: dict[str, Any] | None


def hard_sigmoid_of_keras_2(x: Tensor) -> Tensor:
    """max(0, min(1, x/5 + 1/2)), the gates' default in Keras 2; in Keras 3 the slope is 1/6."""
    return (0.2 * x + 0.5).clamp(0, 1)


def read_layer(
    path: str | Path, layer: str | None = None, given: Collection[str] = ()
) -> tuple[Arrays, dict[str, Any]]:
    """Return the layer's weights, and its options named as in `ConvLSTM2d`, without those in
    `given`; see `from_keras_file`.
    """
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
            f"{path}: does not contain the options of layer {name!r}, because its model is a custom"
            " class; give them, such as padding='same'."
        )
    return weights, {}


def _layers_of(path: Path) -> tuple[dict[str, Found], bool]:
    """Return the ConvLSTM layers of the file by name, and whether Keras 2 wrote it."""
    if not path.is_file():
        raise MissingInputError(f"{path}: no such file.")
    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                refuse_unpacking(sum(member.file_size for member in archive.infolist()), str(path))
                configs = dict(_places(json.loads(archive.read("config.json"))["config"]))
                keras_2 = json.loads(archive.read("metadata.json"))["keras_version"].startswith(
                    "2."
                )
                content = io.BytesIO(archive.read("model.weights.h5"))
                return isolated(path, _read_hdf5, path, [content], configs)[0], keras_2
        return isolated(
            path,
            _read_hdf5,
            path,
            _shards(path) if path.name.endswith(".weights.json") else [path],
            {},
        )
    except DAMAGE as error:
        raise DataError(
            f"{path}: damaged, or not a .keras, .h5 or .weights.json file of Keras ({error})."
        ) from error


def _shards(path: Path) -> list[Path]:
    """Return the files named by a `.weights.json`, in its folder.

    Errors: MissingInputError, DataError.
    """
    named = {
        name
        for names in json.loads(path.read_text())["weight_map"].values()
        for name in ([names] if isinstance(names, str) else names)
    }
    if outside := [name for name in named if Path(name).name != name]:
        raise DataError(
            f"{path}: names {outside[0]!r}, which is not in its folder; for safety nowcast does not"
            " follow paths named in a file."
        )
    shards = [path.with_name(name) for name in sorted(named)]
    if missing := [shard for shard in shards if not shard.is_file()]:
        raise MissingInputError(
            f"{missing[0]}: no such file, but {path.name} names it; put all of them into one"
            " folder."
        )
    return shards


def _read_hdf5(
    path: Path, contents: Sequence[Path | io.BytesIO], configs: dict[str, dict[str, Any]]
) -> tuple[dict[str, Found], bool]:
    """Return every ConvLSTM of a file or of its shards by name, and whether the file says that
    Keras 2 wrote it.
    """
    import h5py

    cells: dict[str, dict[str, Array]] = {}
    names: dict[str, str] = {}
    for content in contents:
        if isinstance(content, io.BytesIO):
            refuse_unsound_content(content.getvalue(), path)
        else:
            refuse_unsound(content)
        with h5py.File(content, "r", locking=False) as file:
            if is_old(file):
                return _read_old(file)
            for place, arrays, told in cells_of(file):
                cells.setdefault(place, {}).update(arrays)
                names |= {} if told is None else {place: told}
    found: dict[str, Found] = {}
    for place, by_number in cells.items():
        weights = [by_number[key] for key in sorted(by_number)]
        if is_conv_lstm(weights):
            config = configs.get(place)
            called = config["name"] if config else names.get(place, place.rpartition("/")[2])
            found[place if called in found else called] = Found(weights, config)
    return found, False


def _read_old(file: Any) -> tuple[dict[str, Found], bool]:
    """`_read_hdf5` for a file of the older format, whose layers are identified by their names."""
    model, version = old_configuration(file)
    configs = {} if model is None else {config["name"]: config for _, config in _places(model)}
    found = {}
    for layer, name, weights in old_cells_of(file):
        way, _, inner = name.partition("_")
        config = configs.get(name) or (
            configs.get(inner) if way in ("forward", "backward") else None
        )
        # a Bidirectional layer that only describes its other half
        if config is not None and way == "backward" and name not in configs:
            config = {**config, "name": name, "go_backwards": not config["go_backwards"]}
        found[f"{layer}/{name}" if name in found else name] = Found(weights, config)
    return found, version.startswith("2.")


def _places(model: dict[str, Any], above: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield for each ConvLSTM in a model's configuration, including nested models, its group in
    the file and its own configuration.
    """
    seen: Counter[str] = Counter()
    for layer in model.get("layers", []):
        kind, config = layer["class_name"], layer["config"]
        place = f"{above}layers/{kind.lower().replace('convlstm', 'conv_lstm')}" + (
            f"_{seen[kind]}" if seen[kind] else ""
        )
        seen[kind] += 1
        if kind in ("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"):
            yield place, config
        elif kind == "Bidirectional":
            for key, group in (("layer", "forward_layer"), ("backward_layer", "backward_layer")):
                if key in config:
                    yield f"{place}/{group}", config[key]["config"]
        else:
            yield from _places(config, f"{place}/")


def _options(
    where: str, config: dict[str, Any], keras_2: bool, given: Collection[str]
) -> dict[str, Any]:
    """Keras' configuration of a layer → arguments of `ConvLSTM2d`, without those in `given`."""
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
        raise DataError(
            f"{where} {name!r}, which is not one of {', '.join(ACTIVATIONS)}; give a function of a"
            f" tensor as {option}=."
        )
    return name
