"""One unattended cycle: find frames, forecast by the first usable method, publish, report."""

FACE = {
    "cycle": "one cycle from the newest frames to a published forecast",
    "methods": "forecasts by the first method that has its frames",
    "grid_frames": "frames of an open grid",
    "live_frames": "frames as they arrive",
    "live_files": "whether files have changed",
    "model_cache": "models kept open",
    "questions": "places and warnings of each forecast",
    "publication": "where a forecast is published",
    "report": "status, metrics and log lines",
}
"""The modules that other packages may import, and what they provide."""
