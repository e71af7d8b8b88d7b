"""Every file of configs/ composes, and every value has one home."""

from dataclasses import MISSING, asdict, fields, is_dataclass
from inspect import Parameter, signature
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nowcast.cli.help import GROUPS, group_options
from nowcast.cli.schemas import register_schemas
from nowcast.config import data as config_data
from nowcast.config import models as config_models
from nowcast.config import train as config
from nowcast.config.effects import configs_folder
from nowcast.config.evaluate import EvaluateConfig
from nowcast.config.predict import PredictConfig
from nowcast.config.train import TrainConfig
from nowcast.errors import ConfigError
from nowcast.model import MODELS, build_model
from nowcast.radar import ReadOptions
from nowcast.sequences.options import Candidates, Sampling
from nowcast.sequences.scaling import Scaling
from nowcast.training.options import Plan

OPTIONS = [(group, option) for group in GROUPS["train"] for option in group_options(group, "train")]


def composed(command: str, *overrides: str) -> object:
    register_schemas()
    with initialize_config_dir(str(configs_folder()), version_base="1.3"):
        return OmegaConf.to_object(compose(command, list(overrides)))


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=str)
def test_every_option_of_every_group_makes_a_valid_training_configuration(
    group: str, option: str
) -> None:
    needs = {
        "data=moving_mnist": ["scaling=linear", "scaling.maximum=1"],
        "data=radar": [
            "data.path=x.nc",
            "data.train=[2020-01-01,2020-01-02]",
            "data.validation=[2020-01-03,2020-01-03]",
        ],
    }
    overrides = [f"{group}={option}", "output=out", *needs.get(f"{group}={option}", [])]
    assert isinstance(composed("train", *overrides), TrainConfig)


def test_predict_and_evaluate_compose() -> None:
    assert isinstance(composed("predict", "checkpoint=a.pt", "data.path=x.nc"), PredictConfig)
    assert isinstance(composed("evaluate", "checkpoint=a.pt"), EvaluateConfig)


SCHEMAS = [
    thing
    for room in (config, config_data, config_models)
    for thing in vars(room).values()
    if isinstance(thing, type)
    and is_dataclass(thing)
    and not issubclass(thing, config_data.FieldConfig)
]


def test_no_schema_holds_a_default_since_values_live_in_yaml() -> None:
    # a grid read from Python has no YAML, nor has the model of an installed package
    exempt = {one.name for kind in (ReadOptions, config_models.ModelConfig) for one in fields(kind)}
    defaults = [
        f"{s.__name__}.{f.name}"
        for s in SCHEMAS
        for f in fields(s)
        if f.default is not MISSING and f.name not in exempt
    ]
    assert SCHEMAS and not defaults


@pytest.mark.parametrize("key", [one.name for one in fields(ReadOptions)])
def test_what_python_reads_files_by_is_what_the_commands_do(key: str) -> None:
    """The one schema with defaults: `ReadOptions()`, which configs/data/radar.yaml repeats."""
    values = OmegaConf.load(configs_folder() / "data" / "radar.yaml")
    assert values[key] == getattr(ReadOptions(), key)


def test_a_field_of_a_room_is_declared_there_only() -> None:
    own = {s: set(vars(s).get("__annotations__", {})) for s in SCHEMAS}
    twice = {
        f"{s.__name__}.{key}": base.__name__
        for s, keys in own.items()
        for base in s.__mro__[1:]
        for key in keys & set(vars(base).get("__annotations__", {}))
    }
    rooms = {ReadOptions, Candidates, Sampling, Plan, Scaling}
    assert not twice
    assert {base for s in SCHEMAS for base in s.__mro__} >= rooms


@pytest.mark.parametrize("name", config_models.MODEL_CONFIGS)
def test_what_a_model_is_by_default_is_what_its_file_says(name: str) -> None:
    values = OmegaConf.load(configs_folder() / "model" / f"{name}.yaml")
    made = signature(MODELS[name]).parameters
    of_every_model = {one.name for one in fields(config_models.ModelConfig)}
    keys = {one.name for one in fields(config_models.MODEL_CONFIGS[name])} - of_every_model
    assert keys == set(made) - {"channels", "output_channels", "ahead_channels"}
    given = {key: made[key].default for key in keys if made[key].default is not Parameter.empty}
    assert given == {key: values[key] for key in given}


def test_the_demo_never_sees_its_test_days() -> None:
    demo = composed("train", "experiment=demo")
    assert isinstance(demo, TrainConfig) and isinstance(demo.data, config.RadarConfig)
    assert (demo.data.train, demo.data.validation) == (
        ["2018-05-10", "2018-05-15"],
        ["2018-05-16", "2018-05-16"],
    )
    assert demo.data.test == ["2018-05-17", "2018-05-20"]


def parameters(*overrides: str) -> int:
    """Of the model that a training configuration names."""
    settings = composed("train", *overrides)
    assert isinstance(settings, TrainConfig)
    with torch.device("meta"):
        return sum(p.numel() for p in build_model(asdict(settings.model)).parameters())


@pytest.mark.parametrize(
    ("row", "count"),
    [
        ("fc_lstm_2048_2048", 142_667_776),
        ("5x5_5x5_256", 13_524_496),
        ("5x5_5x5_128_128", 10_042_896),
        ("5x5_5x5_128_64_64", 7_585_296),
        ("9x9_1x1_128_128", 11_550_224),
        ("9x9_1x1_128_64_64", 8_830_480),
    ],
)
def test_each_row_of_the_papers_table_has_its_parameters(row: str, count: int) -> None:
    """Shi et al. 2015, table 1."""
    assert parameters("experiment=moving_mnist_paper", f"model=paper_{row}") == count


def test_the_radar_model_of_the_paper_has_896_260_parameters() -> None:
    """Two layers 3×3, 64-64, patch 2: 4·64·9·(4 + 64 + 64 + 64) + 4·64·9·(64 + 64 + 64) weights
    of the layers, 4 × (4·64 biases and 3·64 peepholes), and an output of 128 → 4.
    """
    by_hand = 4 * 64 * 9 * (4 + 64 + 64 + 64 + 64 + 64 + 64) + 4 * (4 * 64 + 3 * 64) + (128 * 4 + 4)
    assert parameters("experiment=radar_paper") == by_hand == 896_260


def test_feedback_adds_the_weights_of_the_patches_alone() -> None:
    """From 2·2 channels of a patch to 4·64 gates, 3×3."""
    assert parameters("model.feedback=true") == 896_260 + 4 * 64 * 9 * 4


def test_the_pixels_of_hko7_are_those_of_its_publication_but_at_no_rain() -> None:
    """(dBZ + 10) / 70 with dBZ = 10 log10(58.53 R^1.56): they differ by 1 more under the
    logarithm, log10(1 + 0.0168 / R) / 4.49.
    """
    from nowcast.factories.windows import build_scaling

    scaling = build_scaling(asdict(composed("train", "experiment=hko7")))  # type: ignore[call-overload]
    rates = torch.tensor([0.0, 0.5, 2.0, 10.0, 30.0, 100.0], dtype=torch.float64)
    pixels = (10 * torch.log10(58.53 * rates**1.56) + 10) / 70
    scaled = scaling.scale(rates)
    assert scaled[0] == 0
    torch.testing.assert_close(
        scaled[1:] - pixels[1:], torch.log10(1 + 0.0168 / rates[1:]) / 4.49, rtol=0, atol=3e-4
    )


def test_configs_lie_beside_the_package_in_a_checkout() -> None:
    assert configs_folder() == Path(__file__).parents[2] / "configs"


def test_the_steps_of_regions_leave_no_gap() -> None:
    hetero = composed("train", "experiment=hetero")
    assert isinstance(hetero, TrainConfig)
    assert (hetero.region.size, hetero.region.stride) == (128, 64)
    assert composed("train", "region.size=9").region.stride == 5  # type: ignore[attr-defined]
    for words, said in (
        (["region.size=64", "region.step=65"], "leave gaps between regions of region.size=64"),
        (["region.step=64"], "need region.size"),
        (["region.index=1"], "need region.size"),
        (["region.size=64", "region.index=-1"], "region.index: must be at least 0"),
        (["data=moving_mnist", "scaling=linear", "scaling.maximum=1", "region.size=32"], "digits"),
    ):
        with pytest.raises(ConfigError, match=said):
            composed("train", *words)
