"""Baselines: forecasts without training, which a model has to beat and is compared with.

Modules that need torch are not imported here. Import them directly: `from
nowcast.forecast.baselines.building import build_baseline`.
"""
