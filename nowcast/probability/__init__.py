"""Forecasts as probabilities: of each of a ladder of thresholds, and the rates that follow."""

FACE = {
    "forecast": "a forecast: rates, and with some methods probabilities",
    "ladder": "probabilities of a ladder of thresholds",
    "neighbourhoods": "the forecast of moved rain as probabilities",
}
"""The modules that other rooms may import, and what they give."""
