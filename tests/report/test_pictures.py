"""Pictures of scores and of training are written whole."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from nowcast.baselines import RECORDS
from nowcast.errors import CannotCreateError
from nowcast.report.pictures import canvas
from nowcast.report.pictures import charts as pictures

PNG = b"\x89PNG\r\n\x1a\n"


def assert_whole_png(path: Path) -> None:
    assert path.read_bytes().startswith(PNG)
    assert path.read_bytes()[-8:-4] == b"IEND"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.fixture
def dataset() -> xr.Dataset:
    """CSI of two parts, two forecasts, four lead times and four thresholds, undefined at the
    last; with intervals.
    """
    csi = np.random.default_rng(0).uniform(0.1, 0.9, (2, 2, 4, 4))
    csi[..., -1] = np.nan
    dims = ("forecast", "lead_time", "threshold")
    return xr.Dataset(
        {"csi": (("part", *dims), csi), "csi_low": (dims, csi[0] - 0.1), "csi_high": (dims,
        csi[0] + 0.05)}, {
            "part": ["all", "day 2020-01-01"], "forecast": ["model", "persistence"],
            "lead_time": [6.0, 12.0, 18.0, 24.0],
            "threshold": ("threshold", [0.5, 2.0, 30.0, 50.0], {"units": "mm h-1"}),
        },
    )  # fmt: skip


def test_csi_is_that_of_all_cases_within_its_interval(
    dataset: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = []
    monkeypatch.setattr(canvas, "save", lambda figure, path: figures.append(figure) or Path(path))
    pictures.draw_csi(dataset, tmp_path / "csi.png")
    panel = figures[0].axes[1]  # ≥ 2 mm/h
    assert panel.get_title() == "≥ 2 mm/h"
    model, persistence = panel.get_lines()
    np.testing.assert_array_equal(model.get_ydata(), dataset["csi"].values[0, 0, :, 1])
    np.testing.assert_array_equal(persistence.get_xdata(), [6, 12, 18, 24])
    band = panel.collections[1].get_paths()[0].get_extents()
    assert (band.ymin, band.ymax) == (
        pytest.approx(dataset["csi_low"].values[1, :, 1].min()),
        pytest.approx(dataset["csi_high"].values[1, :, 1].max())
    )  # fmt: skip
    plain = pictures.draw_csi(
        dataset.sel(part="all").drop_vars(["csi_low", "csi_high", "part"]), tmp_path / "csi.png"
    )
    assert not figures[1].axes[1].collections and plain.name == "csi.png"


@pytest.mark.parametrize("thresholds", [1, 4])
def test_the_names_of_many_forecasts_lie_within_the_picture(
    dataset: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thresholds: int
) -> None:
    figures = []
    monkeypatch.setattr(canvas, "save", lambda figure, path: figures.append(figure) or Path(path))
    names = [f"{name}{cuts}" for name in RECORDS for cuts in ("", " (cuts)")]
    many = dataset.isel(forecast=[0] * len(names), threshold=slice(thresholds))
    pictures.draw_csi(many.assign_coords(forecast=names), tmp_path / "csi.png")
    figures[0].canvas.draw()
    legend, picture = figures[0].legends[0].get_window_extent(), figures[0].bbox
    assert picture.x0 <= legend.x0 and legend.x1 <= picture.x1
    assert [text.get_text() for text in figures[0].legends[0].get_texts()] == names


def test_csi_with_undefined_scores(dataset: xr.Dataset, tmp_path: Path) -> None:
    assert_whole_png(pictures.draw_csi(dataset, tmp_path / "csi.png"))


def test_curves_with_rows_that_lack_a_number(tmp_path: Path) -> None:
    rows = [
        {
            "epoch": 1,
            "train_loss": 0.9,
            "validation_loss": 1.0,
            "validation_csi": None,
            "learning_rate": 1e-3,
        },
        {
            "epoch": 2,
            "train_loss": 0.5,
            "validation_loss": 0.6,
            "validation_csi": 0.3,
            "learning_rate": 1e-3,
        },
    ]
    assert_whole_png(pictures.draw_curves(rows, tmp_path / "curves.png"))


def test_a_picture_that_cannot_be_written_leaves_nothing(
    dataset: xr.Dataset, tmp_path: Path
) -> None:
    (tmp_path / "csi.png").mkdir()
    with pytest.raises(CannotCreateError):
        pictures.draw_csi(dataset, tmp_path / "csi.png")
    assert [path.name for path in tmp_path.iterdir()] == ["csi.png"]
