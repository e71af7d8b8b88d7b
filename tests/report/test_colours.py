"""Colours tell rates apart, also for those who do not tell red from green; and a forecast looks
the same everywhere.
"""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.colors import to_hex, to_rgb

from nowcast.report.pictures.colours import (
    COLOURS,
    DRY,
    NOT_COVERED,
    PROBABILITY_CLASSES,
    RATE_CLASSES,
    forecast_styles,
    probability_colours,
    rate_colours,
)

# Machado, Oliveira & Fernandes 2009, doi:10.1109/TVCG.2009.113, severity 1.0, on linear RGB
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
SRGB_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
WHITE = np.array([0.95047, 1.0, 1.08883])


def lab(colours: list[str], deficiency: str = "none") -> npt.NDArray[np.float64]:
    """CIELAB as seen with a deficiency, (n, 3); L is 0 for black and 100 for white."""
    rgb = np.array([to_rgb(colour) for colour in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ DEFICIENCIES[deficiency].T, 0, 1)
    x, y, z = (
        np.where(part > 0.008856, np.cbrt(part), 7.787 * part + 16 / 116)
        for part in (seen @ SRGB_TO_XYZ.T / WHITE).T
    )
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def test_the_space_of_colours_is_as_published() -> None:
    assert lab(["#ffffff", "#000000", "#ff0000"]) == pytest.approx(
        np.array([[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]]), abs=0.05
    )


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_neighbouring_classes_differ_however_one_sees(deficiency: str) -> None:
    """2.3 in CIELAB is a difference just noticed; colours for those who see all also differ
    from dry and from not covered.
    """
    shown = list(COLOURS["colour_blind"].values())
    seen = lab(shown, deficiency)
    assert np.linalg.norm(np.diff(seen, axis=0), axis=1).min() > 12
    for blank in (DRY, NOT_COVERED):
        assert np.linalg.norm(seen - lab([blank], deficiency), axis=1).min() > 15


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_more_rain_is_darker_in_the_colour_blind_scale_from_dry_on(deficiency: str) -> None:
    lightness = lab([DRY, *COLOURS["colour_blind"].values()], deficiency)[:, 0]
    assert (np.diff(lightness) < -5).sum() >= 8  # the last two classes are both near black
    assert (np.diff(lightness) < 0).all()


def test_both_scales_have_the_same_classes() -> None:
    assert list(COLOURS["radar"]) == list(COLOURS["colour_blind"]) == list(RATE_CLASSES)
    assert all(low < high for low, high in pairwise(RATE_CLASSES))


@pytest.mark.parametrize("name", COLOURS)
def test_a_rate_has_the_colour_of_its_class(name: str) -> None:
    colours, norm = rate_colours(name)
    rates = np.ma.masked_invalid(
        np.array([0.0, 0.099, 0.1, 0.5, 29.9, 30.0, 50.0, 900.0, np.nan], dtype="float32")
    )
    of = COLOURS[name]
    wanted = [DRY, DRY, of[0.1], of[0.5], of[20.0], of[30.0], of[50.0], of[50.0], NOT_COVERED]
    assert [to_hex(colour) for colour in colours(norm(rates))] == wanted


def test_probabilities_darken_evenly_from_white_on() -> None:
    lightness = lab([DRY, *PROBABILITY_CLASSES.values()])[:, 0]
    steps = -np.diff(lightness)
    assert steps[0] > 5 and np.ptp(steps[1:]) < 0.5


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_probabilities_are_told_apart_however_one_sees(deficiency: str) -> None:
    seen = lab(list(PROBABILITY_CLASSES.values()), deficiency)
    assert (np.diff(seen[:, 0]) < -3).all()
    assert np.linalg.norm(np.diff(seen, axis=0), axis=1).min() > 7
    for blank in (DRY, NOT_COVERED):
        assert np.linalg.norm(seen - lab([blank], deficiency), axis=1).min() > 15


def test_a_probability_has_the_colour_of_its_class_and_certainty_that_of_the_last() -> None:
    colours, norm = probability_colours()
    values = np.ma.masked_invalid(np.array([0, 0.049, 0.05, 0.1, 0.55, 0.9, 1, np.nan], "float32"))
    of = PROBABILITY_CLASSES
    wanted = [DRY, DRY, of[0.05], of[0.1], of[0.5], of[0.9], of[0.9], NOT_COVERED]
    assert [to_hex(colour) for colour in colours(norm(values))] == wanted


def test_a_known_forecast_looks_the_same_whatever_stands_beside_it() -> None:
    alone, together = (
        forecast_styles(["persistence"]),
        forecast_styles(["mine", "model", "sprog", "persistence", "yours"]),
    )
    assert alone["persistence"] == together["persistence"]
    assert len({style["color"] for style in together.values()}) == 5
    assert len({style["marker"] for style in together.values()}) == 5
    assert list(together) == ["mine", "model", "sprog", "persistence", "yours"]


def test_there_are_styles_for_more_forecasts_than_there_are_colours() -> None:
    names = [f"file {number}" for number in range(20)]
    assert list(forecast_styles(names)) == names
