"""Several checkpoints as one forecast, of the whole grid or of regions of it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from helpers import Outcome

from nowcast.files import sha256
from nowcast.forecast.dataset import open_forecast
from nowcast.training.checkpoints import read_checkpoint, write_checkpoint

Run = Callable[..., Outcome]
AT = ["at=2020-01-01T06:00", "device=cpu", "precision=fp32", "max_wet_ratio=1e9"]
WEST = {"rows": [0, 34], "columns": [0, 25], "size": [34, 41], "y": None, "x": None, "crs": {}}
EAST = {**WEST, "columns": [15, 41]}

pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.fixture
def data(
    radar_file: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    monkeypatch.chdir(tmp_path)
    Path("a.pt").symlink_to(trained / "best.pt")
    return [f"data.path={radar_file}", *AT]


def changed(path: str, factor: float = 1.0, **changes: Any) -> None:
    """Write the model of a.pt with its weights times a factor, and other keys."""
    checkpoint = read_checkpoint("a.pt")
    for part in ("weights", "ema"):
        checkpoint[part] = {
            name: one * factor if one.is_floating_point() else one
            for name, one in checkpoint[part].items()
        }
    config = {**checkpoint["config"], **changes.pop("config", {})}
    Path(path).parent.mkdir(exist_ok=True)
    write_checkpoint(path, {**checkpoint, "config": config, **changes})


def forecast(run: Run, data: list[str], checkpoint: str, *words: str) -> xr.Dataset:
    outcome = run("predict", *data, f"checkpoint={checkpoint}", "output=f/f.nc", *words)
    assert outcome.code == 0, outcome.err
    return open_forecast("f/f.nc")


def test_the_forecast_of_several_models_is_their_mean_and_names_them(
    run: Run, data: list[str]
) -> None:
    """The second sees a frame less."""
    changed("b.pt", 1.5, config={"input_steps": 2})
    one, other = (forecast(run, data, path)["precipitation_rate"] for path in ("a.pt", "b.pt"))
    assert float(abs(one - other).max()) > 1e-3
    made = forecast(run, data, "[a.pt,b.pt]")
    mean = (one + other) / 2
    np.testing.assert_allclose(made["precipitation_rate"], mean, rtol=1e-6)
    np.testing.assert_array_equal(made["member_rate"].sel(realization=1), one)
    np.testing.assert_array_equal(made["member_rate"].sel(realization=2), other)
    assert made["member_rate"].attrs["long_name"].endswith("each of several models")
    assert json.loads(made.attrs["checkpoint"]) == ["a.pt", "b.pt"]
    assert made.attrs["checkpoint_sha256"] == f"{sha256('a.pt')}, {sha256('b.pt')}"


def test_of_a_glob_a_checkpoint_more_makes_another_forecast(run: Run, data: list[str]) -> None:
    for name in ("m/1.pt", "m/2.pt"):
        changed(name)
    words = ["predict", *data, "checkpoint=m/*.pt", "output=f.nc"]
    assert "forecast from" in run(*words).err
    assert "already there" in run(*words).err
    changed("m/0.pt")
    assert "forecast from" in run(*words).err
    assert json.loads(open_forecast("f.nc").attrs["checkpoint"]) == ["m/0.pt", "m/1.pt", "m/2.pt"]
    outcome = run(*words, "checkpoint=n/*.pt")
    assert outcome.code == 66 and "n/*.pt: no such checkpoint" in outcome.err


def test_an_unattended_service_opens_a_checkpoint_that_joins_a_glob(
    run: Run, data: list[str], radar_file: Path
) -> None:
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from nowcast.cli.schemas import register_schemas
    from nowcast.config.effects import configs_folder
    from nowcast.service.model_cache import ModelCache

    changed("m/1.pt")
    changed("m/2.pt")
    register_schemas()
    with initialize_config_dir(str(configs_folder()), version_base="1.3"):
        words = [*data, "checkpoint=m/*.pt"]
        cache = ModelCache(OmegaConf.to_object(compose("predict", words)))  # type: ignore[arg-type]
    before = cache.methods(cache.checksum())
    assert before.checkpoints == ["m/1.pt", "m/2.pt"]
    assert cache.methods(cache.checksum()) is before
    changed("m/3.pt", 1.1)
    assert cache.methods(cache.checksum()).checkpoints == ["m/1.pt", "m/2.pt", "m/3.pt"]
    Path("m/3.pt").write_bytes(b"damaged")  # the models that are open go on
    kept = cache.checksum()
    assert len(kept.split(", ")) == 3 and len(cache.methods(kept).checkpoints) == 3


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"lead_steps": 3}, "the lead steps of b.pt: 3, of a.pt: 4"),
        ({"timestep_minutes": 10.0}, "the minutes from frame to frame of b.pt: 10.0, of a.pt: 5.0"),
    ],
)
def test_models_that_forecast_something_else_are_refused(
    run: Run, data: list[str], config: dict[str, Any], said: str
) -> None:
    changed("b.pt", config=config)
    outcome = run("predict", *data, "checkpoint=[a.pt,b.pt]")
    assert outcome.code == 78 and said in outcome.err
    scored = ["data=radar", "period=['2020-01-01T06:00','2020-01-01T06:30']"]
    outcome = run("evaluate", *scored, *data[:1], *AT[1:3], "checkpoint={both: [a.pt,b.pt]}")
    assert outcome.code == 78 and said in outcome.err


def test_a_model_with_probabilities_is_refused_next_to_one_without(
    run: Run, data: list[str]
) -> None:
    outcome = run("predict", *data, "checkpoint=[a.pt,pretrained]")
    assert outcome.code == 78
    assert "the head of pretrained: probability, of a.pt: rate" in outcome.err


def test_the_pretrained_model_twice_is_the_pretrained_model(run: Run, data: list[str]) -> None:
    """With members, which are drawn from the pooled probabilities."""
    from nowcast.pretrained import PRETRAINED, path_of

    checkpoint = read_checkpoint(str(path_of(PRETRAINED)))
    versions = {**checkpoint["versions"], "nowcast": "another"}  # so that it is another file
    write_checkpoint("copy.pt", {**checkpoint, "versions": versions})
    alone, both = (
        forecast(run, data, checkpoint, "lead_steps=3", "ensemble=2")
        for checkpoint in ("pretrained", "[pretrained,copy.pt]")
    )
    for name in ("precipitation_rate", "probability", "member_rate"):
        np.testing.assert_allclose(both[name], alone[name], atol=1e-6)
    assert both.attrs["model_data"] == alone.attrs["model_data"]
    assert "drawn from the probabilities" in both["member_rate"].attrs["long_name"]


@pytest.mark.parametrize(
    ("checkpoint", "said"),
    [
        ("[a.pt,a.pt]", "a.pt, a.pt has a path twice"),
        ("[a.pt,./x/../a.pt]", "a.pt and ./x/../a.pt are the same file"),
        ("[a.pt,link.pt]", "a.pt and link.pt are the same file"),
        ("[a.pt,copy.pt]", "a.pt and copy.pt are the same model"),
        ('"[ac]*.pt"', "a.pt and copy.pt are the same model"),
    ],
)
def test_one_model_does_not_count_twice_in_a_forecast(
    run: Run, data: list[str], checkpoint: str, said: str
) -> None:
    Path("link.pt").symlink_to("a.pt")
    Path("x").mkdir()
    shutil.copy("a.pt", "copy.pt")
    outcome = run("predict", *data, f"checkpoint={checkpoint}", "output=f/f.nc")
    assert (outcome.code, outcome.err.count("\n")) == (78, 1)
    assert said in outcome.err and not Path("f").exists()
    outcome = run(
        "evaluate", data[0], *AT[1:3], "data=radar", f"checkpoint={{twice: {checkpoint}}}",
        "period=['2020-01-01T06:00','2020-01-01T06:00']",
    )  # fmt: skip
    assert outcome.code == 78 and said in outcome.err


def test_a_model_of_a_region_forecasts_there_only_and_says_so(run: Run, data: list[str]) -> None:
    changed("west.pt", region=WEST)
    whole, west = (
        forecast(run, data, path)["precipitation_rate"].values for path in ("a.pt", "west.pt")
    )
    np.testing.assert_allclose(west[..., :25], whole[..., :25], rtol=1e-5, atol=1e-6)
    assert np.isnan(west[..., 25:]).all() and np.isfinite(whole[..., 25:]).any()
    remarks = open_forecast("f/f.nc").attrs["remarks"]
    assert remarks == (
        "forecast on 61% of the grid only, where models were trained: rows 0 to 33, columns 0 to 24"
    )
    outcome = run("predict", *data, "checkpoint=west.pt", "output=g.nc")
    assert remarks in outcome.err


def test_regions_of_one_model_are_that_model_without_a_seam(run: Run, data: list[str]) -> None:
    changed("r/west.pt", region=WEST)
    changed("r/east.pt", region=EAST)
    whole, both = forecast(run, data, "a.pt"), forecast(run, data, "r/*.pt")
    wanted = whole["precipitation_rate"]
    np.testing.assert_allclose(both["precipitation_rate"], wanted, rtol=1e-5, atol=1e-6)
    assert "member_rate" not in both and "remarks" not in both.attrs


def test_several_models_are_scored_as_one_forecast(run: Run, data: list[str]) -> None:
    changed("b.pt", 1.5, config={"input_steps": 2})
    changed("r/west.pt", region=WEST)
    changed("r/east.pt", region=EAST)
    models = '{one: a.pt, same: "r/*.pt", both: [a.pt,b.pt]}'
    outcome = run(
        "evaluate", data[0], *AT[1:3], "data=radar", f"checkpoint={models}", "resamples=0",
        "period=['2020-01-01T06:00','2020-01-01T07:00']", "stride=6", "thresholds=[0.5,2]",
        "fss_scales=[]",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    with xr.open_dataset("scores/counts.nc", engine="netcdf4") as opened:
        counts = opened.load()
    names = ["one", "same", "both", "both (members)", "persistence"]
    assert sorted(counts["forecast"].values.tolist()) == sorted(names)
    joint = counts["joint"]
    np.testing.assert_array_equal(joint.sel(forecast="same"), joint.sel(forecast="one"))
    assert not np.array_equal(joint.sel(forecast="both"), joint.sel(forecast="one"))
    checksums = json.loads(counts.attrs["checkpoint_sha256"])
    assert checksums["both"] == f"{sha256('a.pt')}, {sha256('b.pt')}"


def test_a_region_of_a_model_is_scored_where_it_lies(run: Run, data: list[str]) -> None:
    changed("west.pt", region=WEST)
    outcome = run(
        "evaluate", data[0], *AT[1:3], "data=radar", "checkpoint=west.pt", "resamples=0",
        "period=['2020-01-01T06:00','2020-01-01T06:00']", "thresholds=[0.5]", "fss_scales=[]",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    with xr.open_dataset("scores/counts.nc", engine="netcdf4") as opened:
        assert 0 < opened["joint"].sel(forecast="model").isel(lead_time=0).sum() <= 34 * 25
    said = "west.pt forecasts only the region it was trained on: rows 0 to 33, columns 0 to 24"
    assert said in Path("scores/report.html").read_text()


def test_neither_several_models_nor_one_of_a_region_are_exported(run: Run, data: list[str]) -> None:
    changed("b.pt", 1.5)
    changed("west.pt", region=WEST)
    outcome = run("export", "checkpoint=[a.pt,b.pt]", "grid_size=[34,41]")
    assert outcome.code == 78 and "2 models given, but only one can be exported" in outcome.err
    outcome = run("export", "checkpoint=west.pt", "grid_size=[34,25]")
    assert outcome.code == 78 and "was trained on a region" in outcome.err
    outcome = run("predict", *data, "checkpoint=[a.pt,b.onnx]")
    assert outcome.code == 66 and "b.onnx: no such checkpoint" in outcome.err
    Path("b.onnx").write_bytes(b"")
    outcome = run("predict", *data, "checkpoint=[a.pt,b.onnx]")
    assert outcome.code == 78 and "b.onnx is an exported model" in outcome.err


def test_several_models_are_opened_in_python(data: list[str], radar_file: Path) -> None:
    from nowcast import load_forecaster, open_grid

    changed("b.pt", 1.5)
    settings: Any = {"device": "cpu", "precision": "fp32", "max_wet_ratio": 1e9}
    grid = open_grid(radar_file)
    one, other, both = (
        load_forecaster(path, **settings).forecast(grid, at="2020-01-01T06:00")
        for path in ("a.pt", "b.pt", ["a.pt", "b.pt"])
    )
    mean = (one["precipitation_rate"] + other["precipitation_rate"]) / 2
    np.testing.assert_allclose(both["precipitation_rate"], mean, rtol=1e-6)


@pytest.mark.parametrize(
    "region",
    [{}, {**WEST, "rows": [5, 2]}, {**WEST, "columns": [0, 42]}, {**WEST, "y": [0.0, 1.0]}, "west"],
)
def test_a_region_that_is_none_is_refused(run: Run, data: list[str], region: Any) -> None:
    changed("west.pt", region=region)
    outcome = run("predict", *data, "checkpoint=west.pt")
    assert outcome.code == 65 and "description of the training region is not valid" in outcome.err
