"""Forecasts: made from past rates by a model or a baseline, written as CF files, read back."""

from nowcast.forecast.baselines import Baseline, build_baseline
from nowcast.forecast.dataset import build_forecast, find_forecasts, open_forecast, write_forecast
from nowcast.forecast.forecaster import Forecaster

__all__ = ["Baseline", "Forecaster", "build_baseline", "build_forecast", "find_forecasts", "open_forecast", "write_forecast"]
