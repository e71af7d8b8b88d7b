"""SSIM: by hand, and as scikit-image has it (without which that test is skipped)."""

import math

import pytest
import torch
from torch import Tensor

from nowcast.errors import DataError
from nowcast.verification import structure
from nowcast.verification.structure import ssim_sums

C1, C2 = 1e-4, 9e-4


def frames(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def by_hand(forecast: Tensor, observed: Tensor) -> float:
    """Of frames as large as the window, 11 × 11: one place, its moments summed pixel by pixel."""
    weight = {
        (y, x): math.exp(-((y - 5) ** 2 + (x - 5) ** 2) / (2 * 1.5**2))
        for y in range(11)
        for x in range(11)
    }
    total = sum(weight.values())
    f, o = forecast.double().tolist(), observed.double().tolist()
    mean_f = sum(a / total * f[y][x] for (y, x), a in weight.items())
    mean_o = sum(a / total * o[y][x] for (y, x), a in weight.items())
    var_f = sum(a / total * (f[y][x] - mean_f) ** 2 for (y, x), a in weight.items())
    var_o = sum(a / total * (o[y][x] - mean_o) ** 2 for (y, x), a in weight.items())
    covariance = sum(
        a / total * (f[y][x] - mean_f) * (o[y][x] - mean_o) for (y, x), a in weight.items()
    )
    luminance = (2 * mean_f * mean_o + C1) / (mean_f**2 + mean_o**2 + C1)
    return luminance * (2 * covariance + C2) / (var_f + var_o + C2)


def test_one_window_computed_by_hand() -> None:
    forecast, observed = frames(1, 1, 11, 11, seed=1), frames(1, 1, 11, 11, seed=2)
    assert ssim_sums(forecast, observed).item() == pytest.approx(
        by_hand(forecast[0, 0], observed[0, 0]), rel=1e-12
    )


def test_the_mean_is_over_the_windows_inside_the_frame() -> None:
    forecast, observed = frames(1, 1, 12, 13, seed=3), frames(1, 1, 12, 13, seed=4)
    places = [(slice(y, y + 11), slice(x, x + 11)) for y in range(2) for x in range(3)]
    expected = sum(by_hand(forecast[0, 0][place], observed[0, 0][place]) for place in places) / 6
    assert ssim_sums(forecast, observed).item() == pytest.approx(expected, rel=1e-12)


def test_frames_without_structure_differ_by_their_brightness_alone() -> None:
    black, grey = torch.zeros(1, 1, 20, 20), torch.full((1, 1, 20, 20), 0.5)
    assert ssim_sums(black, grey).item() == pytest.approx(C1 / (0.25 + C1), abs=1e-12)
    assert ssim_sums(grey, grey).item() == pytest.approx(1)


def test_a_frame_is_1_against_itself_and_below_0_against_its_negative() -> None:
    frame = frames(2, 3, 30, 30, seed=5)
    torch.testing.assert_close(ssim_sums(frame, frame), torch.ones(2, 3, dtype=torch.float64))
    assert (ssim_sums(1 - frame, frame) < -0.5).all()


@pytest.mark.parametrize("frames_at_once", [1, 4, 100])
def test_frames_looked_at_together_are_as_alone(
    frames_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    forecast, observed = frames(2, 3, 14, 12, seed=6), frames(2, 3, 14, 12, seed=7)
    alone = torch.cat(
        [
            ssim_sums(f[None, None], o[None, None])
            for f, o in zip(forecast.flatten(0, 1), observed.flatten(0, 1), strict=True)
        ]
    )
    monkeypatch.setattr(structure, "_PIXELS_AT_ONCE", frames_at_once * 168)
    torch.testing.assert_close(ssim_sums(forecast, observed), alone.reshape(2, 3))


def test_what_has_no_ssim_is_refused() -> None:
    frame = frames(1, 1, 16, 16)
    gap = frame.clone()
    gap[..., 3, 3] = math.nan
    for forecast, observed, message in [
        (gap, frame, "without missing pixels"),
        (frame, gap, "without missing pixels"),
        (frame, 30 * frame, r"in \[0, 1\]"),
        (frame[..., :10], frame[..., :10], "smaller than the window"),
        (frame, frame[..., :15], "cannot be compared"),
    ]:
        with pytest.raises(DataError, match=message):
            ssim_sums(forecast, observed)


def test_scikit_image_agrees() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    forecast, observed = frames(2, 2, 40, 33, seed=8), frames(2, 2, 40, 33, seed=9)
    forecast[0] = 0.9 * observed[0]
    ours = ssim_sums(forecast, observed)
    for b in range(2):
        for lead in range(2):
            pair = forecast[b, lead].double().numpy(), observed[b, lead].double().numpy()
            theirs = metrics.structural_similarity(
                *pair, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1
            )
            assert ours[b, lead].item() == pytest.approx(theirs, abs=1e-12)
