"""The types of every command's configuration, told to Hydra."""

from nowcast.config.data import (
    MovingMnistConfig,
    RadarConfig,
)
from nowcast.config.describe import DescribeConfig
from nowcast.config.evaluate import EvaluateConfig
from nowcast.config.export import ExportConfig
from nowcast.config.inspect import InspectConfig
from nowcast.config.models import LAYER_CONFIGS, MODEL_CONFIGS
from nowcast.config.plot import PlotConfig
from nowcast.config.predict import PredictConfig
from nowcast.config.prepare import PrepareConfig
from nowcast.config.train import TrainConfig


def register_schemas() -> None:
    """Tell Hydra the types of each command's configuration, of each kind of data and of each
    model.
    """
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for name, node in {
        "train": TrainConfig, "predict": PredictConfig, "evaluate": EvaluateConfig,
        "describe": DescribeConfig, "export": ExportConfig, "inspect": InspectConfig,
        "prepare": PrepareConfig, "plot": PlotConfig, "radar": RadarConfig,
        "moving_mnist": MovingMnistConfig, **MODEL_CONFIGS, **LAYER_CONFIGS,
    }.items():  # fmt: skip
        store.store(group="schema", name=name, node=node)
