"""The page of the newest forecast: one self-contained HTML file that a person leaves open.

Its content security policy allows only our script, and loading a newer version of the page itself.
Without scripts, it shows the first forecast frame and a table.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nowcast.arrays import Float64Array
from nowcast.files import written_whole
from nowcast.places.zone import local, zone_name
from nowcast.radar.grid import WET_RATE
from nowcast.radar.times import Times
from nowcast.report.example_frames import averaged
from nowcast.report.page_frames import FrameSet, probability_frames, rate_frames
from nowcast.report.page_map import path_of
from nowcast.report.page_places import CHART_LEFT, CHART_WIDTH, PagePlace, chart_of
from nowcast.report.pictures.colours import (
    PROBABILITY_CLASSES,
    PROBABILITY_CLASSES_IN_THE_DARK,
    RATE_CLASSES,
    RATE_CLASSES_IN_THE_DARK,
)
from nowcast.report.rendering import render
from nowcast.report.scale import build_scale

LARGEST = 800
"""Pixels along the longer side of a frame; larger ones are averaged."""
MOST = 2_800_000
"""Bytes of all frames together; above that, frames are averaged once more."""
_LATE, _OLD = (3, 15.0), (6, 30.0)
"""Age in timesteps, and least age in minutes, from which data are called late and old."""
_MINUTE = np.timedelta64(1, "m")


@dataclass(frozen=True, eq=False)
class ForecastPage:
    """The content of the page. Row 0 of a frame is the north.

    Args:
        observed: (n, h, w) in mm/h, a frame for each timestep up to the newest, NaN = missing.
        rates: (lead, h, w) in mm/h, NaN = missing.
        times: (n + lead,) of all these frames, in UTC.
        thresholds: in mm/h; empty without probabilities.
        probabilities: (lead, k, h, w) of a rate at or above each threshold, 0 to 1.
        pixel_km: height and width of a pixel; None if not known.
        lines: of the map by kind (coast, border), each (n, 2) column and row in pixels.
        places: with their answers.
        zone: the time zone of all clock times.
        warnings: from the rules, in words; shown on top.
        about: source, method, date of making and licence for the foot, as (name, words).
        by_other: why another method made the forecast; empty if the model made it.
    """

    observed: NDArray[np.float32]
    rates: NDArray[np.float32]
    times: Times
    thresholds: Sequence[float] = ()
    probabilities: NDArray[np.float32] | None = None
    pixel_km: tuple[float, float] | None = None
    lines: Mapping[str, Sequence[Float64Array]] = field(default_factory=dict)
    places: Sequence[PagePlace] = ()
    zone: tzinfo = UTC
    warnings: Sequence[str] = ()
    about: Sequence[tuple[str, str]] = ()
    by_other: str = ""

    @property
    def newest(self) -> int:
        """The index of the newest observed frame."""
        return len(self.observed) - 1

    @property
    def minutes(self) -> NDArray[np.float64]:
        """Minutes (n + lead,) since the newest observed frame."""
        minutes: NDArray[np.float64] = (self.times - self.times[self.newest]) / _MINUTE
        return minutes


def write_forecast_page(path: str | Path, page: ForecastPage) -> Path:
    """Write the page as one file, whole or not at all.

    Raises:
        CannotCreateError, InputOutputError: the file cannot be written.
    """
    text = render("forecast.html.jinja", "forecast.js", values_of(page))
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")
    return Path(path)


def values_of(page: ForecastPage) -> dict[str, Any]:
    """Return the values of the template by name."""
    rates, chances, n = _pictures(page)
    frames = _frames(page)
    height, width = page.rates.shape[1:]
    dy, dx = page.pixel_km or (1.0, 1.0)
    first = page.newest + 1
    data = {
        "reference": _milliseconds(page.times[page.newest]),
        "timestep": float(page.minutes[first]),
        "late": max(_LATE[0] * page.minutes[first], _LATE[1]),
        "old": max(_OLD[0] * page.minutes[first], _OLD[1]),
        "check": float(np.clip(12 * page.minutes[first], 20, 120)),
        "newest": page.newest,
        "frames": frames,
        "rates": vars(rates),
        "chances": {f"{one:g}": vars(chance) for one, chance in chances.items()},
        "places": [[_number(rate) for rate in place.rates] for place in page.places],
    }
    return {
        "data": data,
        "stamp": _stamp(data, page),
        "frames": frames,
        "first": frames[first] | {"number": first},
        "newest": frames[page.newest],
        "newest_share": round(page.newest / (len(frames) - 1), 4),
        "first_picture": rates.address(first),
        "averaged": n,
        "height": height,
        "width": width,
        "ratio": round(width * dx / (height * dy), 4),
        "lines": _paths(page),
        "scale": build_scale(width * dx) if page.pixel_km else None,
        "thresholds": list(page.thresholds),
        "rate_legend": _legend(RATE_CLASSES, RATE_CLASSES_IN_THE_DARK),
        "chance_legend": _legend(
            {100 * low: colour for low, colour in PROBABILITY_CLASSES.items()},
            {100 * low: colour for low, colour in PROBABILITY_CLASSES_IN_THE_DARK.items()},
        ),
        "places": [
            {
                "name": place.name,
                "sentence": place.sentence,
                "left": None if place.column is None else 100 * (place.column + 0.5) / width,
                "top": None if place.row is None else 100 * (place.row + 0.5) / height,
                "chart": chart_of(place, page.minutes, page.newest),
            }
            for place in page.places
        ],
        "chart_left": round(100 * CHART_LEFT, 2),
        "chart_width": round(100 * CHART_WIDTH, 2),
        "warnings": list(page.warnings),
        "chance_of": next((one.threshold for one in page.places if one.threshold), None),
        "has_members": any(one.high is not None for one in page.places),
        "about": list(page.about),
        "by_other": page.by_other,
    }  # fmt: skip


def _pictures(page: ForecastPage) -> tuple[FrameSet, dict[float, FrameSet], int]:
    """Return all frames as pictures, averaged over n × n pixels to keep the page small, and n."""
    n = -(-max(page.rates.shape[1:]) // LARGEST)
    while True:
        shown = rate_frames(np.concatenate([averaged(page.observed, n), averaged(page.rates, n)]))
        chances = {
            threshold: probability_frames(averaged(page.probabilities[:, k], n))
            for k, threshold in enumerate(page.thresholds)
            if page.probabilities is not None
        }
        size = sum(len(one) for frames in (shown, *chances.values()) for one in frames.rest)
        if size <= MOST:
            return shown, chances, n
        n = max(n + 1, round(n * (size / MOST) ** 0.5))


def _paths(page: ForecastPage) -> dict[str, str]:
    """Return the lines of the map by kind, without empty kinds."""
    height, width = page.rates.shape[1:]
    paths = {kind: path_of(lines, (height, width)) for kind, lines in page.lines.items()}
    return {kind: path for kind, path in paths.items() if path}


def _frames(page: ForecastPage) -> list[dict[str, Any]]:
    """Return the facts of each frame."""
    rates = [*page.observed, *page.rates]
    kinds = ["observed"] * len(page.observed) + ["forecast"] * len(page.rates)
    times = [local(time, page.zone) for time in page.times]
    return [_frame(*one) for one in zip(kinds, times, page.minutes, rates, strict=True)]


def _frame(
    kind: str, moment: datetime, minutes: float, rate: NDArray[np.float32]
) -> dict[str, Any]:
    covered = rate[np.isfinite(rate)]
    return {
        "kind": kind,
        "time": round(1000 * moment.timestamp()),
        "iso": moment.isoformat(timespec="minutes"),
        "clock": f"{moment:%H:%M} {zone_name(moment)}",
        "offset": (moment.utcoffset() or timedelta()) // timedelta(minutes=1),
        "day": f"{moment:%a} {moment.day} {moment:%b %Y}",
        "words": _lead(minutes),
        "absent": not covered.size,
        "wet": f"{100 * (covered >= WET_RATE).mean():.1f} %" if covered.size else "–",
        "highest": f"{covered.max():.1f}" if covered.size else "–",
    }


def _lead(minutes: float) -> str:
    """Return a lead time as 'newest', '+5 min' or '−60 min'."""
    return "newest" if minutes == 0 else f"{'+' if minutes > 0 else '−'}{abs(minutes):g} min"


def _legend(light: Mapping[float, str], dark: Mapping[float, str]) -> list[tuple[str, str, str]]:
    """Return for each class its colour on a light and a dark background, and its lowest value."""
    return [(light[low], dark[low], f"{low:g}") for low in light]


def _milliseconds(time: np.datetime64) -> int:
    """Return milliseconds since 1970."""
    return int(time.astype("datetime64[ms]").astype(np.int64))


def _number(rate: float) -> float | None:
    return round(float(rate), 1) if np.isfinite(rate) else None


def _stamp(data: Mapping[str, Any], page: ForecastPage) -> str:
    """Return a stamp that changes with the content of the page."""
    shown = [
        data,
        page.about,
        page.by_other,
        list(page.warnings),
        [place.sentence for place in page.places],
    ]
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:16]
