import numpy as np
import pytest
from pytest import approx

from nowcast.forecast.plausibility import wet_share
from nowcast.radar import ReadOptions
from nowcast.radar.inspection import survey as survey_module
from nowcast.radar.inspection.inspection import Gap, Jump, inspect_frames, look_at
from nowcast.radar.inspection.survey import blocks_of, group_files, look_through
from nowcast.radar.placing.georeference import (
    axis_in_degrees,
    axis_in_metres,
    grid_mapping_from_proj,
)
from nowcast.radar.placing.place import crs_in_words, first_row, pixel_size
from nowcast.radar.store.speckle import remove_speckle

START = np.datetime64("2020-01-01T00:00", "ns")


def at(minutes):
    return START + np.timedelta64(int(minutes), "m")


def looked(rates, minutes=None, max_rate=1000.0, above="mask"):
    """Frames from (time, y, x), every 5 minutes unless said."""
    minutes = np.arange(len(rates)) * 5 if minutes is None else minutes
    return [
        look_at(at(k), np.asarray(rate, np.float32), max_rate, above)
        for k, rate in zip(minutes, rates, strict=True)
    ]


def inspected(rates, minutes=None, **limit):
    rates = np.asarray(rates)
    return inspect_frames(looked(rates, minutes, **limit), rates[0].size)


def rain(*means, noise=True):
    """Frames of 10 × 10 wet pixels with these means, each unlike any other."""
    random = np.random.default_rng(0)
    shape = (
        random.uniform(0.5, 1.5, (len(means), 10, 10)) if noise else np.ones((len(means), 10, 10))
    )
    return np.array(means)[:, None, None] * shape / shape.mean(axis=(1, 2), keepdims=True)


def test_shares_and_the_maximum_by_hand():
    nan = np.nan
    found = inspected([[[nan, 0, 0.1, 0.2]], [[nan, nan, 5, 7]]])
    assert found.missing_share == 3 / 8
    assert found.wet_share == 4 / 5
    assert (found.maximum, found.maximum_time) == (7, at(5))
    assert (found.frames, found.start, found.end, found.timestep_minutes) == (2, at(0), at(5), 5)


def test_a_pixel_of_a_tenth_of_a_millimetre_is_wet_here_as_everywhere():
    rate = np.float32([[0.0999, 0.1, 0.11]])
    assert look_at(START, rate, 1000, "mask").wet == 2
    assert (remove_speckle(rate, 1)[1], wet_share(rate)) == (0, approx(2 / 3))
    assert remove_speckle(np.float32([[0.1, 0.0]]), 1)[1] == 1


def test_coverage_that_changes_by_less_than_a_hundredth_is_no_suspicion():
    def covering(*pixels):
        frame = np.ones((40, 50))
        for row, column in pixels:
            frame[row, column] = np.nan
        return frame

    whole, one = covering(), covering((3, 3))
    radar, other = (
        covering(*np.ndindex(20, 1)),
        covering(*((39 - row, 49 - column) for row, column in np.ndindex(20, 1))),
    )
    assert inspected([whole, one, whole]).mask_changes == ()
    assert inspected([whole, radar, radar, whole]).mask_changes == (at(5), at(15))
    assert inspected([radar, other]).mask_changes == (at(5),)  # as many pixels, elsewhere
    few = np.full((40, 50), np.nan)
    few[:2, :10] = 1
    fewer = few.copy()
    fewer[0, 0] = np.nan  # of 20 that are covered
    assert inspected([few, fewer]).mask_changes == (at(5),)


def test_the_mean_leaves_missing_pixels_out():
    assert look_at(START, np.float32([[np.nan, 1, 3]]), 1000, "mask").mean == 2


def test_gaps_are_counted_in_frames():
    found = inspected(rain(*[1] * 5), [0, 5, 10, 30, 40])
    assert found.gaps == (Gap(at(15), at(25), 3), Gap(at(35), at(35), 1))
    assert found.missing_frames == 4


def test_a_time_that_comes_again_is_equal_or_differing():
    rates = rain(1, 1, 1)
    found = inspected([*rates, rates[1], rates[0]], [0, 5, 10, 5, 10])
    assert (found.same_time_equal, found.same_time_differing) == ((at(5),), (at(10),))
    assert found.frames == 3


def test_a_frame_that_equals_the_one_before_is_frozen_unless_dry_or_apart():
    rates = rain(1, 1, 1)
    dry = np.zeros((10, 10))
    found = inspected([rates[0], rates[0], rates[1], rates[1], dry, dry], [0, 5, 10, 30, 35, 40])
    assert found.frozen == (at(5),)
    assert found.dry == (at(35), at(40))


def test_minus_zero_is_zero_and_any_nan_is_missing():
    a, b = looked([[[0.0, np.nan]], [[-0.0, -np.nan]]])
    assert a.picture == b.picture


def test_frames_without_any_pixel_are_told():
    found = inspected([np.full((2, 2), np.nan), np.ones((2, 2))])
    assert (found.empty, found.mask_changes) == ((at(0),), (at(5),))
    assert (found.least_covered, found.most_covered) == (0, 1)
    nothing = inspected([np.full((2, 2), np.nan)])
    assert np.isnan(nothing.maximum) and np.isnan(nothing.wet_share) and nothing.missing_share == 1


def test_speckle_is_a_wet_pixel_among_eight_dry_ones():
    wet = np.zeros((5, 6), bool)
    # two corners are isolated, two others touch at a corner
    wet[0, 0] = wet[2, 2] = wet[3, 3] = wet[4, 5] = True
    assert inspected([wet * 1.0]).lone_share == 0.5


@pytest.mark.parametrize(("above", "maximum", "missing"), [("mask", 5, 0.5), ("clip", 100, 0.25)])
def test_impossible_rates_are_counted_before_they_are_masked(above, maximum, missing):
    found = inspected([[[5, 8647], [0, np.nan]]], max_rate=100, above=above)
    assert (found.high, found.highest, found.highest_time) == (1, 8647, at(0))
    assert (found.maximum, found.missing_share) == (maximum, missing)


def test_a_jump_by_a_factor_above_three_is_told():
    found = inspected(rain(1, 1.1, 1, 1.1, 4.4, 4, 4.4))
    assert found.jumps == (Jump(at(20), approx(4)),)


def test_a_jump_far_above_the_usual_is_told_and_one_within_it_is_not():
    steady = inspected(rain(*[1, 1.02] * 10, 2, 2.02))
    assert [jump.time for jump in steady.jumps] == [at(100)]
    assert inspected(rain(*[1, 2] * 10, 4)).jumps == ()


def test_no_jump_is_told_over_a_gap_nor_between_frames_almost_dry():
    assert inspected(rain(1, 1, 10, 10), [0, 5, 20, 25]).jumps == ()
    drops = np.zeros((2, 20, 20))
    drops[0, 0, 0], drops[1, 0, 0] = 1, 50  # one pixel of 400
    assert inspected(drops).jumps == ()


def test_a_habit_of_the_hour_is_told_by_its_minute():
    change = np.where(np.arange(12 * 60) % 12 == 10, 0.4, 0.1) * np.where(
        np.arange(12 * 60) % 2, 1, -1
    )
    change[np.arange(12 * 60) % 12 == 10] *= np.where(np.arange(60) % 2, 1, -1)
    found = inspected(rain(*np.exp(np.cumsum(change))))
    assert (found.jump_minute, found.jump_minute_ratio) == (50, approx(4))
    assert (
        inspected(
            rain(*np.exp(np.cumsum(np.abs(change) * 0 + 0.1 * (-1) ** np.arange(720))))
        ).jump_minute
        is None
    )


def test_times_of_no_one_spacing_are_told():
    found = inspected(rain(*[1] * 5), [0, 5, 10, 12, 17])
    assert found.off_clock == "frames are 2 to 5 minutes apart, most of them 5"
    assert inspected(rain(1, 1), [0, 5]).off_clock is None


def test_one_frame_has_no_spacing():
    found = inspected(rain(1))
    assert np.isnan(found.timestep_minutes) and found.gaps == () and found.jumps == ()


def test_files_are_grouped_by_grid_and_variable_and_what_cannot_be_read_is_listed(
    write, tmp_path, ramp
):
    write("a.nc", ramp)
    write("b.nc", ramp, np.arange(6) * 5 + 30)
    write("c.nc", ramp[:, :2])
    write("d.nc", ramp, variable="other")
    (tmp_path / "e.nc").write_bytes(b"")
    groups, unreadable = group_files(sorted(tmp_path.iterdir()), ReadOptions())
    assert [[file.path.name for file in group.files] for group in groups] == [
        ["a.nc", "b.nc"],
        ["c.nc"],
        ["d.nc"],
    ]
    assert [(one.path.name, one.reason) for one in unreadable] == [
        ("e.nc", "this file is empty; perhaps it is still being written.")
    ]


def test_a_bad_frame_is_listed_and_the_others_of_its_file_are_read(write, ramp):
    ramp[3, 1, 2] = -5
    groups, _ = group_files([write("a.nc", ramp)], ReadOptions())
    [(frames, unreadable)] = look_through(blocks_of(groups), ReadOptions(), 1)
    assert [frame.top for frame in frames] == [0, 1, 2, 4, 5]
    assert (
        len(unreadable) == 1
        and "is -5 at 2020-01-01T00:15 (row 1, column 2" in unreadable[0].reason
    )


def test_infinite_rates_are_impossible(write, ramp):
    ramp[1, 0, 0] = np.inf
    groups, _ = group_files([write("a.nc", ramp)], ReadOptions())
    [(frames, _)] = look_through(blocks_of(groups), ReadOptions(), 1)
    assert [frame.high for frame in frames] == [0, 1, 0, 0, 0, 0]


def test_the_result_does_not_depend_on_the_number_of_processes(write, tmp_path, ramp, monkeypatch):
    for k in range(4):
        write(f"{k}.nc", ramp + 10 * k, np.arange(6) * 5 + 30 * k)
    (tmp_path / "2.nc").write_bytes((tmp_path / "2.nc").read_bytes()[:-50])
    groups, _ = group_files(sorted(tmp_path.iterdir()), ReadOptions())
    alone = list(look_through(blocks_of(groups), ReadOptions(), 1))
    monkeypatch.setattr(survey_module, "_WORTH_A_PROCESS", 0)
    assert list(look_through(blocks_of(groups), ReadOptions(), 2)) == alone
    assert sum(len(frames) for frames, _ in alone) >= 18


def test_blocks_hold_a_bounded_number_of_pixels(write):
    groups, _ = group_files([write("a.nc", np.zeros((9, 1000, 1000), "u1"))], ReadOptions())
    sizes = [block.frames.stop - block.frames.start for block in blocks_of(groups)]
    assert sum(sizes) == 9 and max(sizes) * 8e6 <= 32 * 2**20


def test_a_grid_in_words():
    crs = grid_mapping_from_proj(
        "+proj=stere +lat_0=90 +lon_0=10 +lat_ts=60 +R=6370040 +units=m", "here"
    )
    place = {
        "x": axis_in_metres("x", [0, 500, 1000]),
        "y": axis_in_metres("y", [2000, 1000, 0]),
        "crs": crs,
    }
    assert pixel_size(place) == (1000, 500, "m")
    assert first_row(place) == "north"
    assert (
        crs_in_words(place)
        == "polar stereographic, true at 60°, meridian 10°, sphere of 6370.04 km"
    )


def test_a_grid_of_degrees_and_one_that_says_nothing_in_words():
    degrees = {
        "x": axis_in_degrees("x", [10, 10.01, 10.02]),
        "y": axis_in_degrees("y", [50, 50.01]),
    }
    assert pixel_size(degrees) == (0.01, 0.01, "degrees")
    assert (first_row(degrees), crs_in_words(degrees)) == ("south", "latitude and longitude")
    assert (pixel_size({}), first_row({}), crs_in_words({})) == (None, None, "not stated")
    assert pixel_size({**degrees, "x": axis_in_degrees("x", [0, 1, 3])}) is None
