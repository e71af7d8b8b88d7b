"""Frames of cases for a page: all lead times of a forecast as one picture inside the page, which a
style moves.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from nowcast.errors import DataError
from nowcast.radar.placing.place import Origin
from nowcast.report.page_map import path_of
from nowcast.report.pictures.colours import (
    DRY,
    MISSING,
    NOT_COVERED,
    PROBABILITY_CLASSES,
    RATE_CLASSES,
)
from nowcast.report.pictures.outlines import NATURAL_EARTH, build_outlines
from nowcast.report.pictures.panel import Degrees

LARGEST = 320
"""Pixels along the longer side of a frame; larger frames are averaged, to keep the page small."""


@dataclass(frozen=True)
class ExampleCase:
    """A case to look at.

    Args:
        label: 'best', 'median' or 'worst'.
        reference_time: of the forecast, in words.
        score: by which the case was chosen.
        rows: mm/h, (lead, h, w), NaN = not covered: 'observed' first, then each forecast; of an
            ensemble the mean.
        probabilities: 0 to 1, (lead, h, w), NaN = not covered, by the name of their row.
        time: the reference time in UTC, for valid times; None if frames have no times.
    """

    label: str
    reference_time: str
    score: float
    rows: Mapping[str, NDArray[np.floating]]
    probabilities: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)
    time: np.datetime64 | None = None


@dataclass(frozen=True)
class ExampleRow:
    """The frames of one forecast of a case, or of its probability.

    The picture (a data: URI) holds `count` frames of height × width pixels, each averaged over
    `averaged` × `averaged` pixels.
    """

    name: str
    image: str
    count: int
    height: int
    width: int
    averaged: int
    is_probability: bool


@dataclass(frozen=True)
class FrameMap:
    """Lines over each frame: the path of an SVG of height × width."""

    path: str
    height: int
    width: int


@dataclass(frozen=True)
class Case:
    """A case as a page shows it; `valid` are its valid times, empty if frames have no times."""

    label: str
    time: str
    score: str
    rows: list[ExampleRow]
    valid: list[str]

    @property
    def width(self) -> int:
        """The width of a frame in pixels before averaging."""
        return self.rows[0].width * self.rows[0].averaged


def strip(
    frames: NDArray[np.floating], origin: Origin, colours: Mapping[float, str] = RATE_CLASSES
) -> tuple[str, int]:
    """Rates or probabilities (lead, h, w) → a data: URI of a PNG, and the number of its frames.

    The frames stand one below the other, north up, each between two transparent lines: so no
    neighbour shows at fractional sizes. If all frames are equal, the PNG holds one.
    """
    from PIL import Image

    classes, gap = classes_of(frames, colours), len(colours) + 2
    if (classes == classes[:1]).all():
        classes = classes[:1]
    if origin == "lower":
        classes = classes[:, ::-1]
    lined = np.pad(classes, ((0, 0), (1, 1), (0, 0)), constant_values=gap)
    image = Image.fromarray(lined.reshape(-1, lined.shape[2]))
    image.putpalette(
        b"".join(bytes.fromhex(one[1:]) for one in (DRY, *colours.values(), NOT_COVERED, DRY))
    )
    file = BytesIO()
    image.save(file, "PNG", optimize=True, bits=4, transparency=gap)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}", len(classes)


def classes_of(
    frames: NDArray[np.floating], colours: Mapping[float, str] = RATE_CLASSES
) -> NDArray[np.uint8]:
    """Return the class of each pixel: 0 is dry, then the classes of colours, then not covered."""
    edges = np.array(list(colours), dtype=frames.dtype)
    classes = np.searchsorted(edges, frames, side="right").astype(np.uint8)
    classes[np.isnan(frames)] = len(colours) + 1
    return classes


def smaller(frames: NDArray[np.floating]) -> tuple[NDArray[np.floating], int]:
    """Return frames (lead, h, w) averaged over n × n pixels, until no side exceeds LARGEST, and n.

    A pixel is missing only if all n × n are.
    """
    n = -(-max(frames.shape[1:]) // LARGEST)
    return averaged(frames, n), n


def averaged(frames: NDArray[np.floating], n: int) -> NDArray[np.floating]:
    """Average frames (…, h, w) over n × n pixels; a mean is missing only if all n × n are."""
    if n == 1:
        return frames
    *leading, h, w = frames.shape
    pad = [(0, 0)] * len(leading) + [(0, -h % n), (0, -w % n)]
    padded = np.pad(frames, pad, constant_values=np.nan)
    blocks = padded.reshape(*leading, padded.shape[-2] // n, n, padded.shape[-1] // n, n)
    covered = (~np.isnan(blocks)).sum((-3, -1))
    mean: NDArray[np.floating] = np.nansum(blocks, axis=(-3, -1)) / np.where(
        covered, covered, np.nan
    )
    return mean.astype(frames.dtype)


def cases_of(
    example_cases: Sequence[ExampleCase], minutes: Sequence[float], origin: Origin
) -> list[Case]:
    """Return the cases as a page shows them; `minutes` are the lead times.

    Raises:
        DataError: the frames of a case do not fit together, or not the number of lead times.
    """
    return [_case(example_case, minutes, origin) for example_case in example_cases]


def map_over(
    example_cases: Sequence[ExampleCase], origin: Origin, degrees: Degrees | None
) -> FrameMap | None:
    """Return coastlines and borders over the frames; None without a case or a known place."""
    if degrees is None or not example_cases:
        return None
    height, width = next(iter(example_cases[0].rows.values())).shape[1:]
    n = -(-max(height, width) // LARGEST)
    size = (height + -height % n, width + -width % n)
    outlines = build_outlines(degrees[0], degrees[1], NATURAL_EARTH)
    lines = outlines.coasts + outlines.borders
    if origin == "lower":
        lines = [[0, size[0] - 1] + line * [1, -1] for line in lines]
    path = path_of(lines, size)
    return FrameMap(path, *size) if path else None


def legend() -> list[tuple[str, str]]:
    """Return the colour scale of all frames: each colour with its words."""
    *rates, highest = (f"{rate:g}" for rate in RATE_CLASSES)
    words = [f"dry, below {min(RATE_CLASSES):g}", *rates, f"{highest} mm/h and more", MISSING]
    return list(zip((DRY, *RATE_CLASSES.values(), NOT_COVERED), words, strict=True))


def probability_legend() -> list[tuple[str, str]]:
    """Return the colour scale of probabilities: each colour with its words."""
    return [(colour, f"{lowest:g}") for lowest, colour in PROBABILITY_CLASSES.items()]


def _case(example_case: ExampleCase, minutes: Sequence[float], origin: Origin) -> Case:
    leads = len(minutes)
    all_rows = {**example_case.rows, **example_case.probabilities}
    shapes = {name: np.shape(frames) for name, frames in all_rows.items()}
    if len(set(shapes.values())) != 1 or any(
        len(shape) != 3 or shape[0] != leads for shape in shapes.values()
    ):
        raise DataError(
            f"{example_case.reference_time}: frames have shapes {shapes}; give all as"
            f" ({leads}, h, w), one for each lead time."
        )
    score = f"{example_case.score:.3f}" if np.isfinite(example_case.score) else "undefined"
    rows = [
        _row(name, np.asarray(frames), origin, is_probability=name in example_case.probabilities)
        for name, frames in all_rows.items()
    ]
    valid = _valid_times(example_case.time, minutes)
    return Case(example_case.label, example_case.reference_time, score, rows, valid)


def _valid_times(start: np.datetime64 | None, minutes: Sequence[float]) -> list[str]:
    """Return the valid times as '20:05 UTC'; the date stands before it on another day."""
    if start is None:
        return []
    times = [start + np.timedelta64(round(60 * one), "s") for one in minutes]
    words = [np.datetime_as_string(one, unit="m").split("T") for one in times]
    day = np.datetime_as_string(start, unit="D")
    return [f"{clock} UTC" if date == day else f"{date} {clock} UTC" for date, clock in words]


def _row(
    name: str, frames: NDArray[np.floating], origin: Origin, *, is_probability: bool
) -> ExampleRow:
    small, averaged = smaller(frames)
    image, count = strip(small, origin, PROBABILITY_CLASSES if is_probability else RATE_CLASSES)
    _, height, width = small.shape
    return ExampleRow(name, image, count, height, width, averaged, is_probability)
