"""A scene is checked once, when it is made."""

from dataclasses import replace

import numpy as np
import pytest

from nowcast.radar import synthetic_grid
from nowcast.sequences.inputs import Channel, Inputs
from nowcast.sequences.scene import Scene

FIVE = np.timedelta64(5, "m")
FIELD = np.zeros((3, 8, 9), np.float32)


def scene() -> Scene:
    return Scene(synthetic_grid(3, 8, 9), FIVE, np.zeros(3, bool), np.zeros(3, bool))


def test_a_scene_says_its_rates_times_and_place() -> None:
    made = scene()
    assert made.rates.shape == (3, 8, 9) and made.size == (8, 9)
    assert made.reference_time == made.times[2] and made.timestep_minutes == 5
    assert {"y", "x"} <= set(made.place)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"timestep": 2 * FIVE}, "not 10 minutes apart"),
        ({"missing": np.zeros(2, bool)}, r"missing \(2,\)"),
        ({"filled": np.zeros(2, bool)}, r"filled \(2,\)"),
        ({"beside": {"cloud": FIELD[:2]}}, "fields in `beside` must have t frames"),
        ({"beside": {"cloud": FIELD[:, 1:]}}, r"cloud is \(3, 7, 9\)"),
        ({"ahead": {"a": FIELD, "b": FIELD[:2]}}, "fields in `ahead` one for each lead"),
        ({"ahead": {"a": FIELD[:, :2]}}, r"a is \(3, 2, 9\)"),
    ],
)
def test_what_does_not_fit_together_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(scene(), **change)  # type: ignore[arg-type]


def test_channels_are_found_by_name_whatever_the_order_they_were_given_in() -> None:
    inputs = Inputs(False, (Channel("a"), Channel("b")), (Channel("c"),))
    known = replace(scene(), beside={"b": FIELD + 2, "a": FIELD + 1}, ahead={"c": FIELD[:2] + 3})
    raw = inputs.of_scene(known)[0, :, 1:, 0, 0]
    nan = np.nan
    expected = [[1, 2, nan], [1, 2, nan], [1, 2, nan], [nan, nan, 3], [nan, nan, 3]]
    np.testing.assert_array_equal(raw, expected)
