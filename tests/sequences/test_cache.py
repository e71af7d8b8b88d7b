"""The cache stays below its size: the least recently used series goes, never one in use, and
nothing that is not ours.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

from nowcast.files import only_writer
from nowcast.periods import parse_period
from nowcast.radar import build_grid
from nowcast.sequences import fields
from nowcast.sequences.cache import clean, series_in
from nowcast.sequences.packed import pack
from nowcast.sequences.stored import StoredArray

ALWAYS = parse_period("", ["1990-01-01", "2090-01-01"])
TIMES = np.datetime64("2020-06-01", "ns") + np.arange(10) * np.timedelta64(5, "m")
GRID = build_grid(np.ones((10, 40, 50), np.float32), TIMES, {}, {}, 5.0)
BYTES = 4 * 10 * 40 * 50
"""Of the frames of a series; its other files are smaller."""


def made(folder, *sources, limit_bytes=np.inf):
    """Make a series of each source, one after the other, none kept open. → their folders."""
    folders = []
    for k, source in enumerate(sources):
        path = pack(GRID, ALWAYS, folder, source, limit_bytes=limit_bytes).frames.path
        used(path, k)
        folders.append(path.parent)
    return folders


def used(path, hours):
    """Let a series have been made, and used, so many hours after the start of 2020."""
    for file in path.parent.iterdir():
        os.utime(file, (1577836800 + 3600 * hours,) * 2)


def test_the_least_recently_used_goes_first_and_a_use_counts(tmp_path):
    first, second, third = made(tmp_path, "a", "b", "c")
    before = os.stat(first / "frames.npy").st_mtime_ns
    pack(GRID, ALWAYS, tmp_path, "a")  # uses it again, and alters no time but that of access
    assert os.stat(first / "frames.npy").st_mtime_ns == before
    clean(tmp_path, 2.5 * BYTES)
    assert [folder.exists() for folder in (first, second, third)] == [True, False, True]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([first.name, third.name])


def test_a_new_series_makes_room_and_stays_itself_however_large(tmp_path):
    first, second = made(tmp_path, "a", "b")
    series = pack(GRID, ALWAYS, tmp_path, "c", limit_bytes=BYTES / 2)
    assert not first.exists() and not second.exists()
    assert np.array_equal(series.frames, GRID["precipitation_rate"].values)


def test_nothing_is_removed_where_no_new_series_is_made(tmp_path):
    first, _ = made(tmp_path, "a", "b")
    pack(GRID, ALWAYS, tmp_path, "b", limit_bytes=1)
    assert first.exists()


def test_a_large_field_counts_and_goes_like_a_series(tmp_path, monkeypatch):
    monkeypatch.setattr(fields, "SMALL_BYTES", 0)
    values = GRID["precipitation_rate"].values
    held = {
        name: fields.hold(lambda first, last: values[first:last], values.shape, tmp_path, name)
        for name in ("a", "b")
    }
    idle = held.pop("b").path
    used(idle, 0)
    clean(tmp_path, 1.5 * BYTES)
    assert not idle.exists() and held["a"].path.exists()
    clean(tmp_path, 0)  # in use
    assert np.array_equal(held["a"], values) and held["a"].path.exists()


HOLD = """
import sys
from nowcast.sequences.stored import StoredArray

array = StoredArray(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
print(float(array[9].sum()))
"""


def test_one_in_use_by_another_process_is_never_removed(tmp_path):
    first, second = made(tmp_path, "a", "b")
    command = [sys.executable, "-c", HOLD, str(first / "frames.npy")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "open\n"
        clean(tmp_path, 0)
        assert (first / "tiles.npy").exists() and not second.exists()
        assert other.communicate("\n")[0] == "2000.0\n"
    clean(tmp_path, 0)
    assert list(tmp_path.iterdir()) == []


def test_one_in_use_here_or_by_a_copy_in_a_worker_stays(tmp_path):
    (folder,) = made(tmp_path, "a")
    array = StoredArray(folder / "frames.npy")
    copy = object.__new__(StoredArray)
    copy.__setstate__(array.__getstate__())  # as a spawned worker is given it
    del array
    clean(tmp_path, 0)
    assert folder.exists()
    del copy
    clean(tmp_path, 0)
    assert not folder.exists()


def test_one_that_is_being_made_stays(tmp_path):
    (folder,) = made(tmp_path, "a")
    with only_writer(folder):
        clean(tmp_path, 0)
        assert folder.exists()


def test_what_a_killed_process_left_and_what_an_older_version_made_goes_too(tmp_path):
    left = tmp_path / "0123456789abcdef" / ".frames.npy.0badc0de.tmp"
    going = tmp_path / ".0123456789abcdef.0badc0de.tmp" / "frames.npy"
    for path in (left, going):
        path.parent.mkdir()
        path.write_bytes(b"part")
    older = [tmp_path / "fedcba9876543210.npy", tmp_path / "fedcba9876543210.statistics.npy"]
    for path in older:
        path.write_bytes(b"old")
    clean(tmp_path, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "fields/a.npy",
        "0123456789abcdef/mine.txt",
        "0123456789abcdef.npy.bak",
        f"{64 * 'a'}.contents",
    ],
)
def test_what_is_not_ours_is_never_touched(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x" * 1000)
    if path.parent != tmp_path:
        (path.parent / "frames.npy").write_bytes(b"x" * 1000)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert list(series_in(tmp_path)) == []
    clean(tmp_path, 0)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_a_link_to_a_series_elsewhere_is_not_ours(tmp_path):
    (folder,) = made(tmp_path / "elsewhere", "a")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / folder.name).symlink_to(folder)
    clean(tmp_path / "cache", 0)
    assert (tmp_path / "cache" / folder.name / "frames.npy").exists()


def test_a_series_that_goes_before_it_is_open_is_made_again(tmp_path, monkeypatch):
    from nowcast.sequences import packed

    (folder,) = made(tmp_path, "a")
    opened = packed._open

    def removed_meanwhile(path, *more):
        if not calls:
            clean(tmp_path, 0)
        calls.append(path)
        return opened(path, *more)

    calls = []
    monkeypatch.setattr(packed, "_open", removed_meanwhile)
    series = pack(GRID, ALWAYS, tmp_path, "a")
    assert len(calls) == 2 and series.frames.path.parent == folder and folder.exists()


def test_a_series_that_cannot_be_made_leaves_no_folder(tmp_path):
    def fail(done, of):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(GRID, ALWAYS, tmp_path / "data" / "cache", "a", fail)
    assert list(tmp_path.iterdir()) == []
