"""Register the types of every command's configuration with Hydra."""

from typing import Any

from nowcast.config.data import (
    MovingMnistConfig,
    RadarConfig,
)
from nowcast.config.describe import DescribeConfig
from nowcast.config.evaluate import EvaluateConfig
from nowcast.config.export import ExportConfig
from nowcast.config.inspect import InspectConfig
from nowcast.config.models import LAYER_CONFIGS, MODEL_CONFIGS, model_config
from nowcast.config.plot import PlotConfig
from nowcast.config.point import PointConfig
from nowcast.config.predict import PredictConfig
from nowcast.config.prepare import PrepareConfig
from nowcast.config.train import TrainConfig
from nowcast.plugins import MODELS, plugins


def register_schemas() -> None:
    """Register the types of each command's configuration, each kind of data and each model."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    store = ConfigStore.instance()
    for name, node in {
        "train": TrainConfig, "predict": PredictConfig, "evaluate": EvaluateConfig,
        "describe": DescribeConfig, "export": ExportConfig, "inspect": InspectConfig,
        "prepare": PrepareConfig, "plot": PlotConfig, "point": PointConfig, "radar": RadarConfig,
        "moving_mnist": MovingMnistConfig, **MODEL_CONFIGS, **LAYER_CONFIGS,
    }.items():  # fmt: skip
        schema = OmegaConf.structured(node)
        _let_set(schema)
        store.store(group="schema", name=name, node=schema)


def offer_model(config_path: str) -> None:
    """Register the keys of a model from an installed package, named by a configuration path such as
    "model/mine". The package is imported only here.
    """
    group, _, name = config_path.strip("/").rpartition("/")
    if group != "model" or name in MODEL_CONFIGS or name not in plugins(MODELS):
        return
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    schema = OmegaConf.structured(model_config(name))
    _let_set(schema)
    schema.name = name
    ConfigStore.instance().store(group=group, name=name, node=schema)


def _let_set(node: Any) -> None:
    """Make the values of a schema settable: OmegaConf treats a frozen dataclass as read-only from
    the start.
    """
    from omegaconf import DictConfig

    if isinstance(node, DictConfig):
        node._set_flag("readonly", None)
        for key in () if node._is_none() or node._is_missing() else node:
            _let_set(node._get_node(key))
