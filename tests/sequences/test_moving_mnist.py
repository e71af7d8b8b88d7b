import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from nowcast.errors import DataError, MissingInputError
from nowcast.sequences.moving_mnist import MovingMnistWindows, moving_digits, open_digits

ROOM = 64 - 28  # pixels between the leftmost and the rightmost place of a digit
MNIST = Path(__file__).parents[3] / "shared" / "data" / "mnist" / "train-images-idx3-ubyte.gz"


def dot():
    """A digit of one bright pixel in its upper left corner, which then is the place of the
    digit.
    """
    digits = np.zeros((1, 28, 28), np.uint8)
    digits[0, 0, 0] = 255
    return digits


def paths(count, steps):
    """(count, steps, 2): where the digit is, row and column."""
    for seed in range(count):
        frames = moving_digits(dot(), steps, 1, np.random.default_rng(seed))
        assert (frames.reshape(steps, -1) > 0).sum(axis=1).tolist() == [1] * steps
        yield np.stack(np.unravel_index(frames.reshape(steps, -1).argmax(axis=1), (64, 64)), axis=1)


@pytest.fixture(scope="module")
def tracks():
    return np.stack(list(paths(500, 40)))


def straight_runs(track, least):
    """(steps, displacement) of the stretches in which the digit keeps off the walls by 3 pixels or
    more, longer than `least`.

    To touch a wall between two such frames it would have to cover more than 5 pixels.
    """
    inside = ((track >= 3) & (track <= ROOM - 3)).all(axis=1)
    first = 0
    for t in range(len(track) + 1):
        if t == len(track) or not inside[t]:
            if t - 1 - first >= least:
                yield t - 1 - first, track[t - 1] - track[first]
            first = t + 1


def test_digits_move_3_to_5_pixels_a_frame_in_every_direction(tracks):
    """Whole pixels are off by up to 1/2 at both ends, in both directions: a distance by up to
    √2.
    """
    runs = [run for track in tracks for run in straight_runs(track, least=4)]
    speeds = np.array([np.hypot(*moved) / steps for steps, moved in runs])
    off = np.sqrt(2) / np.array([steps for steps, _ in runs])
    assert len(runs) > 500
    assert (speeds >= 3 - off).all()
    assert (speeds <= 5 + off).all()
    assert np.quantile(speeds, [0.05, 0.95]) == pytest.approx([3.1, 4.9], abs=0.25)
    angles = np.histogram([np.arctan2(*moved) for _, moved in runs], bins=8, range=(-np.pi, np.pi))[
        0
    ]
    assert angles.min() > len(runs) / 8 / 2


def test_digits_stay_in_the_box_and_reach_all_of_it(tracks):
    assert (tracks.min(), tracks.max()) == (0, ROOM)


def test_no_step_is_longer_than_the_top_speed(tracks):
    """Nor is a step across a wall: a digit is thrown back, it does not come in again on the
    other side.
    """
    steps = np.diff(tracks, axis=1)
    assert np.hypot(steps[..., 0], steps[..., 1]).max() < 5 + np.sqrt(2)


def test_every_digit_bounces(tracks):
    """19 steps of 3 pixels are 57, of which at least 57/√2 = 40 go along one axis, and there is
    room for 36.
    """
    for track in tracks[:, :20]:
        turns = [np.diff(np.sign(step[step != 0])).any() for step in np.diff(track, axis=0).T]
        assert any(turns)


def test_a_digit_turns_only_at_a_wall(tracks):
    for track in tracks:
        for axis in track.T:
            before, at, after = axis[:-2], axis[1:-1], axis[2:]
            turned = ((at - before) * (after - at) < 0) & (
                np.minimum(abs(at - before), abs(after - at)) > 1
            )
            reach = np.maximum(abs(at - before), abs(after - at))
            assert (np.minimum(at, ROOM - at)[turned] <= reach[turned]).all()


def test_a_bounce_keeps_the_speed(tracks):
    """Along an axis, the steps of a digit are all of one length, those that may touch a wall (6
    pixels or nearer) aside.
    """
    spreads = []
    for track in tracks[:100]:
        for axis in track.T:
            steps = np.abs(np.diff(axis))
            off_walls = (np.minimum(axis[:-1], ROOM - axis[:-1]) >= 6) & (
                np.minimum(axis[1:], ROOM - axis[1:]) >= 6
            )
            if off_walls.sum() >= 3:
                spreads.append(np.ptp(steps[off_walls]))
    assert len(spreads) > 100
    assert max(spreads) <= 1  # whole pixels of one speed differ by 1 at most


def sequences(**settings):
    digits = np.random.default_rng(0).integers(0, 256, (50, 28, 28), dtype=np.uint8)
    usual = {
        "input_steps": 10,
        "lead_steps": 10,
        "count": 6,
        "digits_per_sequence": 2,
        "fresh": True,
        "seed": 1,
    }
    return MovingMnistWindows(digits, **{**usual, **settings})


def epoch_frames(source, epoch):
    return torch.stack([source[pick] for pick in source.epoch(epoch)])


def test_fresh_epochs_differ_in_every_sequence():
    source = sequences()
    a, b = epoch_frames(source, 0), epoch_frames(source, 1)
    assert not any(torch.equal(x, y) for x in a for y in b)
    assert not any(torch.equal(a[i], a[j]) for i in range(6) for j in range(i))
    assert torch.equal(epoch_frames(sequences(), 1), b)  # and yet anyone can make them again


def test_the_test_set_is_always_the_same():
    a = epoch_frames(sequences(fresh=False), 0)
    assert torch.equal(epoch_frames(sequences(fresh=False), 5), a)
    assert torch.equal(epoch_frames(sequences(fresh=False, count=3), 0), a[:3])
    assert not any(
        torch.equal(x, y) for x in a for y in epoch_frames(sequences(fresh=False, seed=2), 0)
    )


def test_an_epoch_has_the_sequences_it_says():
    source = sequences(count=4, input_steps=3, lead_steps=2)
    assert len(source) == len(source.epoch(3)) == 4
    assert source[source.epoch(0)[0]].shape == (5, 1, 64, 64)


def test_frames_are_the_digit_in_a_dark_box():
    frames = epoch_frames(sequences(digits_per_sequence=1), 0)
    assert frames.dtype == torch.float32
    assert (frames.min(), frames.max()) == (0, 1)
    light = frames.sum(dim=(2, 3, 4))
    # all of it, in every frame
    torch.testing.assert_close(light, light[:, :1].expand_as(light), rtol=1e-5, atol=0)


def test_where_digits_overlap_the_brighter_counts():
    """Two bright squares as large as their boxes, of 200 and 200: no pixel adds up, and one
    hides part of the other.
    """
    digits = np.full((1, 28, 28), 200, np.uint8)
    two = np.stack(
        [moving_digits(digits, 20, 2, np.random.default_rng(seed)) for seed in range(20)]
    )
    assert set(np.unique(two)) == {0.0, np.float32(200 / 255)}
    covered = (two > 0).sum(axis=(2, 3))
    assert covered.max() == 2 * 28 * 28  # apart
    assert 28 * 28 <= covered.min() < 1.5 * 28 * 28  # overlapping


def test_three_digits_are_three():
    frames = moving_digits(np.full((1, 28, 28), 255, np.uint8), 40, 3, np.random.default_rng(0))
    assert (frames > 0).sum(axis=(1, 2)).max() > 2 * 28 * 28


def idx(images, magic=2051, count=None):
    return (
        struct.pack(">4i", magic, len(images) if count is None else count, *images.shape[1:])
        + images.tobytes()
    )


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)


def test_an_idx_file_is_read_packed_or_not(images, tmp_path):
    (tmp_path / "images").write_bytes(idx(images))
    (tmp_path / "images.gz").write_bytes(gzip.compress(idx(images)))
    for name in ("images", "images.gz"):
        assert np.array_equal(open_digits(tmp_path / name), images)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingInputError, match=r"nothing-here\.gz: no such file"):
        open_digits(tmp_path / "nothing-here.gz")


def damaged(images):
    packed = gzip.compress(idx(images))
    middle = len(packed) // 2
    return {
        "truncated": idx(images)[:-1],
        "too-long": idx(images) + b"\0",
        "labels": idx(images, magic=2049),
        "no-header": b"\0\0\x08",
        "empty": b"",
        "no-images": idx(images[:0]),
        "other-count": idx(images, count=4),
        "other-size": idx(images[:, :14]),
        "truncated.gz": packed[:-100],
        "flipped.gz": packed[:12] + bytes(255 - byte for byte in packed[12:60]) + packed[60:],
        "checksum.gz": packed[:-8] + b"\0\0\0\0" + packed[-4:],
        "middle.gz": packed[:middle] + b"\0" * 20 + packed[middle + 20 :],
        "plain.gz": idx(images),
        "page.gz": b"<html>not found</html>",
    }


@pytest.mark.parametrize("name", damaged(np.zeros((1, 28, 28), np.uint8)))
def test_a_damaged_file_is_refused_by_name(name, images, tmp_path):
    (tmp_path / name).write_bytes(damaged(images)[name])
    with pytest.raises(DataError, match=f"{name}: not a"):
        open_digits(tmp_path / name)


@pytest.mark.skipif(not MNIST.exists(), reason="the real MNIST is not here")
def test_the_real_mnist_opens():
    digits = open_digits(MNIST)
    assert digits.shape == (60_000, 28, 28)
    assert digits.dtype == np.uint8
    assert digits.max() == 255
    assert digits.mean() == pytest.approx(33.32, abs=0.01)  # 0.1307 of 255, as is well known
    assert (digits[:, 0] == 0).mean() > 0.999  # digits are drawn within a margin
