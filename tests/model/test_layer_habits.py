"""The layer's habits are those of `torch.nn.LSTM`: what goes in and out, in what shape and
order, for sequences of any length.
"""

import numpy
import pytest
import torch
from layers import assert_same, assert_same_with_gradients, in_words, noise, shake, wire
from torch import nn
from torch.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
)

from nowcast.model import FCLSTM, ConvLSTM, ConvLSTM1d, ConvLSTM2d, ConvLSTM3d

FORMS = {
    0: lambda *sizes, num_layers, **options: FCLSTM(*sizes, num_layers, **options),
    1: lambda *sizes, **options: ConvLSTM1d(*sizes, 1, peephole="none", **options),
    2: lambda *sizes, **options: ConvLSTM2d(*sizes, 1, peephole="none", **options),
    3: lambda *sizes, **options: ConvLSTM3d(*sizes, 1, peephole="none", **options),
}
HABITS = [
    {},
    {"num_layers": 3},
    {"bias": False},
    {"batch_first": False},
    {"bidirectional": True},
    {"proj_size": 2},
    {"num_layers": 2, "bidirectional": True, "proj_size": 2, "batch_first": False},
]


def lstm_and_layer(axes, num_layers=1, **options):
    """`nn.LSTM` of 3 → 4 with random weights, and the layer over a grid of one pixel with the
    same ones, and no peepholes.
    """
    lstm = shake(nn.LSTM(3, 4, num_layers, **{"batch_first": True, **options}))
    layer = FORMS[axes](3, 4, num_layers=num_layers, **options).double()
    names = [
        f"l{k}{way}"
        for k in range(num_layers)
        for way in ("", "_reverse")[: 1 + lstm.bidirectional]
    ]
    for name, cell in zip(names, (layer.layers if axes == 0 else layer).cells, strict=True):
        theirs = {
            key: getattr(lstm, f"{key}_{name}", None)
            for key in ("weight_ih", "weight_hh", "weight_hr", "bias_ih", "bias_hh")
        }
        for ours, weight in (
            (cell.weight_ih, "weight_ih"),
            (cell.weight_hh, "weight_hh"),
            (cell.weight_hr, "weight_hr"),
        ):
            if theirs[weight] is not None:
                ours.data.copy_(theirs[weight].reshape(ours.shape))
        if lstm.bias:
            cell.bias.data.copy_(theirs["bias_ih"] + theirs["bias_hh"])
        if cell.peephole is not None:
            nn.init.zeros_(cell.peephole)
    return lstm, layer


def states(lstm, b=None):
    """Random (h_0, c_0) for `nn.LSTM`, of b sequences or of one without a batch."""
    layers, batch = lstm.num_layers * (1 + lstm.bidirectional), () if b is None else (b,)
    return noise(layers, *batch, lstm.proj_size or 4, seed=2), noise(layers, *batch, 4, seed=3)


def onto_grid(x, axes):
    return x.reshape(*x.shape, *(1,) * axes)


@pytest.mark.parametrize("options", HABITS, ids=in_words)
@pytest.mark.parametrize("axes", [0, 1, 2, 3])
def test_over_one_pixel_it_is_torchs_lstm(axes, options):
    lstm, layer = lstm_and_layer(axes, **options)
    frames, state = (
        noise(*((2, 5) if lstm.batch_first else (5, 2)), 3, grad=True),
        states(lstm, b=2),
    )
    output, (hidden, memory) = layer(
        onto_grid(frames, axes), tuple(onto_grid(part, axes) for part in state)
    )
    ours = [x.reshape(x.shape[:3]) for x in (output, hidden, memory)]
    output, (hidden, memory) = lstm(frames, state)
    assert_same_with_gradients(ours, [output, hidden, memory], [frames])
    # no state is a state of zeros
    assert_same(layer(onto_grid(frames, axes))[0].reshape(output.shape), lstm(frames)[0])


@pytest.mark.parametrize("options", HABITS, ids=in_words)
def test_a_sequence_without_a_batch_goes_in_and_out_as_in_torchs_lstm(options):
    lstm, layer = lstm_and_layer(2, **options)
    frames, state = noise(5, 3), states(lstm)
    output, (hidden, memory) = layer(
        onto_grid(frames, 2), tuple(onto_grid(part, 2) for part in state)
    )
    assert_same(
        [x[..., 0, 0] for x in (output, hidden, memory)], [(r := lstm(frames, state))[0], *r[1]]
    )


@pytest.mark.parametrize("options", HABITS, ids=in_words)
@pytest.mark.parametrize("sort", [True, False])
def test_packed_sequences_go_in_and_out_as_in_torchs_lstm(options, sort):
    """Three of the four are of the same length, so that their order can be got wrong."""
    lstm, layer = lstm_and_layer(2, **options)
    lengths = [4, 2, 2, 2] if sort else [2, 2, 4, 2]
    vectors, state = (
        pack_sequence([noise(n, 3, seed=k) for k, n in enumerate(lengths)], enforce_sorted=sort),
        states(lstm, b=4),
    )
    theirs, their_state = lstm(vectors, state)
    ours, our_state = layer(
        vectors._replace(data=onto_grid(vectors.data, 2)),
        tuple(onto_grid(part, 2) for part in state),
    )
    assert isinstance(ours, PackedSequence)
    assert_same(ours.data[..., 0, 0], theirs.data)
    assert torch.equal(ours.batch_sizes, theirs.batch_sizes)
    assert (ours.sorted_indices is None) == (theirs.sorted_indices is None) == sort
    assert sort or torch.equal(ours.sorted_indices, theirs.sorted_indices)
    assert_same(tuple(part[..., 0, 0] for part in our_state), their_state)


def test_a_packed_sequence_of_other_frames_is_refused():
    with pytest.raises(ValueError, match=r"frame: must be \(b, 3, \*grid\) with 2 grid axes"):
        ConvLSTM(3, 4, 3)(pack_sequence([noise(2, 5, 4, 4)]))


# Sizes, states and batches as they come


@pytest.mark.parametrize("name", ["int", "int32", "int64", "uint8"])
def test_sizes_may_be_integers_of_numpy(name):
    n, many = getattr(numpy, name, int), lambda *values: numpy.array(values, name)
    layer = ConvLSTM(
        n(1), many(2, 3), [n(3), many(1, 3)], n(2), input_kernel_size=n(3), stride=many(2, 1),
        dilation=n(1), proj_size=n(1)
    )  # fmt: skip
    plain = ConvLSTM(
        1, [2, 3], [3, (1, 3)], 2, input_kernel_size=3, stride=(2, 1), dilation=1, proj_size=1
    )
    assert repr(layer) == repr(plain)
    assert {k: v.shape for k, v in layer.state_dict().items()} == {
        k: v.shape for k, v in plain.state_dict().items()
    }
    frames = torch.rand(2, 3, 1, 8, 8)
    assert layer(frames, lengths=many(3, 1))[0].shape == plain(frames)[0].shape
    assert ConvLSTM(1, n(2), n(3))(frames[:, 0], steps=n(3), effective_steps=many(0, 2))[
        0
    ].shape == (2, 2, 2, 8, 8)
    assert ConvLSTM(1, 2, 3, peephole="pixel", grid_size=many(8, 8))(frames)[0].shape == (
        2,
        3,
        2,
        8,
        8,
    )
    for peephole in (True, False):
        assert FCLSTM(n(4), n(3), n(2), peephole=peephole)(torch.rand(2, 3, 4))[0].shape == (
            2,
            3,
            3,
        )


@pytest.mark.parametrize("size", [2.5, 3.0, "3", None])
def test_sizes_that_are_no_whole_numbers_are_refused_by_name(size):
    for options in (
        {"kernel_size": size},
        {"kernel_size": 3, "stride": size},
        {"kernel_size": 3, "hidden_channels": size},
    ):
        name = [*options][-1]
        with pytest.raises(ValueError, match=f"{name}: give a whole number, not {size!r}"):
            ConvLSTM(**{"input_channels": 1, "hidden_channels": 2, **options})


H_0 = torch.rand(1, 2, 2, 4, 4)


@pytest.mark.parametrize(
    "state",
    [H_0, (H_0,), (H_0, None), (None, H_0), [H_0], H_0.expand(2, 2, 2, 4, 4), (H_0, H_0, H_0)],
)
def test_one_half_of_a_state_is_refused(state):
    for layer, frames, steps in (
        (ConvLSTM(1, 2, 3), torch.rand(2, 3, 1, 4, 4), None),
        (ConvLSTM(0, 2, 3), None, 3),
    ):
        with pytest.raises(ValueError, match=r"state: give both, as \(h_0, c_0\)"):
            layer(frames, state, steps=steps)
    with pytest.raises(ValueError, match=r"state: give both, as \(h_0, c_0\)"):
        ConvLSTM(1, 2, 3).cells[0](torch.rand(2, 1, 4, 4), state)


@pytest.mark.parametrize("eval_mode", [torch.inference_mode, torch.no_grad])
def test_a_stateful_layer_goes_on_in_training_after_a_forecast(eval_mode):
    layer, frames = ConvLSTM(1, [2, 3], 3, stateful=True), torch.rand(2, 4, 1, 4, 4)
    whole = ConvLSTM(1, [2, 3], 3)
    whole.load_state_dict(layer.state_dict())
    with eval_mode():
        layer.eval()(frames[:, :2])
    output = layer.train()(frames[:, 2:])[0]
    output.sum().backward()
    torch.testing.assert_close(output, whole(frames)[0][:, 2:])


def test_a_state_made_in_inference_mode_begins_a_sequence_that_trains():
    layer, frames = ConvLSTM(1, 2, 3), torch.rand(2, 4, 1, 4, 4)
    with torch.inference_mode():
        state = layer(frames)[1]
    layer(frames, state)[0].sum().backward()
    assert all(p.grad is not None for p in layer.parameters())


def test_what_a_stateful_layer_carries_goes_where_the_layer_goes():
    layer = ConvLSTM(1, 2, 3, stateful=True)
    layer(torch.rand(1, 2, 1, 4, 4))
    assert layer.to("meta")(torch.rand(1, 2, 1, 4, 4, device="meta"))[0].device.type == "meta"


# Dropout


def wired(layers, **options):
    """Layers of one channel that hand their input on, so that what drops out can be seen."""
    layer = ConvLSTM(1, 1, 1, num_layers=layers, activation="identity", **options)
    for cell in layer.cells:
        wire(cell)
    return layer


def test_dropout_between_layers_drops_its_share_of_every_step_anew():
    """A hundred thousand numbers at 0.3: the share that drops is within 5 standard deviations,
    5 √(0.21/10⁵) < 0.8 %.
    """
    torch.manual_seed(0)
    ones = torch.ones(1, 10, 1, 100, 100)
    output = wired(2, dropout=0.3)(ones)[0]
    dropped = output.abs() < 1e-6
    assert dropped.float().mean().item() == pytest.approx(0.3, abs=8e-3)
    torch.testing.assert_close(output[~dropped], torch.full_like(output[~dropped], 1 / 0.7))
    both = (dropped[:, 0] & dropped[:, 1]).float().mean().item()
    assert both == pytest.approx(0.3**2, abs=2e-2)  # steps drop independently


def test_dropout_is_between_all_layers_and_only_there():
    """Each of two gaps lets half through, so of three layers a quarter is left; and one layer
    has no gap, which is told.
    """
    torch.manual_seed(0)
    ones = torch.ones(1, 2, 1, 100, 100)
    output, (hidden, _) = wired(3, dropout=0.5)(ones)
    assert (output > 1e-6).float().mean().item() == pytest.approx(0.25, abs=2e-2)
    assert (hidden[0] == 1).all()  # states are before the dropout
    with pytest.warns(
        UserWarning, match="dropout=0.5: acts between layers, so it does nothing with one layer"
    ):
        assert_same(wired(1, dropout=0.5)(ones)[0], ones)
    last = wired(2, dropout=0.5)
    nn.init.zeros_(last.cells[1].weight_ih)
    nn.init.ones_(last.cells[1].bias[2:3])
    assert_same(last(ones)[0], ones)  # what the last layer says itself never drops


@pytest.mark.parametrize("name", ["dropout", "input_dropout", "recurrent_dropout"])
def test_nothing_drops_but_in_training(name):
    layer, frames = shake(ConvLSTM(1, 2, 3, num_layers=2, **{name: 0.5})), noise(2, 3, 1, 4, 4)
    plain = shake(ConvLSTM(1, 2, 3, num_layers=2))
    torch.manual_seed(0)
    assert not torch.allclose(layer(frames)[0], plain(frames)[0])
    assert_same(layer.eval()(frames), plain(frames))


# Shapes and sizes of layers


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize(
    ("options", "channels"),
    [({}, 4), ({"bidirectional": True}, 8), ({"bidirectional": True, "proj_size": 3}, 6)],
)
def test_shapes_are_those_of_torchs_lstm_with_the_grid_behind(batch_first, options, channels):
    layer = ConvLSTM(2, 4, 3, num_layers=2, batch_first=batch_first, **options)
    output, (hidden, memory) = layer(torch.ones(*((5, 3) if batch_first else (3, 5)), 2, 6, 7))
    assert output.shape == (*((5, 3) if batch_first else (3, 5)), channels, 6, 7)
    assert hidden.shape == (2 * layer.directions, 5, options.get("proj_size", 4), 6, 7)
    assert memory.shape == (2 * layer.directions, 5, 4, 6, 7)


@pytest.mark.parametrize(
    "options",
    [{"hidden_channels": [3, 2]}, {"hidden_channels": (3, 2)}, {"num_layers": 2, "stride": 2}],
    ids=str,
)
def test_layers_of_different_size_give_and_take_a_tuple_of_states(options):
    layer = shake(
        ConvLSTM(**{"input_channels": 1, "hidden_channels": 3, "kernel_size": 3, **options})
    )
    assert layer.num_layers == 2
    frames = noise(2, 4, 1, 5, 6)
    output, state = layer(frames)
    for part in state:
        assert isinstance(part, tuple)
        assert [tuple(p.shape) for p in part] == (
            [(2, 3, 3, 3), (2, 3, 2, 2)] if "stride" in options else [(2, 3, 5, 6), (2, 2, 5, 6)]
        )
    first, between = layer(frames[:, :2])
    second, last = layer(frames[:, 2:], between)
    assert_same((torch.cat([first, second], dim=1), last), (output, state))
    alone, last_alone = layer(frames[0])
    assert_same(
        (alone, last_alone), (output[0], tuple(tuple(p[0] for p in part) for part in state))
    )
    assert_same(
        layer(frames[0, 2:], tuple(tuple(p[0] for p in part) for part in between))[0], second[0]
    )


def test_a_list_gives_each_layer_its_own_size_and_kernels():
    layer = ConvLSTM(1, [2, 3, 4], [3, (1, 5), 2], input_kernel_size=[5, 1, (2, 3)])
    assert [tuple(cell.weight_ih.shape) for cell in layer.cells] == [
        (8, 1, 5, 5),
        (12, 2, 1, 1),
        (16, 3, 2, 3),
    ]
    assert [tuple(cell.weight_hh.shape) for cell in layer.cells] == [
        (8, 2, 3, 3),
        (12, 3, 1, 5),
        (16, 4, 2, 2),
    ]
    assert layer(torch.ones(1, 2, 1, 6, 7))[0].shape == (1, 2, 4, 6, 7)


def test_the_last_state_is_that_of_the_last_output_in_each_direction():
    layer = shake(ConvLSTM(1, 2, 3, num_layers=2, bidirectional=True))
    output, (hidden, _) = layer(noise(2, 3, 1, 4, 4))
    assert_same(hidden[2:], torch.stack([output[:, -1, :2], output[:, 0, 2:]]))


# Sequences of different length


VARIABLE = [
    {},
    {"num_layers": 2},
    {"hidden_channels": [3, 2], "batch_first": False},
    {"bidirectional": True},
    {"bidirectional": True, "num_layers": 2, "proj_size": 2},
    {"go_backwards": True, "num_layers": 2},
    {"return_sequences": False, "bidirectional": True},
    {"stride": 2, "peephole": "pixel", "grid_size": (4, 5)},
]


@pytest.mark.parametrize("given", [list, torch.tensor, "packed"], ids=["list", "tensor", "packed"])
@pytest.mark.parametrize("options", VARIABLE, ids=in_words)
def test_in_a_padded_batch_each_sequence_is_as_it_is_alone(options, given):
    """Unsorted lengths; what lies past an end, were it read, would make everything NaN."""
    layer = shake(
        ConvLSTM(**{"input_channels": 2, "hidden_channels": 3, "kernel_size": 3, **options})
    )
    lengths, sequences = [2, 4, 1], [noise(n, 2, 4, 5, seed=n) for n in (2, 4, 1)]
    padded = torch.full((3, 4, 2, 4, 5), torch.nan).double()
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    if given == "packed":
        output, state = layer(pack_sequence(sequences, enforce_sorted=False))
        if layer.return_sequences:
            output = pad_packed_sequence(output, batch_first=layer.batch_first)[0]
    else:
        output, state = layer(
            padded if layer.batch_first else padded.transpose(0, 1), lengths=given(lengths)
        )
    if not layer.batch_first:
        output = output.transpose(0, 1)
    for k, sequence in enumerate(sequences):
        alone, last = layer(sequence)
        if layer.return_sequences:
            assert (output[k, len(sequence) :] == 0).all()
            assert_same(output[k, : len(sequence)], alone)
        else:
            assert_same(output[k], alone)
        for part, part_alone in zip(state, last, strict=True):
            assert_same([p[k] for p in part], [*part_alone])


@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}], ids=in_words)
def test_gradients_of_a_padded_batch_are_those_of_its_sequences(options):
    layer, frames = shake(ConvLSTM(1, 2, 3, **options)), noise(2, 3, 1, 4, 5)
    padded = frames.clone()
    padded[0, 1:] = torch.nan
    output, _ = layer(padded, lengths=[1, 3])
    alone = layer(frames[0, :1])[0].square().sum() + layer(frames[1])[0].square().sum()
    assert_same(
        *(
            torch.autograd.grad(total, [*layer.parameters()])
            for total in (output.square().sum(), alone)
        )
    )


@pytest.mark.parametrize(
    "lengths", [[3], [1, 2, 3], [0, 3], [1, 4], torch.tensor([[1, 2]])], ids=in_words
)
def test_lengths_that_do_not_fit_are_refused(lengths):
    with pytest.raises(ValueError, match="lengths: give 2 numbers from 1 to 3, one per sequence"):
        ConvLSTM(1, 2, 3)(torch.zeros(2, 3, 1, 4, 4), lengths=lengths)


def test_what_has_its_own_lengths_takes_no_others():
    packed = pack_padded_sequence(torch.zeros(3, 2, 1, 4, 4), torch.tensor([3, 2]))
    for frames, options in (
        (packed, {"lengths": [3, 2]}),
        (packed, {"steps": 3}),
        (torch.zeros(2, 1, 4, 4), {"steps": 3, "lengths": [3, 2]}),
    ):
        with pytest.raises(ValueError, match="steps, lengths:"):
            ConvLSTM(1, 2, 3)(frames, **options)
