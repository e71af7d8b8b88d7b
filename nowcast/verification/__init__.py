"""Forecasts against observations: sums that add up, scores divided once at the end, intervals,
reports and pictures."""
