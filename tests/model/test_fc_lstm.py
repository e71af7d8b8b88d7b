import pytest
import torch
from helpers import learn, moving_squares, share_left

from nowcast.model import FCLSTMForecaster


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
    with pytest.raises(ValueError, match="feeds no frame back"):
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
