"""Two regions with different climates, a model each: better than one model for both."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import Outcome
from numpy.typing import NDArray

from nowcast.radar import synthetic_grid

Run = Callable[..., Outcome]
STEPS, HEIGHT, WIDTH = 80, 24, 48
FIRST, GROWN, DECAYED = 2.0, 6.0, 0.5
"""Rates of a cell in mm/h: in the frame that it is seen in, and in the next, in the west and in the
east.
"""

pytestmark = pytest.mark.usefixtures("without_pictures")


def two_climates() -> NDArray[np.float32]:
    """Cells of 6 × 6 pixels (t, y, x) in mm/h, that live for two frames."""
    generator = np.random.default_rng(0)
    frames = np.zeros((STEPS, HEIGHT, WIDTH), np.float32)
    for first in range(0, STEPS, 2):
        for left in (0, WIDTH // 2):
            row, column = generator.integers(18), left + generator.integers(18)
            cell = slice(row, row + 6), slice(column, column + 6)
            frames[first, *cell] = FIRST
            frames[first + 1, *cell] = DECAYED if left else GROWN
    return frames


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    grid = synthetic_grid(STEPS, HEIGHT, WIDTH, start="2020-01-01T00:00")
    grid["precipitation_rate"] = grid["precipitation_rate"].copy(data=two_climates())
    grid.to_netcdf("rain.nc", engine="netcdf4")
    return ["data=radar", "data.path=rain.nc", "data.cache=cache", "device=cpu", "precision=fp32"]


def test_two_models_for_two_climates_are_better_than_one(run: Run, data: list[str]) -> None:
    """A model that is the same everywhere cannot tell from one frame whether rain grows or decays;
    the best that it can say of both is their mean. Trained as long as both others together.
    """
    plan = [
        "experiment=hetero", "data.train=['2020-01-01T00:00','2020-01-01T03:55']",
        "data.validation=['2020-01-01T04:00','2020-01-01T05:15']", "model=small",
        "model.hidden_channels=[4,4]", "input_steps=1", "lead_steps=1", "loss=mse",
        "inputs.mask=false", "inputs.time_of_day=false", "sampling.crop=24", "sampling.stride=2",
        "sampling.rate_jitter=0", "sampling.windows_per_epoch=120",
        "validation.stride=2", "training.batch_size=4", "training.ema_decay=0", "optimizer.lr=2e-2",
        "schedule=constant", "thresholds=[1,4]",
    ]  # fmt: skip
    whole = ["region.size=null", "region.step=null", "training.epochs=12", "output=one"]
    assert run("train", *data, *plan, *whole).code == 0
    regions = ["region.size=24", "region.step=24", "region.index=0,1", "training.epochs=6"]
    outcome = run("train", "-m", *data, *plan, *regions, "output=two")
    assert outcome.code == 0, outcome.err
    assert len(list(Path("cache").glob("*/frames.npy"))) == 1  # the frames were unpacked once
    checkpoints = 'checkpoint={one: one/best.pt, two: "two/*/best.pt"}'
    period = "period=['2020-01-01T05:20','2020-01-01T06:30']"
    settings = ["stride=2", "thresholds=[1,4]", "resamples=0", "fss_scales=[]"]
    outcome = run("evaluate", *data, checkpoints, period, *settings)
    assert outcome.code == 0, outcome.err
    table = pd.read_csv("scores/scores.csv")
    pooled = table[(table["part"] == "all") & (table["aggregate"] == "pooled")]
    scores = pooled.set_index(["forecast", "threshold"])[["csi", "mse"]].unstack()
    one, two = (scores.loc[name] for name in ("one", "two"))
    share = 2 * 6 * 6 / (HEIGHT * WIDTH)
    least = share * ((GROWN - DECAYED) / 2) ** 2  # of a model that says the mean of both
    assert two["mse"][1.0] < least < one["mse"][1.0]
    assert two["csi"][4.0] > one["csi"][4.0] and two["csi"][1.0] > one["csi"][1.0]
