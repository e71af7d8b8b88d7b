"""Probability forecasts for a list of thresholds, and the rates derived from them."""

FACE = {
    "options": "the ways to derive a rate from probabilities",
    "ladder": "probabilities for a list of thresholds",
    "formulas": "formulas for probabilities, for arrays of any library",
    "rates": "a rate from probabilities",
    "quantiles": "rates from the distribution of a forecast",
    "sample": "pixels of past forecasts, for fitting",
    "cuts": "the probabilities above which rain is forecast, for the best CSI",
    "case_cuts": "the cuts of one forecast, from its own probabilities and past forecasts",
    "calibration": "the calibration fitted on validation days",
    "forecast": "a forecast: rates, and with some methods probabilities",
    "accumulations": "rain accumulated over some minutes",
    "neighbourhoods": "the Lagrangian probability forecast",
}
"""The modules that other packages may import, and what they offer."""
