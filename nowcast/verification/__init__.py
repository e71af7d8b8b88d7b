"""Forecasts against observations: sums that add up, scores divided once at the end, intervals,
reports and pictures."""

FACE = {
    "counts": "counts of classes",
    "counts_files": "counts in files",
    "tally": "all counts as one dataset",
    "scores": "scores of a forecast",
    "probabilistic": "scores of ensembles",
    "dataset": "the dataset of scores",
    "table": "scores in files",
    "headline": "scores for a terminal",
    "intervals": "how sure a score is",
    "swaps": "which difference is more than chance",
    "remarks": "remarks that counts carry",
}
"""The modules that other rooms may import, and what they give."""
