"""The Python interface: the work of the commands on grids and forecasts in memory.

`nowcast/__init__.py` lists its names; the commands call the same code below.
"""

FACE = {
    "forecasting": "forecasts by a trained model",
    "scoring": "scores of forecasts",
    "plotting": "pictures of forecasts",
}
"""The modules that other rooms may import, and what they give."""
