"""`nowcast train`: data → windows → model → checkpoints, metrics, curves, and the validation score."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm.contrib.logging import logging_redirect_tqdm

from nowcast.commands.beside_rain import build_inputs, open_fields
from nowcast.commands.inputs import build_scaling, moving_mnist_windows, pack_radar
from nowcast.commands.radar_files import open_radar
from nowcast.commands.same_grid import place_for_checkpoint
from nowcast.config import TrainConfig
from nowcast.config_data import MovingMnistConfig, RadarConfig
from nowcast.config_models import FCLSTMConfig
from nowcast.errors import ConfigError
from nowcast.files import only_writer, written_whole
from nowcast.model import build_model
from nowcast.periods import Period, parse_period, refuse_overlap
from nowcast.sequences import RadarWindows, Sampling, Windows
from nowcast.training import LOSSES, Precision, choose_precision, read_checkpoint, stop_request
from nowcast.training.loop import Plan, Row, Trainer, as_json, best_row
from nowcast.training.optimizers import build_optimizer, build_schedule
from nowcast.verification import draw_curves

log = logging.getLogger(__name__)

MAY_CHANGE = ("training", "device", "precision", "resume", "output")
"""Keys that may differ between a run and the checkpoint that it resumes from."""


def train(config: TrainConfig, folder: Path) -> float:
    """Train, or go on training, in `folder`. → the best validation score, for a sweeper to optimise."""
    precision = choose_precision(config.device, config.precision)
    torch.manual_seed(config.seed)
    settings = asdict(config)
    training, validation, settings["timestep_minutes"], place = open_windows(config)
    if isinstance(config.model, FCLSTMConfig):
        refuse_other_sizes(config.model, training, validation)
    with only_writer(folder):
        trainer = build_trainer(config, settings, training, precision, folder)
        trainer.place = place
        resume(trainer, config, settings, folder)
        log.info(
            "training %s parameters on %s: %d windows an epoch, %d for validation, into %s",
            f"{sum(p.numel() for p in trainer.model.parameters()):,}", precision, len(training), len(validation), folder,
        )  # fmt: skip
        with stop_request() as stop, logging_redirect_tqdm():
            history = trainer.fit(training, validation, stop)
        return summarise(config, history, folder)


def open_windows(config: TrainConfig) -> tuple[Windows, Windows, float | None, dict[str, Any] | None]:
    """Training and validation windows; the spacing of the frames in minutes, and what is known of their grid, where they have them."""
    if isinstance(config.data, RadarConfig):
        return _open_radar_windows(config, config.data)
    assert isinstance(config.data, MovingMnistConfig)
    return _open_moving_mnist(config, config.data)


def _open_radar_windows(config: TrainConfig, data: RadarConfig) -> tuple[Windows, Windows, float, dict[str, Any] | None]:
    periods = {f"data.{name}": parse_period(f"data.{name}", dates) for name, dates in splits(data).items()}
    refuse_overlap(periods)
    train, validation = periods["data.train"], periods["data.validation"]
    grid = open_radar(data, train, validation)
    both = Period(min(train.start, validation.start), max(train.end, validation.end))
    rates = pack_radar(data, grid, both)
    steps: dict[str, Any] = {
        "input_steps": config.input_steps,
        "lead_steps": config.lead_steps,
        "scaling": build_scaling(asdict(config)),
        "fields": open_fields(asdict(config), grid, both, data.cache),
    }
    training_windows = RadarWindows(
        rates, train, **steps, sampling=Sampling(**asdict(config.sampling)), shuffle=True, seed=config.seed
    )
    return (
        training_windows,
        RadarWindows(rates, validation, **steps, sampling=Sampling(**asdict(config.validation))),
        grid.attrs["timestep_minutes"],
        place_for_checkpoint(grid),
    )


def splits(data: RadarConfig) -> dict[str, list[str]]:
    """The days of each split that is given."""
    return {name: days for name in ("train", "validation", "test") if (days := getattr(data, name)) is not None}


def _open_moving_mnist(config: TrainConfig, data: MovingMnistConfig) -> tuple[Windows, Windows, None, None]:
    train, validation = (
        moving_mnist_windows(data, split, config.input_steps, config.lead_steps, config.seed) for split in ("train", "validation")
    )
    return train, validation, None, None


def refuse_other_sizes(model: FCLSTMConfig, training: Windows, validation: Windows) -> None:
    """Errors: ConfigError where frames are not of the one size that the model takes."""
    cropped, whole = (list(windows[windows.epoch(0)[0]].shape[-2:]) for windows in (training, validation))
    if cropped != whole:
        raise ConfigError(
            f"sampling.crop: {model.name} takes frames of one size alone, and validation's are {whole}, uncropped; "
            f"set sampling.crop={max(whole)}, or choose another model."
        )
    if whole != model.grid_size:
        raise ConfigError(
            f"model.grid_size: is {model.grid_size}, but the frames are {whole}; set model.grid_size=[{whole[0]},{whole[1]}], "
            "or choose another model."
        )


def build_trainer(config: TrainConfig, settings: dict[str, Any], windows: Windows, precision: Precision, folder: Path) -> Trainer:
    """A trainer at its first step."""
    inputs = build_inputs(settings)
    model = build_model(settings["model"], inputs.channels, output_channels=1).to(precision.device)
    optimizer = build_optimizer(model, **settings["optimizer"])
    steps_per_epoch = -(-len(windows) // config.training.batch_size)
    schedule = build_schedule(optimizer, steps=config.training.epochs * steps_per_epoch, **settings["schedule"])
    plan = Plan(**settings["training"], thresholds=config.thresholds)
    return Trainer(model, optimizer, schedule, LOSSES[config.loss], precision, plan, folder, settings, inputs)


def resume(trainer: Trainer, config: TrainConfig, settings: dict[str, Any], folder: Path) -> None:
    """Go on from last.pt in `folder` where there is one, or with resume=never clear what an earlier run left.

    Errors: ConfigError where last.pt is of another configuration.
    """
    last = folder / "last.pt"
    if config.resume == "never":
        for name in ("last.pt", "best.pt", "metrics.jsonl", "summary.json", "curves.png"):
            (folder / name).unlink(missing_ok=True)
    if not last.exists():
        return
    checkpoint = read_checkpoint(last)
    before = {"training": {}, **checkpoint.get("config", {})}
    changed = [key for key in settings if key not in MAY_CHANGE and settings[key] != before.get(key)]
    for key in ("batch_size", "monitor"):  # they say what a step, and what the best epoch, is
        if settings["training"][key] != before["training"].get(key):
            changed.append(f"training.{key}")
    if changed:
        raise ConfigError(
            f"{', '.join(changed)}: not as in {last}, from which resume=auto would go on; "
            "give another output, the same settings, or resume=never to start anew there."
        )
    trainer.restore(checkpoint)
    log.info("going on from %s, %d of %d epochs done", last, trainer.progress.epoch, config.training.epochs)


def summarise(config: TrainConfig, history: list[Row], folder: Path) -> float:
    """Write summary.json and the curves, say how it went. → the best validation score."""
    monitor = config.training.monitor
    best = best_row(history, monitor)
    score = best[f"validation_{monitor}"]
    seconds = round(sum(row["seconds"] for row in history))
    summary = {"monitor": monitor, "score": score, "best_epoch": best["epoch"], "epochs": len(history), "seconds": seconds}
    with written_whole(folder / "summary.json") as path:
        path.write_text(as_json(summary) + "\n")
    draw_curves(history, folder / "curves.png")
    log.info("best validation %s %.4f in epoch %d of %d (%d s in all)", monitor, score, best["epoch"], len(history), seconds)
    log.info("checkpoint %s, curves %s", folder / "best.pt", folder / "curves.png")
    return score
