import logging

import numpy as np
import pytest

from nowcast.errors import DataError
from nowcast.radar.times import onto_clock, show, timestep_of


def at(*seconds):
    return np.datetime64("2020-01-01T12:00", "ns") + np.array(seconds, dtype="timedelta64[s]")


def put(times):
    return onto_clock(times, timestep_of(times), ["f.nc"] * len(times))


def test_the_timestep_is_the_most_common_spacing_so_gaps_do_not_change_it():
    assert timestep_of(at(0, 300, 600, 3600, 3900, 86400)) == 5.0
    assert timestep_of(at(600, 0, 300)) == 5.0  # in any order
    assert timestep_of(at(0, 30, 60)) == 0.5
    assert timestep_of(at(0, 301, 602)) == pytest.approx(301 / 60)
    assert np.isnan(timestep_of(at(0)))


def test_jitter_up_to_thirty_seconds_is_put_right_and_said(caplog):
    with caplog.at_level(logging.WARNING):
        assert put(at(-20, 310, 590, 900)).tolist() == at(0, 300, 600, 900).tolist()
    assert "3 of 4 frame times" in caplog.text
    assert "f.nc" in caplog.text


def test_a_regular_clock_off_the_hour_is_kept_in_silence(caplog):
    times = at(120, 420, 720)  # 12:02, 12:07, 12:12
    assert put(times).tolist() == times.tolist()
    assert not caplog.records


def test_a_first_frame_out_of_line_does_not_move_the_others():
    assert put(at(130, 420, 720, 1020)).tolist() == at(120, 420, 720, 1020).tolist()


def test_a_frame_between_two_ticks_is_refused_by_name():
    with pytest.raises(
        DataError, match=r"f\.nc: the frame of 2020-01-01T12:12 does not fit the 5-minute spacing"
    ):
        put(at(0, 300, 600, 720, 900))


def test_ten_minute_gaps_in_five_minute_frames_are_fine_but_not_the_other_way():
    assert put(at(0, 300, 600, 1200, 1800)).size == 5
    with pytest.raises(DataError):
        put(at(0, 600, 1200, 1800, 2400, 2700))


def test_times_are_shown_without_empty_seconds():
    assert show(at(0)[0]) == "2020-01-01T12:00"
    assert show(at(5)[0]) == "2020-01-01T12:00:05"
