import pytest
import torch
from helpers import learn, moving_squares, share_left
from torch.nn import functional

from nowcast.model import StridedEncoderForecaster


def small_model(channels=1, hidden=(3, 2), strides=(3, 2), activation="identity"):
    """Two levels, float64, every parameter random."""
    torch.manual_seed(0)
    kernels = [stride + 2 for stride in strides]
    model = StridedEncoderForecaster(channels, hidden, 2, strides, kernels, 3, activation).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def movie(b=2, t=4, c=1, h=12, w=6, seed=1):
    return torch.rand(
        b, t, c, h, w, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )


def each(function, sequence):
    return torch.stack([function(frame) for frame in sequence.unbind(1)], dim=1)


def written_out(model, frames, lead_steps):
    """Two levels, frame by frame."""

    def leaky(x):
        return torch.where(x > 0, x, 0.2 * x)

    x = each(
        lambda f: leaky(functional.conv2d(f, model.downs[0].weight, model.downs[0].bias, 3, 1)),
        frames,
    )
    x, state_1 = model.encoder[0](x)
    x = each(
        lambda f: leaky(functional.conv2d(f, model.downs[1].weight, model.downs[1].bias, 2, 1)), x
    )
    _, state_2 = model.encoder[1](x)
    x, _ = model.forecaster[1](None, state_2, steps=lead_steps)
    x = each(
        lambda f: leaky(
            functional.conv_transpose2d(f, model.ups[1].weight, model.ups[1].bias, 2, 1)
        ),
        x,
    )
    x, _ = model.forecaster[0](x, state_1)
    x = each(
        lambda f: leaky(
            functional.conv_transpose2d(f, model.ups[0].weight, model.ups[0].bias, 3, 1)
        ),
        x,
    )
    x = each(lambda f: leaky(functional.conv2d(f, model.smooth.weight, model.smooth.bias, 1, 1)), x)
    return each(lambda f: functional.conv2d(f, model.output.weight, model.output.bias), x)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_network_is_the_published_one_in_small(channels):
    model, frames = small_model(channels), movie(c=channels)
    torch.testing.assert_close(
        model(frames, 3), written_out(model, frames, 3), rtol=1e-10, atol=1e-12
    )


def test_the_published_grids_are_480_96_32_16_and_back():
    grids = []
    model = StridedEncoderForecaster(1, [2, 6, 6], 1, [5, 3, 2], [7, 5, 3], 3)
    for module in (*model.downs, *model.ups):
        module.register_forward_hook(
            lambda module, inputs, output: grids.append(tuple(output.shape))
        )
    with torch.no_grad():
        forecast = model(torch.rand(1, 2, 1, 480, 480), 3)
    assert grids[:3] == [(2, 1, 96, 96), (2, 6, 32, 32), (2, 6, 16, 16)]
    assert grids[3:] == [(3, 6, 32, 32), (3, 2, 96, 96), (3, 1, 480, 480)]
    assert forecast.shape == (1, 3, 1, 480, 480)


def test_the_published_model_has_as_many_parameters_as_by_hand():
    def lstm(inputs, hidden):
        return 4 * hidden * 9 * (inputs + hidden) + 4 * hidden + 3 * hidden

    encoder = (
        (8 * 49 + 8)
        + lstm(8, 64)
        + (192 * 64 * 25 + 192)
        + lstm(192, 192)
        + (192 * 192 * 9 + 192)
        + lstm(192, 192)
    )
    forecaster = (
        lstm(0, 192)
        + (192 * 192 * 16 + 192)
        + lstm(192, 192)
        + (192 * 64 * 25 + 64)
        + lstm(64, 64)
        + (64 * 8 * 49 + 8)
    )
    with torch.device("meta"):
        model = StridedEncoderForecaster(1, [64, 192, 192], 8, [5, 3, 2], [7, 5, 3], 3)
    assert sum(p.numel() for p in model.parameters()) == encoder + forecaster + (8 * 8 * 9 + 8) + (
        8 + 1
    )


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (6, 12), (13, 8)])
def test_a_grid_of_any_size_is_one_padded_with_dry_pixels_and_cut_back(size):
    height, width = size
    model, frames = small_model(), movie(h=height, w=width)
    padded = functional.pad(frames, (0, -width % 6, 0, -height % 6))
    forecast = model(frames, 3)
    assert forecast.shape == (2, 3, 1, height, width)
    torch.testing.assert_close(
        forecast, written_out(model, padded, 3)[..., :height, :width], rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("kernel", [3, 4, 5])
def test_every_kernel_from_3_to_its_stride_and_2_gives_the_same_grids(kernel):
    model = StridedEncoderForecaster(1, [2, 2], 2, [3, 3], [kernel, 5], 3)
    assert model(torch.rand(1, 2, 1, 27, 18), 2).shape == (1, 2, 1, 27, 18)


def test_every_parameter_is_trained_and_every_frame_counts():
    model, frames = (
        small_model(hidden=(3, 2, 2), strides=(2, 2, 2)),
        movie(h=16, w=16).requires_grad_(),
    )
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
    model = StridedEncoderForecaster(1, [8, 8], 4, [2, 2], [3, 3], 3)
    assert share_left(learn(model, moving_squares()), moving_squares()) < 0.05
