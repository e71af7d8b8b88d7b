"""Forecasts against observations: joint counts that add up, scores divided once at the end, reports and pictures."""

from nowcast.verification.counts import Counts, common_pixels, count
from nowcast.verification.headline import headline_table, headline_text
from nowcast.verification.pictures import draw_csi, draw_curves, draw_frames
from nowcast.verification.report import scores_dataset, write_scores

__all__ = [
    "Counts", "common_pixels", "count", "draw_csi", "draw_curves", "draw_frames", "headline_table", "headline_text",
    "scores_dataset", "write_scores",
]  # fmt: skip
