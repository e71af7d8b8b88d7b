"""One frame held against those around it: a packing by which its rain does not fit, a coverage that
jumps.

Radars fail and come back, and services change how they pack numbers. So a coverage is strange only
where no frame nearby shares it, and a packing only where the rain itself fits the frames around it
by their packing, and not by its own.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from nowcast.arrays import Float32Array
from nowcast.errors import DataError
from nowcast.radar.grid import WET_RATE
from nowcast.radar.reading import storage
from nowcast.radar.reading.file import RadarFile, ReadOptions, ReadRequest
from nowcast.radar.reading.formats import read_frames
from nowcast.radar.reading.rates import is_impossible, to_rate
from nowcast.radar.reading.storage import Values
from nowcast.radar.series.describing import Problem
from nowcast.radar.series.series import Series

Packing = tuple[float, float]
COVERAGE_JUMP = 0.2
"""By which the share of covered pixels may differ; real composites that lost a radar for some
frames changed by 0.03.
"""
_AROUND = 2  # frames before and after that a coverage is held against
_RAINY = 20  # pixels with rain from which a mean says something
# the mean rain changes by less than 3 from frame to frame; by less than 2 it fits
_MISFIT, _FITS = np.log(3.0), np.log(2.0)
_WETTER = 0.3  # by which the share of wet pixels does not change from frame to frame
# files in a row that may be packed otherwise by mistake; more are a service that changed its
# packing
_FEW = 2


def strange_coverage(covered: Sequence[float]) -> npt.NDArray[np.bool_]:
    """Shares of covered pixels (n,) in the order of time, NaN of a missing frame → which frames
    share theirs with none nearby.

    The first frames are held against those after them only if two of these are there: of two frames
    the later is the strange one.
    """
    shares, strange = np.asarray(covered, dtype=np.float64), np.zeros(len(covered), bool)
    there = np.flatnonzero(~np.isnan(shares))
    for place, k in enumerate(there.tolist()):
        before = there[max(place - _AROUND, 0) : place]
        after = there[place + 1 : place + 1 + _AROUND]
        if before.size or after.size == _AROUND:
            around = shares[np.concatenate([before, after])]
            strange[k] = bool((np.abs(around - shares[k]) > COVERAGE_JUMP).all())
    return strange


def repacked(stored: Values, own: Packing, other: Packing) -> Values:
    """Values by one (scale, offset) → those that the same stored numbers mean by another."""
    return (stored - own[1]) / own[0] * other[0] + other[1]


def rate_by(
    packing: Packing, stored: Values, file: RadarFile, options: ReadOptions
) -> Float32Array:
    """One frame (1, y, x) in the units of `file` → its rate (y, x) [mm/h] if the file were packed
    by another (scale, offset).

    Values that no rain has by that packing are missing: they say nothing of the file, which may be
    right.
    """
    again = repacked(stored, file.layout.packing, packing)
    again[is_impossible(again, file)] = np.nan
    rate: Float32Array = to_rate(again, file, file.times[:1], options)[0][0]
    return rate


def fits_only_repacked(
    rate: Float32Array, again: Float32Array, beside: Float32Array
) -> bool | None:
    """Whether a frame (y, x) [mm/h] does not fit the one beside it, and does as `again`, by the
    packing of that one.

    It fits by how strong the rain is where it rains, and by how much of the grid is wet. None where
    there is too little rain to tell.
    """
    own_share, their_share, share = (_wet_share(one) for one in (rate, again, beside))
    if abs(own_share - share) > _WETTER and abs(their_share - share) < _WETTER / 3:
        return True
    levels = [_level(one) for one in (rate, again, beside)]
    if np.isnan(levels).any():
        return None
    own, theirs, there = levels
    return bool(abs(own - there) > _MISFIT and abs(theirs - there) < _FITS)


def packing_problem(file: RadarFile, others: Packing) -> str:
    """How a file is packed, and how those around it are."""
    (scale, offset), (theirs, shift) = file.layout.packing, others
    return (
        f"is packed with the scale {scale:g} and the offset {offset:g}, the files around it with"
        f" {theirs:g} and {shift:g}, by which its rain would fit theirs"
    )


def odd_packings(files: Sequence[RadarFile]) -> list[tuple[int, int]]:
    """Files in the order of time → (file, one before or after it) of each that is packed otherwise
    than those around it.

    One or two in a row are odd where the files before and after are packed alike; at the end where
    two before are.
    """
    packings = [file.layout.packing for file in files]
    starts = [k for k, one in enumerate(packings) if k == 0 or packings[k - 1] != one]
    odd = []
    for first, end in zip(starts, [*starts[1:], len(files)], strict=False):
        if first == 0 or end - first > _FEW:
            continue
        follows = packings[end] if end < len(files) else packings[max(first - 2, 0)]
        if follows == packings[first - 1] and first + len(files) - end > 1:
            odd += [(k, first - 1) for k in range(first, end)]
    return odd


def misfits(series: Series, options: ReadOptions) -> Iterator[Problem]:
    """Files of a series that are packed otherwise than those around them, by mistake as their
    rain says; and why.
    """
    order = list(dict.fromkeys(series.file_of.tolist()))
    for k, beside in odd_packings([series.files[one] for one in order]):
        file, other = series.files[order[k]], series.files[order[beside]]
        stored, there = _first_frame(file, options), _first_frame(other, options)
        storage.close_files({str(file.path), str(other.path)})
        packings = file.layout.packing, other.layout.packing
        own, again = (rate_by(packing, stored, file, options) for packing in packings)
        if fits_only_repacked(own, again, rate_by(other.layout.packing, there, other, options)):
            problem = packing_problem(file, other.layout.packing)
            error = DataError(f"{file.path}: {problem}; mend it, or leave it out.")
            yield Problem.of(file.path, error)


def _first_frame(file: RadarFile, options: ReadOptions) -> Values:
    return read_frames(ReadRequest(file, options, slice(0, 1)))


def _wet_share(rate: Float32Array) -> float:
    covered = np.isfinite(rate)
    return float((rate[covered] >= WET_RATE).mean()) if covered.any() else 0.0


def _level(rate: Float32Array) -> float:
    """The logarithm of the mean rate where it rains; NaN of too few pixels."""
    rainy = rate[rate > 0]
    return float(np.log(rainy.mean(dtype=np.float64))) if rainy.size >= _RAINY else float("nan")
