"""Forecasts: made from past rates, written as CF files, read back."""

from nowcast.forecast.dataset import build_forecast, find_forecasts, open_forecast, write_forecast
from nowcast.forecast.forecaster import Forecaster, persistence

__all__ = ["Forecaster", "build_forecast", "find_forecasts", "open_forecast", "persistence", "write_forecast"]
