"""Forecasts against observations: sums that add up, scores divided once at the end, intervals,
reports and pictures.
"""

from nowcast.verification.counts import Counts, common_pixels, count
from nowcast.verification.counts_files import merge_counts, open_counts, write_counts
from nowcast.verification.dataset import scores_dataset
from nowcast.verification.drawing.frames import draw_film, draw_frames
from nowcast.verification.drawing.pictures import draw_csi, draw_curves
from nowcast.verification.headline import headline_table, headline_text
from nowcast.verification.page.html import Showcase, write_report
from nowcast.verification.table import write_scores
from nowcast.verification.tally import Tally

__all__ = [
    "Counts", "Showcase", "Tally", "common_pixels", "count", "draw_csi", "draw_curves", "draw_film",
    "draw_frames", "headline_table", "headline_text", "merge_counts", "open_counts",
    "scores_dataset", "write_counts", "write_report", "write_scores",
]  # fmt: skip
