"""Layers of other libraries against ours with their weights; each published cell stands here
anew, as its equations.
"""

import io
import json
import zipfile

import h5py
import numpy
import pytest
import torch
from torch.nn import functional

from nowcast.errors import DataError, MissingInputError
from nowcast.model import ConvLSTM1d, ConvLSTM2d, ConvLSTM3d, convert
from nowcast.model.keras_files import hard_sigmoid_of_keras_2


def weights_of(shapes, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return {
        key: 0.3 * torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)
        for key, shape in shapes.items()
    }


def conv(x, weight, bias=None):
    return functional.conv2d(x, weight, bias, padding=tuple(n // 2 for n in weight.shape[2:]))


def ndrplz_cell(w, x, h, c):
    hidden = h.shape[1]
    i, f, o, g = conv(torch.cat([x, h], 1), w["conv.weight"], w.get("conv.bias")).split(hidden, 1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def automan000_cell(w, x, h, c):
    x_, h_ = (
        {gate: conv(z, w[f"W{z_}{gate}.weight"], w.get(f"W{z_}{gate}.bias")) for gate in "ifco"}
        for z_, z in (("x", x), ("h", h))
    )
    ci = torch.sigmoid(x_["i"] + h_["i"] + c * w.get("Wci", 0))
    cf = torch.sigmoid(x_["f"] + h_["f"] + c * w.get("Wcf", 0))
    cc = cf * c + ci * torch.tanh(x_["c"] + h_["c"])
    co = torch.sigmoid(x_["o"] + h_["o"] + cc * w.get("Wco", 0))
    return co * torch.tanh(cc), cc


def openstl_cell(w, x, h, c, forget_bias=0.0):
    x_i, x_f, x_g, x_o = conv(x, w["conv_x.0.weight"]).chunk(4, 1)
    h_i, h_f, h_g, h_o = conv(h, w["conv_h.0.weight"]).chunk(4, 1)
    c = torch.sigmoid(x_f + h_f + forget_bias) * c + torch.sigmoid(x_i + h_i) * torch.tanh(
        x_g + h_g
    )
    return torch.sigmoid(x_o + h_o) * torch.tanh(c), c


def run(cell, layers, frames, sizes):
    """A stack of cells over frames (b, t, c, h, w), step by step from zeros → outputs of the
    last, states of all.
    """
    b, t, _, *grid = frames.shape
    states = [(frames.new_zeros(b, n, *grid), frames.new_zeros(b, n, *grid)) for n in sizes]
    outputs = []
    for step in range(t):
        x = frames[:, step]
        for k, w in enumerate(layers):
            states[k] = cell(w, x, *states[k])
            x = states[k][0]
        outputs.append(x)
    return torch.stack(outputs, 1), states


def ndrplz_shapes(sizes=(3, 2), c=2, kernels=((3, 3), (5, 1)), bias=True):
    shapes = {}
    for k, (h, kernel) in enumerate(zip(sizes, kernels, strict=True)):
        shapes[f"cell_list.{k}.conv.weight"] = (4 * h, c + h, *kernel)
        shapes |= {f"cell_list.{k}.conv.bias": (4 * h,)} if bias else {}
        c = h
    return shapes


def automan000_shapes(sizes=(4, 2), c=2, kernel=3, grid=None):
    shapes = {}
    for k, h in enumerate(sizes):
        for gate in "ifco":
            shapes |= {
                f"cell{k}.Wx{gate}.weight": (h, c, kernel, kernel),
                f"cell{k}.Wx{gate}.bias": (h,),
            }
            shapes |= {f"cell{k}.Wh{gate}.weight": (h, h, kernel, kernel)}
        shapes |= {f"cell{k}.Wc{gate}": (1, h, *grid) for gate in "ifo"} if grid else {}
        c = h
    return shapes


def openstl_shapes(sizes=(3, 2), c=2, kernel=5):
    shapes = {"conv_last.weight": (c, sizes[-1], 1, 1)}
    for k, h in enumerate(sizes):
        cell = f"cell_list.{k}."
        shapes |= {
            f"{cell}conv_x.0.weight": (4 * h, c, kernel, kernel),
            f"{cell}conv_h.0.weight": (4 * h, h, kernel, kernel),
        }
        shapes |= {
            f"{cell}conv_o.0.weight": (h, 2 * h, kernel, kernel),
            f"{cell}conv_last.weight": (h, 2 * h, 1, 1),
        }
        c = h
    return shapes


PEERS = {
    "ndrplz": (convert.from_ndrplz, ndrplz_cell, "cell_list.{}.", (3, 2), ndrplz_shapes()),
    "ndrplz without bias": (
        convert.from_ndrplz,
        ndrplz_cell,
        "cell_list.{}.",
        (3, 2),
        ndrplz_shapes(bias=False),
    ),
    "automan000": (
        convert.from_automan000,
        automan000_cell,
        "cell{}.",
        (4, 2),
        automan000_shapes(),
    ),
    "automan000 with peepholes": (
        convert.from_automan000,
        automan000_cell,
        "cell{}.",
        (4, 2),
        automan000_shapes(grid=(6, 5)),
    ),
    "OpenSTL": (convert.from_openstl, openstl_cell, "cell_list.{}.", (3, 2), openstl_shapes()),
}


def cell_of(weights, prefix):
    return {
        key.removeprefix(prefix): weight
        for key, weight in weights.items()
        if key.startswith(prefix)
    }


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
@pytest.mark.parametrize("peer", PEERS)
def test_a_layer_with_a_peers_weights_computes_what_the_peer_does(peer, dtype, tolerance):
    read, cell, prefix, sizes, shapes = PEERS[peer]
    weights = weights_of(shapes, dtype)
    frames = torch.randn(2, 4, 2, 6, 5, generator=torch.Generator().manual_seed(1)).to(dtype)
    expected, states = run(
        cell, [cell_of(weights, prefix.format(k)) for k in range(2)], frames, sizes
    )
    layer = read(weights)
    output, (h_n, c_n) = layer(frames)
    assert type(layer) is ConvLSTM2d and output.dtype == dtype
    torch.testing.assert_close(output, expected, rtol=0, atol=tolerance)
    for ours, theirs in zip((*h_n, *c_n), [s[k] for k in (0, 1) for s in states], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize("peer", PEERS)
def test_a_lone_cell_is_a_layer_of_one(peer):
    read, cell, prefix, sizes, shapes = PEERS[peer]
    weights = cell_of(weights_of(shapes), prefix.format(0))
    frame = torch.randn(2, 2, 6, 5, dtype=torch.float64)
    state = torch.randn(2, 2, sizes[0], 6, 5, dtype=torch.float64)
    for ours, theirs in zip(
        read(weights).cells[0](frame, tuple(state)), cell(weights, frame, *state), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)


def test_copies_of_openstls_cell_that_add_the_forget_bias():
    weights = weights_of(openstl_shapes(sizes=(3,)))
    frames = torch.randn(1, 3, 2, 6, 5, dtype=torch.float64)
    expected, _ = run(
        lambda *a: openstl_cell(*a, forget_bias=1.0),
        [cell_of(weights, "cell_list.0.")],
        frames,
        (3,),
    )
    torch.testing.assert_close(
        convert.from_openstl(weights, forget_bias=1.0)(frames)[0], expected, rtol=0, atol=1e-13
    )


def test_options_and_gradients_and_that_weights_are_copied():
    weights = weights_of(ndrplz_shapes())
    layer = convert.from_ndrplz(weights, batch_first=False, dropout=0.25, return_state=False)
    frames = torch.randn(4, 1, 2, 6, 5, dtype=torch.float64)
    before = layer.eval()(frames)
    assert (
        before.shape == (4, 1, 2, 6, 5)
        and layer.dropout == 0.25
        and all(p.requires_grad for p in layer.parameters())
    )
    for weight in weights.values():
        weight.zero_()
    assert torch.equal(layer(frames), before)
    with pytest.raises(
        TypeError, match=r"bidirectional, peephole: unknown option; the options are activation"
    ):
        convert.from_ndrplz(weights, bidirectional=True, peephole="channel")


@pytest.mark.parametrize(
    ("read", "shapes", "message"),
    [
        (
            convert.from_ndrplz,
            {},
            r"ndrplz\S*: weight 'cell_list.0.conv.weight' is missing among none",
        ),
        (
            convert.from_ndrplz,
            {"module.cell_list.0.gates.weight": (8, 3, 3, 3)},
            r"missing among 'cell_list.0.gates.weight'",
        ),
        (
            convert.from_ndrplz,
            ndrplz_shapes() | {"head.weight": (1,)},
            r"its layer has no weight named 'head.weight'",
        ),
        (
            convert.from_ndrplz,
            ndrplz_shapes() | {"cell_list.1.conv.bias": (7,)},
            r"'cell_list.1.conv.bias' has shape \(7,\); expected \(8\)",
        ),
        (
            convert.from_ndrplz,
            ndrplz_shapes() | {"cell_list.0.conv.weight": (10, 5, 3, 3)},
            r"\(4 hidden, input \+ hidden",
        ),
        (
            convert.from_ndrplz,
            ndrplz_shapes() | {"cell_list.0.conv.weight": (12, 3, 3, 3)},
            r"\(4 hidden, input \+ hidden",
        ),
        (
            convert.from_ndrplz,
            ndrplz_shapes() | {"cell_list.1.conv.weight": (8, 7, 3, 3)},
            r"layer 0 returns 3 channels, but layer 1 takes 5",
        ),
        (
            convert.from_ndrplz,
            ndrplz_shapes(bias=False) | {"cell_list.1.conv.bias": (8,)},
            r"layers 0 and 1 must both have bias",
        ),
        (
            convert.from_ndrplz,
            ndrplz_shapes(kernels=((3, 3), (4, 4))),
            r"layer 1 has a kernel of \(4, 4\)",
        ),
        (
            convert.from_ndrplz,
            ndrplz_shapes() | {"cell_list.3.conv.weight": (8, 4, 3, 3)},
            r"no weight named 'cell_list.3.conv.weight'",
        ),
        (
            convert.from_automan000,
            automan000_shapes() | {"cell1.Whf.weight": (2, 4, 3, 3)},
            r"'cell1.Whf.weight' has shape",
        ),
        (
            convert.from_automan000,
            automan000_shapes() | {"cell0.Wcf": (1, 4, 6, 5)},
            r"'cell0.Wci' is missing",
        ),
        (
            convert.from_automan000,
            automan000_shapes(grid=(6, 5)) | {"cell1.Wco": (1, 2, 5, 5)},
            r"'cell1.Wco' has shape",
        ),
        (
            convert.from_automan000,
            automan000_shapes(grid=(6, 5)) | {f"cell1.Wc{gate}": (1, 2, 5, 5) for gate in "ifo"},
            "peepholes of layers 0 and 1 are for grids of two sizes",
        ),
        (
            convert.from_automan000,
            ndrplz_shapes(),
            r"'cell0.Wxi.weight' is missing among 'cell_list.0.conv.weight'",
        ),
        (
            convert.from_openstl,
            openstl_shapes() | {"cell_list.0.conv_x.1.weight": (12, 6, 5)},
            r"layer norm \(layer_norm=True\)",
        ),
        (
            convert.from_openstl,
            openstl_shapes() | {"cell_list.0.conv_h.0.weight": (12, 4, 5, 5)},
            r"expected \(12, 3, 5, 5\)",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(read, shapes, message):
    with pytest.raises(DataError, match=message):
        read(weights_of(shapes))


@pytest.mark.parametrize("peer", PEERS)
def test_each_weight_of_a_cell_is_needed(peer):
    read, _, prefix, _, shapes = PEERS[peer]
    optional = ("conv.bias", "conv_last.weight", "conv_o.0.weight")
    for key in shapes:
        if key.startswith(prefix.format(0)) and not key.endswith(optional):
            with pytest.raises(DataError, match=f"weight '{key}' is missing"):
                read(weights_of({k: shape for k, shape in shapes.items() if k != key}))


def keras_weights(*kernel, c=2, h=3, seed=0):
    generator = numpy.random.default_rng(seed)
    shapes = ((*kernel, c, 4 * h), (*kernel, h, 4 * h), (4 * h,))
    return [(0.3 * generator.standard_normal(shape)).astype("float32") for shape in shapes]


@pytest.mark.parametrize(
    ("kind", "kernel"), [(ConvLSTM1d, (2,)), (ConvLSTM2d, (3, 2)), (ConvLSTM3d, (1, 3, 2))]
)
def test_keras_weights_go_there_and_back(kind, kernel):
    for weights in (keras_weights(*kernel), keras_weights(*kernel)[:2]):
        layer = convert.from_keras(weights, padding="same")
        assert type(layer) is kind
        for ours, theirs in zip(convert.to_keras(layer), weights, strict=True):
            numpy.testing.assert_array_equal(ours, theirs)


def test_numbers_of_either_byte_order_and_of_half_precision():
    weights = keras_weights(3, 3)
    assert same_weights(convert.from_keras([w.astype(">f4") for w in weights]), weights)
    assert (
        convert.from_keras([w.astype("float16") for w in weights]).cells[0].bias.dtype
        == torch.float16
    )


def test_the_dropout_of_keras_has_another_name_here():
    with pytest.raises(
        TypeError, match=r"dropout, strides: unknown option; the options are .* input_dropout, "
    ):
        convert.from_keras(keras_weights(3, 3), dropout=0.5, strides=2)


def test_where_each_gate_of_keras_goes():
    kernel, recurrent, bias = keras_weights(1, 1, c=1, h=1)
    kernel[:], recurrent[:], bias[:] = 0, 0, [0.1, 0.2, 0.3, 0.4]  # i, f, c, o
    i, f, g, o = (
        torch.sigmoid(torch.tensor(0.1)),
        torch.sigmoid(torch.tensor(0.2)),
        torch.tanh(torch.tensor(0.3)),
        0.4,
    )
    cell = f * (i * g) + i * g
    hidden = convert.from_keras([kernel, recurrent, bias])(torch.zeros(1, 2, 1, 1, 1))
    torch.testing.assert_close(hidden.squeeze(), torch.sigmoid(torch.tensor(o)) * torch.tanh(cell))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([], "not 0 weights"),
        (keras_weights(3, 3)[:1], "not 1 weights"),
        (
            keras_weights(3, 3)[:2] + [numpy.zeros(5, "float32")],
            r"'bias' has shape \(5,\); expected \(12\)",
        ),
        (
            [keras_weights(3, 3)[0], keras_weights(5, 5)[1]],
            r"'recurrent_kernel' has shape \(5, 5, 3, 12\); expected \(3, 3, 3, 12\)",
        ),
        ([numpy.zeros((8, 12)), numpy.zeros((3, 12))], r"'kernel' has shape \(8, 12\)"),
        ([numpy.zeros(12), numpy.zeros(12)], r"'kernel' has shape \(12,\)"),
        (
            [numpy.zeros((3, 3, 2, 10)), numpy.zeros((3, 3, 2, 10))],
            r"'kernel' has shape \(3, 3, 2, 10\)",
        ),
        ([w.astype(int) for w in keras_weights(3, 3)], "'kernel' is int64"),
    ],
)
def test_arrays_that_are_no_layer_of_keras(weights, message):
    with pytest.raises(DataError, match=message):
        convert.from_keras(weights)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            lambda: ConvLSTM2d(1, 2, 3, 2, peephole="none"),
            r"this layer has 2; convert each: to_keras\(layer.cells\[k\]\)",
        ),
        (lambda: ConvLSTM2d(1, 2, 3, bidirectional=True), "this layer has 2"),
        (lambda: ConvLSTM2d(0, 2, 3), "this layer has none"),
        (lambda: ConvLSTM2d(1, 2, 3, proj_size=1), "no projection"),
        (lambda: ConvLSTM2d(1, 2, 3, input_kernel_size=5), r"these are \(5, 5\) and \(3, 3\)"),
    ],
)
def test_what_keras_has_not_is_refused(layer, message):
    with pytest.raises(DataError, match=message):
        convert.to_keras(layer())


def test_peepholes_go_to_keras_only_where_they_are_zero():
    layer = ConvLSTM2d(1, 2, 3)
    assert [w.shape for w in convert.to_keras(layer)] == [(3, 3, 1, 8), (3, 3, 2, 8), (8,)]
    torch.nn.init.ones_(layer.cells[0].peephole)
    with pytest.raises(DataError, match="no peepholes"):
        convert.to_keras(layer)


CONFIG = {
    "filters": 3, "kernel_size": [3, 2], "strides": [2, 1], "padding": "same",
    "data_format": "channels_last", "dilation_rate": [1, 1], "activation": "linear",
    "recurrent_activation": "hard_sigmoid", "use_bias": True, "dropout": 0.1,
    "recurrent_dropout": 0.2, "return_sequences": True, "return_state": True, "go_backwards": True,
    "stateful": True,
}  # fmt: skip


def hdf5(groups, names=True, root="layers"):
    """A file in the layout of Keras: {place: (name, weights)}."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for place, (name, weights) in groups.items():
            for k, weight in enumerate(weights):
                file[f"{root}/{place}/cell/vars/{k}"] = weight
            if names:
                file.create_group(f"{root}/{place}/vars").attrs["name"] = name
    return content.getvalue()


def keras_model(*layers):
    return {"class_name": "Sequential", "config": {"name": "model", "layers": list(layers)}}


def keras_layer(name, kind="ConvLSTM2D", **config):
    return {"class_name": kind, "config": {"name": name, **CONFIG, **config}}


def write_keras(path, model, content, version="3.8.0"):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("config.json", json.dumps(model))
        archive.writestr("model.weights.h5", content)
    return path


def same_weights(layer, weights):
    return all(
        numpy.array_equal(ours, theirs)
        for ours, theirs in zip(convert.to_keras(layer), weights, strict=True)
    )


def test_a_keras_file_tells_the_options(tmp_path):
    weights = keras_weights(3, 2)
    path = write_keras(
        tmp_path / "m.keras",
        keras_model(keras_layer("rain")),
        hdf5({"conv_lstm2d": ("rain", weights)}),
    )
    layer = convert.from_keras_file(path)
    assert same_weights(layer, weights)
    variant = layer.variant
    assert (variant.stride, variant.dilation, variant.padding) == ((2, 1), (1, 1), "same")
    assert (variant.activation, variant.recurrent_activation, variant.peephole) == (
        "identity",
        "hard_sigmoid",
        "none",
    )
    assert (layer.input_dropout, layer.recurrent_dropout, layer.dropout) == (0.1, 0.2, 0)
    assert layer.return_sequences and layer.return_state and layer.go_backwards and layer.stateful
    assert (
        convert.from_keras_file(str(path), "rain", stride=1, return_state=False).variant.stride == 1
    )


def test_the_hard_sigmoid_of_keras_2_is_another(tmp_path):
    content = hdf5(
        {"conv_lstm2d": ("rain", keras_weights(3, 2))},
        names=False,
        root="_layer_checkpoint_dependencies",
    )
    path = write_keras(
        tmp_path / "m.keras", keras_model(keras_layer("rain")), content, version="2.12.0"
    )
    assert (
        convert.from_keras_file(path, "rain").cells[0].recurrent_activation
        is hard_sigmoid_of_keras_2
    )
    x = torch.tensor([-3.0, -2.5, 0.0, 1.0, 2.5, 3.0])
    torch.testing.assert_close(hard_sigmoid_of_keras_2(x), torch.tensor([0, 0, 0.5, 0.7, 1, 1]))


def test_a_layer_is_chosen_by_name_among_several(tmp_path):
    weights = {k: keras_weights(3, 2, seed=k) for k in range(5)}
    model = keras_model(
        keras_layer("z"),
        {"class_name": "InputLayer", "config": {"name": "input"}},
        keras_layer("a", padding="valid"),
        {
            "class_name": "Functional",
            "config": {"name": "inner", "layers": [keras_layer("deep", go_backwards=False)]},
        },
        {
            "class_name": "Bidirectional",
            "config": {"layer": keras_layer("forth"), "backward_layer": keras_layer("back")},
        },
    )
    places = (
        "conv_lstm2d",
        "conv_lstm2d_1",
        "functional/layers/conv_lstm2d",
        "bidirectional/forward_layer",
        "bidirectional/backward_layer",
    )
    names = ("z", "a", "deep", "forth", "back")
    content = hdf5({place: ("?", weights[k]) for k, place in enumerate(places)}, names=False)
    path = write_keras(tmp_path / "m.keras", model, content)
    for k, name in enumerate(names):
        assert same_weights(convert.from_keras_file(path, name), weights[k])
    assert convert.from_keras_file(path, "a").variant.padding == "valid"
    assert not convert.from_keras_file(path, "deep").go_backwards
    for wrong in (None, "b"):
        with pytest.raises(DataError, match=r"m.keras: has .* back, forth, z, a, deep"):
            convert.from_keras_file(path, wrong)


def test_a_file_of_weights_alone(tmp_path):
    path, first, second = (
        tmp_path / "m.weights.h5",
        keras_weights(3, 2),
        keras_weights(3, 2, seed=1),
    )
    path.write_bytes(hdf5({"conv_lstm2d": ("z", first), "conv_lstm2d_1": ("a", second)}))
    assert same_weights(convert.from_keras_file(path, "a", padding="same"), second)
    assert convert.from_keras_file(path, "z").variant.padding == "valid"
    path.write_bytes(
        hdf5({"conv_lstm2d": ("z", first), "conv_lstm2d_1": ("a", second)}, names=False)
    )
    assert same_weights(convert.from_keras_file(path, "conv_lstm2d_1"), second)
    path.write_bytes(hdf5({"one/conv_lstm2d": ("x", first), "two/conv_lstm2d": ("x", second)}))
    assert same_weights(convert.from_keras_file(path, "layers/two/conv_lstm2d"), second)


def test_a_model_class_of_its_own_does_not_tell_options(tmp_path):
    weights = keras_weights(3, 2)
    content = hdf5({"rnn": ("rain", weights)}, root="")
    path = write_keras(tmp_path / "m.keras", {"class_name": "Mine", "config": {}}, content)
    with pytest.raises(DataError, match=r"m.keras: does not contain the options of layer 'rain'"):
        convert.from_keras_file(path)
    assert same_weights(convert.from_keras_file(path, padding="same"), weights)


def test_an_activation_that_is_not_ours_is_refused_or_given(tmp_path):
    model = keras_model(
        keras_layer("rain", activation="gelu"), keras_layer("own", activation={"class_name": "f"})
    )
    weights = keras_weights(3, 2)
    path = write_keras(
        tmp_path / "m.keras",
        model,
        hdf5({"conv_lstm2d": ("rain", weights), "conv_lstm2d_1": ("own", weights)}),
    )
    with pytest.raises(
        DataError,
        match=(
            r"m.keras: layer 'rain' has activation 'gelu', which is not one of .*; give a function of"
            r" a tensor as"
        ),
    ):
        convert.from_keras_file(path, "rain")
    with pytest.raises(DataError, match=r"layer 'own' has activation {'class_name': 'f'}, which"):
        convert.from_keras_file(path, "own")
    assert (
        convert.from_keras_file(path, "rain", activation=functional.gelu).cells[0].activation
        is functional.gelu
    )


def test_damaged_and_foreign_files(tmp_path):
    with pytest.raises(MissingInputError, match=r"none.keras: no such file"):
        convert.from_keras_file(tmp_path / "none.keras")
    good = hdf5({"conv_lstm2d": ("rain", keras_weights(3, 2))})
    whole = write_keras(
        tmp_path / "whole.keras", keras_model(keras_layer("rain")), good
    ).read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    only = io.BytesIO()
    with zipfile.ZipFile(only, "w") as archive:
        archive.writestr("config.json", "{}")
    lacking = hdf5({"conv_lstm2d": ("rain", keras_weights(3, 2)[:1])})
    cases = {
        "a.keras": (b"", "damaged"),
        "b.keras": (b"no zip", "damaged"),
        "c.keras": (whole[:-40], "damaged"),
        "d.keras": (bytes(flipped), "damaged"),
        "e.keras": (only.getvalue(), "damaged"),
        "a.weights.h5": (b"", "damaged"),
        "b.weights.h5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "damaged"),
        "c.weights.h5": (good[: len(good) // 2], "damaged"),
        "d.weights.h5": (whole, "damaged"),
        "e.weights.h5": (hdf5({}), "no ConvLSTM layer"),
        "f.weights.h5": (lacking, "no ConvLSTM layer"),
        "g.weights.h5": (
            hdf5({"lstm": ("lstm", [numpy.zeros((2, 12)), numpy.zeros((3, 12)), numpy.zeros(12)])}),
            "no ConvLSTM layer",
        ),
        "h.weights.h5": (
            hdf5({"x": ("x", [numpy.zeros((3, 3, 2, 12)), numpy.zeros((3, 3, 2, 12))])}),
            "'recurrent_kernel' has shape",
        ),
        "i.weights.h5": (
            hdf5({"x/0": ("x", [numpy.zeros((3, 3, 2, 12))]), "x": ("x", [])}),
            "no ConvLSTM layer",
        ),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}: .*{message}"):
            convert.from_keras_file(tmp_path / name)


@pytest.mark.parametrize("before", ["module.", "model.", "_orig_mod.", "module.net.encoder."])
@pytest.mark.parametrize("name", PEERS)
def test_what_wrappers_put_before_names_is_taken_off(name, before):
    convert_from, _, prefix, _, shapes = PEERS[name]
    weights = {key: torch.randn(shape) for key, shape in shapes.items()}
    expected = convert_from(weights).state_dict()
    one = cell_of(weights, prefix.format(0))
    for found, wanted in (
        (convert_from({before + key: weight for key, weight in weights.items()}), expected),
        (
            convert_from({before + key: weight for key, weight in one.items()}),
            convert_from(one).state_dict(),
        ),
    ):
        assert all(torch.equal(weight, wanted[key]) for key, weight in found.state_dict().items())


def test_names_of_two_layers_are_not_taken_for_one():
    weights = {key: torch.randn(shape) for key, shape in ndrplz_shapes().items()}
    with pytest.raises(DataError, match=r"has no weight|is missing among"):
        convert.from_ndrplz(
            {
                f"{way}.{key}": weight
                for way in ("encoder", "decoder")
                for key, weight in weights.items()
            }
        )


def old_h5(path, layers, model=None, version="2.6.0"):
    """As TensorFlow wrote: weights by name under each layer, the model's configuration beside
    them where it is a whole model.
    """
    with h5py.File(path, "w") as file:
        root = file if model is None else file.create_group("model_weights")
        file.attrs["keras_version"] = version
        if model is not None:
            file.attrs["model_config"] = json.dumps(model)
        root.attrs["layer_names"] = [name.encode() for name in layers]
        for name, weights in layers.items():
            group = root.create_group(name)
            group.attrs["weight_names"] = [key.encode() for key in weights]
            for key, weight in weights.items():
                group[key] = weight
    return path


def named_weights(place, weights):
    kinds = ("kernel:0", "recurrent_kernel:0", "bias:0")
    return {f"{place}/{kind}": weight for kind, weight in zip(kinds, weights, strict=False)}


@pytest.mark.parametrize("inner", ["rain", "rain/conv_lstm_cell", "model/rain/conv_lstm_cell"])
def test_a_model_in_the_older_format_tells_weights_and_options(tmp_path, inner):
    weights = keras_weights(3, 2)
    layers = {
        "input": {},
        "rain": named_weights(inner, weights),
        "dense": {"dense/kernel:0": numpy.ones((2, 3)), "dense/bias:0": numpy.ones(3)},
    }
    model = keras_model(
        keras_layer("rain", strides=[2, 1], recurrent_activation="hard_sigmoid"),
        keras_layer("dense", "Dense"),
    )
    layer = convert.from_keras_file(old_h5(tmp_path / "m.h5", layers, model))
    assert same_weights(layer, weights)
    assert layer.variant.stride == (2, 1)
    assert layer.variant.recurrent_activation is hard_sigmoid_of_keras_2


def test_weights_in_the_older_format_tell_no_options(tmp_path):
    one, two = keras_weights(3, 2), keras_weights(2, 2)
    layers = {"one": named_weights("one", one), "two": named_weights("two", two)}
    path = old_h5(tmp_path / "weights.h5", layers)
    assert same_weights(convert.from_keras_file(path, "two", padding="same"), two)
    with pytest.raises(DataError, match="has several ConvLSTM layers; choose layer= from one, two"):
        convert.from_keras_file(path)


def test_both_ways_of_a_bidirectional_in_the_older_format(tmp_path):
    there, back = keras_weights(3, 2), keras_weights(3, 2, seed=1)
    layers = {
        "both": (
            named_weights("both/forward_rain", there) | named_weights("both/backward_rain", back)
        )
    }
    both = {
        "class_name": "Bidirectional",
        "config": {"name": "both", "layer": keras_layer("rain", go_backwards=False)},
    }
    path = old_h5(tmp_path / "m.h5", layers, keras_model(both))
    for name, weights, backwards in (("forward_rain", there, False), ("backward_rain", back, True)):
        layer = convert.from_keras_file(path, name)
        assert same_weights(layer, weights) and layer.go_backwards is backwards


def shards(folder, names=("a.weights.h5", "b.weights.h5")):
    """Two files, between which the weights of one layer are divided, and the file that names
    them.
    """
    weights = keras_weights(3, 2)
    for name, numbers in zip(names, ((0,), (1, 2)), strict=True):
        with h5py.File(folder / name, "w") as file:
            for k in numbers:
                file[f"layers/conv_lstm2d/cell/vars/{k}"] = weights[k]
    path = folder / "m.weights.json"
    path.write_text(
        json.dumps({"metadata": {}, "weight_map": {"/layers/conv_lstm2d/cell/vars": list(names)}})
    )
    return path, weights


def test_sharded_weights_are_put_together(tmp_path):
    path, weights = shards(tmp_path)
    assert same_weights(convert.from_keras_file(path), weights)


def test_a_shard_that_is_missing_or_elsewhere_is_named(tmp_path):
    path, _ = shards(tmp_path)
    (tmp_path / "b.weights.h5").unlink()
    with pytest.raises(
        MissingInputError, match=r"b.weights.h5: no such file, but m.weights.json names it"
    ):
        convert.from_keras_file(path)
    path.write_text(json.dumps({"weight_map": {"/layers/x/cell/vars": ["../a.weights.h5"]}}))
    with pytest.raises(DataError, match=r"names '../a.weights.h5', which is not in its folder"):
        convert.from_keras_file(path)
    path.write_text("[]")
    with pytest.raises(DataError, match="damaged, or not"):
        convert.from_keras_file(path)


def test_weights_in_bfloat16_stay_so_and_go_back_as_float32(tmp_path):
    weights = [torch.from_numpy(weight).bfloat16() for weight in keras_weights(3, 2)]
    # as Keras writes what HDF5 has no name for
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        for k, weight in enumerate(weights):
            file[f"layers/conv_lstm2d/cell/vars/{k}"] = weight.view(torch.int16).numpy().view("V2")
            file[f"layers/conv_lstm2d/cell/vars/{k}"].attrs["dtype"] = "bfloat16"
    for layer in (convert.from_keras_file(tmp_path / "m.weights.h5"), convert.from_keras(weights)):
        assert layer.cells[0].weight_ih.dtype == torch.bfloat16
        assert all(
            numpy.array_equal(a, b.float().numpy())
            for a, b in zip(convert.to_keras(layer), weights, strict=True)
        )


@pytest.mark.parametrize(
    "given", [torch.nn.Conv2d(1, 1, 1), {"cell_list.0.conv.weight": numpy.ones((8, 3, 3, 3))}, [1]]
)
def test_what_is_no_state_dict_is_refused(given):
    with pytest.raises(DataError, match=r"give tensors by name, as module.state_dict\(\)"):
        convert.from_ndrplz(given)


def test_weights_of_two_precisions_are_refused():
    weights = {
        "cell_list.0.conv.weight": torch.zeros(8, 3, 3, 3),
        "cell_list.0.conv.bias": torch.zeros(8).double(),
    }
    with pytest.raises(
        DataError, match="must have one precision, not torch.float32 and torch.float64"
    ):
        convert.from_ndrplz(weights)
