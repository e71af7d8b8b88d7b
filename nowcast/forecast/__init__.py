"""Forecasts: made from past rates by a model or a baseline, written as CF files, read back.

What needs torch is not imported here: `from nowcast.forecast.forecaster import Forecaster`, `from
nowcast.forecast.baselines.building import build_baseline`.
"""

from nowcast.forecast.dataset import build_forecast, find_forecasts, open_forecast, write_forecast

__all__ = ["build_forecast", "find_forecasts", "open_forecast", "write_forecast"]
