import pytest
import torch
from helpers import learn, moving_squares, share_left
from torch.nn import functional

from nowcast.model import NextFrame


def small_model(channels=1, activation="identity"):
    """Three layers, float64, every parameter random, batch normalisation with a history."""
    torch.manual_seed(0)
    model = NextFrame(channels, [3, 2, 3], [5, 3, 1], activation).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    for norm in model.norms:
        norm.running_mean.uniform_(-0.5, 0.5)
        norm.running_var.uniform_(0.5, 1.5)
    return model


def movie(b=2, t=5, c=1, h=7, w=6, seed=1):
    return torch.rand(
        b, t, c, h, w, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )


def normalised(norm, sequence):
    """As Keras has it: over batch, time and space, for each channel, with ε = 10⁻³."""
    mean, variance = sequence.mean(dim=(0, 1, 3, 4)), sequence.var(dim=(0, 1, 3, 4), correction=0)
    if not norm.training:
        mean, variance = norm.running_mean, norm.running_var
    scale = (norm.weight / (variance + 1e-3).sqrt())[:, None, None]
    return (sequence - mean[:, None, None]) * scale + norm.bias[:, None, None]


def keras_example(model, frames):
    """The whole sequence at once, layer by layer; the 3×3×3 convolution written out over frames
    t − 2, t − 1 and t.
    """
    hidden, _ = model.layers[0](frames)
    hidden, _ = model.layers[1](normalised(model.norms[0], hidden))
    hidden, _ = model.layers[2](normalised(model.norms[1], hidden))
    zeros = torch.zeros_like(hidden[:, :2])
    padded = torch.cat([zeros, hidden], dim=1)
    outputs = []
    for t in range(frames.shape[1]):
        parts = [
            functional.conv2d(padded[:, t + k], model.output.weight[:, :, k], padding=1)
            for k in range(3)
        ]
        outputs.append(sum(parts) + model.output.bias[:, None, None])
    return torch.stack(outputs, dim=1)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("training", [True, False])
def test_with_all_true_frames_it_is_the_example_on_the_whole_sequence(training, channels):
    model, frames, future = (
        small_model(channels).train(training),
        movie(c=channels),
        movie(t=3, c=channels, seed=2),
    )
    expected = keras_example(model, torch.cat([frames, future[:, :2]], dim=1))[:, -3:]
    torch.testing.assert_close(model(frames, 3, future), expected, rtol=1e-9, atol=1e-11)


def test_no_output_knows_a_later_frame():
    model, frames = small_model().eval(), movie(t=6)
    changed = frames.clone()
    changed[:, 3] += 1
    (before, _), (after, _) = model.follow(frames), model.follow(changed)
    assert torch.equal(before[:, :3], after[:, :3])
    for t in (3, 4, 5):
        assert not torch.allclose(before[:, t], after[:, t])


def test_rolled_out_frame_by_frame_it_is_the_whole_sequence_at_once():
    """The states carry all: feeding forecasts back one by one is the pass over past and
    forecasts together.
    """
    model, frames = small_model().eval(), movie()
    forecast = model(frames, 4)
    together = keras_example(model, torch.cat([frames, forecast[:, :3]], dim=1))[:, -4:]
    torch.testing.assert_close(forecast, together, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("cut", [1, 2, 4])
def test_a_sequence_in_two_parts_is_the_sequence(cut):
    model, frames = small_model().eval(), movie(t=6)
    first, state = model.follow(frames[:, :cut])
    second, _ = model.follow(frames[:, cut:], state)
    torch.testing.assert_close(
        torch.cat([first, second], dim=1), model.follow(frames)[0], rtol=1e-9, atol=1e-11
    )


def test_some_true_frames_are_fed_back_in_place_of_forecasts():
    model, frames, future = small_model().eval(), movie(), movie(t=3, seed=2)
    guide = future.clone()
    guide[0, 0] = guide[1, 1] = torch.nan
    forecast = model(frames, 3, guide)
    fed = torch.where(guide.isnan(), forecast, guide)
    expected = keras_example(model, torch.cat([frames, fed[:, :2]], dim=1))[:, -3:]
    torch.testing.assert_close(forecast, expected, rtol=1e-9, atol=1e-11)


def test_the_example_has_as_many_parameters_as_in_keras():
    """64 channels: gates of 4·64, convolutions of input and state and a bias each; 2·64 of each
    batch normalisation; Conv3D.
    """
    with torch.device("meta"):
        model = NextFrame(1, [64, 64, 64], [5, 3, 1])
    lstms = [k**2 * (c + 64) * 256 + 256 for c, k in ((1, 5), (64, 3), (64, 1))]
    assert lstms == [416_256, 295_168, 33_024]
    assert sum(p.numel() for p in model.parameters()) == sum(lstms) + 2 * 128 + (27 * 64 + 1)


def test_it_begins_as_keras_begins():
    torch.manual_seed(0)
    model = NextFrame(1, [8, 8, 8], [5, 3, 1])
    for layer in model.layers:
        cell = layer.cells[0]
        assert cell.bias.tolist() == [0] * 8 + [1] * 8 + [0] * 16
        rows = cell.weight_hh.flatten(1)
        columns = min(rows.shape)
        gram = rows @ rows.T if rows.shape[0] == columns else rows.T @ rows
        torch.testing.assert_close(gram, torch.eye(columns), rtol=0, atol=1e-5)
    limit = (6 / (27 * (8 + 1))) ** 0.5
    assert 0.95 * limit < model.output.weight.abs().max() <= limit


@pytest.mark.parametrize("size", [(1, 1), (3, 8)])
def test_a_grid_of_any_size_goes_in_and_comes_out(size):
    assert small_model().eval()(movie(h=size[0], w=size[1]), 3).shape == (2, 3, 1, *size)


@pytest.mark.parametrize("guided", [True, False])
def test_every_parameter_is_trained_and_every_frame_counts(guided):
    model, frames = small_model(), movie().requires_grad_()
    model(frames, 3, movie(t=3) if guided else None).square().sum().backward()
    assert [
        name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()
    ] == []
    assert (frames.grad.abs().amax(dim=(0, 2, 3, 4)) > 0).all()


def test_sigmoid_output_is_a_probability():
    plain, sigmoid = small_model().eval(), small_model(activation="sigmoid").eval()
    torch.testing.assert_close(sigmoid(movie(), 1), torch.sigmoid(plain(movie(), 1)))


def test_moving_squares_are_learned_by_heart_with_true_frames_and_forecast_without():
    """Keras' running averages move by 1 % a step; after a hundred they are set to where they go."""
    torch.manual_seed(0)
    model, frames = NextFrame(1, [8, 8, 8], [5, 3, 1]), moving_squares()
    learn(model, frames, lr=1e-2, share_of_truth=(1, 1))
    for norm in model.norms:
        norm.reset_running_stats()
        norm.momentum = None
    with torch.no_grad():
        model(frames[:, :3], 3, frames[:, 3:])
    assert share_left(model, frames) < 0.05
