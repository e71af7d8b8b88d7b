"""Frames of cases for a page: the rates of all lead times as one small picture in the page
itself, moved by its style.
"""

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nowcast.errors import DataError
from nowcast.report.pictures.colours import DRY, NOT_COVERED, RATE_CLASSES

LARGEST = 320
"""Pixels along the longer side of a frame; larger ones are averaged, so that the page fits into
a mail.
"""
_BLANK, _MISSING, _GAP = 0, len(RATE_CLASSES) + 1, len(RATE_CLASSES) + 2


@dataclass(frozen=True)
class Showcase:
    """A case to look at.

    Args:
        label: 'best', 'median' or 'worst' …
        reference_time: … the forecast from then on …
        score: … by this number.
        rows: mm/h, (lead, h, w), NaN = not covered: 'observed' first, then each forecast, an
        ensemble by its mean.
    """

    label: str
    reference_time: str
    score: float
    rows: Mapping[str, NDArray[np.floating]]


def strip(frames: NDArray[np.floating], origin: Literal["lower", "upper"]) -> tuple[str, int]:
    """Rates (lead, h, w) → a data: URI of a PNG with all frames below one another, north up, and
    how many it holds.

    Each frame has a transparent line above and below, lest a neighbour shows at fractional sizes.
    Frames that are all the same are there once.
    """
    from PIL import Image

    classes = classes_of(frames)
    if (classes == classes[:1]).all():
        classes = classes[:1]
    if origin == "lower":
        classes = classes[:, ::-1]
    lined = np.pad(classes, ((0, 0), (1, 1), (0, 0)), constant_values=_GAP)
    image = Image.fromarray(lined.reshape(-1, lined.shape[2]))
    image.putpalette(
        b"".join(
            bytes.fromhex(colour[1:]) for colour in (DRY, *RATE_CLASSES.values(), NOT_COVERED, DRY)
        )
    )
    file = BytesIO()
    image.save(file, "PNG", optimize=True, bits=4, transparency=_GAP)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}", len(classes)


def classes_of(frames: NDArray[np.floating]) -> NDArray[np.uint8]:
    """The number of the colour of each pixel: 0 dry, then the classes, of which a rate is at or
    above the lowest, then not covered.
    """
    edges = np.array(list(RATE_CLASSES), dtype=frames.dtype)
    classes = np.searchsorted(edges, frames, side="right").astype(np.uint8)
    classes[np.isnan(frames)] = _MISSING
    return classes


def smaller(frames: NDArray[np.floating]) -> tuple[NDArray[np.floating], int]:
    """Frames (lead, h, w) averaged over n × n pixels, so that no side exceeds LARGEST, and that n.

    Missing where all are.
    """
    lead, h, w = frames.shape
    n = -(-max(h, w) // LARGEST)
    if n == 1:
        return frames, 1
    padded = np.pad(frames, ((0, 0), (0, -h % n), (0, -w % n)), constant_values=np.nan)
    blocks = padded.reshape(lead, padded.shape[1] // n, n, padded.shape[2] // n, n)
    covered = (~np.isnan(blocks)).sum((2, 4))
    mean = np.nansum(blocks, axis=(2, 4)) / np.where(covered, covered, np.nan)
    return mean.astype(frames.dtype), n


def cases_section(
    showcases: Sequence[Showcase], lead_minutes: Sequence[float], origin: Literal["lower", "upper"]
) -> str:
    """The cases as rows of frames, with one slider over lead time for all of them.

    Errors: DataError where the frames of a case do not fit together or not to the lead times.
    """
    first = f"+{lead_minutes[0]:g} min"
    minutes = " ".join(f"{lead:g}" for lead in lead_minutes)
    player = (
        '<div class="player"><button type="button" id="play"'
        ' aria-pressed="false">Play</button><label for="lead">lead time</label><input type="range"'
        f' id="lead" min="0" max="{len(lead_minutes) - 1}" value="0" step="1"'
        f' data-minutes="{minutes}" aria-valuetext="{first}"><output for="lead"'
        f' id="when">{first}</output></div>'
    )
    cases = "".join(_case(showcase, len(lead_minutes), origin) for showcase in showcases)
    return f'<div id="player" style="--step:0">{player}{legend()}{cases}</div>'


def legend() -> str:
    """The one colour scale of all frames."""
    words = [
        f"dry, below {min(RATE_CLASSES):g}",
        *(f"{rate:g}" for rate in RATE_CLASSES),
        "not covered",
    ]
    words[-2] += " mm/h and more"
    colours = (DRY, *RATE_CLASSES.values(), NOT_COVERED)
    classes = "".join(
        f'<li><i style="background:{colour}"></i>{word}</li>'
        for word, colour in zip(words, colours, strict=True)
    )
    return (
        '<ul class="rates" aria-label="colours: the lowest rate of each class,'
        f' mm/h">{classes}</ul>'
    )


def _case(showcase: Showcase, leads: int, origin: Literal["lower", "upper"]) -> str:
    shapes = {name: np.shape(frames) for name, frames in showcase.rows.items()}
    if len(set(shapes.values())) != 1 or any(
        len(shape) != 3 or shape[0] != leads for shape in shapes.values()
    ):
        raise DataError(
            f"{showcase.reference_time}: frames have shapes {shapes}; give all as ({leads}, h, w),"
            " one for each lead time."
        )
    frames = "".join(
        _row(name, np.asarray(field), showcase, origin) for name, field in showcase.rows.items()
    )
    label, time = html.escape(showcase.label), html.escape(showcase.reference_time)
    score = f"{showcase.score:.3f}" if np.isfinite(showcase.score) else "undefined"
    return (
        f'<section class="case"><h3><b>{label}</b> {time} <span>{score}</span></h3><div'
        f' class="frames">{frames}</div></section>'
    )


def _row(
    name: str, field: NDArray[np.floating], showcase: Showcase, origin: Literal["lower", "upper"]
) -> str:
    small, times = smaller(field)
    uri, count = strip(small, origin)
    _, h, w = small.shape
    words = html.escape(
        f"{name}: rain rates at the lead time of the slider, forecast from"
        f" {showcase.reference_time}"
    )
    note = f" <small>averaged over {times} × {times} pixels</small>" if times > 1 else ""
    return (
        f'<figure><figcaption>{html.escape(name)}{note}</figcaption><div class="frame"'
        f' style="aspect-ratio:{w}/{h}"><img src="{uri}" alt="{words}"'
        f' style="--n:{count};--h:{h}"></div></figure>'
    )
