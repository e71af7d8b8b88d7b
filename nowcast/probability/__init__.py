"""Forecasts as probabilities: of each of a ladder of thresholds, and the rates that follow."""

FACE = {
    "options": "how a rate follows from probabilities",
    "ladder": "probabilities of a ladder of thresholds",
    "formulas": "what follows from probabilities, for arrays of any library",
    "rates": "a rate from probabilities",
    "quantiles": "rates from the distribution of a forecast",
    "sample": "pixels of past forecasts to learn from",
    "cuts": "the probabilities from which on a rate scores best",
    "case_cuts": "the cuts of one forecast, from its own probabilities and from past ones",
    "calibration": "what is fitted on validation days",
    "forecast": "a forecast: rates, and with some methods probabilities",
    "accumulations": "sums of rain over some minutes",
    "neighbourhoods": "the forecast of moved rain as probabilities",
}
"""The modules that other rooms may import, and what they give."""
