"""Remote files: fetched once, completely or not at all, into a folder of limited size."""

import errno
import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from servers import Web

from nowcast.errors import ConfigError, InputOutputError, MissingInputError, TryLaterError
from nowcast.radar import find_files, open_grid, write_synthetic
from nowcast.radar.remote.copies import fetched

Put = Callable[[Path, str], str]


def names_in(folder: Path) -> set[str]:
    """All files, except those that list the copies in use."""
    return {
        path.name
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".using-")
    }


def test_a_file_is_fetched_once_until_it_changes(web: Web, tmp_path: Path) -> None:
    (web.folder / "rain.nc").write_bytes(b"first")
    paths = find_files(f"{web.address}/rain.nc")
    (copy,) = fetched(paths, tmp_path)
    assert copy.name == "rain.nc" and copy.read_bytes() == b"first"
    assert fetched(paths, tmp_path) == [copy] and web.count("rain.nc") == 1
    (web.folder / "rain.nc").write_bytes(b"second")
    assert fetched(paths, tmp_path) == [copy]
    assert copy.read_bytes() == b"second" and web.count("rain.nc") == 2


def test_a_copy_that_was_cut_short_is_fetched_again(web: Web, tmp_path: Path) -> None:
    (web.folder / "rain.nc").write_bytes(b"all of it")
    paths = find_files(f"{web.address}/rain.nc")
    (copy,) = fetched(paths, tmp_path)
    copy.write_bytes(b"all")
    assert fetched(paths, tmp_path)[0].read_bytes() == b"all of it"


@pytest.mark.parametrize(
    ("trouble", "kind", "words"),
    [
        (404, MissingInputError, "no such file"),
        (403, MissingInputError, "the server denies access"),
        (500, TryLaterError, "the server answers 500; try again later"),
        ("cut", TryLaterError, "cannot be reached, or closed the connection"),
    ],
)
def test_what_a_server_does_not_give_leaves_nothing_behind(
    web: Web, tmp_path: Path, trouble: int | str, kind: type[Exception], words: str
) -> None:
    (web.folder / "rain.nc").write_bytes(b"x" * 100_000)
    web.trouble["rain.nc"] = trouble
    with pytest.raises(kind, match=words):
        fetched(find_files(f"{web.address}/rain.nc"), tmp_path / "cache")
    assert names_in(tmp_path / "cache") == set()


def test_the_least_recently_used_copies_go(web: Web, tmp_path: Path) -> None:
    from nowcast.radar.remote import copies

    for k in range(4):
        (web.folder / f"{k}.nc").write_bytes(bytes(1000))
    for k in (0, 1, 2):
        copies._session.used.clear()  # as another process
        (copy,) = fetched(find_files(f"{web.address}/{k}.nc"), tmp_path / "cache", 3.5e-6)
        os.utime(copy, (k, k))
    copies._session.used.clear()
    fetched(find_files(f"{web.address}/3.nc"), tmp_path / "cache", 3.5e-6)
    assert {name for name in names_in(tmp_path / "cache") if not name.startswith(".")} == {
        "1.nc", "2.nc", "3.nc"
    }  # fmt: skip


def test_a_copy_that_a_process_uses_stays_and_what_does_not_fit_is_refused(
    web: Web, tmp_path: Path
) -> None:
    for k in range(2):
        (web.folder / f"{k}.nc").write_bytes(bytes(1000))
    (copy,) = fetched(find_files(f"{web.address}/0.nc"), tmp_path, 1.5e-6)
    with pytest.raises(ConfigError, match=r"1 file of 1e-06 GB .* does not fit"):
        fetched(find_files(f"{web.address}/1.nc"), tmp_path, 1.5e-6)
    assert copy.exists()


def test_what_would_never_fit_is_refused_before_any_copy_goes(web: Web, tmp_path: Path) -> None:
    from nowcast.radar.remote import copies

    for name, size in (("a", 1000), ("b", 1000), ("huge", 5000)):
        (web.folder / f"{name}.nc").write_bytes(bytes(size))
    kept = [fetched(find_files(f"{web.address}/{k}.nc"), tmp_path, 2.5e-6)[0] for k in "ab"]
    copies._session.used.clear()  # as another process
    with pytest.raises(ConfigError, match=r"^data\.cache_gb: 1 file of 5e-06 GB") as told:
        fetched(find_files(f"{web.address}/huge.nc"), tmp_path, 2.5e-6)
    assert f"{web.address}/huge.nc" in str(told.value)
    assert all(copy.exists() for copy in kept)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_no_fault_of_the_file(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    from fsspec.implementations.http import HTTPFileSystem

    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    (web.folder / "rain.nc").write_bytes(b"rain")
    monkeypatch.setattr(HTTPFileSystem, "get_file", full)
    with pytest.raises(InputOutputError, match=r"^data\.cache: .*/cache: no space left") as told:
        fetched(find_files(f"{web.address}/rain.nc"), tmp_path / "cache")
    assert f"{web.address}/rain.nc" in str(told.value)
    assert names_in(tmp_path / "cache") == set()


def test_the_note_of_a_dead_process_keeps_nothing(web: Web, tmp_path: Path) -> None:
    from nowcast.radar.remote import copies

    for k in range(2):
        (web.folder / f"{k}.nc").write_bytes(bytes(1000))
    (copy,) = fetched(find_files(f"{web.address}/0.nc"), tmp_path, 1.5e-6)
    copies._session.used.clear()
    note = tmp_path / "copies/.using-00000000"
    note.write_text(str(copy))
    with open(note) as held:  # as by a living one
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="does not fit"):
            fetched(find_files(f"{web.address}/1.nc"), tmp_path, 1.5e-6)
    fetched(find_files(f"{web.address}/1.nc"), tmp_path, 1.5e-6)
    assert not copy.exists() and not note.exists()


def test_two_that_fetch_one_file_at_once_fetch_it_once(web: Web, tmp_path: Path) -> None:
    (web.folder / "rain.nc").write_bytes(bytes(100_000))
    paths = find_files(f"{web.address}/rain.nc")
    found: list[list[Path]] = []
    threads = [
        threading.Thread(target=lambda: found.append(fetched(paths, tmp_path))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1] and web.count("rain.nc") == 1


def test_a_bucket_is_listed_as_a_folder_is(tmp_path: Path, s3: Put) -> None:
    key = tmp_path.name
    for day in (1, 2):
        write_synthetic(
            tmp_path / f"2020/rain_202001{day:02}.nc", 4, 8, 8, start=f"2020-01-{day:02}T00:00"
        )
    (tmp_path / "2020/notes.txt").write_text("no radar")
    s3(tmp_path / "2020", f"{key}/2020")
    root = f"s3://radar/{key}"
    both = ["rain_20200101.nc", "rain_20200102.nc"]
    for path in (root, f"{root}/2020", f"{root}/*/*.nc", f"{root}/%Y/rain_%Y%m%d.nc"):
        assert [one.name for one in find_files(path)] == both, path
    second = np.datetime64("2020-01-02T12:00", "ns"), np.datetime64("2020-01-02T13:00", "ns")
    assert [one.name for one in find_files(f"{root}/%Y/rain_%Y%m%d.nc", second)] == both[1:]


def test_a_file_of_a_bucket_is_what_it_is_here(
    tmp_path: Path, s3: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_synthetic(tmp_path / "rain.nc", 4, 8, 8)
    grid = open_grid(s3(tmp_path / "rain.nc", f"{tmp_path.name}/rain.nc"))
    assert grid.drop_attrs().identical(open_grid(tmp_path / "rain.nc").drop_attrs())
