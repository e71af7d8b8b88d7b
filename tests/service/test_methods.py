"""The methods of a configuration: how many frames a model for any grid sees."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nowcast.errors import ConfigError, DataError
from nowcast.radar import synthetic_grid
from nowcast.radar.grid import TIMESTEP
from nowcast.service.grid_frames import GridFrames
from nowcast.service.input_window import Need
from nowcast.service.methods import Methods

ABOUT = {"config": {"model": {"grids": "any"}, "input_steps": 5, "lead_steps": 24}}


@pytest.mark.parametrize(("minutes", "seen"), [(5, 5), (15, 3)])
def test_of_the_frames_of_the_data_the_newest_is_never_missing(minutes: int, seen: int) -> None:
    """Of a model for any grid, whatever its own time step is."""
    methods = Methods.__new__(Methods)
    methods.model = SimpleNamespace(about=ABOUT)  # type: ignore[assignment]
    source: Any = SimpleNamespace(
        scene=lambda *_: SimpleNamespace(timestep=np.timedelta64(minutes, "m"))
    )
    at = np.datetime64("2020-01-01T00:00")

    def steps(missing: int) -> Any:
        methods.config = SimpleNamespace(  # type: ignore[assignment]
            checkpoint="a.pt", missing_frames=missing, lead_steps=None, accumulations=[]
        )
        return methods._steps_of_model(source, at)

    assert steps(seen - 1)[1:] == (seen, 60 // minutes)
    with pytest.raises(ConfigError, match=f"missing_frames: the model sees {seen} frames"):
        steps(seen)


def test_a_single_frame_tells_no_spacing() -> None:
    grid = synthetic_grid(1, 8, 8)
    grid.attrs[TIMESTEP] = np.nan
    config: Any = SimpleNamespace(data=SimpleNamespace(path="the grid"), max_gap=0.0)
    with pytest.raises(DataError, match="the grid: holds a single frame"):
        GridFrames(grid, config).scene(grid["time"].values[-1], Need(1, 0, None))


def test_a_fallback_says_that_the_time_step_is_that_of_the_model() -> None:
    """A single frame does not tell the spacing, and persistence needs no more."""
    grid = synthetic_grid(1, 8, 8)
    grid.attrs[TIMESTEP] = np.nan
    config: Any = SimpleNamespace(
        data=SimpleNamespace(path="the grid"), max_gap=0.0, gap_filling="linear", missing_frames=0,
        checkpoint="a.pt", baseline=None, lead_steps=None, accumulations=[], ensemble=None,
        members=1, seed=0, asks_of_places=False, has_own_map=False,
    )  # fmt: skip
    methods = Methods.__new__(Methods)
    methods.config = config
    about: Any = {"config": {**ABOUT["config"], "timestep_minutes": 5.0}}
    methods.model = SimpleNamespace(about=about)  # type: ignore[assignment]
    source = GridFrames(grid, config)
    _, forecast, made_with = methods._by_baseline("persistence", source, grid["time"].values[-1])
    assert made_with["remarks"] == (
        "the spacing of the frames is unknown; 5 minutes, that of the model, is assumed"
    )
    assert len(forecast.rates) == 12  # an hour
