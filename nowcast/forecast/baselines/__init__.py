"""Forecasts that nobody trained, in the place of a model: what a model has to beat, and what it is
scored beside.

What needs torch is not imported here: `from nowcast.forecast.baselines.building import
build_baseline`.
"""
