"""Arrows of motion in pictures: where they point, how many, and what the legend says."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.quiver import Quiver
from test_pictures import assert_whole_png

from nowcast.motion.grid import coarse_size
from nowcast.report.pictures import frames
from nowcast.report.pictures.arrows import Arrows, only_over_coverage
from nowcast.report.pictures.colours import MISSING


def steady(size: tuple[int, int], x: float, y: float) -> Arrows:
    """The same motion everywhere; a pixel a timestep is 12 km/h."""
    motion = np.ones((2, *coarse_size(*size)), np.float32) * np.array([[[x]], [[y]]], np.float32)
    return Arrows(motion, 12.0, "km/h")


@pytest.mark.parametrize("origin", ["lower", "upper"])
@pytest.mark.parametrize("size", [(96, 150), (6, 5), (20, 900)])
def test_arrows_point_where_the_rain_goes(size: tuple[int, int], origin: frames.Origin) -> None:
    rain = np.ones((2, *size))
    figure = frames.frames_figure(
        None, {"model": rain}, [5, 10], "Rain", origin=origin, arrows=steady(size, 3, -4)
    )
    figure.draw_without_rendering()
    arrows = [one for one in figure.findobj() if isinstance(one, Quiver)]
    assert len(arrows) == 2  # one of each frame
    for one in arrows:
        assert 1 <= one.N <= 90
        assert (np.asarray(one.U) == 3).all() and (np.asarray(one.V) == -4).all()
        assert one.angles == one.scale_units == "xy"
        assert 0 <= one.X.min() <= one.X.max() < size[1]
        assert 0 <= one.Y.min() <= one.Y.max() < size[0]
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()][-1] == "the longest arrow: 60 km/h"


def test_arrows_stand_only_over_what_is_covered_and_the_key_is_of_them() -> None:
    """The rain of the eastern half, which is not covered, moves faster."""
    size, covered = (96, 150), np.zeros((96, 150), bool)
    covered[:, :70] = True
    motion = steady(size, 3, -4).motion
    motion[:, :, 10:] *= 5
    arrows = Arrows(only_over_coverage(motion, covered), 12.0, "km/h")
    figure = frames.frames_figure(None, {"model": np.ones((1, *size))}, [5], "Rain", arrows=arrows)
    [drawn] = [one for one in figure.findobj() if isinstance(one, Quiver)]
    assert drawn.N > 10 and drawn.X.max() < 74
    [legend] = figure.legends
    assert legend.get_texts()[-1].get_text() == "the longest arrow: 60 km/h"
    nowhere = Arrows(only_over_coverage(motion, covered & False), 12.0, "km/h")
    bare = frames.frames_figure(None, {"model": np.ones((1, *size))}, [5], "Rain", arrows=nowhere)
    assert [text.get_text() for text in bare.legends[0].get_texts()][1:] == [MISSING]


def test_without_motion_the_legend_says_nothing_of_it() -> None:
    figure = frames.frames_figure(None, {"model": np.ones((1, 8, 8))}, [5], "Rain")
    [legend] = figure.legends
    assert len(legend.get_texts()) == 2
    assert not [one for one in figure.findobj() if isinstance(one, Quiver)]


def test_pictures_and_films_have_arrows(tmp_path: Path) -> None:
    rain, arrows = np.ones((2, 40, 60)), steady((40, 60), 1, 0)
    assert_whole_png(
        frames.draw_frames(tmp_path / "a.png", None, {"m": rain}, [5, 10], "Rain", arrows=arrows)
    )
    films = [
        frames.draw_film(
            tmp_path / f"{name}.gif", None, {"m": rain}, [5, 10], "Rain", frames_per_second=2,
            arrows=one,
        ).read_bytes()
        for name, one in (("with", arrows), ("without", None))
    ]  # fmt: skip
    assert films[0] != films[1]
