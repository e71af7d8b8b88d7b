"""What the report says about itself: how its numbers are made, and by whom they were thought
out.
"""

import html
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nowcast.report.tables import has_intervals
from nowcast.verification.intervals import FEW_BLOCKS, LEAST_FOR_INTERVAL
from nowcast.verification.scoring import SCORES
from nowcast.verification.swaps import LEAST_BLOCKS, LEVEL

if TYPE_CHECKING:
    import xarray as xr

REFERENCES = (
    (
        "Shi et al. 2015, Convolutional LSTM Network: a machine learning approach for precipitation"
        " nowcasting, arXiv 1506.04214."
    ),
    (
        "Shi et al. 2017, Deep learning for precipitation nowcasting: a benchmark and a new model,"
        " arXiv 1706.03458."
    ),
    "Wilks 2019, Statistical methods in the atmospheric sciences, 4th edition, chapter 9.",
    "Ferro & Stephenson 2011, Extremal dependence indices, Weather and Forecasting 26, 699–713.",
    (
        "Roberts & Lean 2008, Scale-selective verification of rainfall accumulations, Monthly"
        " Weather Review 136, 78–97."
    ),
    (
        "Roebber 2009, Visualizing multiple measures of forecast quality, Weather and Forecasting"
        " 24, 601–608."
    ),
    "Efron & Tibshirani 1993, An introduction to the bootstrap, Chapman & Hall.",
    (
        "Hamill 1999, Hypothesis tests for evaluating numerical precipitation forecasts, Weather"
        " and Forecasting 14, 155–167."
    ),
    (
        "Hersbach 2000, Decomposition of the continuous ranked probability score, Weather and"
        " Forecasting 15, 559–570."
    ),
    (
        "Ferro 2014, Fair scores for ensemble forecasts, Quarterly Journal of the Royal"
        " Meteorological Society 140, 1917–1923."
    ),
    (
        "Murphy 1973, A new vector partition of the probability score, Journal of Applied"
        " Meteorology 12, 595–600."
    ),
    "Hamill 2001, Interpretation of rank histograms, Monthly Weather Review 129, 550–560.",
)


def rules(scores: "xr.Dataset", counts: "xr.Dataset") -> str:
    """Events, missing pixels, aggregation, intervals: each rule in a sentence or two."""
    together = (
        "a pixel missing in the observation or in any forecast counts for none: all are scored over"
        " the same pixels."
        if counts.attrs["common_pixels"]
        else (
            "a pixel missing in the observation counts for no forecast, one missing in a forecast"
            " does not for that one alone: <b>the forecasts are scored over different pixels</b>."
        )
    )
    said = {
        "Event": (
            "a rate at or above the threshold, in a pixel, at a time. Hits, false alarms, misses"
            " and correct negatives are counted pixel by pixel."
        ),
        "Missing": (
            f"{together} Missing is never taken for dry. A case, or a frame of it, without one"
            " scored pixel is in no mean."
        ),
        "Count first, divide once": (
            "counts are added over all cases of a lead time, and a score is one division of the"
            " sums. 0/0 is undefined and shown as –."
        ),
        "Mean and pooled": (
            "the mean is that of the scores at each lead time, where they are defined; pooled adds"
            " the counts of all lead times first. They differ. What does not say pooled is a mean."
        ),
        "Spectra": "missing pixels are set to 0, in forecast and observation alike.",
    }
    if "fss" in scores:
        said["FSS"] = (
            "shares of events in square neighbourhoods are compared; beyond the border of the grid,"
            " and where a pixel is missing, there is no event."
        )
    if int(counts["members"].max()) > 1:
        said["Ensembles"] = (
            "CSI, HSS, errors, FSS and spectra are those of the ensemble mean, which is smoother"
            " than its members."
        )
    said["Intervals"] = f"{intervals_in_words(scores)} {rough(scores)}"
    if scores.sizes["forecast"] > 1:
        said["More than chance"] = chance_in_words(scores)
    listed = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in said.items())
    return f'<dl class="notes">{listed}</dl>'


def intervals_in_words(scores: "xr.Dataset") -> str:
    """Of what and how the intervals are made, or why there are none."""
    about = scores.attrs
    if not about["resamples"]:
        return "none, for resampling is off."
    if not has_intervals(scores):
        few = (
            f"there are fewer than {LEAST_FOR_INTERVAL} blocks"
            if about["blocks"] > 1
            else "all cases lie in a single block"
        )
        reason = few if about["blocks"] < LEAST_FOR_INTERVAL else "too few blocks have an event"
        return f"none, for {reason} ({_block(scores)}) of the bootstrap."
    drawn = (
        f"{about['resamples']:,} times, {about['blocks']:,} blocks (each {_block(scores)}) are"
        " drawn with replacement"
    )
    return (
        f"{100 * about['confidence']:g} % intervals of a studentised block bootstrap: the score is"
        f" taken without each block in turn, which gives its standard error; {drawn} (seed"
        f" {about['seed']}), which gives how many standard errors to either side the interval"
        " reaches; of MSE and other amounts from 0 without end, those of its logarithm, from ten"
        " blocks on. Whole blocks are drawn, for cases minutes apart are nearly the same case. The"
        " interval of a difference is of the same draws for both forecasts."
    )


def chance_in_words(scores: "xr.Dataset") -> str:
    """How a difference of two forecasts is tested."""
    about = scores.attrs
    if not about["resamples"]:
        return "not tested, for resampling is off."
    return (
        "if two forecasts are equally good, it is chance which is whose in a block"
        f" ({_block(scores)}). So the two are swapped on any choice of blocks: on all choices, or"
        f" on {about['resamples']:,} drawn ones if there are more. A difference is more than"
        f" chance, and bold, where at most {LEVEL:.0%} of the choices make one as large. Every"
        " difference is tested by itself: of twenty that are nothing but chance, one will seem to"
        " be more."
    )


def blocks_in_words(scores: "xr.Dataset") -> str:
    """How many blocks the bootstrap draws, and what one is; nothing where it draws none."""
    return f"{scores.attrs['blocks']:,}, each {_block(scores)}" if has_intervals(scores) else ""


def rough(scores: "xr.Dataset") -> str:
    """A warning where there are too few blocks for good intervals; else nothing."""
    blocks = scores.attrs["blocks"]
    if blocks >= FEW_BLOCKS or not (
        has_intervals(scores) or (1 < blocks < LEAST_FOR_INTERVAL and scores.attrs["resamples"])
    ):
        return ""
    words = (
        f"With {blocks} blocks, fewer than {FEW_BLOCKS}, the intervals are rough: a single block"
        " moves them much."
    )
    if blocks < LEAST_FOR_INTERVAL:
        words = f"{blocks} blocks are too few for intervals, {LEAST_FOR_INTERVAL} the least."
    if blocks >= LEAST_BLOCKS:
        return words
    by_chance = (
        f"all {blocks} favour one of two equal forecasts by chance once in {2 ** (blocks - 1)}"
        " times"
    )
    return (
        f"{words} With fewer than {LEAST_BLOCKS} no forecast is called better, and nothing is bold:"
        f" {by_chance}."
    )


def definitions() -> str:
    """Each score as its function documents it."""
    rows = "".join(
        f"<dt>{score.title}</dt><dd>{_first_paragraph(score.function)}</dd>"
        for score in SCORES.values()
        if score.place.defined
    )
    letters = (
        "a hits, b false alarms, c misses, d correct negatives, n their sum; f forecast and o"
        " observed rates, n pixels."
    )
    return f'<p class="soft">{letters}</p><dl class="notes">{rows}</dl>'


def references() -> str:
    """As text: nothing is loaded from anywhere."""
    return f'<ul class="notes">{"".join(f"<li>{html.escape(one)}</li>" for one in REFERENCES)}</ul>'


def _first_paragraph(function: Callable[..., Any]) -> str:
    return html.escape(" ".join((inspect.getdoc(function) or "").split("\n\n")[0].split()))


def _block(scores: "xr.Dataset") -> str:
    """What one block is."""
    return {"day": "a day, UTC", "event": "a rain event", "block": "up to sixty cases in turn"}[
        scores.attrs["interval_blocks"]
    ]
