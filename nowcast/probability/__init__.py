"""Forecasts as probabilities: of each of a ladder of thresholds, and the rates that follow."""

FACE = {
    "options": "how a rate follows from probabilities",
    "ladder": "probabilities of a ladder of thresholds",
    "rates": "a rate from probabilities",
    "quantiles": "rates from the distribution of a forecast",
    "sample": "pixels of past forecasts to learn from",
    "cuts": "the probabilities from which on a rate scores best",
    "calibration": "what is fitted on validation days",
    "forecast": "a forecast: rates, and with some methods probabilities",
    "neighbourhoods": "the forecast of moved rain as probabilities",
}
"""The modules that other rooms may import, and what they give."""
