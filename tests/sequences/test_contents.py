"""An archive is known by what it holds."""

import os
import shutil

import pytest

from nowcast import files
from nowcast.errors import MissingInputError
from nowcast.sequences import contents
from nowcast.sequences.contents import contents_of


@pytest.fixture
def archive(tmp_path):
    (tmp_path / "archive" / "may").mkdir(parents=True)
    (tmp_path / "archive" / "a.h5").write_bytes(b"first")
    (tmp_path / "archive" / "may" / "b.h5").write_bytes(b"second")
    return tmp_path / "archive"


@pytest.fixture
def hashed(monkeypatch):
    """The names of the files that are read, while they are thought settled at once."""
    read = []
    monkeypatch.setattr(contents, "_SETTLED_SECONDS", -1.0)
    monkeypatch.setattr(
        contents, "sha256", lambda path: (read.append(path.name), files.sha256(path))[1]
    )
    return read


def everything(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_moved_or_touched_archive_is_the_same(archive, tmp_path):
    before = contents_of(everything(archive), tmp_path / "cache")
    os.utime(archive / "a.h5", (0, 0))
    assert contents_of(everything(archive), tmp_path / "cache") == before
    moved = shutil.move(archive, tmp_path / "elsewhere")
    assert contents_of(everything(moved), tmp_path / "cache") == before
    assert contents_of(reversed(everything(moved)), tmp_path / "other") == before


def test_changed_content_and_other_names_are_not(archive, tmp_path):
    before = contents_of(everything(archive), tmp_path / "cache")
    times = (archive / "a.h5").stat()
    (archive / "a.h5").write_bytes(b"fIrst")
    os.utime(archive / "a.h5", ns=(times.st_atime_ns, times.st_mtime_ns))
    changed = contents_of(everything(archive), tmp_path / "cache")
    (archive / "a.h5").rename(archive / "c.h5")
    renamed = contents_of(everything(archive), tmp_path / "cache")
    assert len({before, changed, renamed, contents_of([archive / "c.h5"], tmp_path / "cache")}) == 4


def test_the_log_tells_how_much_is_read(archive, tmp_path, caplog):
    caplog.set_level("INFO")
    (archive / "a.h5").write_bytes(bytes(1_500_000))
    contents_of(everything(archive), tmp_path / "cache")
    contents_of([archive / "a.h5"], tmp_path / "cache")
    assert caplog.messages == [
        "computing the checksum of 2 files (1.5 MB)",
        "computing the checksum of 1 file (1.5 MB)",
    ]


def test_two_files_that_change_places_are_another_archive(archive, tmp_path):
    before = contents_of(everything(archive), tmp_path / "cache")
    (archive / "a.h5").write_bytes(b"second")
    (archive / "may" / "b.h5").write_bytes(b"first")
    assert contents_of(everything(archive), tmp_path / "cache") != before


def test_a_single_file_may_change_its_name(archive, tmp_path):
    before = contents_of([archive / "a.h5"], tmp_path / "cache")
    (archive / "a.h5").rename(archive / "c.h5")
    assert contents_of([archive / "c.h5"], tmp_path / "cache") == before


def test_a_folder_stands_for_all_its_files(archive, tmp_path):
    before = contents_of([archive], tmp_path / "cache")
    assert before == contents_of(everything(archive), tmp_path / "cache")
    (archive / "may" / "d").write_bytes(b"")
    assert contents_of([archive], tmp_path / "cache") != before


def test_files_are_read_once_until_one_is_touched(archive, tmp_path, hashed):
    first = contents_of(everything(archive), tmp_path / "cache")
    assert hashed == ["a.h5", "b.h5"]
    assert contents_of(everything(archive), tmp_path / "cache") == first
    assert hashed == ["a.h5", "b.h5"]
    os.utime(archive / "a.h5", (0, 0))
    assert contents_of(everything(archive), tmp_path / "cache") == first
    assert len(hashed) == 4


def test_a_note_cut_short_is_not_believed(archive, tmp_path, hashed):
    first = contents_of(everything(archive), tmp_path / "cache")
    (note,) = (tmp_path / "cache").iterdir()
    note.write_text("")
    assert contents_of(everything(archive), tmp_path / "cache") == first
    assert len(hashed) == 4


def test_files_changed_a_moment_ago_are_read_again(archive, tmp_path):
    contents_of(everything(archive), tmp_path / "cache")
    # nothing is remembered of what may change within the same tick of the clock
    assert not (tmp_path / "cache").exists()


def test_of_several_files_the_one_that_is_not_there_is_named(archive, tmp_path):
    there = sorted(archive.iterdir())
    with pytest.raises(MissingInputError, match=r"gone\.h5: cannot be read"):
        contents_of([there[0], archive / "gone.h5", there[-1]], tmp_path)


def test_a_file_that_is_not_there_is_said(archive, tmp_path):
    with pytest.raises(MissingInputError, match="a.h5: cannot be read"):
        (archive / "a.h5").unlink()
        contents_of([archive / "may" / "b.h5", archive / "a.h5"], tmp_path)
