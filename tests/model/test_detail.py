"""The detail of the newest frames: where it starts, and what it depends on."""

import pytest
import torch
from torch import nn

from nowcast.model import EncoderForecaster
from nowcast.model.detail import FRAMES, REACH, Detail


def disturbed(channels: int = 1) -> Detail:
    torch.manual_seed(0)
    detail = Detail(channels, output_channels=2)
    for parameter in detail.output.parameters():
        nn.init.normal_(parameter)
    return detail.double()


def steps(count: int) -> torch.Tensor:
    return torch.arange(1, count + 1).double()


def test_it_begins_at_zero() -> None:
    frames = torch.rand(1, 4, 1, 9, 11)
    assert not Detail(1, 2)(frames, steps(3)).any()
    torch.manual_seed(0)
    refined = EncoderForecaster(1, [4], 3, 3, patch_size=4, output_grid="refined")
    cells = EncoderForecaster(1, [4], 3, 3, patch_size=4, output_grid="cells")
    cells.load_state_dict(refined.state_dict(), strict=False)
    torch.testing.assert_close(refined(frames, 3), cells(frames, 3))


def test_parts_of_it_fade_with_lead_time() -> None:
    """D(n) = D₀ + D₁ / n + D₂ / n²: n² · D(n) is a parabola, whose second differences are 2 D₀."""
    n = steps(5)[:, None, None, None]
    parabola = disturbed()(torch.rand(1, 3, 1, 9, 11).double(), steps(5)) * n**2
    curvature = parabola.diff(n=2, dim=1)
    torch.testing.assert_close(curvature, curvature[:, :1].expand_as(curvature))
    assert curvature.abs().min() > 0 and parabola.diff(n=1, dim=1).std(dim=1).min() > 0


@pytest.mark.parametrize("frames", [1, FRAMES - 1, FRAMES])
def test_fewer_frames_are_as_many_that_began_with_the_first(frames: int) -> None:
    detail, seen = disturbed(2), torch.rand(1, frames, 2, 9, 11).double()
    before = seen[:, :1].expand(-1, FRAMES - frames, -1, -1, -1)
    whole = torch.cat([before, seen], dim=1)
    torch.testing.assert_close(detail(seen, steps(2)), detail(whole, steps(2)))


def test_older_frames_do_nothing() -> None:
    detail, frames = disturbed(), torch.rand(1, FRAMES + 2, 1, 9, 11).double()
    other = frames.clone()
    other[:, :2] = 0
    assert torch.equal(detail(frames, steps(2)), detail(other, steps(2)))


def test_pixels_as_far_as_its_reach_count_and_none_further() -> None:
    detail, size = disturbed(), 2 * REACH + 5
    frames = torch.rand(1, FRAMES, 1, size, size).double().requires_grad_()
    detail(frames, steps(1))[..., REACH + 2, REACH + 2].sum().backward()
    assert frames.grad is not None
    touched = frames.grad[0].sum(dim=(0, 1)).nonzero()
    assert touched.min() == 2 and touched.max() == size - 3


def test_a_network_with_it_refuses_to_unfold_from_states_alone() -> None:
    network = EncoderForecaster(1, [4], 3, 3, patch_size=2, output_grid="refined")
    frames = torch.rand(1, 3, 1, 8, 8)
    with pytest.raises(ValueError, match="all past frames"):
        network.unfold(network.encode(frames), frames[:, -1:], 2)


def test_it_adds_to_a_sigmoid_before_it_is_taken() -> None:
    network = EncoderForecaster(
        1, [4], 3, 3, patch_size=2, output_activation="sigmoid", output_grid="refined"
    )
    assert network.detail is not None and network.detail.output.bias is not None
    nn.init.constant_(network.detail.output.bias, 50.0)
    assert network(torch.rand(1, 3, 1, 8, 8), 2).max() <= 1
