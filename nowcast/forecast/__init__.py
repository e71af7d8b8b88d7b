"""Make forecasts from past rates with a model or a baseline, write them as CF files, read them.

Modules that need torch are not imported here. Import them directly: `from
nowcast.forecast.forecaster import Forecaster`, `from nowcast.forecast.baselines.building import
build_baseline`."""

from typing import TYPE_CHECKING

from nowcast.startup import lazily

if TYPE_CHECKING:
    from nowcast.forecast.baselines.building import build_baseline
    from nowcast.forecast.dataset import build_forecast, open_forecast, write_forecast
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "baselines.building": ("build_baseline",),
            "dataset": (
                "build_forecast",
                "open_forecast",
                "write_forecast",
            ),
        },
    )

__all__ = ["build_baseline", "build_forecast", "open_forecast", "write_forecast"]

FACE = {
    "dataset": "the forecast file, written and read",
    "geotiff": "the forecast as GeoTIFF",
    "for_pysteps": "a forecast file as pysteps imports it",
    "file_probability": "probabilities in a forecast file",
    "file_members": "members drawn from probabilities in a forecast file",
    "members": "members drawn from probabilities",
    "file_accumulation": "sums in a forecast file",
    "accumulating": "sums of a forecast, as arrays",
    "scene_forecast": "the forecast of a scene, as arrays",
    "forecaster": "forecasts by a trained model",
    "pooling": "one forecast of several models",
    "regional": "the forecast of a region",
    "any_grid": "a model for any grid, set to the data at hand",
    "streaming": "forecasts of successive windows",
    "tiling": "forecasts of large grids in tiles",
    "memory": "how much memory a forecast may take",
    "gaps": "missing input frames filled",
    "plausibility": "whether a forecast may be published",
    "exported": "an exported model: read it, run it",
    "exporting": "export a model",
    "baselines.baseline": "what a baseline is",
    "baselines.building": "a baseline by its name",
    "baselines.library": "whether pysteps is installed, and what it needs",
}
"""The modules that other packages may import, and what they provide."""
