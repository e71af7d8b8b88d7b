"""The layer's options are those of Keras' ConvLSTM2D, here held against what each of them says;
test_keras holds them against Keras.
"""

from copy import deepcopy

import pytest
import torch
from layers import assert_same, assert_same_with_gradients, in_words, noise, shake, wire
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_sequence

from nowcast.model import ConvLSTM
from nowcast.model.activations import ACTIVATIONS, activation

# Activations


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        ("tanh", {0.0: 0.0, 1.0: 0.7615941559557649}),
        ("sigmoid", {0.0: 0.5, 1.0: 0.7310585786300049}),
        (
            "hard_sigmoid",
            {-4.0: 0.0, -3.0: 0.0, -1.5: 0.25, 0.0: 0.5, 1.5: 0.75, 3.0: 1.0, 4.0: 1.0},
        ),
        ("relu", {-2.0: 0.0, 0.0: 0.0, 2.0: 2.0}),
        ("identity", {-2.0: -2.0, 3.0: 3.0}),
    ],
)
def test_activations_by_hand(name, by_hand):
    x, y = (
        torch.tensor([*numbers], dtype=torch.float64) for numbers in (by_hand, by_hand.values())
    )
    assert_same(activation(name)(x), y)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slopes_are_the_derivatives_and_what_is_done_in_place_is_the_same(name):
    value, slope, apply_, back_ = ACTIVATIONS[name]
    x, gradient = 3 * noise(50), noise(50, seed=2)  # within and beyond the corners of hard_sigmoid
    x.requires_grad_()
    y = value(x)
    (derivative,) = torch.autograd.grad(y.sum(), x, retain_graph=True)
    (expected,) = torch.autograd.grad(y, x, gradient)
    assert torch.autograd.gradcheck(value, x)
    assert_same(slope(y.detach()), derivative)
    assert_same(apply_(x.detach().clone()), y.detach())
    assert_same(back_(gradient.clone(), y.detach()), expected)


BY_FORMULA = {
    "tanh": lambda x: 2 / (1 + torch.exp(-2 * x)) - 1,
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
    "hard_sigmoid": lambda x: functional.hardtanh(x / 6 + 0.5, 0.0, 1.0),
    "relu": lambda x: (x + x.abs()) / 2,
    "identity": lambda x: 1 * x,
}


@pytest.mark.parametrize("gate", ["sigmoid", "hard_sigmoid", "identity"])
@pytest.mark.parametrize("name", BY_FORMULA)
def test_an_activation_by_name_is_the_function_given_forward_and_backward(name, gate):
    named = shake(ConvLSTM(2, 3, 3, activation=name, recurrent_activation=gate))
    given = ConvLSTM(
        2, 3, 3, activation=BY_FORMULA[name], recurrent_activation=BY_FORMULA[gate]
    ).double()
    given.load_state_dict(named.state_dict())
    frames = noise(2, 3, 2, 4, 5, grad=True)
    results, gradients = [], []
    for layer in (named, given):
        output, (hidden, memory) = layer(frames)
        results.append((output, hidden, memory))
        gradients.append(
            torch.autograd.grad(
                output.square().sum() + memory.sin().sum(), [frames, *layer.parameters()]
            )
        )
    assert_same(*results)
    torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-10)


def test_an_activation_with_weights_of_its_own_is_trained_with_the_layer():
    layer = ConvLSTM(1, 2, 3, activation=nn.PReLU())
    layer(torch.randn(1, 3, 1, 4, 4))[0].sum().backward()
    (slope,) = (p for name, p in layer.named_parameters() if "activation" in name)
    assert slope.grad.abs() > 0


# Beginnings


def test_biases_and_peepholes_begin_at_zero_and_the_forget_gate_at_one_where_asked():
    cell = ConvLSTM(1, 2, 3).cells[0]
    assert (cell.bias == 0).all()
    assert (cell.peephole == 0).all()
    assert ConvLSTM(1, 2, 3, unit_forget_bias=True).cells[0].bias.tolist() == [
        0,
        0,
        1,
        1,
        0,
        0,
        0,
        0,
    ]


@pytest.mark.parametrize(
    ("init", "input_bound", "state_bound"),
    [
        ("uniform", (3 * 25) ** -0.5, (16 * 9) ** -0.5),  # 1/√fan-in
        # √(6 / (fan-in + fan-out)); 4 gates of 16
        ("glorot", (6 / (25 * (3 + 64))) ** 0.5, (6 / (9 * (16 + 64))) ** 0.5),
    ],
)
def test_weights_begin_evenly_within_their_bounds(init, input_bound, state_bound):
    """Of n even numbers the largest is above 0.99 of the bound but for one time in 0.99⁻ⁿ, and
    the mean square a third of it squared.
    """
    torch.manual_seed(0)
    cell = ConvLSTM(3, 16, 3, input_kernel_size=5, input_init=init, recurrent_init=init).cells[0]
    for weight, bound in ((cell.weight_ih, input_bound), (cell.weight_hh, state_bound)):
        assert 0.99 * bound < weight.abs().max() <= bound
        assert weight.square().mean().item() == pytest.approx(bound**2 / 3, rel=0.05)


def test_orthogonal_weights_begin_with_orthonormal_rows():
    cell = ConvLSTM(8, 4, 3, input_init="orthogonal", recurrent_init="orthogonal").cells[0]
    for weight in (cell.weight_ih, cell.weight_hh):  # 16 rows of 72 and of 36
        rows = weight.double().flatten(1)
        torch.testing.assert_close(rows @ rows.T, torch.eye(16).double(), rtol=0, atol=1e-5)


def test_input_and_state_weights_begin_each_in_their_own_way():
    torch.manual_seed(0)
    cell = ConvLSTM(8, 4, 3, input_init="glorot", recurrent_init="orthogonal").cells[0]
    rows = cell.weight_hh.flatten(1)
    torch.testing.assert_close(rows @ rows.T, torch.eye(16), rtol=0, atol=1e-5)
    assert cell.weight_ih.abs().max() <= (6 / (9 * (8 + 16))) ** 0.5


def test_a_seed_makes_the_same_layer_and_another_seed_another():
    def weights(seed):
        torch.manual_seed(seed)
        return ConvLSTM(1, 2, 3, num_layers=2).state_dict()

    assert_same(weights(0), weights(0))
    assert not torch.equal(weights(0)["cells.1.weight_hh"], weights(1)["cells.1.weight_hh"])


def test_reset_parameters_begins_anew():
    layer = shake(ConvLSTM(1, 2, 3, unit_forget_bias=True))
    before = deepcopy(layer.state_dict())
    layer.cells[0].reset_parameters()
    assert layer.cells[0].bias.tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    assert not (layer.cells[0].weight_ih == before["cells.0.weight_ih"]).any()


# Dropout with one mask a sequence


def test_input_dropout_hides_the_same_numbers_at_every_step():
    """What is seen of frames of ones is the mask: the same at each step, another for each
    sequence, channel and call.
    """
    torch.manual_seed(0)
    layer = ConvLSTM(2, 2, 1, activation="identity", input_dropout=0.3)
    wire(layer.cells[0])
    ones = torch.ones(2, 4, 2, 50, 50)
    first, second = layer(ones)[0], layer(ones)[0]
    for output in (first, second):
        assert_same(output, output[:, :1].expand_as(output))
        hidden = output.abs() < 1e-6
        torch.testing.assert_close(output[~hidden], torch.full_like(output[~hidden], 1 / 0.7))
        assert hidden[:, 0].float().mean().item() == pytest.approx(0.3, abs=2e-2)
    masks = [
        output[k, 0, c] < 1e-6 for output in (first, second) for k in range(2) for c in range(2)
    ]
    for k, mask in enumerate(masks):
        for other in masks[:k]:
            # independent
            assert (mask & other).float().mean().item() == pytest.approx(0.3**2, abs=4e-2)


def test_recurrent_dropout_hides_the_same_numbers_at_every_step():
    """H_t = 1 + m H_{t−1} with a mask m of 0 or 2: for ever 1, or 1, 3, 7."""
    torch.manual_seed(0)
    layer = ConvLSTM(1, 1, 1, activation="identity", recurrent_dropout=0.5)
    wire(layer.cells[0], of_hidden=1.0)
    ones = torch.ones(2, 3, 1, 50, 50)
    kept = []
    for _ in range(2):
        output = layer(ones)[0][:, :, 0].round(decimals=4)
        seen = output[:, 1] > 1
        expected = torch.where(
            seen[:, None], torch.tensor([1.0, 3.0, 7.0]).reshape(3, 1, 1), torch.ones(3, 1, 1)
        )
        assert_same(output, expected)
        assert seen.float().mean().item() == pytest.approx(0.5, abs=3e-2)
        kept += [*seen]
    for k, mask in enumerate(kept):
        for other in kept[:k]:
            assert (mask & other).float().mean().item() == pytest.approx(0.25, abs=5e-2)


def test_each_layer_and_direction_draws_its_own_mask():
    torch.manual_seed(0)
    layer = ConvLSTM(1, 1, 1, activation="identity", input_dropout=0.5, bidirectional=True)
    for cell in layer.cells:
        wire(cell)
    forward, backward = layer(torch.ones(1, 2, 1, 50, 50))[0][0, 0] > 1e-6
    assert (forward & backward).float().mean().item() == pytest.approx(0.25, abs=3e-2)


def test_gradients_go_through_both_dropouts_and_not_where_nothing_is_seen():
    torch.manual_seed(0)
    layer = ConvLSTM(
        1, 1, 1, activation="identity", input_dropout=0.5, recurrent_dropout=0.5
    ).double()
    wire(layer.cells[0], of_hidden=1.0)
    frames = torch.ones(1, 2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    output = layer(frames)[0]
    (gradient,) = torch.autograd.grad(output.sum(), frames)
    seen = gradient.abs() > 1e-6
    assert torch.equal(seen, output > 1e-6)
    assert 0.2 < seen.double().mean() < 0.8


# What is returned


@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2}, {"batch_first": False}, {"go_backwards": True}], ids=in_words
)
def test_without_sequences_the_last_step_is_returned(options):
    whole, last = (
        shake(ConvLSTM(1, 2, 3, **options)),
        shake(ConvLSTM(1, 2, 3, return_sequences=False, **options)),
    )
    frames = noise(3, 3, 1, 4, 5)
    output, state = whole(frames)
    assert_same(last(frames), (output.select(1 if whole.batch_first else 0, -1), state))
    assert_same(last(frames[:, 0])[0], whole(frames[:, 0])[0][-1])


def test_without_sequences_both_directions_return_where_they_end():
    """As in Keras' Bidirectional: the first direction ends at the last frame, the second at the
    first.
    """
    options = {"num_layers": 2, "bidirectional": True}
    frames, output = (
        noise(2, 3, 1, 4, 5),
        shake(ConvLSTM(1, 2, 3, **options))(noise(2, 3, 1, 4, 5))[0],
    )
    last = shake(ConvLSTM(1, 2, 3, return_sequences=False, **options))(frames)[0]
    assert_same(last, torch.cat([output[:, -1, :2], output[:, 0, 2:]], dim=1))


def test_without_state_the_output_is_returned_alone():
    frames = noise(2, 3, 1, 4, 5)
    for sequences in (True, False):
        pair = shake(ConvLSTM(1, 2, 3, return_sequences=sequences))(frames)
        assert_same(
            shake(ConvLSTM(1, 2, 3, return_state=False, return_sequences=sequences))(frames),
            pair[0],
        )


def test_backwards_is_forwards_over_the_frames_turned_round():
    forwards, backwards = (
        shake(ConvLSTM(1, 2, 3, num_layers=2)),
        shake(ConvLSTM(1, 2, 3, num_layers=2, go_backwards=True)),
    )
    frames = noise(2, 4, 1, 4, 5)
    assert_same(backwards(frames), forwards(frames.flip(1)))
    _, between = backwards(frames[:, 2:])
    assert_same(backwards(frames[:, :2], between)[1], forwards(frames.flip(1))[1])


# State from call to call


@pytest.mark.parametrize(
    "options", [{}, {"hidden_channels": [3, 2]}, {"proj_size": 1, "num_layers": 2}], ids=in_words
)
def test_a_stateful_layer_goes_on_where_it_ended_until_it_is_reset(options):
    options = {"input_channels": 1, "hidden_channels": 2, "kernel_size": 3, **options}
    plain, stateful = shake(ConvLSTM(**options)), shake(ConvLSTM(**options, stateful=True))
    frames = noise(2, 6, 1, 4, 5)
    state = None
    for some in frames.split(2, dim=1):
        output, state = plain(some, state)
        assert_same(stateful(some), (output, state))
    stateful.reset_state()
    assert_same(stateful(frames), plain(frames))


def test_a_stateful_layer_carries_the_state_of_one_sequence_without_a_batch():
    plain, stateful = shake(ConvLSTM(1, 2, 3)), shake(ConvLSTM(1, 2, 3, stateful=True))
    frames = noise(4, 1, 4, 5)
    assert_same(torch.cat([stateful(frames[:2])[0], stateful(frames[2:])[0]]), plain(frames)[0])


def test_a_state_given_to_a_stateful_layer_takes_the_place_of_the_carried_one():
    plain, stateful = shake(ConvLSTM(1, 2, 3)), shake(ConvLSTM(1, 2, 3, stateful=True))
    frames, state = (
        noise(2, 2, 1, 4, 5),
        (noise(1, 2, 2, 4, 5, seed=2), noise(1, 2, 2, 4, 5, seed=3)),
    )
    stateful(frames)
    first = plain(frames, state)
    assert_same(stateful(frames, state), first)
    assert_same(stateful(frames), plain(frames, first[1]))


def test_a_stateful_layer_without_input_goes_on():
    plain, stateful = shake(ConvLSTM(0, 2, 3)), shake(ConvLSTM(0, 2, 3, stateful=True))
    state = noise(1, 1, 2, 4, 5), noise(1, 1, 2, 4, 5, seed=2)
    outputs = [stateful(None, state, steps=2)[0], stateful(None, steps=3)[0]]
    assert_same(torch.cat(outputs, dim=1), plain(None, state, steps=5)[0])


def test_the_carried_state_takes_no_gradient_from_call_to_call():
    layer, frames = shake(ConvLSTM(1, 2, 3, stateful=True)), noise(1, 2, 1, 4, 5, grad=True)
    layer(frames)
    (gradient,) = torch.autograd.grad(
        layer(frames.detach())[0].sum(), frames, allow_unused=True, materialize_grads=True
    )
    assert (gradient == 0).all()


@pytest.mark.parametrize("shape", [(1, 2, 1, 4, 5), (2, 2, 1, 5, 4)], ids=["batch", "grid"])
def test_a_stateful_layer_refuses_other_sequences_until_it_is_reset(shape):
    layer = ConvLSTM(1, 2, 3, num_layers=2, stateful=True)
    layer(torch.zeros(2, 2, 1, 4, 5))
    with pytest.raises(ValueError, match=r"h_0 .* not \(2, 2, 4, 5\)\. .* until reset_state\(\)"):
        layer(torch.zeros(shape))
    layer.reset_state()
    layer(torch.zeros(shape))


def test_the_carried_state_is_no_weight():
    layer = ConvLSTM(1, 2, 3, stateful=True)
    names = set(layer.state_dict())
    layer(torch.zeros(2, 2, 1, 4, 5))
    assert set(layer.state_dict()) == names


# A frame that is repeated


@pytest.mark.parametrize(
    "options",
    [{}, {"num_layers": 2, "batch_first": False}, {"bidirectional": True}, {"go_backwards": True}],
    ids=str,
)
def test_a_repeated_frame_is_a_sequence_of_that_frame(options):
    layer = shake(ConvLSTM(1, 2, 3, **options))
    frame, time = noise(2, 1, 4, 5, grad=True), 1 if layer.batch_first else 0
    wanted = [frame, *layer.parameters()]
    repeated, (hidden, memory) = layer(frame, steps=4)
    expanded, (last_hidden, last_memory) = layer(torch.stack([frame] * 4, dim=time))
    assert_same_with_gradients(
        (repeated, hidden, memory), (expanded, last_hidden, last_memory), wanted
    )
    alone, last = layer(frame[0], steps=4)
    assert_same((alone, last), (repeated.select(1 - time, 0), (hidden[:, 0], memory[:, 0])))


def test_effective_steps_are_the_steps_returned():
    layer, frames = shake(ConvLSTM(1, 2, 3)), noise(2, 5, 1, 4, 5)
    whole, state = layer(frames)
    assert_same(layer(frames, effective_steps=[1, 4]), (whole[:, [1, 4]], state))
    assert_same(layer(frames[0], effective_steps=[1, 4])[0], whole[0, [1, 4]])
    repeated = layer(frames[:, 0], steps=5)
    assert_same(layer(frames[:, 0], steps=5, effective_steps=(0, 2))[0], repeated[0][:, [0, 2]])
    without = shake(ConvLSTM(0, 2, 3))
    assert_same(
        without(None, state, steps=4, effective_steps=[3])[0],
        without(None, state, steps=4)[0][:, 3:],
    )


@pytest.mark.parametrize("steps", [[5], [-1], [0, 7]])
def test_effective_steps_that_there_are_not_are_refused(steps):
    with pytest.raises(ValueError, match="effective_steps: must be from 0 to 4 for 5 steps, not"):
        ConvLSTM(1, 2, 3)(torch.zeros(1, 5, 1, 4, 5), effective_steps=steps)


def test_effective_steps_are_refused_where_no_steps_are_returned():
    for layer, frames in (
        (ConvLSTM(1, 2, 3, return_sequences=False), torch.zeros(1, 5, 1, 4, 5)),
        (ConvLSTM(1, 2, 3), pack_sequence([torch.zeros(5, 1, 4, 5)])),
    ):
        with pytest.raises(ValueError, match="effective_steps: not available"):
            layer(frames, effective_steps=[0])


@pytest.mark.parametrize("steps", [0, -1])
def test_less_than_one_step_is_refused(steps):
    with pytest.raises(ValueError, match="steps: 1 or more"):
        ConvLSTM(1, 2, 3)(torch.zeros(1, 1, 4, 5), steps=steps)
    with pytest.raises(ValueError, match="steps: 1 or more"):
        ConvLSTM(0, 2, 3)(None, (torch.zeros(1, 1, 2, 4, 5),) * 2, steps=steps)


def test_a_sequence_where_a_frame_is_to_be_repeated_is_refused():
    with pytest.raises(
        ValueError, match=r"must be one frame \(b, c, \*grid\) to repeat with 2 spatial axes"
    ):
        ConvLSTM(1, 2, 3)(torch.zeros(1, 3, 1, 4, 5), steps=3)


# Regularisers and constraints


def test_a_group_of_parameters_takes_a_weight_decay_of_its_own():
    """One step of SGD at lr 1 takes the decay off the weights that have one: W (1 − 1/4), where
    the gradient is 0.
    """
    layer = shake(ConvLSTM(1, 2, 3))
    cell = layer.cells[0]
    before = cell.weight_hh.detach().clone(), cell.weight_ih.detach().clone()
    optimizer = torch.optim.SGD(
        [{"params": cell.weight_hh, "weight_decay": 0.25}, {"params": cell.weight_ih}], lr=1.0
    )
    (0.0 * layer(noise(1, 2, 1, 4, 5))[0].sum()).backward()
    optimizer.step()
    assert_same((cell.weight_hh.detach(), cell.weight_ih.detach()), (0.75 * before[0], before[1]))


def test_a_parametrized_weight_is_what_the_layer_computes_with_and_what_trains():
    layer, frames = shake(ConvLSTM(1, 2, 3), scale=2.0), noise(1, 3, 1, 4, 5)
    cell = layer.cells[0]
    torch.manual_seed(0)
    nn.utils.parametrizations.spectral_norm(cell, "weight_hh", n_power_iterations=50)
    layer.eval()
    assert torch.linalg.matrix_norm(cell.weight_hh.flatten(1), ord=2).item() == pytest.approx(
        1, rel=1e-3
    )
    plain = ConvLSTM(1, 2, 3).double()
    names = {
        "weight_ih": cell.weight_ih,
        "weight_hh": cell.weight_hh,
        "bias": cell.bias,
        "peephole": cell.peephole,
    }
    plain.load_state_dict({f"cells.0.{name}": weight for name, weight in names.items()})
    assert_same(layer(frames), plain(frames))
    layer.train()(frames)[0].square().sum().backward()
    original = cell.parametrizations.weight_hh.original
    assert (original.grad != 0).all()
    torch.optim.AdamW([{"params": original, "weight_decay": 1e-3}]).step()
