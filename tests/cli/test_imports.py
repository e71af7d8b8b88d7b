"""What `nowcast predict` imports: of what takes long, only what a forecast needs."""

import gc
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from nowcast.startup import without_garbage_collection

LOADED = """
import sys
from nowcast.cli import main
try:
    main()
finally:
    print(*sorted(sys.modules), sep="\\n")
"""

NEVER = {
    "torch._dynamo", "torch._inductor", "sympy", "matplotlib", "PIL", "scipy", "pyproj", "rasterio",
    "zarr", "eccodes", "pysteps", "keras", "cv2", "IPython",
    "nowcast.verification", "nowcast.training.loop", "nowcast.training.optimizers",
    "nowcast.commands.train", "nowcast.commands.evaluate",
}  # fmt: skip
"""Neither for a forecast nor to see that it is there: PyTorch's compiler alone takes as long as
the rest.
"""


def loaded_by(*words: str) -> set[str]:
    """The modules that `nowcast …` has imported when it ends well."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *words], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split("\n"))


@pytest.fixture(scope="module")
def words(radar_file: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    output = tmp_path_factory.mktemp("imports") / "forecast.nc"
    return [
        "predict", f"checkpoint={trained}/best.pt", f"data.path={radar_file}",
        "at=2020-01-01T06:00", f"output={output}", "device=cpu", "precision=fp32",
        "max_wet_ratio=1e9",
    ]  # fmt: skip


def test_what_was_imported_is_never_looked_through_again_and_rubbish_stays_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "never_seen_before.py").write_text("many = [[] for _ in range(1000)]\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("nowcast.startup.is_ours", True)
    try:
        before = gc.get_freeze_count()
        with without_garbage_collection():
            assert not gc.isenabled()
            import_module("never_seen_before")
        frozen = gc.get_freeze_count()
        assert gc.isenabled() and frozen >= before + 1000
        with without_garbage_collection():
            import_module("never_seen_before")
        assert gc.get_freeze_count() <= frozen
    finally:
        gc.unfreeze()
        del sys.modules["never_seen_before"]


def test_a_forecast_imports_what_it_needs_and_a_picture_of_it_no_torch(words: list[str]) -> None:
    loaded = loaded_by(*words)
    assert {"torch", "xarray", "netCDF4", "nowcast.forecast.forecaster"} <= loaded
    assert loaded & NEVER == set()
    again = loaded_by(*words)  # it is there
    assert "nowcast.forecast.dataset" in again
    assert (
        again
        & (
            NEVER
            | {"torch", "nowcast.model", "nowcast.training.checkpoints", "nowcast.service.methods"}
        )
        == set()
    )
    (output,) = [word.removeprefix("output=") for word in words if word.startswith("output=")]
    drawn = loaded_by("plot", output, f"output={Path(output).with_name('drawn.png')}")
    assert "matplotlib" in drawn and "torch" not in drawn
    told = loaded_by("point", output, "place=51.08,10")
    assert "nowcast.places.curve" in told and told & {"torch", "matplotlib"} == set()


def test_what_files_hold_is_shown_without_pytorch(radar_file: Path) -> None:
    assert loaded_by("inspect", str(radar_file)) & (NEVER | {"torch"}) <= {"pyproj"}


def test_trainings_are_compared_without_pytorch_or_hydra(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    heavy = {"torch", "matplotlib", "xarray", "hydra", "pandas", "nowcast.commands.train"}
    loaded = loaded_by("sweep", str(tmp_path))
    assert "nowcast.report.leaderboard" in loaded and loaded & heavy == set()


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["predict", "--help"]], ids=" ".join)
def test_help_imports_no_library_of_numbers(words: list[str]) -> None:
    assert (
        loaded_by(*words) & (NEVER | {"numpy", "torch", "xarray", "pandas", "netCDF4", "hydra"})
        == set()
    )


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_a_configuration_is_composed_without_libraries_of_numbers(command: str) -> None:
    words = [command, "--cfg", "job", "output=out"]
    assert loaded_by(*words) & (NEVER | {"numpy", "torch", "xarray", "pandas", "netCDF4"}) == set()
