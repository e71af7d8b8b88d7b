"""nowcast: learned precipitation forecasts from radar."""

__version__ = "0.1.0"
