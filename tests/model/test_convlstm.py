"""The layer as the paper has it: its equation, convolutions, peepholes and states, each against
something written out by hand.
"""

import pytest
import torch
from layers import assert_same, assert_same_with_gradients, in_words, noise, shake
from torch.nn import functional

from nowcast.model import ConvLSTM, ConvLSTM1d, ConvLSTM2d, ConvLSTM3d, ConvLSTMCell


def same(x, weight):
    """A convolution that keeps the size of the grid; the odd zero of an even kernel is on the
    right and below.
    """
    top, left = ((k - 1) // 2 for k in weight.shape[-2:])
    bottom, right = (k - 1 - (k - 1) // 2 for k in weight.shape[-2:])
    return functional.conv2d(functional.pad(x, (left, right, top, bottom)), weight)


def equation_3(cell, frames, hidden, memory, steps, activation=torch.tanh, gate=torch.sigmoid):
    """Equation (3) of Shi et al. 2015, one convolution a gate, step by step; `frames` (b, t, c,
    h, w), or None without input.
    """
    w_xi, w_xf, w_xc, w_xo = (None,) * 4 if frames is None else cell.weight_ih.chunk(4)
    w_hi, w_hf, w_hc, w_ho = cell.weight_hh.chunk(4)
    b_i, b_f, b_c, b_o = (
        b.reshape(1, -1, 1, 1)
        for b in (hidden.new_zeros(4) if cell.bias is None else cell.bias).chunk(4)
    )
    w_ci, w_cf, w_co = (0.0, 0.0, 0.0) if cell.peephole is None else cell.peephole

    def total(t, w_x, w_h, b):
        return same(hidden, w_h) + b + (0.0 if frames is None else same(frames[:, t], w_x))

    outputs = []
    for t in range(steps):
        i = gate(total(t, w_xi, w_hi, b_i) + w_ci * memory)
        f = gate(total(t, w_xf, w_hf, b_f) + w_cf * memory)
        after = f * memory + i * activation(total(t, w_xc, w_hc, b_c))
        o = gate(total(t, w_xo, w_ho, b_o) + w_co * after)
        hidden, memory = o * activation(after), after
        outputs.append(hidden)
    return torch.stack(outputs, dim=1), hidden[None], memory[None]


@pytest.mark.parametrize(
    ("kernel", "input_kernel"), [(3, 3), (5, 3), (1, 5), (2, 4), ((1, 3), (4, 1))]
)
@pytest.mark.parametrize("peephole", ["none", "channel", "pixel"])
def test_the_layer_is_equation_3_forward_and_backward(kernel, input_kernel, peephole):
    layer = shake(
        ConvLSTM(2, 3, kernel, input_kernel_size=input_kernel, peephole=peephole, grid_size=(5, 6))
    )
    frames = noise(2, 4, 2, 5, 6, grad=True)
    hidden, memory = (noise(1, 2, 3, 5, 6, seed=s, grad=True) for s in (2, 3))
    outputs, (last_hidden, last_memory) = layer(frames, (hidden, memory))
    theirs = equation_3(layer.cells[0], frames, hidden[0], memory[0], steps=4)
    assert_same_with_gradients(
        (outputs, last_hidden, last_memory), theirs, [frames, hidden, memory, *layer.parameters()]
    )


def test_the_layer_without_input_is_equation_3_without_its_input_terms():
    layer = shake(ConvLSTM(0, 3, 3))
    hidden, memory = (noise(1, 2, 3, 5, 6, seed=s, grad=True) for s in (2, 3))
    outputs, (last_hidden, last_memory) = layer(None, (hidden, memory), steps=4)
    theirs = equation_3(layer.cells[0], None, hidden[0], memory[0], steps=4)
    assert_same_with_gradients(
        (outputs, last_hidden, last_memory), theirs, [hidden, memory, *layer.parameters()]
    )


def test_layers_take_the_hidden_states_of_the_one_before():
    layer = shake(ConvLSTM(2, [3, 4], [3, 1], input_kernel_size=[1, 3]))
    frames = noise(2, 3, 2, 4, 5, grad=True)
    inner, *first = equation_3(
        layer.cells[0], frames, *(torch.zeros(2, 3, 4, 5).double(),) * 2, steps=3
    )
    outer, *second = equation_3(
        layer.cells[1], inner, *(torch.zeros(2, 4, 4, 5).double(),) * 2, steps=3
    )
    output, (hidden, memory) = layer(frames)
    theirs = (outer, first[0][0], second[0][0], first[1][0], second[1][0])
    assert_same_with_gradients((output, *hidden, *memory), theirs, [frames, *layer.parameters()])


def test_a_cell_is_one_step_of_the_layer():
    cell = shake(ConvLSTMCell(2, 3, 3))
    frames = noise(2, 2, 2, 4, 5)
    hidden, memory = cell(frames[:, 1], cell(frames[:, 0]))
    zeros = torch.zeros(2, 3, 4, 5).double()
    assert_same((hidden[None], memory[None]), equation_3(cell, frames, zeros, zeros, steps=2)[1:])


OPTIONS = [
    {},
    {"peephole": "pixel", "grid_size": 3, "hidden_channels": [1, 2]},
    {"peephole": "none", "bias": False},
    {"bidirectional": True, "proj_size": 1},
    {"stride": 2, "kernel_size": 2},
    {"activation": "identity", "recurrent_activation": "hard_sigmoid"},
    {"activation": functional.softplus},
]


@pytest.mark.parametrize("options", OPTIONS, ids=in_words)
def test_autograd_agrees_with_finite_differences(options):
    layer = shake(
        ConvLSTM(**{"input_channels": 1, "hidden_channels": 2, "kernel_size": 3, **options})
    )
    names, weights = zip(*layer.named_parameters(), strict=True)

    def call(frames, *values):
        output, (hidden, memory) = torch.func.functional_call(
            layer, dict(zip(names, values, strict=True)), (frames,)
        )
        return output, *hidden, *memory

    assert torch.autograd.gradcheck(
        call, (noise(1, 2, 1, 3, 3, grad=True), *weights), fast_mode=True
    )
    assert torch.autograd.gradcheck(
        lambda x: layer(x)[0], noise(1, 2, 1, 3, 3, grad=True), fast_mode=True
    )


@pytest.mark.parametrize("peephole", ["none", "channel"])
def test_the_gradient_can_be_differentiated_again(peephole):
    layer = shake(ConvLSTM(1, 1, 1, peephole=peephole))
    inputs = (
        noise(1, 2, 1, 1, 2, grad=True),
        *(noise(1, 1, 1, 1, 2, seed=s, grad=True) for s in (2, 3)),
    )
    assert torch.autograd.gradgradcheck(lambda x, h, c: layer(x, (h, c))[0], inputs, fast_mode=True)


def test_a_penalty_on_the_gradient_reaches_every_parameter():
    layer, frames = shake(ConvLSTM(1, 2, 3)), noise(1, 2, 1, 3, 3, grad=True)
    (slope,) = torch.autograd.grad(layer(frames)[0].sum(), frames, create_graph=True)
    assert all(
        g.abs().max() > 0 for g in torch.autograd.grad(slope.square().sum(), [*layer.parameters()])
    )


def test_one_pixel_by_hand():
    """All weights 0: i = f = o = σ(b), g = tanh(b_c); with b = 0 a cell halves each step and H
    is half its tanh.
    """
    layer = ConvLSTM(1, 1, 1)
    for parameter in layer.parameters():
        torch.nn.init.zeros_(parameter)
    _, (hidden, memory) = layer(
        torch.ones(1, 3, 1, 1, 1), (torch.zeros(1, 1, 1, 1, 1), torch.full((1, 1, 1, 1, 1), 8.0))
    )
    assert memory.item() == 1.0  # 8 → 4 → 2 → 1
    assert hidden.item() == pytest.approx(0.5 * 0.7615942)  # tanh 1


@pytest.mark.parametrize(
    ("peephole", "i", "f", "o"), [(0, 0.9, 0.5, 0.5), (1, 0.5, 0.9, 0.5), (2, 0.5, 0.5, 0.9)]
)
def test_peepholes_belong_to_input_forget_and_output_gate(peephole, i, f, o):
    """Only the named peephole is not 0; it is chosen so that its gate is σ(ln 9) = 0.9. g =
    tanh(40) = 1.
    """
    layer = ConvLSTM(1, 1, 1)
    cell = layer.cells[0]
    for parameter in layer.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        cell.bias[2] = 40.0
        # i and f look at C_{t−1} = 2, o at C_t = 0.5 · 2 + 0.5 · 1
        seen = 2.0 if peephole < 2 else 1.5
        cell.peephole[peephole] = torch.tensor(9.0).log() / seen
    _, (hidden, memory) = layer(
        torch.zeros(1, 1, 1, 1, 1), (torch.zeros(1, 1, 1, 1, 1), torch.full((1, 1, 1, 1, 1), 2.0))
    )
    assert memory.item() == pytest.approx(f * 2 + i)
    assert hidden.item() == pytest.approx(o * torch.tanh(memory).item())


# States


CARRIED = [
    {},
    {"hidden_channels": [3, 2, 4]},
    {"num_layers": 2, "proj_size": 2},
    {"peephole": "pixel", "grid_size": (4, 6)},
    {"peephole": "none", "bias": False, "activation": "relu"},
    {"stride": 2, "kernel_size": (2, 3)},
    {"input_kernel_size": 2, "padding": "valid", "dilation": (1, 3)},
    {"batch_first": False, "recurrent_activation": torch.cos},
]


@pytest.mark.parametrize("options", CARRIED, ids=in_words)
def test_frame_by_frame_with_the_state_carried_on_is_the_whole_sequence(options):
    layer = shake(
        ConvLSTM(**{"input_channels": 2, "hidden_channels": 3, "kernel_size": 3, **options})
    )
    time = 1 if layer.batch_first else 0
    frames = noise(3, 3, 2, 4, 6)
    whole, last = layer(frames)
    state, pieces = None, []
    for frame in frames.split(1, dim=time):
        output, state = layer(frame, state)
        pieces.append(output)
    assert_same((torch.cat(pieces, dim=time), state), (whole, last))


def test_no_state_means_a_state_of_zeros():
    layer, frames, zeros = (
        shake(ConvLSTM(2, 3, 3, num_layers=2)),
        noise(1, 3, 2, 4, 4),
        torch.zeros(2, 1, 3, 4, 4).double(),
    )
    assert_same(layer(frames), layer(frames, (zeros, zeros)))
    for layer_number in range(2):
        ones = zeros.index_fill(0, torch.tensor(layer_number), 1.0)
        assert not torch.allclose(layer(frames)[0], layer(frames, (zeros, ones))[0])
        assert not torch.allclose(layer(frames)[0], layer(frames, (ones, zeros))[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_cells_have_at_least_single_precision(dtype):
    layer = ConvLSTM(2, 3, 3, num_layers=2, dtype=dtype)
    output, (hidden, memory) = layer(torch.ones(1, 2, 2, 4, 4, dtype=dtype))
    assert output.dtype == hidden.dtype == dtype
    assert memory.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert all(parameter.dtype == dtype for parameter in layer.parameters())


def test_the_initial_state_is_not_written_to():
    layer = shake(ConvLSTM(1, 2, 3))
    state = torch.ones(1, 1, 2, 4, 4).double(), torch.ones(1, 1, 2, 4, 4).double()
    layer(noise(1, 2, 1, 4, 4), state)
    assert all((part == 1).all() for part in state)


def test_hidden_states_stay_within_one_and_cells_within_the_number_of_steps():
    """H = o tanh(C) with o < 1; |C_t| ≤ |C_{t−1}| + 1, because f, i and |tanh| are at most 1."""
    outputs, (_, memory) = shake(ConvLSTM(2, 3, 3), scale=5.0)(100 * noise(2, 10, 2, 6, 6))
    assert outputs.abs().max() <= 1
    assert 1 < memory.abs().max() <= 10


def test_an_output_depends_on_no_later_frame():
    layer, frames = shake(ConvLSTM(1, 2, 3, num_layers=2)), noise(1, 5, 1, 4, 4)
    changed = frames.clone()
    changed[:, 3] += 1
    before, after = layer(frames)[0], layer(changed)[0]
    assert_same(before[:, :3], after[:, :3])
    assert not torch.isclose(before[:, 3:], after[:, 3:]).all()


@pytest.mark.parametrize(
    "arguments", [{}, {"steps": 3}, {"state": (torch.zeros(1, 1, 2, 4, 4),) * 2}]
)
def test_a_layer_without_input_asks_for_its_state_and_steps(arguments):
    with pytest.raises(ValueError, match="a state and a number of steps"):
        ConvLSTM(0, 2, 3)(None, **arguments)


def test_frames_are_refused_by_a_layer_without_input_and_wanted_by_the_others():
    with pytest.raises(ValueError, match="takes no frames"):
        ConvLSTM(0, 2, 3)(torch.zeros(1, 2, 1, 4, 4))
    with pytest.raises(ValueError, match="takes its frames"):
        ConvLSTM(1, 2, 3)(None, (torch.zeros(1, 1, 2, 4, 4),) * 2, steps=2)
    with pytest.raises(ValueError, match="takes a frame"):
        ConvLSTMCell(1, 2, 3)(None, (torch.zeros(1, 2, 4, 4),) * 2)


def test_a_layer_without_input_takes_a_state_without_a_batch():
    layer, state = shake(ConvLSTM(0, 3, 3)), (noise(1, 1, 3, 4, 5), noise(1, 1, 3, 4, 5, seed=2))
    output, last = layer(None, state, steps=3)
    alone, last_alone = layer(None, tuple(part[:, 0] for part in state), steps=3)
    assert_same((alone, last_alone), (output[0], tuple(part[:, 0] for part in last)))


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize(
    "shape",
    [(1, 1, 3, 4, 5), (1, 2, 2, 4, 5), (1, 2, 3, 5, 4), (1, 3, 4, 5)],
    ids=["batch", "channels", "grid", "old form"],
)
def test_a_state_of_another_shape_is_refused_and_told_the_right_one(part, shape):
    state = [torch.zeros(1, 2, 3, 4, 5), torch.zeros(1, 2, 3, 4, 5)]
    state[part] = torch.zeros(shape)
    with pytest.raises(
        ValueError,
        match=(
            rf"{'hc'[part]}_0 .* \(b, c, \*grid\) = \(2, 3, 4, 5\), not"
            rf" \({', '.join(map(str, shape[1:]))}\)"
        ),
    ):
        ConvLSTM(1, 3, 3)(torch.zeros(2, 2, 1, 4, 5), tuple(state))


def test_states_of_a_projected_and_strided_layer_are_told_their_own_shapes():
    layer, frames = ConvLSTM(1, 3, 3, proj_size=2, stride=2), torch.zeros(2, 2, 1, 4, 5)
    layer(frames, (torch.zeros(1, 2, 2, 2, 3), torch.zeros(1, 2, 3, 2, 3)))
    with pytest.raises(ValueError, match=r"h_0 .* \(2, 2, 2, 3\), not \(2, 3, 2, 3\)"):
        layer(frames, (torch.zeros(1, 2, 3, 2, 3), torch.zeros(1, 2, 3, 2, 3)))


def test_states_for_another_number_of_layers_are_refused():
    with pytest.raises(ValueError, match="must hold 2 layers and directions, not 1 and 2"):
        ConvLSTM(1, 3, 3, num_layers=2)(
            torch.zeros(1, 2, 1, 4, 5), (torch.zeros(1, 1, 3, 4, 5), torch.zeros(2, 1, 3, 4, 5))
        )


@pytest.mark.parametrize("shape", [(2, 3, 3, 4, 5), (3, 4, 5), (2, 2, 3, 1, 4, 5)])
def test_frames_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="frames: must .*, not"):
        ConvLSTM(1, 2, 3)(torch.zeros(shape))
    with pytest.raises(ValueError, match="frames: a tensor of shape .* is empty"):
        ConvLSTM(1, 2, 3)(torch.zeros(1, 0, 1, 4, 5))
    with pytest.raises(ValueError, match=r"frame: must be \(b, 1, \*grid\) with 2 grid axes"):
        ConvLSTMCell(1, 2, 3)(torch.zeros(shape))


# Convolutions


def convolution_by_hand(x, weight, before, size, stride, dilation):
    """Pixel by pixel: y[o, p] = Σ w[o, c, k] x[c, p · stride − before + k · dilation], 0 where
    x ends.
    """
    result = torch.zeros(len(x), len(weight), *size, dtype=x.dtype)
    for row in range(size[0]):
        for column in range(size[1]):
            for a in range(weight.shape[2]):
                for b in range(weight.shape[3]):
                    y, z = (
                        row * stride[0] - before[0] + a * dilation[0],
                        column * stride[1] - before[1] + b * dilation[1],
                    )
                    if 0 <= y < x.shape[2] and 0 <= z < x.shape[3]:
                        result[:, :, row, column] += torch.einsum(
                            "oc,nc->no", weight[:, :, a, b], x[:, :, y, z]
                        )
    return result


# kernel, stride, padding, dilation; zeros before and size after, by TensorFlow's rule for a grid of
# 6 × 7
CONVOLUTIONS = [
    (3, 1, "same", 1, (1, 1), (6, 7)),
    (2, 1, "same", 1, (0, 0), (6, 7)),
    (4, 1, "same", 1, (1, 1), (6, 7)),
    ((4, 1), 1, "same", (1, 2), (1, 0), (6, 7)),
    (3, 1, "same", 2, (2, 2), (6, 7)),
    (2, 1, "same", 3, (1, 1), (6, 7)),  # 3 zeros: 1 before, 2 after
    # rows: (3 − 1) · 2 + 3 − 6 = 1 zero, after; columns: (4 − 1) · 2 + 3 − 7 = 2
    (3, 2, "same", 1, (0, 1), (3, 4)),
    (1, 3, "same", 1, (0, 0), (2, 3)),
    (5, (2, 3), "same", 1, (1, 2), (3, 3)),  # rows 3 zeros; columns (3 − 1) · 3 + 5 − 7 = 4
    (3, 1, "valid", 1, (0, 0), (4, 5)),
    ((2, 3), (2, 1), "valid", (1, 2), (0, 0), (3, 3)),
]


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "before", "size"), CONVOLUTIONS
)
def test_the_input_convolution_is_padded_as_keras_pads(
    kernel, stride, padding, dilation, before, size
):
    layer = shake(
        ConvLSTM(
            2, 1, 3, input_kernel_size=kernel, stride=stride, padding=padding, dilation=dilation
        )
    )
    cell, frames = layer.cells[0], noise(2, 1, 2, 6, 7, grad=True)
    stride, dilation = ((n, n) if isinstance(n, int) else n for n in (stride, dilation))
    i, _, g, o = convolution_by_hand(
        frames[:, 0], cell.weight_ih, before, size, stride, dilation
    ).split(1, dim=1)
    b_i, _, b_g, b_o = cell.bias
    # from a state of zeros nothing is forgotten
    memory = torch.sigmoid(i + b_i) * torch.tanh(g + b_g)
    hidden = torch.sigmoid(o + b_o + cell.peephole[2] * memory) * torch.tanh(memory)
    ours = layer(frames)[0][:, 0]
    assert ours.shape[2:] == size
    assert_same_with_gradients((ours,), (hidden,), [frames, cell.weight_ih])


@pytest.mark.parametrize(
    "options", [{"stride": 2}, {"padding": "valid"}, {"dilation": 3}], ids=in_words
)
@pytest.mark.parametrize("kernel", [3, 2])
def test_the_state_convolution_always_keeps_the_grid(options, kernel):
    """With no input weights every layer is that of equation (3) on the grid that the input
    convolution leaves.
    """
    layer = shake(ConvLSTM(1, 2, kernel, input_kernel_size=3, **options))
    torch.nn.init.zeros_(layer.cells[0].weight_ih)
    frames = noise(1, 3, 1, 8, 9)
    output = layer(frames)[0]
    zeros = torch.zeros(1, 2, *output.shape[-2:]).double()
    assert_same(output, equation_3(layer.cells[0], None, zeros, zeros, steps=3)[0])


def test_an_even_kernel_reaches_one_pixel_further_to_the_end():
    """Output pixel p of a kernel of 2 sees p and p + 1, so a dot at (3, 3) shows at 2 and 3."""
    layer = shake(ConvLSTM(1, 1, 1, input_kernel_size=2))
    dot = torch.zeros(1, 1, 1, 6, 6).double()
    without = layer(dot)[0]
    dot[..., 3, 3] = 1
    rows, columns = (layer(dot)[0] != without)[0, 0, 0].nonzero().T.tolist()
    assert (rows, columns) == ([2, 2, 3, 3], [2, 3, 2, 3])


def test_a_pixel_reaches_as_far_as_the_kernel_in_one_step():
    """A 5×5 input kernel reaches 2 pixels; each further step of a 3×3 state kernel one more."""
    layer = shake(ConvLSTM(1, 2, 3, input_kernel_size=5))
    frames = torch.zeros(1, 3, 1, 11, 11, dtype=torch.float64)
    dot = frames.clone()
    dot[0, 0, 0, 5, 5] = 1
    changed = (layer(dot)[0] != layer(frames)[0]).any(dim=2)[0]  # (t, h, w)
    for t, reach in enumerate((2, 3, 4)):
        expected = torch.zeros(11, 11, dtype=torch.bool)
        expected[5 - reach : 6 + reach, 5 - reach : 6 + reach] = True
        assert torch.equal(changed[t], expected)


def test_a_kernel_too_large_for_the_grid_is_refused():
    with pytest.raises(
        ValueError,
        match=r"a kernel of \(5, 5\) with padding='valid' leaves nothing of a grid of \(4, 6\)",
    ):
        ConvLSTM(1, 2, 5, padding="valid")(torch.zeros(1, 1, 1, 4, 6))


def test_one_trained_layer_takes_grids_of_any_size():
    layer = shake(ConvLSTM(1, 2, 3))
    for size in [(1, 1), (5, 9), (16, 4)]:
        assert layer(noise(1, 2, 1, *size))[0].shape == (1, 2, 2, *size)


def test_grids_of_one_two_and_three_axes_agree_where_axes_have_size_one():
    """Of a kernel of 3 over an axis of size 1 the middle alone meets the grid."""
    volume = shake(ConvLSTM3d(2, 3, 3, num_layers=2, bidirectional=True))
    image, line = (
        type_(2, 3, 3, num_layers=2, bidirectional=True).double()
        for type_ in (ConvLSTM2d, ConvLSTM1d)
    )
    for (name, weight), flat, thin in zip(
        volume.named_parameters(), image.parameters(), line.parameters(), strict=True
    ):
        for target, axes in ((flat, 1), (thin, 2)):
            middle = weight
            for _ in range(
                axes if name.split(".")[-1] in ("weight_ih", "weight_hh", "peephole") else 0
            ):
                middle = middle.select(2, weight.shape[2] // 2)
            target.data.copy_(middle)
    frames = noise(2, 3, 2, 5)
    output, (hidden, memory) = line(frames)
    for layer, ones in ((image, (1,)), (volume, (1, 1))):
        its_output, (its_hidden, its_memory) = layer(frames.reshape(2, 3, 2, *ones, 5))
        assert_same(
            [x.flatten(3) for x in (its_output, its_hidden, its_memory)],
            [x.flatten(3) for x in (output, hidden, memory)],
        )


# Peepholes and parameters


def test_a_peephole_a_pixel_of_the_same_value_is_a_peephole_a_channel():
    channel = shake(ConvLSTM(2, 3, 3))
    pixel = ConvLSTM(2, 3, 3, peephole="pixel", grid_size=(4, 5)).double()
    weights = channel.state_dict()
    pixel.load_state_dict(
        {**weights, "cells.0.peephole": weights["cells.0.peephole"].expand(3, 3, 4, 5)}
    )
    frames = noise(2, 3, 2, 4, 5)
    assert_same(pixel(frames), channel(frames))


def test_peepholes_a_pixel_follow_the_grid_through_the_layers():
    """8 × 9 pixels, halved and rounded up: 4 × 5, then 2 × 3; each 3 gates × its channels × its
    pixels.
    """
    layer = ConvLSTM(1, [2, 4], 3, stride=2, peephole="pixel", grid_size=(8, 9), bidirectional=True)
    assert [tuple(cell.peephole.shape) for cell in layer.cells] == [(3, 2, 4, 5)] * 2 + [
        (3, 4, 2, 3)
    ] * 2
    assert layer(torch.ones(1, 2, 1, 8, 9))[0].shape == (1, 2, 8, 2, 3)
    assert ConvLSTM(0, 2, 3, stride=2, peephole="pixel", grid_size=4).cells[0].peephole.shape == (
        3,
        2,
        4,
        4,
    )


@pytest.mark.parametrize("peephole", ["channel", "pixel"])
def test_peepholes_are_parameters_that_train_and_stay_parameters(peephole):
    layer = ConvLSTM(1, 2, 3, peephole=peephole, grid_size=(4, 5)).to(torch.device("cpu")).double()
    name = "cells.0.peephole"
    assert name in layer.state_dict()
    assert isinstance(dict(layer.named_parameters())[name], torch.nn.Parameter)
    frames, optimizer = noise(2, 3, 1, 4, 5), torch.optim.SGD(layer.parameters(), lr=0.5)
    layer(frames)[0].square().sum().backward()
    assert (layer.cells[0].peephole.grad != 0).all()
    optimizer.step()
    assert (layer.cells[0].peephole != 0).all()
    other = ConvLSTM(1, 2, 3, peephole=peephole, grid_size=(4, 5)).double()
    other.load_state_dict(layer.state_dict())
    assert_same(other(frames), layer(frames))


@pytest.mark.parametrize(
    "layer",
    [
        ConvLSTM(1, 2, 3, peephole="pixel", grid_size=(4, 5)),
        ConvLSTM(0, 2, 3, peephole="pixel", grid_size=(4, 5)),
    ],
)
def test_peepholes_a_pixel_refuse_a_grid_of_another_size_and_say_what_to_do(layer):
    with pytest.raises(
        ValueError,
        match=(
            r"\(4, 5\) pixels, but these have \(5, 4\)\. Set grid_size .*or use"
            r" peephole='channel'"
        ),
    ):
        if layer.input_channels:
            layer(torch.zeros(1, 2, 1, 5, 4))
        else:
            layer(None, (torch.zeros(1, 1, 2, 5, 4),) * 2, steps=1)


def test_peepholes_a_pixel_ask_for_the_size_of_the_grid():
    with pytest.raises(ValueError, match="grid_size: peephole='pixel'"):
        ConvLSTM(1, 2, 3, peephole="pixel")


def test_the_number_of_parameters_counts_as_on_paper():
    """4 gates × (5·5·3 input + 3·3·7 state weights + a bias) × 7 channels, and 3 peepholes of 7."""

    def count(*args, **options):
        return sum(p.numel() for p in ConvLSTM(*args, **options).parameters())

    assert count(3, 7, 3, input_kernel_size=5) == 4 * 7 * (5 * 5 * 3 + 3 * 3 * 7 + 1) + 3 * 7
    assert count(0, 7, 3) == 4 * 7 * (3 * 3 * 7 + 1) + 3 * 7
    assert count(0, 7, 3, peephole="none", bias=False) == 4 * 7 * 3 * 3 * 7
    assert (
        count(0, 7, 3, peephole="pixel", grid_size=(4, 5))
        == 4 * 7 * (3 * 3 * 7 + 1) + 3 * 7 * 4 * 5
    )
    # the state convolution sees H of 2
    assert count(3, 7, 1, proj_size=2, peephole="none") == 4 * 7 * (3 + 2 + 1) + 2 * 7


WRONG = [
    ({"hidden_channels": [2, 3], "num_layers": 3},
    "hidden_channels: give one value, or a list with one per layer"), ({"hidden_channels": []},
    "hidden_channels: give one"), ({"num_layers": 0}, "hidden_channels: give one"),
    ({"kernel_size": [3, 5], "num_layers": 3}, "kernel_size: give one"),
    ({"kernel_size": [3, 5]}, "kernel_size: give one"),
    ({"input_kernel_size": [3], "num_layers": 2}, "input_kernel_size: give one"),
    ({"kernel_size": (3, 3, 3)}, "kernel_size: give a number above 0, or 2 of them"),
    ({"kernel_size": 0}, "kernel_size: give a number above 0"),
    ({"input_kernel_size": (1, 0)}, "input_kernel_size: give a number above 0"),
    ({"stride": 0}, "stride: give"),
    ({"dilation": (1,)}, "dilation: give"),
    ({"hidden_channels": 0}, "hidden_channels 1 or more"),
    ({"input_channels": -1}, "input_channels must be 0 or more"),
    ({"proj_size": -1}, "proj_size: must be 0"),
    ({"dropout": 1.0}, "dropout: must be at least 0 and below 1"),
    ({"input_dropout": -0.1}, "input_dropout: must be"),
    ({"recurrent_dropout": 1.5}, "recurrent_dropout: must be"),
    ({"padding": "causal"}, "padding: 'same' or 'valid', not 'causal'"),
    ({"peephole": "all"}, "peephole: 'none', 'channel' or 'pixel', not 'all'"),
    ({"activation": "tan"}, "'tan' is not an activation; choose tanh, sigmoid, hard_sigmoid"),
    ({"recurrent_activation": "tan"}, "'tan' is not an activation"),
    ({"input_init": "he"}, "input_init: 'he' is not one of uniform, glorot, orthogonal"),
    ({"recurrent_init": "he"}, "recurrent_init: 'he'"),
    ({"unit_forget_bias": True, "bias": False}, "unit_forget_bias: needs bias=True"),
    ({"bidirectional": True, "go_backwards": True},
    "bidirectional: .* with go_backwards or stateful"), ({"bidirectional": True,
    "stateful": True}, "bidirectional: .* with go_backwards or stateful"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"), WRONG, ids=[in_words(options) for options, _ in WRONG]
)
def test_what_makes_no_layer_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ConvLSTM(**{"input_channels": 1, "hidden_channels": 2, "kernel_size": 3, **options})


SHOWN = [
    (ConvLSTM(1, 4, 3), "1, 4", ["1 → 4, 3×3"]),
    (
        ConvLSTM(1, 4, 3, num_layers=2, dropout=0.5),
        "1, 4, num_layers=2, dropout=0.5",
        ["1 → 4, 3×3", "4 → 4, 3×3"],
    ),
    (
        ConvLSTM(
            2, [4, 8], [3, (1, 5)], input_kernel_size=5, bias=False, peephole="none", stateful=True
        ),
        "2, [4, 8], num_layers=2, stateful=True, bias=False, peephole='none'",
        ["2 → 4, 5×5 and 3×3", "4 → 8, 5×5 and 1×5"],
    ),
    (
        ConvLSTM1d(
            0,
            2,
            3,
            recurrent_activation="hard_sigmoid",
            activation=functional.softsign,
            batch_first=False,
        ),
        "0, 2, batch_first=False, activation=softsign, recurrent_activation='hard_sigmoid'",
        ["0 → 2, 3"],
    ),
]


@pytest.mark.parametrize(("layer", "shown", "cells"), SHOWN, ids=[shown for _, shown, _ in SHOWN])
def test_a_layer_prints_what_is_not_the_default(layer, shown, cells):
    assert layer.extra_repr() == shown
    assert [cell.extra_repr() for cell in layer.cells] == cells
