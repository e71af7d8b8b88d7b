"""Compare a frame with its neighbours, to find a wrong packing (scale and offset) or a jump in
coverage.

Radars fail and come back, and services change their packing. So a coverage is suspicious only if no
frame nearby has a similar one. A packing is suspicious only if the rain fits the frames around it
with their packing, but not with its own.
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
"""Largest normal change of the share of covered pixels; real composites that lost a radar for some
frames changed by 0.03.
"""
_AROUND = 2  # frames before and after with which a coverage is compared
_RAINY = 20  # least number of pixels with rain for a meaningful mean
# a frame misfits if its mean rain differs by a factor of 3 or more, and fits below a factor of 2
_MISFIT, _FITS = np.log(3.0), np.log(2.0)
_WETTER = 0.3  # a larger change of the share of wet pixels from frame to frame is a misfit
# files in a row that may have another packing by mistake; with more, the service changed its
# packing
_FEW = 2


def strange_coverage(covered: Sequence[float]) -> npt.NDArray[np.bool_]:
    """Shares of covered pixels (n,) in order of time, NaN for missing frames → mask of frames that
    differ from all frames nearby.

    The first frame is compared only if two frames follow: of two frames, the later one counts as
    the suspicious one.
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
    """Convert values unpacked with one (scale, offset) to those unpacked with another."""
    return (stored - own[1]) / own[0] * other[0] + other[1]


def rate_by(
    packing: Packing, stored: Values, file: RadarFile, options: ReadOptions
) -> Float32Array:
    """One frame (1, y, x) in the units of `file` → its rate (y, x) [mm/h] if the file had another
    (scale, offset).

    Values that are impossible with that packing become missing, since the packing of the file may
    be right.
    """
    again = repacked(stored, file.layout.packing, packing)
    again[is_impossible(again, file)] = np.nan
    rate: Float32Array = to_rate(again, file, file.times[:1], options)[0][0]
    return rate


def fits_only_repacked(
    rate: Float32Array, again: Float32Array, neighbour: Float32Array
) -> bool | None:
    """Return whether a frame (y, x) [mm/h] misfits its neighbour as `rate`, with its own packing,
    but fits as `again`, with the packing of the neighbour.

    The mean rate of wet pixels and the share of wet pixels are compared. None if there is too
    little rain to decide.
    """
    own_share, their_share, share = (_wet_share(one) for one in (rate, again, neighbour))
    if abs(own_share - share) > _WETTER and abs(their_share - share) < _WETTER / 3:
        return True
    levels = [_level(one) for one in (rate, again, neighbour)]
    if np.isnan(levels).any():
        return None
    own, theirs, there = levels
    return bool(abs(own - there) > _MISFIT and abs(theirs - there) < _FITS)


def packing_problem(file: RadarFile, others: Packing) -> str:
    """Describe in a message the packing of a file and of those around it."""
    (scale, offset), (theirs, shift) = file.layout.packing, others
    return (
        f"is packed with scale {scale:g} and offset {offset:g}, but the files around it with"
        f" {theirs:g} and {shift:g}, and its rain would fit theirs with these"
    )


def odd_packings(files: Sequence[RadarFile]) -> list[tuple[int, int]]:
    """Files in order of time → (file, its neighbour) for each file whose packing differs from those
    around it.

    One or two files in a row are odd if the files before and after have the same packing; at the
    end, if the two files before have.
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
    """Yield a problem for each file whose packing differs from those around it and, judging by its
    rain, is wrong.
    """
    order = list(dict.fromkeys(series.file_of.tolist()))
    for k, neighbour in odd_packings([series.files[one] for one in order]):
        file, other = series.files[order[k]], series.files[order[neighbour]]
        stored, there = _first_frame(file, options), _first_frame(other, options)
        storage.close_files({str(file.path), str(other.path)})
        packings = file.layout.packing, other.layout.packing
        own, again = (rate_by(packing, stored, file, options) for packing in packings)
        if fits_only_repacked(own, again, rate_by(other.layout.packing, there, other, options)):
            problem = packing_problem(file, other.layout.packing)
            error = DataError(f"{file.path}: {problem}; correct it, or leave it out.")
            yield Problem.of(file.path, error)


def _first_frame(file: RadarFile, options: ReadOptions) -> Values:
    return read_frames(ReadRequest(file, options, slice(0, 1)))


def _wet_share(rate: Float32Array) -> float:
    covered = np.isfinite(rate)
    return float((rate[covered] >= WET_RATE).mean()) if covered.any() else 0.0


def _level(rate: Float32Array) -> float:
    """Return the logarithm of the mean rate of rainy pixels; NaN if there are too few."""
    rainy = rate[rate > 0]
    return float(np.log(rainy.mean(dtype=np.float64))) if rainy.size >= _RAINY else float("nan")
