"""One unattended cycle: live frames, methods, publication, report."""

FACE = {
    "cycle": "one cycle from the newest frames to a published forecast",
    "methods": "forecasts by the first method that has its frames",
    "grid_frames": "frames of a grid that is open",
    "live_frames": "frames as they land",
    "live_files": "whether files have changed",
    "model_cache": "models that stay open",
    "questions": "places and warnings of each forecast",
    "publication": "where a forecast is published",
    "report": "status, metrics and log lines",
}
"""The modules that other rooms may import, and what they give."""
