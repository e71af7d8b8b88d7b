"""Remote Zarr stores have the same values as local ones; network errors are not dry weather."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from servers import FRAMES, RAIN, Web, write_zarr

from nowcast.errors import ConfigError, DataError, MissingInputError, TryLaterError
from nowcast.files import FileVersion
from nowcast.radar import RATE, find_files, open_grid
from nowcast.radar.remote.copies import fetched
from nowcast.radar.remote.path import RemotePath

Put = Callable[[Path, str], str]
RATES = (RAIN * 0.01).astype(np.float32)


def test_a_remote_path_keeps_both_slashes_and_joins_within_an_archive() -> None:
    path = RemotePath("https://host:80/a/b.zarr")
    assert str(path) == "https://host:80/a/b.zarr"
    assert str(path / "rain" / "c/0") == "https://host:80/a/b.zarr/rain/c/0"
    assert str(RemotePath("zip://in::s3://b/a.zip") / "rain") == "zip://in/rain::s3://b/a.zip"


@pytest.mark.parametrize(
    "form",
    [{}, {"version": 2}, {"sharded": True}],
    ids=["version 3", "version 2", "sharded"],
)
def test_a_store_over_http_holds_what_it_holds_here(web: Web, form: dict[str, bool]) -> None:
    write_zarr(web.folder / "rain.zarr", **form)  # type: ignore[arg-type]
    grid = open_grid(f"{web.address}/rain.zarr")
    assert np.array_equal(grid[RATE].values, RATES)
    assert grid["time"].values[-1] == np.datetime64("2020-01-01T02:25")
    assert web.count("rain.zarr/rain/") and not web.count("zarr/rain/", "PUT")


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("consolidated", [True, False])
def test_a_store_in_a_bucket_needs_no_consolidated_metadata(
    tmp_path: Path, s3: Put, version: int, consolidated: bool
) -> None:
    store = write_zarr(tmp_path / "rain.zarr", version, consolidated=consolidated)
    grid = open_grid(s3(store, f"{tmp_path.name}/rain.zarr"))
    assert np.array_equal(grid[RATE][7:11].values, RATES[7:11])


def test_a_store_over_http_without_them_is_refused_for_http_lists_nothing(web: Web) -> None:
    write_zarr(web.folder / "rain.zarr", consolidated=False)
    with pytest.raises(
        DataError, match=r"HTTP cannot list this store, .*zarr\.consolidate_metadata"
    ):
        open_grid(f"{web.address}/rain.zarr")


def test_a_store_in_an_archive_is_read_there(tmp_path: Path) -> None:
    write_zarr(tmp_path / "rain.zarr")
    archive = shutil.make_archive(str(tmp_path / "rain"), "zip", tmp_path / "rain.zarr")
    assert np.array_equal(open_grid(f"zip://::{archive}")[RATE].values, RATES)


def test_only_the_chunks_that_are_asked_for_are_fetched(web: Web) -> None:
    write_zarr(web.folder / "rain.zarr")
    frames = open_grid(f"{web.address}/rain.zarr")[RATE]
    assert web.count("/rain/c/") == 0
    frames[4:6].load()
    assert web.count("/rain/c/") == 2


def test_an_absent_chunk_reads_as_it_does_here(web: Web) -> None:
    """Chunk 2 of RAIN has rain on all sides, so it was lost, and is not dry."""
    store = write_zarr(web.folder / "rain.zarr")
    (store / "rain/c/2/0/0").unlink()
    there, here = (open_grid(path)[RATE].values for path in (f"{web.address}/rain.zarr", store))
    assert np.isnan(there[10:15]).all() and np.isfinite(there[:10]).all()
    assert np.array_equal(there, here, equal_nan=True)


@pytest.mark.parametrize("trouble", [500, "cut", 403])
def test_a_chunk_that_cannot_be_fetched_is_an_error_and_not_dry(
    web: Web, trouble: int | str
) -> None:
    write_zarr(web.folder / "rain.zarr")
    frames = open_grid(f"{web.address}/rain.zarr")[RATE]
    web.trouble["/rain/c/1/"] = trouble
    kind = MissingInputError if trouble == 403 else TryLaterError
    with pytest.raises(kind, match=r"^http://127.*rain\.zarr: the server "):
        frames[4:8].load()


def test_a_server_that_is_gone_is_an_error_for_a_store_that_is_open(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nowcast.radar.remote.servers.READING", 0.5)
    write_zarr(web.folder / "rain.zarr")
    frames = open_grid(f"{web.address}/rain.zarr")[RATE]
    web.trouble["/rain/c/"] = "slow"
    start = time.monotonic()
    with pytest.raises(TryLaterError, match="cannot be reached, or closed the connection"):
        frames[4:8].load()
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("address", "kind", "words"),
    [
        ("http://127.0.0.1:9/rain.zarr", TryLaterError, "cannot be reached"),
        ("http://127.0.0.1:9/rain.nc", TryLaterError, "cannot be reached"),
        ("{web}/nothing.zarr", MissingInputError, "no such file or store there; check the address"),
        ("{web}/nothing.nc", MissingInputError, "no such file or store there; check the address"),
        ("{web}/*.zarr", MissingInputError, "HTTP cannot list folders"),
        ("{web}/%Y/rain.nc", MissingInputError, "HTTP cannot list folders"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(
    web: Web, address: str, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words) as told:
        open_grid(address.format(web=web.address))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("file:///etc/passwd?sig=hunter2", "redirects to file:, which is not followed"),
        ("ftp://user:hunter2@host/x", "redirects to ftp:, which is not followed"),
        ("{web}/rain.nc", "redirects too often"),
    ],
)
@pytest.mark.parametrize("name", ["rain.nc", "rain"])
def test_a_redirection_that_is_not_followed_is_told(
    web: Web, target: str, words: str, name: str
) -> None:
    web.trouble["rain"] = f"to {target.format(web=web.address)}"
    with pytest.raises(MissingInputError, match=words) as told:
        open_grid(f"{web.address}/{name}")
    assert "hunter2" not in str(told.value)


def test_a_redirection_to_a_file_by_http_is_followed(web: Web, tmp_path: Path) -> None:
    (web.folder / "there").write_bytes(b"rain")
    web.trouble["rain.nc"] = f"to {web.address}/there"
    (copy,) = fetched(find_files(f"{web.address}/rain.nc"), tmp_path)
    assert copy.read_bytes() == b"rain"


def test_a_store_that_grows_is_another_version(web: Web) -> None:
    store = write_zarr(web.folder / "rain.zarr")
    path = RemotePath(f"{web.address}/rain.zarr")
    before = FileVersion.of(path)
    assert FileVersion.of(path) == before
    about = json.loads((store / "zarr.json").read_text())
    metadata = about["consolidated_metadata"]["metadata"]
    metadata["time"]["shape"] = [FRAMES + 1]
    (store / "zarr.json").write_text(json.dumps(about))
    assert FileVersion.of(path) != before


def test_pickled_numbers_of_a_server_are_refused(web: Web) -> None:
    store = write_zarr(web.folder / "rain.zarr", 2)
    about = json.loads((store / ".zmetadata").read_text())
    about["metadata"]["rain/.zarray"]["filters"] = [{"id": "pickle"}]
    (store / ".zmetadata").write_text(json.dumps(about))
    with pytest.raises(DataError, match="is pickled, which could run any code"):
        open_grid(f"{web.address}/rain.zarr")


def test_sizes_that_no_radar_has_are_refused(web: Web) -> None:
    store = write_zarr(web.folder / "rain.zarr")
    about = json.loads((store / "zarr.json").read_text())
    about["consolidated_metadata"]["metadata"]["rain"]["shape"] = [1, 10**6, 10**6]
    (store / "zarr.json").write_text(json.dumps(about))
    with pytest.raises(DataError, match="nowcast reads at most"):
        open_grid(f"{web.address}/rain.zarr")


def test_references_to_other_places_are_not_followed(web: Web, tmp_path: Path) -> None:
    """A list of references, as kerchunk writes it, is not a radar file."""
    (web.folder / "rain.json").write_text(
        json.dumps({"version": 1, "refs": {"rain/0.0.0": ["file:///etc/passwd", 0, 99]}})
    )
    with pytest.raises(ConfigError, match="nowcast does not support reference://"):
        find_files(
            f"reference://::{web.address}/rain.json".replace("reference://::", "reference://")
        )
