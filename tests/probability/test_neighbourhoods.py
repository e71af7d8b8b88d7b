"""Fractions of neighbourhoods, and the mixture that grows with lead time."""

import math

import torch

from nowcast.probability.neighbourhoods import REACH, SCALES, WIDTHS, fractions, mixture_logits


def test_the_smallest_neighbourhood_is_the_pixel_itself() -> None:
    rates = torch.tensor([[[0.0, 1.0], [2.0, 5.0]]])
    assert fractions(rates, (1.0, 5.0))[0, 0].tolist() == [
        [[0, 1], [1, 1]],
        [[0, 0], [0, 1]],
    ]


def test_neighbourhoods_are_as_wide_as_they_say() -> None:
    side = 2 * REACH + 1
    rates = torch.zeros(1, side, side)
    rates[0, REACH, REACH] = 1
    away = torch.arange(side) - REACH
    for shares, width in zip(fractions(rates, (1.0,))[0, :, 0], WIDTHS, strict=True):
        weights = shares.sum(0)
        variance = (weights * away**2).sum() / weights.sum()
        # at the border the weights are shared by fewer pixels, so a per cent or so is lost
        assert math.isclose(variance.sqrt(), width, rel_tol=0.05, abs_tol=1e-6)


def test_missing_pixels_do_not_count() -> None:
    rates = torch.full((1, 9, 9), 3.0)
    rates[0, :, :4] = torch.nan
    shares = fractions(rates, (1.0,))
    assert torch.equal(shares, torch.ones_like(shares))


def test_a_field_without_a_measured_pixel_has_no_fraction() -> None:
    assert not fractions(torch.full((1, 9, 9), torch.nan), (1.0,)).any()


def test_higher_thresholds_have_smaller_fractions() -> None:
    shares = fractions(20 * torch.rand(1, 40, 40), (0.5, 2.0, 10.0))
    assert (shares.diff(dim=2) <= 0).all()


def test_the_mixture_widens_with_lead_time() -> None:
    offsets, slopes = (torch.tensor(part) for part in mixture_logits())
    leads = torch.arange(1, 25.0)
    weights = torch.softmax(offsets + slopes * leads.log()[:, None], dim=1)
    width = weights @ torch.tensor(WIDTHS)
    assert weights.shape == (24, SCALES)
    assert (width.diff() > 0).all()
