"""A problem with a file is raised, or recorded and the series is built without that file."""

import numpy as np
import pytest

from nowcast.errors import DataError
from nowcast.radar.reading.options import ReadOptions
from nowcast.radar.series.building import build_series
from nowcast.radar.series.describing import KnownFiles, Problem, alike_files, describe_files


def test_a_file_off_the_clock_is_raised_or_noted_and_left_out(write, ramp):
    paths = [write("a.nc", ramp), write("b.nc", ramp[:1], np.array([32]))]
    files = list(describe_files(paths, KnownFiles(ReadOptions()).describe))
    with pytest.raises(DataError, match=r"b\.nc: .* does not fit the 5-minute spacing"):
        build_series(files, ReadOptions())
    problems: list[Problem] = []
    series = build_series(files, ReadOptions(), on_bad=problems.append)
    assert [file.path.name for file in series.files] == ["a.nc"] and series.times.size == 6
    assert [problem.path.name for problem in problems] == ["b.nc"]
    assert problems[0].reason.startswith("the frame of 2020-01-01T00:32 does not fit")


def test_what_cannot_be_described_and_what_is_of_another_grid_is_noted(write, ramp, tmp_path):
    paths = [
        write("a.nc", ramp[:, :2]),
        write("b.nc", ramp),
        write("c.nc", ramp, np.arange(6) + 90),
    ]
    (tmp_path / "d.nc").write_bytes(b"")
    problems: list[Problem] = []
    known = KnownFiles(ReadOptions())
    files = describe_files([*paths, tmp_path / "d.nc"], known.describe, problems.append)
    assert [file.path.name for file in alike_files(files, problems.append)] == ["b.nc", "c.nc"]
    assert [problem.path.name for problem in problems] == ["d.nc", "a.nc"]


def test_a_file_is_described_again_once_it_has_changed(write, ramp):
    known, path = KnownFiles(ReadOptions()), write("a.nc", ramp)
    first = known.describe(path)
    assert known.describe(path) is first
    path.unlink()
    write("a.nc", ramp[:4])
    assert known.describe(path).times.size == 4
