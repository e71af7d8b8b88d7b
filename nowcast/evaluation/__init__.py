"""The input of `nowcast evaluate`: cases from windows or from files, regions, examples."""

FACE = {
    "cases": "the types of a case and its source",
    "sources": "the cases that a configuration names",
    "trained_data": "the data that checkpoints were trained on",
    "known_days": "remarks on days that a model has seen",
    "window_cases": "cases that are forecast during the evaluation",
    "accumulations": "sums of rain counted",
    "cuts": "forecasts with fitted cuts next to plain ones",
    "validation_cases": "cases that cuts are fitted on",
    "file_cases": "cases read from forecast files",
    "example_cases": "the cases that a report shows",
    "file_ladders": "the probabilities of forecast files",
    "forecast_grid": "forecast files on the grid of the observations",
    "regions": "which pixels are scored",
}
"""The modules that other packages may import, and what they provide."""
