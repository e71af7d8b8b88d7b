"""What tests share: a small radar file, a model trained on it, and the command line run in this
process.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import SPLITS, TINY, Outcome, exit_code
from hypothesis import settings

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before any test imports ONNX Runtime

# The same examples in every run, and no limit of time for one: a busy machine is no failure.
settings.register_profile("nowcast", derandomize=True, deadline=None)
settings.load_profile("nowcast")


@pytest.fixture(scope="session")
def radar_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight hours of synthetic rain, 34 × 41 pixels, of which some are not covered."""
    from nowcast.radar import write_synthetic

    path = tmp_path_factory.mktemp("radar") / "rain.nc"
    write_synthetic(path, 96, 34, 41, seed=3, start="2020-01-01", coverage=True)
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run `nowcast …` in this process."""

    def run_here(*words: str) -> Outcome:
        capsys.readouterr()
        code = exit_code(*words)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run_here


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is drawn, which takes as long as all the rest; for tests that look at no picture."""
    monkeypatch.setattr("nowcast.report.pictures.canvas.save", lambda figure, path: Path(path))


@pytest.fixture(scope="session")
def trained(radar_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished training run on `radar_file`."""
    folder = tmp_path_factory.mktemp("run")
    data = ["data=radar", f"data.path={radar_file}", *SPLITS, f"data.cache={folder}/cache"]
    assert exit_code("train", *TINY, *data, f"output={folder}") == 0
    return folder


@pytest.fixture(scope="session")
def mine(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages' Python needs: archive/rain.nc and runs/mine/best.pt."""
    from nowcast.radar import Weather, write_synthetic

    folder, rainy = tmp_path_factory.mktemp("mine"), Weather(wet_share=0.5)
    write_synthetic(folder / "archive/rain.nc", 25, 34, 41, weather=rainy, start="2018-05-18T14:00")
    (folder / "runs/mine").mkdir(parents=True)
    (folder / "runs/mine/best.pt").symlink_to(trained / "best.pt")
    return folder


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read in this process, so that what a test changes in it counts."""
    monkeypatch.setattr("nowcast.untrusted.isolation._state.is_inside", True)
