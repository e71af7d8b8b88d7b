"""The layer against Keras' ConvLSTM1D, 2D and 3D, on Keras' torch backend: the same weights,
the same numbers, both ways.
"""

import os
import subprocess
import sys

import numpy
import pytest
import torch

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
if keras.config.backend() != "torch":
    pytest.skip("Keras runs on another backend", allow_module_level=True)

from absl import logging as absl_logging  # noqa: E402

from nowcast.model import convert  # noqa: E402

# Keras logs through absl, whose handler holds the stream that pytest captured while this was
# imported, and closes it as soon
# as anybody configures logging anew.
absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__

pytestmark = [
    # Keras reads a tensor with a keyword that torch's does not know yet.
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
    ),
]

LAYERS = {1: keras.layers.ConvLSTM1D, 2: keras.layers.ConvLSTM2D, 3: keras.layers.ConvLSTM3D}
GRIDS = {1: (9,), 2: (7, 6), 3: (5, 4, 6)}

CASES = {
    "1-D": (1, 3, {}),
    "1-D stride 2 same": (1, 3, {"strides": 2, "padding": "same"}),
    "1-D dilation 2 even kernel": (1, 2, {"dilation_rate": 2, "padding": "same"}),
    "2-D": (2, 3, {}),
    "same": (2, 3, {"padding": "same"}),
    "even kernel": (2, 2, {}),
    "even kernel same": (2, (4, 2), {"padding": "same"}),
    "kernel 1": (2, 1, {}),
    "stride 2": (2, 3, {"strides": 2}),
    "stride 2 same": (2, 3, {"strides": 2, "padding": "same"}),
    "stride (1, 2) even kernel same": (2, (3, 2), {"strides": (1, 2), "padding": "same"}),
    "stride (3, 2) same": (2, (5, 4), {"strides": (3, 2), "padding": "same"}),
    "dilation 2": (2, (3, 2), {"dilation_rate": 2}),
    "dilation (2, 1) same": (2, (3, 2), {"dilation_rate": (2, 1), "padding": "same"}),
    "hard_sigmoid": (2, 3, {"recurrent_activation": "hard_sigmoid", "padding": "same"}),
    "relu": (2, 3, {"activation": "relu", "padding": "same"}),
    "linear, sigmoid": (2, 3, {"activation": None, "recurrent_activation": "sigmoid"}),
    "activation sigmoid, gates tanh": (
        2,
        3,
        {"activation": "sigmoid", "recurrent_activation": "tanh"},
    ),
    "no bias": (2, 3, {"use_bias": False}),
    "go_backwards": (2, 3, {"go_backwards": True}),
    "go_backwards, last alone": (2, 3, {"go_backwards": True, "return_sequences": False}),
    "last alone, no state": (2, 3, {"return_sequences": False, "return_state": False}),
    "dropouts, not training": (2, 3, {"dropout": 0.4, "recurrent_dropout": 0.3}),
    "3-D": (3, 2, {}),
    "3-D stride (1, 2, 2) same": (3, (3, 2, 3), {"strides": (1, 2, 2), "padding": "same"}),
    "3-D dilation (1, 1, 2) same": (3, (1, 3, 2), {"dilation_rate": (1, 1, 2), "padding": "same"}),
}
OUR_NAMES = {"strides": "stride", "dilation_rate": "dilation", "dropout": "input_dropout"}


def pair(dimensions, kernel, settings, channels=2, filters=3):
    """A layer of Keras with random weights, biases too, and ours from them."""
    numpy.random.seed(0)
    theirs = LAYERS[dimensions](
        filters, kernel, **{"return_sequences": True, "return_state": True, **settings}
    )
    theirs.build((2, None, *GRIDS[dimensions], channels))
    theirs.set_weights(
        [numpy.random.normal(0, 0.3, w.shape).astype("float32") for w in theirs.get_weights()]
    )
    options = {
        OUR_NAMES.get(name, name): value for name, value in settings.items() if name != "use_bias"
    }
    options = {name: "identity" if value is None else value for name, value in options.items()}
    return theirs, convert.from_keras(
        theirs.get_weights(), **{"return_sequences": True, "return_state": True, **options}
    )


def channels_first(tensor, dimensions):
    return tensor.movedim(-1, -1 - dimensions)


def frames_of(dimensions, channels=2):
    return torch.randn(
        2, 4, *GRIDS[dimensions], channels, generator=torch.Generator().manual_seed(0)
    )


def flat(result):
    """output and states, of Keras' list or ours."""
    return (
        [result]
        if isinstance(result, torch.Tensor)
        else [x for part in result for x in (flat(part) if isinstance(part, tuple) else [part])]
    )


def difference(case):
    """Largest |ours − Keras'| of output and states, the layer's options being told by hand."""
    dimensions, kernel, settings = CASES[case]
    theirs, ours = pair(dimensions, kernel, settings)
    frames = frames_of(dimensions)
    with torch.no_grad():
        expected = [channels_first(x, dimensions) for x in flat(theirs(frames, training=False))]
        results = flat(ours.eval()(channels_first(frames, dimensions)))
    if len(results) == 3:
        results = [results[0], results[1][0], results[2][0]]  # a layer's state has one layer
    assert [r.shape for r in results] == [e.shape for e in expected]
    return max(float((r - e).abs().max()) for r, e in zip(results, expected, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_ours_is_keras(case):
    """`pytest tests/model/test_keras.py -s -k ours_is_keras` shows the table."""
    largest = difference(case)
    print(f"{case:<34}{largest:.1e}")
    assert largest <= 1e-5


@pytest.mark.parametrize(
    "case", ["2-D", "stride (1, 2) even kernel same", "dilation (2, 1) same", "relu", "1-D", "3-D"]
)
def test_gradients_are_keras(case):
    dimensions, kernel, settings = CASES[case]
    theirs, ours = pair(dimensions, kernel, settings)
    frames, weight = frames_of(dimensions), None
    gradients = []
    for layer, inputs in ((theirs, frames), (ours, channels_first(frames, dimensions))):
        inputs = inputs.clone().requires_grad_()
        output = layer(inputs)[0]
        output = channels_first(output, dimensions) if layer is theirs else output
        weight = (
            torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
            if weight is None
            else weight
        )
        output.mul(weight).sum().backward()
        gradients.append([inputs.grad])
    gradients[0] = [
        channels_first(gradients[0][0], dimensions),
        *(v.value.grad for v in theirs.trainable_variables),
    ]
    cell = ours.cells[0]
    gradients[1] += [w.grad.movedim((0, 1), (-1, -2)) for w in (cell.weight_ih, cell.weight_hh)] + [
        cell.bias.grad
    ]
    for a, b in zip(*gradients, strict=True):
        assert a.abs().max() > 0
        torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-5)


def test_stateful_over_two_calls_and_after_reset():
    theirs, ours = pair(2, 3, {"stateful": True, "padding": "same", "return_state": False})
    frames = frames_of(2)
    for reset in (False, False, True):
        if reset:
            theirs.reset_state()
            ours.reset_state()
        with torch.no_grad():
            expected, result = channels_first(theirs(frames), 2), ours(channels_first(frames, 2))
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)


def test_initial_states():
    theirs, ours = pair(2, 3, {"padding": "same"})
    frames, hidden, cell = frames_of(2), *torch.randn(2, 2, *GRIDS[2], 3)
    with torch.no_grad():
        expected = theirs(frames, initial_state=[hidden, cell])
        output, (h_n, c_n) = ours(
            channels_first(frames, 2),
            (channels_first(hidden, 2)[None], channels_first(cell, 2)[None]),
        )
    for result, wanted in zip((output, h_n[0], c_n[0]), expected, strict=True):
        torch.testing.assert_close(result, channels_first(wanted, 2), rtol=0, atol=1e-5)


def test_unit_forget_bias_begins_as_in_keras():
    theirs = keras.layers.ConvLSTM2D(3, 3, unit_forget_bias=True)
    theirs.build((None, None, 5, 5, 2))
    ours = convert.ConvLSTM2d(2, 3, 3, unit_forget_bias=True)
    numpy.testing.assert_array_equal(ours.cells[0].bias.detach().numpy(), theirs.get_weights()[2])


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_ours_goes_to_keras(dimensions):
    kind = convert.KINDS[dimensions]
    ours = kind(
        2,
        3,
        3,
        peephole="none",
        unit_forget_bias=True,
        input_init="glorot",
        recurrent_init="orthogonal",
    )
    theirs = LAYERS[dimensions](3, 3, padding="same", return_sequences=True)
    theirs.build((None, None, *GRIDS[dimensions], 2))
    theirs.set_weights(convert.to_keras(ours))
    frames = frames_of(dimensions)
    with torch.no_grad():
        expected, (result, _) = (
            channels_first(theirs(frames), dimensions),
            ours(channels_first(frames, dimensions)),
        )
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)


READ = """
import sys, numpy, torch
from nowcast.model import convert
folder, told = sys.argv[1], eval(sys.argv[2])
frames = torch.from_numpy(numpy.load(f"{folder}/frames.npy")).movedim(-1, 2)
for api in ("sequential", "functional"):
    for name, options in ((f"{api}.keras", {}), (f"{api}.weights.h5", told)):
        layer = convert.from_keras_file(f"{folder}/{name}", "rain", **options)
        with torch.no_grad():
            numpy.save(f"{folder}/{name}.npy", layer(frames).numpy())
assert not [name for name in sys.modules if name.split(".")[0] in ("keras", "tensorflow")]
"""


def test_files_that_keras_wrote_are_read_without_it(tmp_path):
    """Of a sequential and of a functional model, with its weights and without the rest."""
    frames, expected = frames_of(2), {}
    numpy.save(tmp_path / "frames.npy", frames.numpy())
    for api in ("sequential", "functional"):
        chosen = keras.layers.ConvLSTM2D(
            3,
            (3, 2),
            strides=(1, 2),
            padding="same",
            recurrent_activation="hard_sigmoid",
            return_sequences=True,
            name="rain",
        )
        first, last = (
            keras.layers.ConvLSTM2D(2, 3, return_sequences=True, padding="same"),
            keras.layers.ConvLSTM2D(1, 1),
        )
        grid = keras.Input((4, *GRIDS[2], 2))
        if api == "sequential":
            model = keras.Sequential([grid, first, keras.layers.BatchNormalization(), chosen, last])
        else:
            model = keras.Model(grid, last(chosen(keras.layers.Dropout(0.5)(first(grid)))))
        with torch.no_grad():
            expected[api] = channels_first(chosen(frames), 2).numpy()
        model.save(tmp_path / f"{api}.keras")
        model.save_weights(tmp_path / f"{api}.weights.h5")
    told = {
        "stride": (1, 2),
        "padding": "same",
        "recurrent_activation": "hard_sigmoid",
        "return_sequences": True,
    }
    subprocess.run([sys.executable, "-c", READ, str(tmp_path), repr(told)], check=True)
    for api, values in expected.items():
        for name in (f"{api}.keras", f"{api}.weights.h5"):
            numpy.testing.assert_allclose(
                numpy.load(tmp_path / f"{name}.npy"), values, rtol=0, atol=1e-5
            )


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_layers_within_a_model_that_keras_wrote(tmp_path, name):
    inner = keras.Sequential(
        [keras.Input((4, 7, 6, 6)), keras.layers.ConvLSTM2D(2, 2, name="deep", strides=2)],
        name="inner",
    )
    both = keras.layers.Bidirectional(
        keras.layers.ConvLSTM2D(3, 3, return_sequences=True, padding="same", name="rain")
    )
    model = keras.Sequential([keras.Input((4, 7, 6, 2)), both, inner])
    model.save(tmp_path / name)
    forward, backward, deep = (
        convert.from_keras_file(tmp_path / name, layer)
        for layer in ("forward_rain", "backward_rain", "deep")
    )
    frames = frames_of(2)
    x = channels_first(frames, 2)
    with torch.no_grad():
        x = torch.cat([forward(x), backward(x).flip(1)], dim=2)
        torch.testing.assert_close(deep(x), channels_first(model(frames), 2), rtol=0, atol=1e-5)
    assert (
        backward.go_backwards and deep.variant.stride == (2, 2) and deep.variant.padding == "valid"
    )


def test_sharded_weights_that_keras_wrote(tmp_path):
    layer = keras.layers.ConvLSTM2D(3, 3, padding="same", return_sequences=True)
    model = keras.Sequential(
        [keras.Input((4, *GRIDS[2], 2)), layer, keras.layers.BatchNormalization()]
    )
    model.save_weights(tmp_path / "m.weights.json", max_shard_size=2e-6)
    assert len(list(tmp_path.glob("*.h5"))) > 1
    frames = frames_of(2)
    ours = convert.from_keras_file(
        tmp_path / "m.weights.json", padding="same", return_sequences=True
    )
    with torch.no_grad():
        torch.testing.assert_close(
            ours(channels_first(frames, 2)), channels_first(layer(frames), 2), rtol=0, atol=1e-5
        )
