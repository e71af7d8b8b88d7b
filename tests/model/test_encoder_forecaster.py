import pytest
import torch
from helpers import learn, moving_squares, share_left
from torch.nn import functional

from nowcast.model import EncoderForecaster, build_model


def small_model(patch_size=2, channels=1, hidden=(3, 2), activation="identity", feedback=False):
    """Two layers, float64, every parameter random."""
    torch.manual_seed(0)
    model = EncoderForecaster(channels, hidden, 3, 3, patch_size, activation, feedback).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def movie(b=2, t=4, c=1, h=8, w=6, seed=1):
    return torch.rand(
        b, t, c, h, w, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )


def patches_of(frames, p):
    """Space to depth, pixel by pixel: (b, t, c, h, w) → (b, t, c·p·p, h/p, w/p), a channel for
    each place in the patch.
    """
    parts = [
        frames[:, :, k, y::p, x::p]
        for k in range(frames.shape[2])
        for y in range(p)
        for x in range(p)
    ]
    return torch.stack(parts, dim=2)


def frames_of(patches, p):
    b, t, channels, rows, columns = patches.shape
    frames = patches.new_zeros(b, t, channels // p**2, rows * p, columns * p)
    for channel in range(channels):
        k, y, x = channel // p**2, channel % p**2 // p, channel % p
        frames[:, :, k, y::p, x::p] = patches[:, :, channel]
    return frames


def by_figure_3(model, frames, lead_steps):
    """A model of two layers written out, as figure 3 of the paper draws it."""
    x = patches_of(frames, model.patch_size)
    hidden_1, state_1 = model.encoder[0](x)
    _, state_2 = model.encoder[1](hidden_1)
    inner, _ = model.forecaster[1](None, state_2, steps=lead_steps)
    outer, _ = model.forecaster[0](inner, state_1)
    both = torch.cat([outer, inner], dim=2)
    weight, bias = model.output.weight[:, :, 0, 0], model.output.bias
    return frames_of(
        torch.einsum("oi,btihw->btohw", weight, both) + bias[:, None, None], model.patch_size
    )


@pytest.mark.parametrize(("patch_size", "channels"), [(1, 1), (2, 1), (2, 3)])
def test_the_network_is_figure_3_of_the_paper(patch_size, channels):
    model, frames = small_model(patch_size, channels), movie(c=channels)
    torch.testing.assert_close(
        model(frames, 3), by_figure_3(model, frames, 3), rtol=1e-10, atol=1e-12
    )


def test_layers_hand_their_last_states_over():
    """Forecaster weights all 0: every gate is 1/2 and g is 0, so C halves each step and H_k =
    tanh(C_T / 2^k) / 2.
    """
    model, frames = small_model(patch_size=1), movie()
    for parameter in model.forecaster.parameters():
        torch.nn.init.zeros_(parameter)
    hidden_1, (_, cell_1) = model.encoder[0](frames)
    _, (_, cell_2) = model.encoder[1](hidden_1)
    last_cells = torch.cat([cell_1[0], cell_2[0]], dim=1)
    for k, forecast in enumerate(model(frames, 3).unbind(1), start=1):
        expected = functional.conv2d(
            torch.tanh(last_cells / 2**k) / 2, model.output.weight, model.output.bias
        )
        torch.testing.assert_close(forecast, expected, rtol=1e-10, atol=1e-12)


def test_the_forecaster_takes_the_hidden_state_over_with_the_cells():
    """Without state-to-state weights in an encoder layer its output gate moves H alone, and H
    can only act through the state-to-state weights of the forecaster layer that takes it over.
    """
    model, frames = small_model(), movie()

    encoder, forecaster = model.encoder[1].cells[0], model.forecaster[1].cells[0]

    def moves_the_forecast():
        before = model(frames, 1)
        encoder.bias[-2:] += 1.0
        return not torch.equal(model(frames, 1), before)

    with torch.no_grad():
        encoder.weight_hh.zero_()
        assert moves_the_forecast()
        forecaster.weight_hh.zero_()
        assert not moves_the_forecast()


def test_the_first_forecast_is_the_same_however_many_are_asked_for():
    model, frames = small_model(), movie()
    torch.testing.assert_close(model(frames, 6)[:, :3], model(frames, 3), rtol=1e-12, atol=1e-14)


def test_no_hidden_state_of_the_encoder_knows_a_later_frame():
    model, frames = small_model(patch_size=1), movie(t=5)
    changed = frames.clone()
    changed[:, 3] += 1
    for layer in model.encoder:
        frames, changed = layer(frames)[0], layer(changed)[0]
        assert torch.equal(frames[:, :3], changed[:, :3])
        assert not torch.isclose(frames[:, 3:], changed[:, 3:]).all()


def test_every_input_frame_counts():
    model, frames = small_model(), movie().requires_grad_()
    (gradient,) = torch.autograd.grad(model(frames, 2).sum(), frames)
    assert (gradient.abs().amax(dim=(0, 2, 3, 4)) > 0).all()


def test_examples_of_a_batch_do_not_meet():
    model, frames = small_model(), movie(b=3)
    alone = torch.cat([model(frames[k : k + 1], 2) for k in range(3)])
    torch.testing.assert_close(model(frames, 2), alone, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (7, 8), (9, 13), (8, 4)])
@pytest.mark.parametrize("patch_size", [1, 2, 4])
def test_a_grid_of_any_size_is_one_padded_with_dry_pixels_and_cut_back(size, patch_size):
    height, width = size
    model, frames = small_model(patch_size), movie(h=height, w=width)
    padded = torch.zeros(
        2, 4, 1, -(-height // patch_size) * patch_size, -(-width // patch_size) * patch_size
    ).double()
    padded[..., :height, :width] = frames
    forecast = model(frames, 3)
    assert forecast.shape == (2, 3, 1, height, width)
    torch.testing.assert_close(
        forecast, by_figure_3(model, padded, 3)[..., :height, :width], rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("feedback", [False, True])
def test_every_parameter_is_trained_and_saved(feedback):
    model = small_model(hidden=(3, 2, 2), feedback=feedback)
    model(movie(), 3).square().sum().backward()
    names = [name for name, _ in model.named_parameters()]
    assert set(names) == set(model.state_dict())
    assert sum("peephole" in name for name in names) == 6
    untrained = [
        name for name, p in model.named_parameters() if p.grad is None or (p.grad == 0).any()
    ]
    assert untrained == []


def test_saved_weights_make_the_same_model():
    model, other = small_model(), EncoderForecaster(1, (3, 2), 3, 3, 2).double()
    assert not torch.allclose(model(movie(), 2), other(movie(), 2))
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(movie(), 2), other(movie(), 2))


def test_sigmoid_output_is_a_probability_and_the_sigmoid_of_the_other():
    plain, sigmoid = small_model(), small_model(activation="sigmoid")
    probabilities = sigmoid(10 * movie(), 3)
    assert probabilities.min() > 0
    assert probabilities.max() < 1
    torch.testing.assert_close(probabilities, torch.sigmoid(plain(10 * movie(), 3)))


def test_in_bf16_the_forecast_is_close_and_cells_stay_in_float32():
    """A convolution rounds its input, weights and result to 8 bits: three errors of about 2^-9 of a
    value, which the sigmoids (slope ≤ 1/4) and the forgetting of the cells keep from growing.
    Encoder, forecaster and output are three such stages in a row; nine independent errors add up to
    √9 of one: 3 · 2^-9 ≈ 0.6 %.
    """
    torch.manual_seed(0)
    model = EncoderForecaster(1, [16, 16], 3, 3, 2)
    for layer in (*model.encoder, *model.forecaster):
        torch.nn.init.normal_(layer.cells[0].peephole, std=0.1)
        torch.nn.init.normal_(layer.cells[0].bias, std=0.1)
    frames = movie(h=17, w=23).float()
    with torch.no_grad():
        exact = model(frames, 6)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = model(frames, 6)
            _, (_, cell) = model.encoder[0](
                functional.pixel_unshuffle(frames[..., :16, :22].flatten(0, 1), 2).unflatten(
                    0, (2, 4)
                )
            )
            _, (_, unfolded) = model.forecaster[1](
                None, (torch.zeros(1, 2, 16, 4, 4), torch.ones(1, 2, 16, 4, 4)), steps=2
            )
    assert rounded.dtype == cell.dtype == unfolded.dtype == torch.float32
    assert not torch.equal(rounded, exact)  # it did compute in bf16
    assert (rounded - exact).norm() / exact.norm() < 3 * 2**-9


def test_a_model_can_be_trained_in_bf16():
    model = small_model().float()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(movie().float(), 2).square().mean()
    loss.backward()
    assert all(
        p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in model.parameters()
    )


def test_a_patch_is_so_many_channels():
    settings = {
        "name": "encoder_forecaster",
        "hidden_channels": [4],
        "kernel_size": 3,
        "input_kernel_size": 5,
        "patch_size": 2,
    }
    model = build_model(settings, channels=2)
    # 4 gates × 4 channels from 2 channels × 2 × 2 pixels
    assert model.encoder[0].cells[0].weight_ih.shape == (16, 8, 5, 5)


# ---- feeding frames back


def by_hand_with_feedback(model, frames, fed):
    """Two layers; forecast k from patches of frame k of `fed`, where there is one, else of
    forecast k − 1.
    """
    hidden_1, state_1 = model.encoder[0](patches_of(frames, model.patch_size))
    _, state_2 = model.encoder[1](hidden_1)
    forecasts = []
    for true in fed:
        before = forecasts[-1] if true is None else true
        inner, state_2 = model.forecaster[1](patches_of(before, model.patch_size), state_2)
        outer, state_1 = model.forecaster[0](inner, state_1)
        weight, bias = model.output.weight[:, :, 0, 0], model.output.bias[:, None, None]
        both = torch.cat([outer, inner], dim=2)
        forecasts.append(
            frames_of(torch.einsum("oi,btihw->btohw", weight, both) + bias, model.patch_size)
        )
    return torch.cat(forecasts, dim=1)


def test_with_feedback_each_forecast_sees_the_one_before_and_the_first_the_last_observed_frame():
    model, frames = small_model(feedback=True), movie()
    expected = by_hand_with_feedback(model, frames, [frames[:, -1:], None, None])
    torch.testing.assert_close(model(frames, 3), expected, rtol=1e-10, atol=1e-12)


def test_true_frames_are_fed_back_in_place_of_forecasts_where_there_are_some():
    model, frames, future = small_model(feedback=True), movie(), movie(t=3, seed=2)
    guide = future.clone()
    guide[:, 1] = torch.nan
    expected = by_hand_with_feedback(model, frames, [frames[:, -1:], future[:, :1], None])
    torch.testing.assert_close(model(frames, 3, guide), expected, rtol=1e-10, atol=1e-12)


def test_with_all_frames_true_one_pass_is_as_good_as_step_by_step():
    model, frames, future = small_model(feedback=True), movie(), movie(t=3, seed=2)
    expected = by_hand_with_feedback(model, frames, [frames[:, -1:], future[:, :1], future[:, 1:2]])
    torch.testing.assert_close(model(frames, 3, future), expected, rtol=1e-10, atol=1e-12)


def test_a_guide_that_holds_no_frame_is_no_guide():
    model, frames = small_model(feedback=True), movie()
    assert torch.equal(model(frames, 3, torch.full((2, 3, 1, 8, 6), torch.nan)), model(frames, 3))


def test_each_sequence_has_its_own_true_frames():
    model, frames, guide = small_model(feedback=True), movie(), movie(t=3, seed=2)
    guide[0] = torch.nan
    forecast = model(frames, 3, guide)
    torch.testing.assert_close(forecast[:1], model(frames[:1], 3), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(
        forecast[1:], model(frames[1:], 3, guide[1:]), rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 4)])
def test_with_feedback_a_grid_of_any_size_goes_in_and_comes_out(size):
    """The padding is dry in what is fed back too."""
    height, width = size
    model, frames = small_model(patch_size=4, feedback=True), movie(h=height, w=width)
    padded = functional.pad(frames, (0, -width % 4, 0, -height % 4))
    first = by_hand_with_feedback(model, padded, [padded[:, -1:]])[..., :height, :width]
    fed = functional.pad(first, (0, -width % 4, 0, -height % 4))
    expected = by_hand_with_feedback(model, padded, [padded[:, -1:], fed])[..., :height, :width]
    torch.testing.assert_close(model(frames, 2), expected, rtol=1e-10, atol=1e-12)


def test_a_model_without_feedback_refuses_true_frames():
    with pytest.raises(ValueError, match="does not feed frames back"):
        small_model()(movie(), 3, movie(t=3))


# ---- learning


def test_moving_squares_are_learned_by_heart():
    torch.manual_seed(0)
    assert (
        share_left(learn(EncoderForecaster(1, [8, 8], 3, 3, 2), moving_squares()), moving_squares())
        < 0.05
    )


def test_moving_squares_are_learned_by_heart_with_feedback_and_scheduled_sampling():
    torch.manual_seed(0)
    model = EncoderForecaster(1, [8, 8], 3, 3, 2, feedback=True)
    assert (
        share_left(learn(model, moving_squares(), share_of_truth=(1, 0)), moving_squares()) < 0.05
    )
