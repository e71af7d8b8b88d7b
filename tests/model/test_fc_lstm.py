"""The fully connected LSTM: with peepholes the paper's equation (1), without them
`torch.nn.LSTM`; and the encoder–forecaster made of it.
"""

import pytest
import torch
from helpers import learn, moving_squares, share_left
from layers import assert_same, assert_same_with_gradients, noise, shake
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from nowcast.model import FCLSTM, FCLSTMForecaster


def equation_1(cell, vectors, hidden, memory, steps):
    """Equation (1) of Shi et al. 2015, gate by gate and step by step; vectors (b, t, n), or
    None without input.
    """
    w_xi, w_xf, w_xc, w_xo = (None,) * 4 if vectors is None else cell.weight_ih.chunk(4)
    w_hi, w_hf, w_hc, w_ho = cell.weight_hh.chunk(4)
    b_i, b_f, b_c, b_o = cell.bias.chunk(4)
    w_ci, w_cf, w_co = cell.peephole

    def total(t, w_x, w_h, b):
        return hidden @ w_h.T + b + (0.0 if vectors is None else vectors[:, t] @ w_x.T)

    outputs = []
    for t in range(steps):
        i = torch.sigmoid(total(t, w_xi, w_hi, b_i) + w_ci * memory)
        f = torch.sigmoid(total(t, w_xf, w_hf, b_f) + w_cf * memory)
        after = f * memory + i * torch.tanh(total(t, w_xc, w_hc, b_c))
        o = torch.sigmoid(total(t, w_xo, w_ho, b_o) + w_co * after)
        hidden, memory = o * torch.tanh(after), after
        outputs.append(hidden)
    return torch.stack(outputs, dim=1), hidden[None], memory[None]


def test_it_is_equation_1_forward_and_backward():
    layer = shake(FCLSTM(3, 4))
    vectors, hidden, memory = (
        noise(2, 5, 3, grad=True),
        *(noise(1, 2, 4, seed=s, grad=True) for s in (2, 3)),
    )
    output, state = layer(vectors, (hidden, memory))
    theirs = equation_1(layer.layers.cells[0], vectors, hidden[0], memory[0], steps=5)
    assert_same_with_gradients(
        (output, *state), theirs, [vectors, hidden, memory, *layer.parameters()]
    )


def test_without_input_it_is_equation_1_without_its_input_terms():
    layer = shake(FCLSTM(0, 4))
    hidden, memory = (noise(1, 2, 4, seed=s, grad=True) for s in (2, 3))
    output, state = layer(None, (hidden, memory), steps=3)
    theirs = equation_1(layer.layers.cells[0], None, hidden[0], memory[0], steps=3)
    assert_same_with_gradients((output, *state), theirs, [hidden, memory, *layer.parameters()])


def test_one_unit_by_hand():
    """All weights 0 but w_ci = ln 9 at C = 1: i = σ(ln 9) = 0.9, f = o = 0.5, g = 0 or, with a
    bias of 40, 1.
    """
    layer = FCLSTM(1, 1)
    cell = layer.layers.cells[0]
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        cell.peephole[0], cell.bias[2] = torch.tensor(9.0).log(), 40.0
    _, (hidden, memory) = layer(torch.ones(1, 1, 1), (torch.zeros(1, 1, 1), torch.ones(1, 1, 1)))
    assert memory.item() == pytest.approx(0.5 + 0.9)
    assert hidden.item() == pytest.approx(0.5 * torch.tanh(torch.tensor(1.4)).item())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_layers": 2, "bidirectional": True, "proj_size": 2},
        {"bias": False, "batch_first": False},
    ],
    ids=str,
)
def test_without_peepholes_it_is_torchs_lstm(options):
    lstm = shake(nn.LSTM(3, 4, **{"batch_first": True, **options}))
    layer = FCLSTM(3, 4, peephole=False, **options).double()
    layer.layers.load_state_dict(lstm.state_dict())
    vectors = noise(2, 5, 3)
    assert_same(layer(vectors), lstm(vectors))
    packed = pack_sequence([noise(n, 3, seed=n) for n in (2, 4)], enforce_sorted=False)
    assert_same(layer(packed)[0].data, lstm(packed)[0].data)


def test_the_number_of_parameters_counts_as_on_paper():
    """4 gates × (an input weight and a state weight for each number, and a bias) × 7 units, and
    3 peepholes of 7.
    """

    def count(*args, **options):
        return sum(p.numel() for p in FCLSTM(*args, **options).parameters())

    assert count(5, 7) == 4 * 7 * (5 + 7 + 1) + 3 * 7
    assert count(0, 7) == 4 * 7 * (7 + 1) + 3 * 7
    assert count(5, 7, 2, bidirectional=True) == 2 * (4 * 7 * (5 + 7 + 1) + 3 * 7) + 2 * (
        4 * 7 * (14 + 7 + 1) + 3 * 7
    )
    assert count(5, 7, peephole=False) == 4 * 7 * (5 + 7 + 2)  # torch.nn.LSTM has two biases a gate


def test_a_repeated_vector_is_a_sequence_of_it():
    layer, vector = shake(FCLSTM(3, 4, 2)), noise(2, 3)
    assert_same(layer(vector, steps=3), layer(vector[:, None].expand(2, 3, 3)))


def test_vector_by_vector_with_the_state_carried_on_is_the_whole_sequence():
    layer, vectors = shake(FCLSTM(3, 4, 2)), noise(2, 5, 3)
    first, state = layer(vectors[:, :2])
    second, last = layer(vectors[:, 2:], state)
    assert_same((torch.cat([first, second], dim=1), last), layer(vectors))


@pytest.mark.parametrize(
    "arguments",
    [{"vectors": torch.zeros(1, 3), "steps": 2}, {"vectors": None, "steps": 2}, {"vectors": None}],
)
def test_without_peepholes_steps_and_a_missing_input_are_refused(arguments):
    with pytest.raises(ValueError, match="steps: torch.nn.LSTM .* peephole=True"):
        FCLSTM(3, 4, peephole=False)(**arguments)


def test_other_vectors_and_states_are_refused():
    with pytest.raises(ValueError, match="frames: must have 3 channels, not 2"):
        FCLSTM(3, 4)(torch.zeros(1, 5, 2))
    with pytest.raises(ValueError, match=r"h_0 .* \(2, 4\), not \(1, 4\)"):
        FCLSTM(3, 4)(torch.zeros(2, 5, 3), (torch.zeros(1, 1, 4), torch.zeros(1, 2, 4)))


def small_model(channels=1, activation="identity"):
    """Two layers on frames of 4 × 3 pixels, float64, every parameter random."""
    torch.manual_seed(0)
    model = FCLSTMForecaster(channels, [5, 4], [4, 3], activation).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def movie(b=2, t=4, c=1, h=4, w=3, seed=1):
    return torch.rand(
        b, t, c, h, w, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_the_network_is_figure_3_of_the_paper_on_vectors(channels):
    """And its output a linear map of the layer next to the frames alone."""
    model, frames = small_model(channels), movie(c=channels)
    hidden_1, state_1 = model.encoder[0](frames.reshape(2, 4, channels * 4 * 3))
    _, state_2 = model.encoder[1](hidden_1)
    inner, _ = model.forecaster[1](None, state_2, steps=3)
    outer, _ = model.forecaster[0](inner, state_1)
    expected = (outer @ model.output.weight.T + model.output.bias).reshape(2, 3, channels, 4, 3)
    torch.testing.assert_close(model(frames, 3), expected, rtol=1e-10, atol=1e-12)


def test_frames_of_another_size_are_refused():
    with pytest.raises(
        ValueError, match=r"\(1, 4, 3\) \(channels, height, width\), not \(1, 3, 4\)"
    ):
        small_model()(movie(h=3, w=4), 2)


def test_every_parameter_is_trained_and_every_frame_counts():
    model, frames = small_model(), movie().requires_grad_()
    model(frames, 3).square().sum().backward()
    assert [
        name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()
    ] == []
    assert (frames.grad.abs().amax(dim=(0, 2, 3, 4)) > 0).all()


def test_it_refuses_true_frames_and_has_a_sigmoid():
    with pytest.raises(ValueError, match="does not feed frames back"):
        small_model()(movie(), 3, movie(t=3))
    torch.testing.assert_close(
        small_model(activation="sigmoid")(movie(), 3), torch.sigmoid(small_model()(movie(), 3))
    )


def test_moving_squares_are_learned_by_heart():
    torch.manual_seed(0)
    assert (
        share_left(
            learn(FCLSTMForecaster(1, [32, 32], [12, 12]), moving_squares()), moving_squares()
        )
        < 0.05
    )
