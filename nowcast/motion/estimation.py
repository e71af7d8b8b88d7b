"""Estimate the motion of the rain from the newest frames: corners of the rain in dB are tracked
from frame to frame (Lucas and Kanade 1981), and their vectors, without outliers, are interpolated
to the coarse grid.

The method and its settings are those of pysteps (Pulkkinen et al. 2019), which need not be
installed. Unlike there, a corner must be tracked in both directions. Vectors are interpolated by
kriging, which follows them more closely the better they agree with each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nowcast.arrays import Float32Array, Float64Array
from nowcast.motion.grid import COARSE, coarse_size

MOTION_FRAMES = 4
"""Number of newest frames from which a motion field is estimated."""

METHOD = "Lucas-Kanade 1"
"""Name and version of the method; another one gives different motion for the same frames."""

_WET_RATE, _DRY_DB = 0.1, -15.0  # least rate of rain in mm/h; dB for lower rates
_CORNERS = {"maxCorners": 1000, "qualityLevel": 0.01, "minDistance": 10, "blockSize": 5}
_TRACKING = {
    "winSize": (50, 50), "maxLevel": 3, "criteria": (3, 10, 0), "minEigThreshold": 1e-4,
}  # fmt: skip
_ASTRAY = 0.25  # most pixels between a corner and its position after tracking there and back
_BORDER = 5  # pixels, the side of the square around a missing pixel in which no corner is used
_OUTLIER_NEIGHBOURS, _OUTLIER_DEVIATIONS = 30, 3.0
_SINGULAR = 1e-9  # relative determinant below which vectors count as collinear
_CLUSTER = 20  # pixels: vectors that start in one square of this side are merged
_NEIGHBOURS = 20  # number of vectors averaged for the motion of a point
_RANGE = 200.0  # pixels over which the covariance of motion falls to 1/e
_ALIKE = 6.0  # tracks of a square that count as one independent track, as frames show the same rain
_LEAST_VARIANCE = 1e-4  # pixels² per timestep²
_POINTS_AT_ONCE = 4096


@dataclass(frozen=True)
class Tracks:
    """Positions of corners of the rain (n, 2), x then y in pixels, and their motion (n, 2) in
    pixels per timestep.
    """

    places: Float32Array
    vectors: Float32Array


_PAIRS_KEPT = 2 * MOTION_FRAMES
_FOLLOWED: dict[Any, Tracks] = {}
"""A cache of the tracks of the last pairs of frames, by the contents of the frames."""


def estimate_motion(rates: Float32Array) -> Float32Array:
    """Return the motion of the rain over the newest `MOTION_FRAMES` frames.

    Frames without a measured pixel are skipped. Without rain that can be tracked the motion is 0.

    Args:
        rates: (t, h, w) in mm/h, t ≥ 1, one timestep apart, NaN = missing.

    Returns:
        (2, hc, wc) in pixels per timestep, x then y, on the coarse grid.

    Example:
        >>> estimate_motion(np.zeros((4, 20, 33), np.float32)).shape
        (2, 4, 5)
    """
    newest = rates[-MOTION_FRAMES:]
    measured = np.flatnonzero(~np.isnan(newest).all(axis=(1, 2))).tolist()
    tracks = [_followed(newest[k], newest[later], later - k) for k, later in pairwise(measured)]
    return spread(tracks, rates.shape[1:])


def follow(first: Float32Array, second: Float32Array, steps: int) -> Tracks:
    """Track the corners of the rain from one frame to another.

    Args:
        first, second: frames (h, w) in mm/h, NaN = missing.
        steps: timesteps between them.

    Returns:
        The corners that could be tracked forward and back to their start; none is next to a missing
        pixel.
    """
    cv2 = _opencv()
    missing = (np.isnan(first) | np.isnan(second)).astype(np.uint8)
    clear = 1 - cv2.dilate(missing, np.ones((_BORDER, _BORDER), np.uint8))
    images = [_image(frame) for frame in (first, second)]
    corners = cv2.goodFeaturesToTrack(images[0], mask=clear, **_CORNERS)
    if corners is None:
        return Tracks(*np.zeros((2, 0, 2), np.float32))
    ends, found, _ = cv2.calcOpticalFlowPyrLK(*images, corners, None, **_TRACKING)
    starts, found_back, _ = cv2.calcOpticalFlowPyrLK(*images[::-1], ends, None, **_TRACKING)
    astray = np.hypot(*(starts - corners)[:, 0].T)
    tracked = (found & found_back)[:, 0].astype(bool) & (astray <= _ASTRAY)
    places = corners[tracked, 0]
    return Tracks(places, (ends[tracked, 0] - places) / np.float32(steps))


def _followed(first: Float32Array, second: Float32Array, steps: int) -> Tracks:
    """Return the result of `follow`, cached: the next forecast uses all but one of the same frames,
    and so does another method.
    """
    key = (*map(_contents, (first, second)), steps)
    tracks = _FOLLOWED.pop(key, None) or follow(first, second, steps)
    _FOLLOWED[key] = tracks  # moved to the end
    for oldest in list(_FOLLOWED)[:-_PAIRS_KEPT]:
        _FOLLOWED.pop(oldest, None)
    return tracks


def _contents(frame: Float32Array) -> tuple[tuple[int, ...], bytes]:
    """Return a key for the contents of a frame."""
    return frame.shape, sha256(np.ascontiguousarray(frame).data).digest()


def spread(tracks: Sequence[Tracks], size: tuple[int, ...]) -> Float32Array:
    """Interpolate the motion of tracks, without outliers, to each point of the coarse grid.

    It is the mean of the nearest vectors, weighted by ordinary kriging: the better they agree, the
    more local is the mean.

    Args:
        tracks: of the pairs of frames; without any the motion is 0.
        size: (h, w) of the frames.

    Returns:
        (2, hc, wc) in pixels per timestep, x then y.
    """
    rows, columns = coarse_size(*size)
    places, vectors = _without_outliers(tracks)
    if not len(places):
        return np.zeros((2, rows, columns), np.float32)
    places, vectors, variance = _declustered(places, vectors)
    sill = max(float(np.square(vectors - np.median(vectors, axis=0)).mean()), _LEAST_VARIANCE)
    covariance = sill * np.exp(-_distances(places) / _RANGE) + np.diag(variance)
    y, x = np.mgrid[:rows, :columns] * COARSE
    points = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)
    motion = np.empty((len(points), 2))
    for part in np.array_split(np.arange(len(points)), -(-len(points) // _POINTS_AT_ONCE)):
        distance, nearest = _nearest(points[part], places, _NEIGHBOURS)
        pairs = nearest[:, :, np.newaxis] * len(places) + nearest[:, np.newaxis]
        weights = _kriging_weights(covariance.take(pairs), sill * np.exp(-distance / _RANGE))
        motion[part] = (weights[..., np.newaxis] * vectors[nearest]).sum(axis=1)
    return np.ascontiguousarray(motion.T, np.float32).reshape(2, rows, columns)


def _image(frame: Float32Array) -> NDArray[np.uint8]:
    """Rain (h, w) [mm/h] → an image of dB scaled from 0 to 255; missing pixels are dry, and specks
    of less than three pixels are removed.
    """
    cv2 = _opencv()
    rain = np.nan_to_num(frame, nan=0.0)
    db = np.where(rain < _WET_RATE, _DRY_DB, 10 * np.log10(np.maximum(rain, _WET_RATE)))
    wet = (db > _DRY_DB).astype(np.uint8)
    opened = cv2.morphologyEx(
        wet, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    )
    db[wet > opened] = _DRY_DB
    scale = 255 / max(float(db.max()) - _DRY_DB, 1e-8)
    image: NDArray[np.uint8] = ((db - _DRY_DB) * scale).astype(np.uint8)
    return image


def _without_outliers(tracks: Sequence[Tracks]) -> tuple[Float32Array, Float32Array]:
    """Return all places and vectors (n, 2) except outliers, whose Mahalanobis distance from the
    vectors around them is more than three standard deviations.
    """
    none = np.zeros((0, 2), np.float32)
    places = np.concatenate([none, *(one.places for one in tracks)])
    vectors = np.concatenate([none, *(one.vectors for one in tracks)])
    if len(places) < 3:
        return places, vectors
    _, nearest = _nearest(places, places, _OUTLIER_NEIGHBOURS + 1)
    neighbours = vectors[nearest[:, 1:]].astype(np.float64)
    mean = neighbours.mean(axis=1)
    x, y = np.moveaxis(neighbours - mean[:, np.newaxis], -1, 0)
    xx, xy, yy = (
        (one * other).sum(1) / (x.shape[1] - 1) for one, other in ((x, x), (x, y), (y, y))
    )
    u, v = (vectors - mean).T
    determinant = xx * yy - xy**2
    squared = np.divide(
        u**2 * yy - 2 * u * v * xy + v**2 * xx, determinant,
        out=np.zeros(len(places)), where=determinant > _SINGULAR * xx * yy,
    )  # fmt: skip
    inliers = squared <= _OUTLIER_DEVIATIONS**2
    return places[inliers], vectors[inliers]


def _declustered(places: Float32Array, vectors: Float32Array) -> tuple[Float32Array, ...]:
    """Return the medians of places and vectors (n, 2) in each non-empty square of the grid, and the
    variance of these medians (n,) in pixels², from the scatter in all squares.
    """
    both = np.concatenate([places, vectors], axis=1)
    squares, member, count = np.unique(
        places // _CLUSTER, axis=0, return_inverse=True, return_counts=True
    )
    first = np.cumsum(count) - count
    member = member.ravel()
    medians = np.empty((len(squares), 4), np.float32)
    for column, median in zip(both.T, medians.T, strict=True):
        rising = column[np.lexsort((column, member))]
        median[:] = (rising[first + (count - 1) // 2] + rising[first + count // 2]) / 2
    scatter = np.square(both - medians[member])[:, 2:].mean(axis=1).sum()
    variance = (_ALIKE * scatter / max(len(both) - len(squares), 1) + _LEAST_VARIANCE) / count
    return medians[:, :2], medians[:, 2:], variance.astype(np.float32)


def _kriging_weights(among: Float64Array, to_point: Float64Array) -> Float64Array:
    """Return the weights (m, k) of ordinary kriging, which add up to 1, from the covariances
    (m, k, k) of k vectors with each other and those (m, k) with a point.
    """
    points, count = to_point.shape
    system, right = np.ones((points, count + 1, count + 1)), np.ones((points, count + 1, 1))
    system[:, -1, -1], system[:, :-1, :-1], right[:, :-1, 0] = 0, among, to_point
    weights: Float64Array = np.linalg.solve(system, right)[:, :-1, 0]
    return weights


def _distances(places: Float32Array) -> Float32Array:
    """Return the distances (n, n) between places (n, 2)."""
    distance: Float32Array = np.hypot(*(places[:, np.newaxis] - places).transpose(2, 0, 1))
    return distance


def _nearest(
    points: Float32Array, places: Float32Array, count: int
) -> tuple[Float32Array, NDArray[np.int32]]:
    """Return distances, indices (n, k) of the k ≤ `count` places nearest to each point (n, 2)."""
    cv2 = _opencv()
    distance, nearest = cv2.batchDistance(
        points, places, cv2.CV_32F, normType=cv2.NORM_L2, K=min(count, len(places))
    )
    return distance, nearest


def _opencv() -> Any:
    """Import OpenCV when needed, limited to one thread, as there are as many processes as cores."""
    import cv2

    cv2.setNumThreads(1)
    return cv2
