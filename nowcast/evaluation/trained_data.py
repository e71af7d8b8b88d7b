"""The data that checkpoints were trained on, for an evaluation that names no data."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, replace

from nowcast.config.data import DataConfig, RadarConfig
from nowcast.config.evaluate import GIVE_DATA, EvaluateConfig, no_data
from nowcast.config.stored_data import stored_data
from nowcast.errors import ConfigError, DataError
from nowcast.factories.windows import refuse_exported
from nowcast.pretrained import checkpoint_paths, is_shipped
from nowcast.training.checkpoints import read_checkpoint
from nowcast.untrusted.addresses import is_address

log = logging.getLogger(__name__)


def with_data(config: EvaluateConfig) -> EvaluateConfig:
    """Return the configuration with the data of its checkpoints, if it names none.

    Errors: ConfigError if the checkpoints name no data, different data, or no days to score;
    as data_of_checkpoint.
    """
    if config.data is not None or config.mode == "counts":
        return config
    paths = [path for one in config.checkpoints.values() for path in checkpoint_paths(one)]
    found = {path: data_of_checkpoint(path) for path in paths if not is_shipped(path)}
    if not found:
        raise no_data("the checkpoints name none")
    first, data = next(iter(found.items()))
    _refuse_different(found)
    days = isinstance(data, RadarConfig) and data.test is None
    if days and config.period is None and config.mode == "model":
        raise ConfigError(
            f"period: the training of {first} names no test days; give the first and the last day"
            " to score, as period=[2018-05-17,2018-05-20]."
        )
    completed = replace(config, data=data)
    log.info("data: %s, as in the training of %s", data.path, first)
    return completed


def data_of_checkpoint(path: str) -> DataConfig:
    """Return the data that a checkpoint was trained on, without opening them.

    Errors: ConfigError if it names none, or an address; DataError if what it names is not valid; as
    read_checkpoint.
    """
    refuse_exported(path)
    stored = read_checkpoint(path)["config"].get("data", {})
    if not stored.get("path"):
        raise no_data(f"{path} does not say what it was trained on")
    try:
        data = stored_data(stored)
    except ConfigError as error:
        raise DataError(
            f"{path}: what it was trained on cannot be used ({str(error).rstrip('.')});"
            f" {GIVE_DATA}."
        ) from error
    if is_address(data.path):
        raise no_data(
            f"{path} was trained on {data.path}, and an address in a checkpoint is not followed"
        )
    return data


def _refuse_different(found: Mapping[str, DataConfig]) -> None:
    """Errors: ConfigError naming the first checkpoint with other data, and the first key."""
    (first, data), *others = found.items()
    for path, other in others:
        ours, theirs = asdict(data), asdict(other)
        key = next((key for key in ours if ours[key] != theirs.get(key)), None)
        if key is not None:
            raise ConfigError(
                f"data: {first} and {path} were trained on different data (data.{key}: {ours[key]}"
                f" and {theirs.get(key)}); {GIVE_DATA}."
            )
