"""Compare forecasts with observations: sums that add up, scores, confidence intervals."""

from typing import TYPE_CHECKING

from nowcast.startup import lazily

if TYPE_CHECKING:
    from nowcast.verification.dataset import scores_dataset
    from nowcast.verification.scores import (
        Contingency,
        accuracy,
        csi,
        ets,
        far,
        frequency_bias,
        hss,
        pod,
        pofd,
        pss,
        sedi,
    )
    from nowcast.verification.tally import Tally
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "dataset": ("scores_dataset",),
            "scores": (
                "Contingency",
                "accuracy",
                "csi",
                "ets",
                "far",
                "frequency_bias",
                "hss",
                "pod",
                "pofd",
                "pss",
                "sedi",
            ),
            "tally": ("Tally",),
        },
    )  # fmt: skip

__all__ = [
    "Contingency", "Tally", "accuracy", "csi", "ets", "far", "frequency_bias", "hss", "pod", "pofd",
    "pss", "scores_dataset", "sedi",
]  # fmt: skip

FACE = {
    "counts": "counts of classes",
    "counts_files": "counts in files",
    "tally": "all counts as one dataset",
    "scores": "scores of a forecast",
    "scoring": "the record of each score",
    "probabilistic": "scores of ensembles",
    "dataset": "the dataset of scores",
    "table": "scores in files",
    "headline": "scores for a terminal",
    "intervals": "confidence intervals of scores",
    "swaps": "significance of a difference",
    "remarks": "remarks stored with counts",
}
"""The modules that other packages may import, and what they provide."""
