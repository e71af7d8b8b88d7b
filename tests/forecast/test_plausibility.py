"""What no honest forecast looks like is not published."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nowcast.errors import InternalError
from nowcast.forecast.plausibility import refuse_implausible, wet_share

Rates = NDArray[np.float32]
MAX_RATE = 1000.0


def frame(wet: int, rate: float = 0.1) -> Rates:
    """10 × 10 pixels, so many of them wet."""
    values = np.zeros(100, np.float32)
    values[:wet] = rate
    return values.reshape(10, 10)


def frames(*wet: int) -> Rates:
    return np.stack([frame(each) for each in wet])


def refusal(
    rates: Rates, newest: Rates, ratio: float = 10.0, known: NDArray[np.bool_] | None = None
) -> str:
    """Empty where the forecast may be published."""
    try:
        refuse_implausible(rates, newest, MAX_RATE, ratio, known)
    except InternalError as error:
        message = str(error)
        assert (
            error.exit_code == 70
            and "\n" not in message
            and "it is not published; use another" in message
        )
        return message
    return ""


def test_wet_is_a_tenth_of_a_millimetre_per_hour_of_what_is_measured() -> None:
    rates = np.array([[0.0, 0.0999, 0.1, np.nan], [5.0, np.nan, 0.0, 0.0]], np.float32)
    assert wet_share(rates) == pytest.approx(2 / 6)
    assert np.isnan(wet_share(np.full((2, 2), np.nan, np.float32)))


def test_rain_that_stays_grows_or_ends_slowly_is_plausible() -> None:
    assert refusal(frames(30, 30, 30), frame(30)) == ""
    assert refusal(frames(0, 0), frame(0)) == ""
    assert refusal(frames(20, 5, 0, 0), frame(30)) == ""  # over by the third lead time
    assert refusal(frames(5, 18), frame(0)) == ""  # (0.18 + 0.02) / 0.02 = 10


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (-0.001, "holds negative rates, down to -0.001 mm/h"),
        (np.inf, "holds infinite rates"),
        (-np.inf, "holds infinite rates"),
        (1000.5, "holds 1000.5 mm/h, above data.max_rate=1000"),
    ],
)
@pytest.mark.parametrize("members", [(), (3,)])
def test_one_impossible_rate_is_one_too_many(
    value: float, says: str, members: tuple[int, ...]
) -> None:
    rates = np.zeros((4, *members, 10, 10), np.float32)
    rates[(-1,) * rates.ndim] = value
    assert says in refusal(rates, frame(0))
    rates[(-1,) * rates.ndim] = MAX_RATE
    assert refusal(rates, frame(0)) == ""


def test_no_number_is_allowed_only_where_nothing_is_known() -> None:
    known = np.ones((10, 10), bool)
    known[0] = False
    rates = frames(30, 30)
    rates[:, 0] = np.nan
    assert refusal(rates, frame(30), known=known) == ""
    rates[1, 5, 5:7] = np.nan
    assert "is missing at 2 pixels that its input covers" in refusal(rates, frame(30), known=known)
    assert refusal(rates, frame(30)) == ""


def test_what_knows_nothing_at_first_is_no_forecast() -> None:
    rates = frames(30, 30)
    rates[1] = np.nan
    assert refusal(rates, frame(30)) == ""
    rates[0] = np.nan
    assert "missing everywhere" in refusal(rates, frame(30))


def test_rain_does_not_come_from_nowhere() -> None:
    """By hand: (0.19 + 0.02) / (0 + 0.02) = 10.5."""
    says = (
        "is wet on 19.0% of its pixels at lead time 2, the newest frame on 0.0%: more than"
        " max_wet_ratio=10 times as much"
    )
    assert says in refusal(frames(10, 19, 19), frame(0))
    assert refusal(frames(10, 19, 19), frame(0), ratio=10.6) == ""
    assert refusal(frames(100), frame(9)) == ""  # 1.02 / 0.11 = 9.3
    assert "max_wet_ratio=9" in refusal(frames(100), frame(9), ratio=9)


def test_rain_does_not_vanish_at_once() -> None:
    """By hand: (0 + 0.02) / (0.19 + 0.02) = 1 / 10.5."""
    says = (
        "is wet on 0.0% of its pixels at lead time 1, the newest frame on 19.0%: less than"
        " 1/max_wet_ratio of it, max_wet_ratio=10"
    )
    assert says in refusal(frames(0, 10), frame(19))
    assert refusal(frames(0, 10), frame(19), ratio=10.6) == ""
    assert refusal(frames(2, 0), frame(30)) == ""  # 0.04 / 0.32


def test_shares_are_of_what_is_measured_in_each_frame() -> None:
    """Half of the newest frame is missing; of the rest all is wet, as in the forecast."""
    newest, rates = frame(50), frames(50)
    newest[5:], rates[:, 5:] = np.nan, np.nan
    assert refusal(rates, newest, ratio=1.01) == ""
    assert refusal(rates, frame(50), ratio=1.9) != ""  # 1.02 / 0.52
    newest[:] = np.nan
    assert refusal(rates, newest) == ""  # nothing to hold it against


def test_of_an_ensemble_the_mean_share_counts() -> None:
    """One member of two is dry everywhere, the other wet on 38 of 100: 0.19 on the mean."""
    rates = np.stack([frames(38), frames(0)], axis=1)
    assert "19.0%" in refusal(rates, frame(0)) and refusal(rates, frame(0), ratio=10.6) == ""
    assert refusal(rates, frame(19), ratio=1.01) == ""
