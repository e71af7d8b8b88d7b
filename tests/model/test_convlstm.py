import pytest
import torch
from torch.nn import functional

from nowcast.model import ConvLSTM


def shake(layer, scale=0.3):
    """Random values for every parameter, the peepholes and biases that start at zero among them."""
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=scale)
    return layer


def layer_64(*args):
    return shake(ConvLSTM(*args).double())


def equation_3(layer, frames, hidden, cell, steps):
    """Equation (3) of Shi et al. 2015, one convolution a gate, step by step; `frames` (b, t, c, h, w), or None without input."""
    w_xi, w_xf, w_xc, w_xo = (None,) * 4 if frames is None else layer.from_input.weight.chunk(4)
    w_hi, w_hf, w_hc, w_ho = layer.from_hidden.weight.chunk(4)
    b_i, b_f, b_c, b_o = layer.bias.flatten().chunk(4)
    w_ci, w_cf, w_co = (w.reshape(1, -1, 1, 1) for w in layer.peephole)

    def gate(t, w_x, w_h, b):
        total = functional.conv2d(hidden, w_h, padding=w_h.shape[-1] // 2) + b.reshape(1, -1, 1, 1)
        if frames is not None:
            total = total + functional.conv2d(frames[:, t], w_x, padding=w_x.shape[-1] // 2)
        return total

    outputs = []
    for t in range(steps):
        i = torch.sigmoid(gate(t, w_xi, w_hi, b_i) + w_ci * cell)
        f = torch.sigmoid(gate(t, w_xf, w_hf, b_f) + w_cf * cell)
        new_cell = f * cell + i * torch.tanh(gate(t, w_xc, w_hc, b_c))
        o = torch.sigmoid(gate(t, w_xo, w_ho, b_o) + w_co * new_cell)
        hidden, cell = o * torch.tanh(new_cell), new_cell
        outputs.append(hidden)
    return torch.stack(outputs, dim=1), hidden, cell


def assert_same_with_gradients(ours, theirs, wanted):
    """Each pair of results is equal, and so is the gradient of a weighted sum of them by everything `wanted`."""
    torch.manual_seed(1)
    weights = [torch.randn_like(result) for result in ours]
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    gradients = [
        torch.autograd.grad(sum((w * r).sum() for w, r in zip(weights, results, strict=True)), wanted)
        for results in (ours, theirs)
    ]
    for a, b in zip(*gradients, strict=True):
        assert a.abs().max() > 0
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("kernel", "input_kernel"), [(3, 3), (5, 3), (1, 5)])
def test_the_layer_is_equation_3_forward_and_backward(kernel, input_kernel):
    torch.manual_seed(0)
    layer = layer_64(2, 3, kernel, input_kernel)
    frames = torch.randn(2, 4, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    hidden, cell = (torch.randn(2, 3, 5, 6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    outputs, (last_hidden, last_cell) = layer(frames, (hidden, cell))
    theirs = equation_3(layer, frames, hidden, cell, steps=4)
    assert_same_with_gradients((outputs, last_hidden, last_cell), theirs, [frames, hidden, cell, *layer.parameters()])


def test_the_layer_without_input_is_equation_3_without_its_input_terms():
    torch.manual_seed(0)
    layer = layer_64(0, 3, 3)
    hidden, cell = (torch.randn(2, 3, 5, 6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    outputs, (last_hidden, last_cell) = layer(None, (hidden, cell), steps=4)
    theirs = equation_3(layer, None, hidden, cell, steps=4)
    assert_same_with_gradients((outputs, last_hidden, last_cell), theirs, [hidden, cell, *layer.parameters()])


def test_autograd_agrees_with_finite_differences():
    torch.manual_seed(0)
    layer = layer_64(1, 2, 3)
    frames = torch.randn(1, 2, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    state = tuple(torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda x, h, c: layer(x, (h, c))[0], (frames, *state))


def test_one_pixel_by_hand():
    """All weights 0: i = f = o = σ(b), g = tanh(b_c); with b = 0 a cell halves each step and H is half its tanh."""
    layer = ConvLSTM(1, 1, 1)
    for parameter in layer.parameters():
        torch.nn.init.zeros_(parameter)
    _, (hidden, cell) = layer(torch.ones(1, 3, 1, 1, 1), (torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 8.0)))
    assert cell.item() == 1.0  # 8 → 4 → 2 → 1
    assert hidden.item() == pytest.approx(0.5 * 0.7615942)  # tanh 1


@pytest.mark.parametrize(("peephole", "i", "f", "o"), [(0, 0.9, 0.5, 0.5), (1, 0.5, 0.9, 0.5), (2, 0.5, 0.5, 0.9)])
def test_peepholes_belong_to_input_forget_and_output_gate(peephole, i, f, o):
    """Only the named peephole is not 0; it is chosen so that its gate is σ(ln 9) = 0.9. g = tanh(40) = 1."""
    layer = ConvLSTM(1, 1, 1)
    for parameter in layer.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        layer.bias[2] = 40.0
        seen = 2.0 if peephole < 2 else 1.5  # i and f look at C_{t−1} = 2, o at C_t = 0.5 · 2 + 0.5 · 1
        layer.peephole[peephole] = torch.tensor(9.0).log() / seen
    _, (hidden, cell) = layer(torch.zeros(1, 1, 1, 1, 1), (torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 2.0)))
    assert cell.item() == pytest.approx(f * 2 + i)
    assert hidden.item() == pytest.approx(o * torch.tanh(cell).item())


def test_frame_by_frame_with_the_state_carried_on_is_the_whole_sequence():
    torch.manual_seed(0)
    layer = layer_64(2, 3, 3)
    frames = torch.randn(2, 5, 2, 4, 6, dtype=torch.float64)
    whole, last = layer(frames)
    state, pieces = None, []
    for t in range(5):
        output, state = layer(frames[:, t : t + 1], state)
        pieces.append(output)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(state, last, rtol=1e-12, atol=1e-14)


def test_no_state_means_a_state_of_zeros():
    torch.manual_seed(0)
    layer = shake(ConvLSTM(2, 3, 3))
    frames = torch.randn(1, 3, 2, 4, 4)
    zeros = torch.zeros(1, 3, 4, 4)
    assert torch.equal(layer(frames)[0], layer(frames, (zeros, zeros))[0])
    assert not torch.allclose(layer(frames)[0], layer(frames, (zeros, zeros + 1))[0])
    assert not torch.allclose(layer(frames)[0], layer(frames, (zeros + 1, zeros))[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_the_state_of_zeros_has_at_least_single_precision(dtype):
    hidden, cell = ConvLSTM(2, 3, 3).zero_state(torch.zeros(5, 1, 2, 4, 6, dtype=dtype))
    expected = torch.zeros(5, 3, 4, 6, dtype=torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close((hidden, cell), (expected, expected), rtol=0, atol=0)


def test_the_initial_state_is_not_written_to():
    layer = shake(ConvLSTM(1, 2, 3))
    state = torch.ones(1, 2, 4, 4), torch.ones(1, 2, 4, 4)
    layer(torch.randn(1, 2, 1, 4, 4), state)
    assert all(torch.equal(part, torch.ones(1, 2, 4, 4)) for part in state)


def test_the_last_state_is_that_of_the_last_output():
    layer = shake(ConvLSTM(1, 2, 3))
    outputs, (hidden, _) = layer(torch.randn(2, 3, 1, 4, 4))
    assert torch.equal(outputs[:, -1], hidden)


def test_hidden_states_stay_within_one_and_cells_within_the_number_of_steps():
    """H = o tanh(C) with o < 1; |C_t| ≤ |C_{t−1}| + 1, because f, i and |tanh| are at most 1."""
    torch.manual_seed(0)
    layer = shake(ConvLSTM(2, 3, 3), scale=5.0)
    outputs, (_, cell) = layer(100 * torch.randn(2, 10, 2, 6, 6))
    assert outputs.abs().max() <= 1
    assert 1 < cell.abs().max() <= 10


def test_an_output_depends_on_no_later_frame():
    torch.manual_seed(0)
    layer = layer_64(1, 2, 3)
    frames = torch.randn(1, 5, 1, 4, 4, dtype=torch.float64)
    changed = frames.clone()
    changed[:, 3] += 1
    before, after = layer(frames)[0], layer(changed)[0]
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.isclose(before[:, 3:], after[:, 3:]).all()


def test_a_pixel_reaches_as_far_as_the_kernel_in_one_step():
    """A 5×5 input kernel reaches 2 pixels; each further step of a 3×3 state kernel one more."""
    torch.manual_seed(0)
    layer = layer_64(1, 2, 3, 5)
    frames = torch.zeros(1, 3, 1, 11, 11, dtype=torch.float64)
    dot = frames.clone()
    dot[0, 0, 0, 5, 5] = 1
    changed = (layer(dot)[0] != layer(frames)[0]).any(dim=2)[0]  # (t, h, w)
    for t, reach in enumerate((2, 3, 4)):
        expected = torch.zeros(11, 11, dtype=torch.bool)
        expected[5 - reach : 6 + reach, 5 - reach : 6 + reach] = True
        assert torch.equal(changed[t], expected)


def test_one_trained_layer_takes_grids_of_any_size():
    layer = shake(ConvLSTM(1, 2, 3))
    for size in [(1, 1), (5, 9), (16, 4)]:
        assert layer(torch.randn(1, 2, 1, *size))[0].shape == (1, 2, 2, *size)


def test_the_number_of_parameters_counts_as_on_paper():
    """4 gates × (5·5·3 input + 3·3·7 state weights + a bias) × 7 channels, and 3 peepholes of 7."""
    assert sum(p.numel() for p in ConvLSTM(3, 7, 3, 5).parameters()) == 4 * 7 * (5 * 5 * 3 + 3 * 3 * 7 + 1) + 3 * 7
    assert sum(p.numel() for p in ConvLSTM(0, 7, 3).parameters()) == 4 * 7 * (3 * 3 * 7 + 1) + 3 * 7


@pytest.mark.parametrize("sizes", [(2, 3), (3, 4), (4, 4)])
def test_even_kernels_are_refused(sizes):
    with pytest.raises(ValueError, match="odd"):
        ConvLSTM(1, 2, *sizes)


@pytest.mark.parametrize("arguments", [{}, {"steps": 3}, {"state": (torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4))}])
def test_a_layer_without_input_asks_for_its_state_and_steps(arguments):
    with pytest.raises(ValueError, match="a state and a number of steps"):
        ConvLSTM(0, 2, 3)(None, **arguments)
