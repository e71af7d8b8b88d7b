"""What tests share: a small radar file, a model trained on it, and the command line run in this process."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers import SPLITS, TINY, Outcome


@pytest.fixture(scope="session")
def radar_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight hours of synthetic rain, 34 × 41 pixels, of which some are not covered."""
    from nowcast.radar import write_synthetic

    path = tmp_path_factory.mktemp("radar") / "rain.nc"
    write_synthetic(path, 96, 34, 41, seed=3, start="2020-01-01", coverage=True)
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Run `nowcast …` in this process."""
    return lambda *words: run_here(capsys, monkeypatch, words)


def run_here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> Outcome:
    from nowcast.cli import main

    monkeypatch.setattr(sys, "argv", ["nowcast", *words])
    capsys.readouterr()
    before = logging.root.handlers[:], logging.root.level
    with pytest.raises(SystemExit) as stop:
        main()
    logging.root.handlers[:], level = before
    logging.root.setLevel(level)
    captured = capsys.readouterr()
    return Outcome(int(stop.value.code or 0), captured.out, captured.err)


@pytest.fixture(scope="session")
def trained(radar_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a finished training run on `radar_file`."""
    import subprocess

    folder = tmp_path_factory.mktemp("run")
    words = ["train", *TINY, "data=radar", f"data.path={radar_file}", *SPLITS, f"output={folder}", f"data.cache={folder}/cache"]
    subprocess.run(
        [sys.executable, "-m", "nowcast", *words], check=True, env={**os.environ, "PYTHONWARNINGS": "error"}, cwd=folder
    )
    yield folder
