"""Frames stand side by side under one legend, in panels and in films that can be read back."""

import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image
from test_pictures import assert_whole_png

from nowcast.errors import (
    CannotCreateError,
    ConfigError,
    DataError,
    InputOutputError,
    MissingLibraryError,
)
from nowcast.report.pictures import films, frames
from nowcast.report.pictures.colours import (
    DRY,
    NOT_COVERED,
    PROBABILITY_CLASSES,
    RATE_CLASSES,
)
from nowcast.report.pictures.panel import wrapped
from nowcast.report.pictures.stamps import stamps_figure

START = datetime(2026, 6, 2, 23, 54)
STEPS = [np.full((8, 12), rate, dtype="float32") for rate in (0.0, 0.2, 7.0, 60.0, np.nan)]
"""A frame of each of five lead times, all of one colour."""
COLOURS = [DRY, RATE_CLASSES[0.1], RATE_CLASSES[5.0], RATE_CLASSES[50.0], NOT_COVERED]
MINUTES = [6.0, 12.0, 18.0, 24.0, 30.0]


def bytes_of(colour: str) -> tuple[int, ...]:
    return tuple(round(255 * part) for part in to_rgb(colour))


def texts(rows: list[frames.PanelRow], **look: object) -> list[str]:
    """All that is written in a panel."""
    settings = {"shape": (8, 12), "origin": "lower", "colours": "radar", "graticule": None, **look}
    figure = frames._panel_figure(rows, "title", frames.Look(**settings))  # type: ignore[arg-type]
    return [text.get_text() for panel in figure.axes for text in panel.texts if text.get_visible()]


def test_frames_with_and_without_past_and_observation(tmp_path: Path) -> None:
    field = np.random.default_rng(0).gamma(0.5, 8.0, (6, 8, 12)).astype("float32")
    field[:, 0] = np.nan
    minutes = [6, 12, 18, 24, 30, 36]
    forecasts = {"model": field, "persistence": torch.from_numpy(field)}
    observed = [None, *field[1:]]
    degrees = np.linspace(5, 8, 12)[None, :], np.linspace(50, 52, 8)[:, None]
    full = frames.draw_frames(
        tmp_path / "a" / "full.png", observed, forecasts, minutes, "title", past=[*field[:2], None],
        reference_time=START, columns=2, colours="colour_blind", degrees=degrees,
    )  # fmt: skip
    assert_whole_png(full)
    bare = frames.draw_frames(
        tmp_path / "b" / "bare.png", None, {"model": field[:1]}, [6], "title", origin="upper"
    )
    assert_whole_png(bare)


def test_what_was_not_observed_is_said() -> None:
    observed = ("observed", [("+6 min", STEPS[1]), ("+12 min", None)])
    assert texts([observed]) == ["not observed"]
    assert texts([("model", [("+6 min", STEPS[1]), ("+12 min", STEPS[4])])]) == []


def test_times_are_named_by_lead_and_valid_time() -> None:
    assert frames.time_in_words(6, START) == "+6 min · 00:00 UTC"
    assert frames.time_in_words(-12, None) == "−12 min"
    assert frames.time_in_words(0, None) == "0 min"
    name, row = frames._past_row(np.arange(4), [6, 12], 3, None)
    assert (name, row) == ("past", [("−12 min", 1), ("−6 min", 2), ("0 min", 3)])


@pytest.mark.parametrize(
    ("count", "most", "steps"),
    [
        (12, 6, [2, 4, 6, 8, 10, 12]),
        (12, 5, [3, 6, 9, 12]),
        (24, 6, [4, 8, 12, 16, 20, 24]),
        (24, 5, [6, 12, 18, 24]),
        (7, 5, [1, 3, 5, 7]),  # no number of 7 steps is even
        (3, 6, [1, 2, 3]),
        (12, 1, [12]),
        (1, 6, [1]),
    ],
)
def test_lead_steps_are_even_and_reach_the_end(count: int, most: int, steps: list[int]) -> None:
    assert [step + 1 for step in frames.evenly(count, most)] == steps


def test_any_number_of_lead_steps_is_drawn_evenly() -> None:
    for count in range(1, 60):
        for most in range(1, 12):
            steps = frames.evenly(count, most)
            assert 0 < len(steps) <= most and steps[0] >= 0 and steps[-1] == count - 1
            assert len(set(np.diff(steps))) <= 1


def test_sums_have_a_scale_in_mm_and_begin_when_the_first_has_ended() -> None:
    rain = np.ones((2, 8, 8))
    rows = {"model: sum over 10 min": [None, np.full((8, 8), 7.0)]}
    likely = {"model: probability": np.full((2, 8, 8), 0.5)}
    figure = frames.frames_figure(
        None, {"model": rain}, [5, 10], "Rain", amounts=rows, probabilities=likely
    )
    assert [axes.get_ylabel() for axes in figure.axes][-3:] == ["mm/h", "mm", "probability"]
    early, late = figure.axes[2:4]
    assert ([t.get_text() for t in early.texts], early.get_images(), early.get_title()) == (
        ["model: sum over 10\nmin"],
        [],
        "",
    )
    assert late.get_title() == "+10 min"
    image = late.get_images()[0]
    assert image.get_cmap()(image.norm(7.0))[:3] == to_rgb(RATE_CLASSES[5.0])
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words[0] == "dry, below 0.1 mm/h; below 0.1 mm; probability below 0.05"


def test_sums_are_drawn_at_the_lead_times_that_have_one() -> None:
    """Of 12 lead times six are drawn, at 10, 20, … 60 minutes: sums over 30 from 30 on."""
    rain = np.ones((12, 8, 8))
    sums = [None] * 5 + [rain[0]] * 7
    seen = [None] * 5 + [rain[0], None, None, *rain[8:]]  # the frame at 40 minutes is missing
    rows = {"observed: sum over 30 min": seen, "model: sum over 30 min": sums}
    minutes = [5 * step for step in range(1, 13)]
    figure = frames.frames_figure(None, {"model": rain}, minutes, "Rain", amounts=rows)
    of_row = [figure.axes[6 * row : 6 * row + 6] for row in range(3)]
    drawn = [[len(panel.get_images()) for panel in row] for row in of_row]
    assert drawn == [[1] * 6, [0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1]]
    said = [[text.get_text() for text in panel.texts if text.get_visible()] for panel in of_row[1]]
    assert said == [[], ["observed: sum over\n30 min"], [], ["no sum"], [], []]
    assert of_row[1][2].get_title() == "+30 min"
    assert [panel.get_ylabel() for panel in of_row[1]] == [""] * 6
    assert of_row[0][0].get_ylabel() == "model"
    early = frames.frames_figure(None, {"model": rain}, minutes, "Rain", amounts={"a": [None] * 12})
    assert early.axes[6].texts[0].get_text() == "no sum"


def test_members_stand_as_stamps_under_their_names() -> None:
    rain = np.ones((8, 12))
    stamps = {"observed": None, "model": rain, **{f"member {k}": k * rain for k in range(1, 4)}}
    figure = stamps_figure(stamps, "Rain", columns=3, origin="upper")
    assert [axes.get_title() for axes in figure.axes[:5]] == list(stamps)
    assert [axes.get_ylabel() for axes in figure.axes][6:] == ["mm/h"]
    words = [text.get_text() for text in figure.axes[0].texts if text.get_visible()]
    assert words == ["not observed"]
    with pytest.raises(DataError, match="give all as"):
        stamps_figure({"one": rain, "two": rain[:3]}, "Rain")


def lines_drawn(map_: str) -> list[list[np.ndarray]]:
    """The lines over a frame from 3 to 8 E and 50 to 54 N, one list for each width."""
    degrees = 3 + 0.1 * np.arange(51)[None, :], 50 + 0.1 * np.arange(41)[:, None]
    figure = frames.frames_figure(
        None, {"model": np.zeros((1, 41, 51))}, [5], "Rain", degrees=degrees, map=map_
    )
    *lines, graticule = [
        [path.vertices for path in one.get_paths()] for one in figure.axes[0].collections
    ]
    assert len(graticule) > 5
    return [np.concatenate(one) for one in lines if one]  # type: ignore[misc]


def test_the_map_lies_over_each_frame_unless_it_is_switched_off(tmp_path: Path) -> None:
    borders, coasts = lines_drawn("natural_earth")
    assert np.hypot(*(borders - [30.2, 7.55]).T).min() < 0.3  # the Vaalserberg, 6.02 E 50.755 N
    assert np.hypot(*(coasts - [17.3, 29.6]).T).min() < 0.5  # Den Helder, 4.73 E 52.96 N
    assert lines_drawn("none") == []
    own = tmp_path / "own.geojson"
    own.write_text('{"type": "LineString", "coordinates": [[4.0, 51.0], [5.0, 52.0]]}')
    [lines] = lines_drawn(str(own))
    np.testing.assert_allclose(lines, [[10, 10], [20, 20]], atol=1e-3)


def test_frames_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    field = np.zeros((2, 4, 4))
    for observed, forecast, minutes in [
        (field, field[:1], [6, 12]),
        (None, field, [6]),
        (field[:, :3], field, [6, 12]),
    ]:
        with pytest.raises(DataError, match="one frame for each lead time"):
            frames.draw_frames(tmp_path / "x.png", observed, {"model": forecast}, minutes, "title")
    with pytest.raises(DataError, match="one frame for each lead time"):
        frames.draw_film(tmp_path / "x.gif", [None], {}, [6], "title", frames_per_second=4)
    assert not list(tmp_path.iterdir())


def test_the_south_is_drawn_at_the_bottom_wherever_row_0_is(tmp_path: Path) -> None:
    """Rain in row 0 alone, of 2 rows."""
    field = np.array([[[9.0, 9.0], [0.0, 0.0]]])
    lowest = {}
    for origin in ("lower", "upper"):
        [picture] = frames._film(
            {"model": [field[0]]},
            ["+6 min"],
            "title",
            frames.Look((2, 2), origin, "radar", None),  # type: ignore[arg-type]
        )
        wet = np.argwhere((picture == bytes_of(RATE_CLASSES[5.0])).all(axis=2))
        # left of the legend
        lowest[origin] = wet[wet[:, 1] < 0.8 * picture.shape[1]].mean(axis=0)[0] / picture.shape[0]
    assert lowest["upper"] < 0.4 < 0.5 < lowest["lower"]


def test_probabilities_are_the_last_row_with_a_scale_of_their_own() -> None:
    """A long name is parted between its words."""
    rain, name = np.ones((2, 8, 8)), "lagrangian_probability: probability of ≥ 1 mm/h"
    rows = {name: np.full((2, 8, 8), 0.55)}
    figure = frames.frames_figure(rain, {"model": rain}, [5, 10], "Rain", probabilities=rows)
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert labels[::2][:3] == ["observed", "model", labels[4]] and labels[-2:] == [
        "mm/h", "probability",
    ]  # fmt: skip
    assert labels[4].split("\n")[:2] == ["lagrangian_", "probability:"]
    assert "≥\u00a01" in labels[4]  # stays together
    figure.draw_without_rendering()
    whole = figure.legends[0].get_window_extent()
    assert 0 <= whole.x0 < whole.x1 <= figure.bbox.x1
    image = figure.axes[4].get_images()[0]
    assert image.get_cmap()(image.norm(0.55))[:3] == to_rgb(PROBABILITY_CLASSES[0.5])


def test_a_large_grid_is_drawn_from_some_of_its_pixels() -> None:
    field = np.zeros((2500, 3999), dtype="float32")
    figure = frames._panel_figure(
        [("model", [("+6 min", field)])], "title", frames.Look((2500, 3999), "lower", "radar", None)
    )
    [image] = figure.axes[0].images
    assert image.get_array().shape == (1250, 1333)
    assert image.get_extent() == [-0.5, 3998.5, -0.5, 2499.5]


def middles(picture: np.ndarray, panels: int) -> list[tuple[int, ...]]:
    """The colours at the middle of each of the panels, side by side left of the legend."""
    panel = frames._FILM_WIDTHS[panels - 1] * frames._FILM_DPI
    return [
        tuple(picture[len(picture) // 2, int(panel * (number + 0.55))].tolist())
        for number in range(panels)
    ]


def test_a_gif_has_every_lead_time_in_the_exact_colours_and_loops(tmp_path: Path) -> None:
    forecasts = {"model": STEPS, "still": [STEPS[2]] * 5}
    path = frames.draw_film(
        tmp_path / "a.gif",
        None,
        forecasts,
        MINUTES,
        "title",
        frames_per_second=4,
        reference_time=START,
    )
    with Image.open(path) as film:
        assert (film.n_frames, film.info["duration"], film.info["loop"]) == (5, 250, 0)  # type: ignore[attr-defined]
        pictures = []
        for number in range(5):
            film.seek(number)
            pictures.append(np.asarray(film.convert("RGB")))
    for picture, colour in zip(pictures, COLOURS, strict=True):
        assert middles(picture, 2) == [bytes_of(colour), bytes_of(RATE_CLASSES[5.0])]
    still = [picture[picture.shape[0] // 5 :, picture.shape[1] // 2 :] for picture in pictures]
    # nothing moves but the time above
    assert all(np.array_equal(still[0], one) for one in still[1:])
    assert [file.name for file in tmp_path.iterdir()] == ["a.gif"]


def test_an_mp4_is_even_and_browsers_can_play_it(tmp_path: Path) -> None:
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    observed = [None, *STEPS[1:]]
    path = frames.draw_film(
        tmp_path / "a.mp4", observed, {"model": STEPS}, MINUTES, "title", frames_per_second=2.5
    )
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-i",
        str(path),
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-",
    ]
    decoded = subprocess.run(command, capture_output=True, check=True)
    about = next(line for line in decoded.stderr.decode().splitlines() if "Video: h264" in line)
    assert "yuv420p(tv, bt709" in about and "2.50 fps" in about.replace("2.5 fps", "2.50 fps")
    width, height = map(int, re.search(r" (\d{3,4})x(\d{3,4})", about).groups())  # type: ignore[union-attr]
    assert width % 2 == height % 2 == 0
    pictures = np.frombuffer(decoded.stdout, np.uint8).reshape(5, height, width, 3)
    for picture, colour in zip(pictures[1:], COLOURS[1:], strict=True):
        assert np.abs(np.array(middles(picture, 2)) - bytes_of(colour)).max() <= 8
    # plays before it is all there
    assert path.read_bytes().index(b"moov") < path.read_bytes().index(b"mdat")
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


def test_odd_pictures_are_made_even_with_white() -> None:
    odd = np.zeros((3, 5, 3), dtype=np.uint8)
    even = films._even(odd)
    assert even.shape == (4, 6, 3)
    assert (even[3] == 255).all() and (even[:, 5] == 255).all() and not even[:3, :5].any()


def test_colours_beyond_the_palette_take_the_nearest() -> None:
    """512 greens: 255 of them find a place, the others go to the nearest of these, and what is
    given stays exact.
    """
    picture = np.zeros((3, 256, 3), dtype=np.uint8)
    picture[..., 1], picture[2, :, 2] = np.arange(256), 1
    palette = films._palette(picture, ["#ff0000"])
    assert palette.shape == (256, 3) and palette[0].tolist() == [255, 0, 0]
    drawn = np.asarray(films._indexed(picture, palette).convert("RGB")).astype(int)
    assert np.abs(drawn - picture).max() <= 1


def test_a_film_that_cannot_be_made_leaves_nothing_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(name: str) -> None:
        frames.draw_film(
            tmp_path / name, None, {"model": STEPS}, MINUTES, "title", frames_per_second=4
        )

    with pytest.raises(ConfigError, match="ends in .gif or .mp4"):
        draw("a.webm")
    (tmp_path / "a.gif").mkdir()
    with pytest.raises(CannotCreateError, match="not a regular file"):
        draw("a.gif")
    (tmp_path / "a.gif").rmdir()
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(MissingLibraryError, match=r"pip install 'nowcast-radar\[video\]'"):
        draw("a.mp4")
    assert not list(tmp_path.iterdir())


def test_a_failure_of_ffmpeg_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("imageio_ffmpeg")
    broken = tmp_path / "ffmpeg"
    broken.write_text(
        "#!/bin/sh\necho 'Some words' >&2\necho 'No space left on device' >&2\nexit 1\n"
    )
    broken.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(broken))
    with pytest.raises(
        InputOutputError,
        match=r"a\.mp4: ffmpeg failed \(No space left on device\); nothing was left behind",
    ):
        films.write_mp4(tmp_path / "a.mp4", [np.zeros((400, 400, 3), np.uint8)] * 3, 4)
    assert [file.name for file in tmp_path.iterdir()] == ["ffmpeg"]


@pytest.mark.parametrize("inches", [0.8, 1.1, 2.2])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("extrapolation", ["extrapolation"]),
        ("model: probability of ≥ 1 mm/h", ["model:", "probability", "of", "≥", "1", "mm/h"]),
        ("lagrangian_probability", ["lagrangian_", "probability"]),
    ],
)
def test_the_name_of_a_forecast_is_broken_between_words(
    name: str, words: list[str], inches: float
) -> None:
    assert wrapped(name, inches).replace("_", "_ ").split() == words
