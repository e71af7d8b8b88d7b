"""Several frames combined to one, computed by hand."""

import numpy as np

from nowcast.radar.series.cadence import Target
from nowcast.radar.store.preparation import _mean
from nowcast.radar.store.store import StoredFrame

NAN = np.nan
NOON = np.datetime64("2020-06-01T12:00", "ns")


def test_a_pixel_needs_two_thirds_of_the_time_and_is_the_mean_over_what_it_has() -> None:
    rates = ([3.0, 3.0, 3.0, NAN], [0.0, NAN, NAN, NAN], [6.0, 6.0, NAN, NAN])
    third = 1 / 3
    target = Target(NOON, tuple((k, third) for k in range(3)))
    parts = [
        (StoredFrame(NOON, np.array([values], np.float32), k, 10 * k), share)
        for values, (k, share) in zip(rates, target.parts, strict=True)
    ]
    made = _mean(target.time, parts)
    np.testing.assert_allclose(made.rate, np.array([[3.0, 4.5, NAN, NAN]]), rtol=1e-6)
    assert (made.time, made.high, made.speckle, made.rate.dtype) == (NOON, 3, 30, np.float32)


def test_frames_that_cover_more_of_the_time_count_more() -> None:
    one, other = (StoredFrame(NOON, np.full((1, 1), rate, np.float32), 0, 0) for rate in (1.0, 4.0))
    assert _mean(NOON, [(one, 2 / 3), (other, 1 / 3)]).rate[0, 0] == np.float32(2.0)
