"""Whether a forecast that is there was asked for like this: what each key of `predict` says."""

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, fields
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nowcast.cli.schemas import register_schemas
from nowcast.config.data import RadarConfig
from nowcast.config.effects import SHAPES, configs_folder, shaping_values
from nowcast.config.predict import PredictConfig
from nowcast.radar import ReadOptions
from nowcast.service.cycle import recipe_of

READING = {one.name for one in fields(ReadOptions)}


def composed(*overrides: str) -> PredictConfig:
    register_schemas()
    with initialize_config_dir(str(configs_folder()), version_base="1.3"):
        config = OmegaConf.to_object(
            compose("predict", ["data=radolan", "input_steps=2", "lead_steps=3", *overrides])
        )
    assert isinstance(config, PredictConfig)
    return config


@pytest.fixture(scope="module")
def config() -> PredictConfig:
    return composed("baseline=persistence")


def other(config: PredictConfig, key: str, value: Any = "another") -> PredictConfig:
    """The same with another value of one key, checked by nobody."""
    changed, (group, _, name) = copy(config), key.rpartition(".")
    if group:
        changed.data = copy(config.data)
    object.__setattr__(changed.data if group else changed, name, value)
    return changed


def keys() -> Iterator[tuple[str, Any]]:
    """Each key, and what it says of itself."""
    for schema, group in ((PredictConfig, ""), (RadarConfig, "data.")):
        for one in fields(schema):
            if f"{group}{one.name}" not in ("data", "baseline"):  # its own keys; a method by itself
                always = SHAPES if group and one.name in READING else one.metadata
                yield f"{group}{one.name}", always["shapes_forecast"]


@pytest.mark.parametrize(("key", "shapes"), list(keys()))
def test_another_value_is_another_recipe_where_the_key_says_so(
    config: PredictConfig, key: str, shapes: Any
) -> None:
    changed = recipe_of(other(config, key), "") != recipe_of(config, "")
    assert changed == (shapes is True)


def test_the_days_of_a_mean_shape_its_forecast_and_no_other(config: PredictConfig) -> None:
    mean = composed("baseline=climatology")
    for days in (["2020-01-01", "2020-01-02"], None):
        assert recipe_of(other(mean, "data.train", days), "") != recipe_of(mean, "")
        assert recipe_of(other(config, "data.train", days), "") == recipe_of(config, "")


def test_a_key_that_does_not_say_is_noticed() -> None:
    @dataclass
    class Forgetful:
        tide: str

    with pytest.raises(KeyError, match="shapes_forecast"):
        shaping_values(Forgetful("high"), made_of_days=False)


def test_the_recipe_is_that_of_earlier_versions(config: PredictConfig) -> None:
    """Else each forecast that is there would be made again after an update."""
    assert recipe_of(composed("checkpoint=a.pt", "input_steps=null", "lead_steps=null"), "ab") == {
        "checkpoint_sha256": "ab",
        "config": '{"baseline": null, "input_steps": null, "lead_steps": null, "members": 20,'
        ' "seed": 0, "missing_frames": 0, "max_gap": 0.0, "gap_filling": "interpolation",'
        ' "fallback": ["model"], "input_paths": {}, "precision": "auto", "data": {"path":'
        ' "data/radolan.nc", "format": "auto", "variable": null, "units": null,'
        ' "accumulation_minutes": null, "zr": null, "missing_value": null, "dry_value": null,'
        ' "max_rate": 1000.0, "above_max_rate": "mask"}}',
    }


def test_another_way_to_a_rate_is_another_recipe() -> None:
    usual, other = (
        recipe_of(
            composed("checkpoint=a.pt", "input_steps=null", "lead_steps=null", f"rate={rate}"), "ab"
        )
        for rate in ("csi", "median")
    )
    assert usual != other
