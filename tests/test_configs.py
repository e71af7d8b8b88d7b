"""Every file of configs/ composes, and every value has one home."""

from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nowcast import config
from nowcast.cli import GROUPS, group_options
from nowcast.config import EvaluateConfig, PredictConfig, TrainConfig, configs_folder, register_schemas

OPTIONS = [(group, option) for group in GROUPS["train"] for option in group_options(group, "train")]


def composed(command: str, *overrides: str) -> object:
    register_schemas()
    with initialize_config_dir(str(configs_folder()), version_base="1.3"):
        return OmegaConf.to_object(compose(command, list(overrides)))


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=str)
def test_every_option_of_every_group_makes_a_valid_training_configuration(group: str, option: str) -> None:
    needs = {
        "data=moving_mnist": ["scaling=linear", "scaling.maximum=1"],
        "data=radar": ["data.path=x.nc", "data.train=[2020-01-01,2020-01-02]", "data.validation=[2020-01-03,2020-01-03]"],
    }
    overrides = [f"{group}={option}", "output=out", *needs.get(f"{group}={option}", [])]
    assert isinstance(composed("train", *overrides), TrainConfig)


def test_predict_and_evaluate_compose() -> None:
    assert isinstance(composed("predict", "checkpoint=a.pt", "data.path=x.nc"), PredictConfig)
    assert isinstance(composed("evaluate", "checkpoint=a.pt"), EvaluateConfig)


def test_no_schema_holds_a_default_since_values_live_in_yaml() -> None:
    schemas = [thing for thing in vars(config).values() if isinstance(thing, type) and is_dataclass(thing)]
    defaults = [f"{s.__name__}.{f.name}" for s in schemas for f in fields(s) if f.default is not MISSING]
    assert schemas and not defaults


def test_the_demo_never_sees_its_test_days() -> None:
    demo = composed("train", "experiment=demo")
    assert isinstance(demo, TrainConfig) and isinstance(demo.data, config.RadarConfig)
    assert (demo.data.train, demo.data.validation) == (["2018-05-10", "2018-05-15"], ["2018-05-16", "2018-05-16"])
    assert demo.data.test == ["2018-05-17", "2018-05-20"]


def test_configs_lie_beside_the_package_in_a_checkout() -> None:
    assert configs_folder() == Path(__file__).parents[1] / "configs"
