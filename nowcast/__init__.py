"""nowcast: learned precipitation forecasts from radar.

grid = nowcast.open_grid("archive/*.nc")
model = nowcast.load_forecaster("runs/mine/best.pt")
forecast = model.forecast(grid, at="2018-05-18T15:00")
scores = nowcast.score(forecast, grid, thresholds=[0.5, 1, 2])
nowcast.plot(forecast, grid)
"""

import os

from nowcast.startup import lazily

os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")
"""Read once, when the HDF5 library is loaded.

Some file systems have no locks, and none are needed, because files are written under another name.
"""

TYPE_CHECKING = False  # `settle` must run before typing is imported

if TYPE_CHECKING:
    from nowcast.api.forecasting import RadarForecaster, load_forecaster
    from nowcast.api.plotting import plot
    from nowcast.api.scoring import score
    from nowcast.forecast.dataset import open_forecast, write_forecast
    from nowcast.radar.series.opening import open_grid
    from nowcast.version import __version__
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "api.forecasting": ("RadarForecaster", "load_forecaster"),
            "api.plotting": ("plot",),
            "api.scoring": ("score",),
            "forecast.dataset": ("open_forecast", "write_forecast"),
            "radar.series.opening": ("open_grid",),
            "version": ("__version__",),
        },
    )

__all__ = [
    "RadarForecaster", "__version__", "load_forecaster", "open_forecast", "open_grid", "plot",
    "score", "write_forecast",
]  # fmt: skip
