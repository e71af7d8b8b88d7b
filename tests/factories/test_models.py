"""What a model is asked before it forecasts."""

from types import SimpleNamespace
from typing import Any

import pytest

from nowcast.errors import DeviceError
from nowcast.factories.models import fields_at_once, refuse_too_long
from nowcast.forecast import memory


def test_probabilities_count_in_the_memory_that_a_forecast_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device=None: 100_000_000)
    settings = {"head": "probability", "thresholds": [0.5, 1, 2, 5, 10]}
    of_probabilities: Any = SimpleNamespace(about={"config": {"model": settings}})
    of_rates: Any = SimpleNamespace(about={"config": {"model": {**settings, "head": "rate"}}})
    refuse_too_long(12, (500, 500), "best.pt", fields_at_once(of_rates))  # 12 MB
    with pytest.raises(DeviceError, match="12 frames of .500, 500. need 0.19 GB, but only 0.05 GB"):
        refuse_too_long(12, (500, 500), "best.pt", fields_at_once(of_probabilities))
