"""Pictures are written whole, with the colours that the scale promises."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.colors import to_hex

from nowcast.errors import CannotCreateError, DataError
from nowcast.verification import count, pictures
from nowcast.verification.report import scores_dataset

PNG = b"\x89PNG\r\n\x1a\n"


def assert_whole_png(path: Path) -> None:
    assert path.read_bytes().startswith(PNG)
    assert path.read_bytes()[-8:-4] == b"IEND"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.fixture
def dataset() -> xr.Dataset:
    field = torch.rand(4, 6, 6, generator=torch.Generator().manual_seed(0)) * 3
    forecasts = {"model": field, "persistence": field.flip(1)}
    counts = {name: count(forecast, field, [0.5, 2.0, 30.0, 50.0]) for name, forecast in forecasts.items()}
    return scores_dataset(counts, [6, 12, 18, 24])


def test_csi_with_undefined_scores(dataset: xr.Dataset, tmp_path: Path) -> None:
    assert_whole_png(pictures.draw_csi(dataset, tmp_path / "csi.png"))


def test_frames_with_and_without_past_and_observation(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).gamma(0.5, 8.0, (6, 8, 12)).astype("float32")
    frames[:, 0] = np.nan
    minutes = [6, 12, 18, 24, 30, 36]
    start = datetime(2026, 6, 2, 12, 30)
    forecasts = {"model": frames, "persistence": torch.from_numpy(frames)}
    full = pictures.draw_frames(
        tmp_path / "a" / "full.png", frames, forecasts, minutes, "title", past=frames[:3], reference_time=start, columns=4
    )
    assert_whole_png(full)
    bare = pictures.draw_frames(tmp_path / "b" / "bare.png", None, {"model": frames[:1]}, [6], "title", origin="upper")
    assert_whole_png(bare)


def test_curves_with_rows_that_lack_a_number(tmp_path: Path) -> None:
    rows = [
        {"epoch": 1, "train_loss": 0.9, "validation_loss": 1.0, "validation_csi": None, "learning_rate": 1e-3},
        {"epoch": 2, "train_loss": 0.5, "validation_loss": 0.6, "validation_csi": 0.3, "learning_rate": 1e-3},
    ]
    assert_whole_png(pictures.draw_curves(rows, tmp_path / "curves.png"))


def test_a_rate_has_the_colour_of_its_class() -> None:
    colours, norm = pictures._rate_colours()
    rates = np.ma.masked_invalid(np.array([0.0, 0.099, 0.1, 0.5, 29.9, 30.0, 50.0, 900.0, np.nan], dtype="float32"))
    wanted = ["#ffffff", "#ffffff", "#c9e4f8", "#8cc4ee", "#f5962a", "#dd2c27", "#96127f", "#96127f", "#c4c4c4"]
    assert [to_hex(colour) for colour in colours(norm(rates))] == wanted


def test_times_are_named_by_clock_and_lead() -> None:
    start = datetime(2026, 6, 2, 23, 54)
    assert pictures._when(6, start) == "00:00  +6 min"
    assert pictures._when(-12, None) == "−12 min"
    assert pictures._when(0, None) == "0 min"
    name, frames = pictures._past_row(np.arange(4), [6, 12], 3, None)
    assert (name, frames) == ("past", [("−12 min", 1), ("−6 min", 2), ("0 min", 3)])


def test_frames_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    field = np.zeros((2, 4, 4))
    with pytest.raises(DataError, match="one frame for each lead time"):
        pictures.draw_frames(tmp_path / "x.png", field, {"model": field[:1]}, [6, 12], "title")
    with pytest.raises(DataError, match="one frame for each lead time"):
        pictures.draw_frames(tmp_path / "x.png", None, {"model": field}, [6], "title")
    assert not list(tmp_path.iterdir())


def test_a_picture_that_cannot_be_written_leaves_nothing(dataset: xr.Dataset, tmp_path: Path) -> None:
    (tmp_path / "csi.png").mkdir()
    with pytest.raises(CannotCreateError):
        pictures.draw_csi(dataset, tmp_path / "csi.png")
    assert [path.name for path in tmp_path.iterdir()] == ["csi.png"]
