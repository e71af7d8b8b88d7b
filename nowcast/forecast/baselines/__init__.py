"""Forecasts that nobody trained, in the place of a model: what a model has to beat, and what it is scored beside."""

from nowcast.forecast.baselines.baseline import Baseline
from nowcast.forecast.baselines.building import LEAST_STEPS, build_baseline

__all__ = ["LEAST_STEPS", "Baseline", "build_baseline"]
