"""Forecasts: made from past rates by a model or a baseline, written as CF files, read back.

What needs torch is not imported here: `from nowcast.forecast.forecaster import Forecaster`, `from
nowcast.forecast.baselines.building import build_baseline`."""
