"""What a model sees beside the rain: channels counted by hand, times that never lie ahead."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nowcast.errors import DataError
from nowcast.sequences import fields
from nowcast.sequences.batch import build_batch
from nowcast.sequences.fields import WAVES, Field, FieldAhead, Fields, hold
from nowcast.sequences.inputs import Channel, Inputs
from nowcast.sequences.scaling import Scaling
from nowcast.sequences.stored import StoredArray

NAN = math.nan
SCALING = Scaling("linear", 10.0, 1.0)
HOUR = np.timedelta64(60, "m")
CLOCK = tuple(map(Channel, WAVES["time_of_day"]))


def at(*clock: str) -> "np.ndarray[tuple[int], np.dtype[np.datetime64]]":
    return np.array([f"2020-01-01T{time}" for time in clock], dtype="datetime64[ns]")


def raw(*channels: list[float]) -> Tensor:
    """Channels of one frame of one row → (1, 1, c, 1, w)."""
    return torch.tensor(channels)[None, None, :, None, :]


# ---- channels


def test_rain_alone_is_what_models_have_always_seen() -> None:
    rain = torch.tensor([0.0, 5.0, NAN, 20.0]).reshape(1, 1, 1, 1, 4)
    assert torch.equal(Inputs().frames(rain, SCALING), SCALING.scale(rain).nan_to_num(0.0))
    assert (Inputs().channels, Inputs().raw_channels) == (1, 1)


def test_all_channels_by_hand() -> None:
    inputs = Inputs(True, (*CLOCK, Channel("height", 100.0, 50.0), Channel("cloud", 0.0, -2.0)))
    assert (inputs.channels, inputs.raw_channels) == (6, 5)
    frames = raw(
        [5.0, NAN, 0.0], [0.5, 0.5, 0.5], [-1.0, -1.0, -1.0], [200.0, 100.0, NAN], [NAN, 3.0, 4.0]
    )
    seen = inputs.frames(frames, SCALING)[0, 0, :, 0].tolist()
    assert seen == [[0.5, 0, 0], [1, 0, 1], [0.5] * 3, [-1] * 3, [2, 0, 0], [0, -1.5, -2]]


def test_frames_of_other_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="frames must have 3 channels"):
        Inputs(beside=CLOCK).frames(torch.zeros(1, 2, 1, 3, 3), SCALING)


def test_a_batch_has_all_channels_of_the_past_and_the_rain_of_the_future() -> None:
    windows = torch.rand(2, 5, 3, 4, 4)
    windows[0, 1, 0] = NAN
    inputs = Inputs(True, CLOCK)
    batch = build_batch(windows, SCALING, 3, inputs, [0.5, 1.5])
    assert torch.equal(batch.past, inputs.frames(windows[:, :3], SCALING))
    assert batch.past[0, :, 1, 0, 0].tolist() == [1, 0, 1]
    assert torch.equal(batch.future, windows[:, 3:, :1] / 10)
    assert batch.weights.tolist() == [0.5, 1.5]


# ---- frames that are missing


def numbered(steps: int) -> Tensor:
    """Frame t holds t + 1 in channel 0 and −t in channel 1: (1, steps, 2, 1, 1)."""
    count = torch.arange(1.0, steps + 1)
    return torch.stack([count, 1 - count], dim=1)[None, :, :, None, None]


def test_a_model_with_a_mask_sees_that_frames_are_missing() -> None:
    inputs = Inputs(True, (Channel("field"),))
    seen = inputs.without(numbered(4), torch.tensor([[True, False, True, False]]))
    np.testing.assert_array_equal(seen[0, :, :, 0, 0], [[NAN, 0], [2, -1], [NAN, -2], [4, -3]])
    assert inputs.frames(seen, SCALING)[0, :, 1, 0, 0].tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("missing", "seen"),
    [
        ("....", [1, 2, 3, 4]),
        (".#..", [1, 1, 3, 4]),
        ("##..", [3, 3, 3, 4]),
        ("#.#.", [2, 2, 2, 4]),
        (".##.", [1, 1, 1, 4]),
    ],
)
def test_a_model_without_one_sees_the_frame_before_or_else_after(
    missing: str, seen: list[int]
) -> None:
    away = torch.tensor([[one == "#" for one in missing], [False] * 4])
    given = Inputs(beside=(Channel("field"),)).without(numbered(4).expand(2, -1, -1, -1, -1), away)
    assert given[0, :, 0, 0, 0].tolist() == seen
    # what lies beside the rain is not missing
    assert given[0, :, 1, 0, 0].tolist() == [0, -1, -2, -3]
    assert torch.equal(given[1:], numbered(4))


# ---- what lies beside the rain


def test_the_time_of_day_is_a_point_on_a_circle() -> None:
    read = Fields(WAVES["time_of_day"]).read(
        at("00:00", "06:00", "12:00", "21:00"), 4, slice(1, 3), slice(0, 5)
    )
    assert read.shape == (4, 2, 2, 5) and read.dtype == np.float32
    half = math.sqrt(0.5)
    np.testing.assert_allclose(read[:, 0, 0, 0], [0, 1, 0, -half], atol=1e-6)
    np.testing.assert_allclose(read[:, 1, 1, 4], [1, 0, -1, half], atol=1e-6)


def test_a_field_without_times_is_the_same_in_every_frame_and_cropped_like_the_rain() -> None:
    heights = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    read = Fields({"height": Field(heights, None, HOUR)}).read(
        at("00:00", "05:00"), 2, slice(1, 3), slice(2, 4)
    )
    assert read[:, 0].tolist() == [[[6, 7], [10, 11]]] * 2


def test_a_field_is_the_latest_at_or_before_a_frame_unless_that_is_too_old() -> None:
    hourly = Field(
        np.array([1, 2, 3], np.float32).reshape(3, 1, 1), at("01:00", "02:00", "03:00"), HOUR
    )
    times = at("00:55", "01:00", "01:59", "02:00", "04:00", "04:05")
    np.testing.assert_array_equal(
        hourly.at(times, slice(0, 1), slice(0, 1)).ravel(), [NAN, 1, 1, 2, 3, NAN]
    )


def test_no_field_of_a_later_time_can_change_what_a_frame_has() -> None:
    times, frames = (
        at("01:00", "02:00", "03:00"),
        np.random.default_rng(0).random((3, 2, 2), np.float32),
    )
    later = frames.copy()
    later[2] = 1e9
    past = at("02:00", "02:30", "02:55")
    one, other = (
        Fields({**WAVES["time_of_day"], "cloud": Field(values, times, HOUR)}).read(
            past, 3, slice(0, 2), slice(0, 2)
        )
        for values in (frames, later)
    )
    assert np.array_equal(one, other)


def test_a_field_of_another_period_is_missing_everywhere() -> None:
    nothing = Field(np.empty((0, 2, 2), np.float32), at(), HOUR)
    assert np.isnan(nothing.at(at("01:00"), slice(0, 2), slice(0, 2))).all()


# ---- what is known ahead


def runs() -> FieldAhead:
    """Runs at 00:00 and 06:00 of hourly leads 0 to 2; frame = 10 × run + lead."""
    frames = np.array([0, 1, 2, 10, 11, 12], np.float32).reshape(6, 1, 1)
    leads = np.arange(3) * HOUR.astype("timedelta64[ns]")
    return FieldAhead(frames, at("00:00", "06:00"), leads, HOUR, 8 * HOUR)


@pytest.mark.parametrize(
    ("reference", "times", "expected"),
    [
        ("00:59", ("01:00",), [NAN]),  # the run of 00:00 is there an hour later
        ("01:00", ("01:05", "02:00", "02:55"), [1, 2, 2]),
        ("02:00", ("03:00", "03:05"), [2, NAN]),  # beyond its last lead
        ("06:59", ("07:00",), [NAN]),  # the newer run is not there, the older one is over
        ("07:00", ("07:05", "08:00"), [11, 12]),
        ("15:00", ("15:05",), [NAN]),  # too old
    ],
)
def test_of_forecasts_ahead_the_newest_run_that_is_there_holds_at_each_lead_time(
    reference: str, times: tuple[str, ...], expected: list[float]
) -> None:
    here = slice(0, 1), slice(0, 1)
    known = runs().at_leads(at(reference)[0], at(*times), *here)
    np.testing.assert_array_equal(known.ravel(), expected)


def test_a_window_has_fields_ahead_in_its_future_and_the_model_sees_no_rain_of_it() -> None:
    fields = Fields({}, {**WAVES["time_of_day"], "nwp": runs()})
    known = fields.read(at("00:00", "01:00", "02:00"), 2, slice(0, 1), slice(0, 1))
    np.testing.assert_allclose(known[:2], NAN)
    np.testing.assert_allclose(known[2].ravel(), [0.5, math.sqrt(0.75), 2], rtol=1e-6)
    inputs = Inputs(ahead=(*CLOCK, Channel("nwp", 1.0, 2.0)))
    window = torch.cat([torch.ones(3, 1, 1, 1), torch.from_numpy(known)], dim=1)[None]
    seen = inputs.window(window, 2)
    np.testing.assert_array_equal(seen[0, :, 0].ravel(), [1, 1, NAN])
    batch = build_batch(window, SCALING, 2, inputs)
    assert batch.past.shape == (1, 2, 1, 1, 1) and batch.ahead is not None
    np.testing.assert_allclose(batch.ahead.ravel(), [0.5, math.sqrt(0.75), 0.5], rtol=1e-6)
    assert build_batch(window[:, :, :1], SCALING, 2).ahead is None


# ---- large fields


def test_a_large_field_is_unpacked_once_and_reads_as_a_small_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = np.random.default_rng(0).random((7, 3, 4), np.float32)
    frames[2, 1] = NAN
    reads = []

    def read(first: int, last: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
        reads.append((first, last))
        return frames[first:last]

    assert np.array_equal(hold(read, frames.shape, tmp_path, "a"), frames, equal_nan=True)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(fields, "SMALL_BYTES", 100)  # two frames
    reads.clear()
    for _ in range(2):
        held = hold(read, frames.shape, tmp_path, "a")
        assert isinstance(held, StoredArray) and np.array_equal(held, frames, equal_nan=True)
    assert reads == [(0, 2), (2, 4), (4, 6), (6, 7)]
    times, corner = (
        np.arange(7).astype("datetime64[h]").astype("datetime64[ns]"),
        (slice(1, 3), slice(0, 2)),
    )
    small, large = (
        Field(values, times, HOUR).at(times[[6, 1, 2]], *corner) for values in (frames, held)
    )
    assert np.array_equal(small, large, equal_nan=True) and np.array_equal(
        small[0], frames[6, 1:3, :2]
    )
    hold(read, frames.shape, tmp_path, "b")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_unpacked_field_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fields, "SMALL_BYTES", 0)
    frames = np.zeros((2, 3, 4), np.float32)
    hold(lambda first, last: frames[first:last], frames.shape, tmp_path, "a")
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"\x93NUMPY")
    with pytest.raises(DataError, match="delete"):
        hold(lambda first, last: frames[first:last], frames.shape, tmp_path, "a")
