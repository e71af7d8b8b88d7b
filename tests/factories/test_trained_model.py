"""An opened model: what it keeps from one forecast to the next."""

from types import SimpleNamespace
from typing import Any

import pytest

from nowcast.factories import trained_model
from nowcast.factories.trained_model import TrainedModel
from tests.forecast.test_any_grid_forecaster import forecaster


def test_a_model_for_any_grid_keeps_nothing_of_a_scene(monkeypatch: pytest.MonkeyPatch) -> None:
    """So several threads may forecast several grids by one model."""
    about = {"config": {"model": {"grids": "any"}}}
    monkeypatch.setattr(trained_model, "open_forecaster", lambda *_: (forecaster(), about))
    monkeypatch.setattr(trained_model, "known_pixel_km", lambda grid: grid)
    config: Any = SimpleNamespace(device="cpu", precision="fp32", rate="csi", lead_steps=None)
    model = TrainedModel("best.pt", config)
    before = dict(vars(model))
    one, other = (
        model._set_to(SimpleNamespace(timestep_minutes=minutes, grid=km)).forecaster  # type: ignore[arg-type]
        for minutes, km in ((5.0, 1.0), (10.0, 2.0))
    )
    assert (one.timestep_minutes, one.pixel_km, one.lead_steps) == (5.0, 1.0, 12)
    assert (other.timestep_minutes, other.pixel_km, other.lead_steps) == (10.0, 2.0, 6)
    assert vars(model) == before
