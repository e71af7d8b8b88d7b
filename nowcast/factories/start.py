"""Start a training from the weights of a trained model."""

import logging
from dataclasses import asdict, replace
from pathlib import Path

from nowcast.config.data import AheadConfig, InputsConfig
from nowcast.config.effects import default_values
from nowcast.config.models import model_config
from nowcast.config.train import TrainConfig
from nowcast.errors import ConfigError, MissingInputError
from nowcast.pretrained import checkpoint_name
from nowcast.sequences.scaling import Scaling
from nowcast.training.checkpoints import Checkpoint, forecast_weights, read_checkpoint
from nowcast.training.loop import Trainer

log = logging.getLogger(__name__)


def read_start(config: TrainConfig) -> Checkpoint:
    """Read the start checkpoint of a training.

    Raises:
        MissingInputError: if it does not exist.
        As `read_checkpoint`.
    """
    assert config.start is not None
    if not Path(config.start).is_file():
        raise MissingInputError(
            f"start: {config.start}: no such checkpoint; give a checkpoint of 'nowcast train', or"
            " pretrained."
        )
    return read_checkpoint(config.start)


def like_start(config: TrainConfig, start: Checkpoint) -> TrainConfig:
    """Return the configuration with the model, inputs and scaling of a checkpoint, and with its
    loss if the configuration sets none.

    Raises:
        ConfigError: if the configuration sets others, or a loss that does not fit the model.
    """
    theirs, usual = start["config"], default_values("train")
    name = checkpoint_name(str(config.start))
    for key in ("model", "inputs", "scaling"):
        ours = asdict(getattr(config, key))
        if ours not in (usual[key], theirs[key]):
            raise ConfigError(
                f"{key}: a training that starts from {name} uses its {key}; leave out {key}, or"
                " leave out start."
            )
    ahead = AheadConfig(**theirs["inputs"]["ahead"])
    kind = model_config(theirs["model"]["name"])
    if kind is None:
        raise ConfigError(f"start: this version does not know the model of {name}; update nowcast.")
    names_none = config.loss == replace(config, loss="auto").loss
    log.info("starting from %s, with its model, inputs and scaling", name)
    return replace(
        config,
        model=kind(**theirs["model"]),
        inputs=InputsConfig(**{**theirs["inputs"], "ahead": ahead}),
        scaling=Scaling(**theirs["scaling"]),
        loss=theirs["loss"] if names_none else config.loss,
    )


def begin_from(trainer: Trainer, start: Checkpoint) -> None:
    """Load the weights of a checkpoint (averaged if present) into a trainer, which scores them
    before training.
    """
    weights = forecast_weights(start)
    trainer.model.load_state_dict(weights)
    if trainer.averaged is not None:
        trainer.averaged.module.load_state_dict(weights)
    trainer.starts_trained = True
