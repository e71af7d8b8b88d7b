"""A reader of an installed package is one of the readers, without a line changed here."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from packages import install

from nowcast.errors import ConfigError, DataError, MissingLibraryError
from nowcast.radar import open_grid
from nowcast.radar.finding.files import find_files
from nowcast.radar.reading.file import ReadOptions
from nowcast.radar.reading.formats import FORMATS, describe_file, formats

PACKAGE = '''
"""Rain as text: RAIN, a time, and rows of mm/h; -1 is missing."""
import numpy as np
from nowcast.radar.reading.file import Layout, RadarFile
from nowcast.radar.reading.formats import Format

text_rain = Format(
    "rain as text", (".rain",), lambda path, start: start.startswith(b"RAIN"), module=__name__
)


def _rates(path):
    return np.loadtxt(path, skiprows=2, ndmin=2)[None]


def describe(path, options):
    time = np.array([path.read_text().split()[1]], "datetime64[ns]")
    layout = Layout("rain", _rates(path).shape[1:], "mm h-1")
    return RadarFile(path, "text_rain", layout, time, {}, {"institution": "us"})


def read(request):
    rates = _rates(request.file.path)[request.box]
    return np.where(rates < 0, np.nan, rates)
'''


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_this_process: None) -> Iterator[Path]:
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    yield site
    sys.modules.pop("tenlines", None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    for minute in (0, 5):
        text = f"RAIN\n2020-01-01T12:{minute:02}\n0 1.5 -1\n0 {minute} 2\n"
        (folder / f"{minute}.rain").write_text(text)
    return folder


def test_a_file_of_the_new_format_is_found_told_and_read(site: Path, folder: Path) -> None:
    install(site, "nowcast.readers", "text_rain", PACKAGE)
    (folder / "notes.txt").write_text("no rain")
    grid = open_grid(folder)
    rate = grid["precipitation_rate"]
    np.testing.assert_array_equal(rate, [[[0, 1.5, np.nan], [0, k, 2]] for k in (0, 5)])
    np.testing.assert_array_equal(rate[1, 1:, 1:], [[5, 2]])
    assert str(rate["time"].values[1]) == "2020-01-01T12:05:00.000000000"
    assert [path.name for path in find_files(folder, None, "text_rain")] == ["0.rain", "5.rain"]
    assert [*formats()] == ["text_rain", *FORMATS]


def test_inspect_reads_it_in_a_process_of_its_own(site: Path, folder: Path) -> None:
    install(site, "nowcast.readers", "text_rain", PACKAGE)
    done = subprocess.run(
        [sys.executable, "-m", "nowcast", "inspect", str(folder)],
        capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(site)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "rain as text" in done.stdout and "2 × 3 pixels" in done.stdout


def test_without_the_package_its_format_is_unknown(folder: Path, in_this_process: None) -> None:
    with pytest.raises(DataError, match="not a radar file that nowcast recognizes"):
        describe_file(folder / "0.rain", ReadOptions())
    with pytest.raises(ConfigError, match="data.format: 'text_rain' is unknown; choose auto, odim"):
        describe_file(folder / "0.rain", ReadOptions(format="text_rain"))


def test_a_package_that_cannot_be_used_is_named_and_leaves_our_formats(
    site: Path, folder: Path, radar_file: Path
) -> None:
    install(site, "nowcast.readers", "text_rain", "text_rain = 'rain as text'")
    words = "text_rain: the entry in nowcast.readers of the package tenlines 1.0 is not a Format"
    with pytest.raises(MissingLibraryError, match=words):
        describe_file(folder / "0.rain", ReadOptions())
    assert describe_file(radar_file, ReadOptions(format="netcdf")).format == "netcdf"


@pytest.mark.parametrize("function", ["describe", "read"])
def test_a_reader_that_fails_is_told_of_its_package(
    site: Path, folder: Path, function: str
) -> None:
    broken = PACKAGE.replace(f"def {function}(", f"def {function}(*_):\n    {{}}['x']\n\n\ndef _(")
    install(site, "nowcast.readers", "text_rain", broken)
    words = r"0.rain: the reader text_rain of the package tenlines 1.0 fails \(KeyError: 'x'\)"
    with pytest.raises(DataError, match=words):
        open_grid(folder / "0.rain").load()
