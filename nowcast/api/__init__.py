"""What `import nowcast` offers: the work of the commands on grids and forecasts in memory.

`nowcast/__init__.py` names it; the commands call the same code below."""

FACE = {
    "forecasting": "forecasts by a trained model",
    "scoring": "scores of forecasts",
    "plotting": "pictures of forecasts",
}
"""The modules that other rooms may import, and what they give."""
