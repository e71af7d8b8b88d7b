"""A package adds a network and a baseline by entry points, and nowcast uses them by name.

The package lies in tests/example_package, with the metadata that pip would write.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers import SPLITS, exit_code
from hydra.core.config_store import ConfigStore

from nowcast.forecast.dataset import open_forecast
from nowcast.training.checkpoints import SCHEMA, read_checkpoint
from nowcast.training.migrations import migrate

PACKAGE = Path(__file__).parent / "example_package"
AT = ["at=2020-01-01T06:00", "device=cpu", "precision=fp32", "max_wet_ratio=1e9"]


@pytest.fixture(scope="module")
def installed() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PACKAGE)
        yield
    sys.modules.pop("nowcast_fading", None)


@pytest.fixture(scope="module")
def fading(installed, radar_file, tmp_path_factory) -> Path:
    """A checkpoint of the package's network, trained for one epoch of one step."""
    folder = tmp_path_factory.mktemp("fading")
    code = exit_code(
        "train", "model=fading", "model.kernel_size=5", "data=radar", f"data.path={radar_file}",
        *SPLITS, f"data.cache={folder}/cache", f"output={folder}/run", "input_steps=2",
        "lead_steps=2", "sampling.windows_per_epoch=4", "sampling.crop=16", "training.epochs=1",
        "training.batch_size=4", "device=cpu", "precision=fp32",
    )  # fmt: skip
    assert code == 0
    return folder / "run" / "best.pt"


def test_its_network_is_trained_and_forecast_from(run, fading, radar_file, tmp_path) -> None:
    checkpoint = read_checkpoint(fading)
    assert checkpoint["config"]["model"] == {
        "name": "fading", "kernel_size": 5, "frame": "fixed", "head": "rate", "thresholds": [],
        "grids": "one",
    }  # fmt: skip
    assert checkpoint["packages"] == {"model": "nowcast-fading 1.0"}
    output = tmp_path / "forecast.nc"
    made = run(
        "predict", f"checkpoint={fading}", f"data.path={radar_file}", f"output={output}", *AT
    )
    assert made.code == 0, made.err
    assert open_forecast(output).sizes["time"] == 2


def test_its_training_of_an_earlier_version_goes_on(fading) -> None:
    """With the keys that all models had later, at the values that its own have."""
    now = read_checkpoint(fading)["config"]["model"]
    older = {"config": {"model": {"name": "fading", "kernel_size": 5}}, "schema": 4}
    assert migrate(older, SCHEMA)["config"]["model"] == now


def test_its_keys_are_checked_and_shown_as_ours_are(run, installed) -> None:
    keys = run("train", "--keys", "model=fading").out
    assert "model.kernel_size=3  (whole number)" in keys
    described = run("describe", "model=fading", "grid_size=[16,16]")
    assert "fading" in described.out and "10 parameters" in described.out
    wrong = run("train", "model=fading", "model.kernel_size=wide", "output=out")
    assert wrong.code == 78 and "model.kernel_size" in wrong.err
    unknown = run("train", "model=fading", "+model.colour=red", "output=out")
    assert unknown.code == 78 and "model.colour: no such key" in unknown.err


def test_an_unknown_model_lists_ours_and_those_of_packages(run, installed, monkeypatch) -> None:
    monkeypatch.delitem(ConfigStore.instance().repo, "model", raising=False)  # as at first
    wrong = run("train", "model=mien", "data.path=rain.nc")
    assert wrong.code == 78 and wrong.err.count("\n") == 1
    assert wrong.err.startswith("nowcast: model=mien: no such model; there are any_grid, ")
    assert wrong.err.endswith(", small, and from installed packages fading.\n")


def test_a_sweep_compares_it_with_ours(run, installed, tmp_path, monkeypatch) -> None:
    monkeypatch.delitem(ConfigStore.instance().repo, "model", raising=False)  # as at first
    (tmp_path / "rain.nc").touch()
    words = ["model=small,fading,next_frame", f"data.path={tmp_path}/rain.nc", f"output={tmp_path}"]
    assert run("train", "-m", *words, "--check").code == 0


def test_its_baseline_is_scored(run, installed, radar_file, tmp_path, without_pictures) -> None:
    scored = run(
        "evaluate", "baseline=[persistence,half]", "data=radar", f"data.path={radar_file}",
        "input_steps=1", "lead_steps=2", "period=[2020-01-01T03:00,2020-01-01T04:00]",
        f"data.cache={tmp_path}/cache", f"output={tmp_path}/scores",
    )  # fmt: skip
    assert scored.code == 0, scored.err
    assert ",half," in (tmp_path / "scores" / "scores.csv").read_text()


def test_without_the_package_its_checkpoint_is_refused_with_the_remedy(
    run, fading, radar_file, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one != str(PACKAGE)])
    made = run(
        "predict", f"checkpoint={fading}", f"data.path={radar_file}",
        f"output={tmp_path}/forecast.nc", *AT,
    )  # fmt: skip
    assert made.code == 69 and not list(tmp_path.iterdir())
    assert "fading comes from the package nowcast-fading 1.0" in made.err
    assert "install it" in made.err


def test_a_checkpoint_cannot_name_code_by_its_package(run, fading, radar_file, tmp_path) -> None:
    checkpoint = torch.load(fading, weights_only=True)
    torch.save(checkpoint | {"packages": ["os"], "schema": 2}, tmp_path / "other.pt")
    made = run(
        "predict", f"checkpoint={tmp_path}/other.pt", f"data.path={radar_file}",
        f"output={tmp_path}/forecast.nc", *AT,
    )  # fmt: skip
    assert made.code == 65 and "packages=['os']" in made.err
