"""`nowcast train`: train a model; write checkpoints, metrics and curves; return the validation
score.
"""

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn
from tqdm.contrib.logging import logging_redirect_tqdm

from nowcast import startup
from nowcast.config.data import MovingMnistConfig, RadarConfig
from nowcast.config.models import FCLSTMConfig
from nowcast.config.train import TrainConfig
from nowcast.errors import ConfigError, DataError
from nowcast.factories.extra_inputs import build_inputs, open_fields
from nowcast.factories.radar import open_radar
from nowcast.factories.start import begin_from, like_start, read_start
from nowcast.factories.watching import watching
from nowcast.factories.windows import (
    motion_of_radar,
    moving_mnist_windows,
    rates_to_learn_from,
)
from nowcast.files import only_writer, sha256, written_whole
from nowcast.forecast.any_grid import frames_seen, refuse_too_far
from nowcast.launch import current
from nowcast.model import MODELS, build_model
from nowcast.motion.spacing import Spacing
from nowcast.periods import Period, parse_period, refuse_overlap
from nowcast.plugins import MODELS as ADDED_MODELS
from nowcast.plugins import package_of, plugins
from nowcast.pretrained import checkpoint_name
from nowcast.radar.grid import RATE
from nowcast.radar.placing.grid_match import place_for_checkpoint
from nowcast.radar.placing.place import pixel_km
from nowcast.radar.placing.regions import Region, region_at, region_for_checkpoint, regions_of
from nowcast.report.foot import facts_of_training, line_of
from nowcast.report.pictures.charts import draw_curves
from nowcast.sequences.clock import clock_of
from nowcast.sequences.options import EVERY_WINDOW
from nowcast.sequences.packed import PackedRates
from nowcast.sequences.windows import RadarWindows, Windows
from nowcast.training.choice import decided_by_loss
from nowcast.training.distribution import ALONE, Processes, device_of, joined
from nowcast.training.loggers import build_loggers
from nowcast.training.loop import Trainer
from nowcast.training.losses import loss_of
from nowcast.training.optimizers import build_optimizer, build_schedule
from nowcast.training.precision import Precision, be_deterministic, choose_precision
from nowcast.training.progress import as_json, in_words
from nowcast.training.provenance import versions
from nowcast.training.resuming import (
    Defaults,
    Settings,
    changes_between,
    ended_early,
    no_defaults,
    resume,
    why_nothing_is_left,
)
from nowcast.training.resuming import in_words as changes_in_words
from nowcast.training.signals import stop_request

log = logging.getLogger(__name__)

LOCK_SECONDS = 2.0


@dataclass(frozen=True)
class Opened:
    """The opened data of a training.

    timestep_minutes: spacing of the frames; place: their grid; data: their number, size and
        checksum. All three are None for frames without times.
    region: the part of the grid that the windows cover; None for the whole grid.
    """

    training: Windows
    validation: Windows
    timestep_minutes: float | None = None
    place: dict[str, Any] | None = None
    data: dict[str, Any] | None = None
    region: dict[str, Any] | None = None


def train(config: TrainConfig, folder: Path, defaults: Defaults = no_defaults) -> float:
    """Train, or resume training, in `folder`; return the best validation score, NaN if undefined.

    defaults: the values in configs/ of keys that an earlier version did not have.
    """
    launch = current()
    with joined(launch) as processes:
        return _train(config, folder, defaults, processes, device_of(config.device, launch))


def _train(
    config: TrainConfig, folder: Path, defaults: Defaults, processes: Processes, device: str
) -> float:
    if startup.is_ours:  # reusing the memory of a step in the next saves a tenth of the time
        startup.reuse_memory(largest=2**30, kept=2**31 - 1)
    folder = processes.share(folder)
    start = None if config.start is None else read_start(config)
    if start is not None:
        config = like_start(config, start)
    loss_of(
        config.loss, config.model.thresholds
    )  # refuse an unusable package before frames are read
    loggers = build_loggers(config.loggers) if processes.is_first else {}
    precision = choose_precision(device, config.precision)
    if config.deterministic:
        be_deterministic()
    torch.manual_seed(config.seed)
    with processes.first_goes_first():
        opened = open_windows(config)
    settings = {**asdict(config), "timestep_minutes": opened.timestep_minutes}
    settings["start"] = config.start and checkpoint_name(config.start)
    refuse_other_settings(processes.gather(settings))
    if isinstance(config.model, FCLSTMConfig):
        refuse_other_sizes(config.model, opened.training, opened.validation)
    # a process that only checks for a training here holds the lock for a moment
    with only_writer(folder, wait=LOCK_SECONDS) if processes.is_first else nullcontext():
        trainer = build_trainer(config, settings, opened.training, precision, folder, processes)
        trainer.place, trainer.data, trainer.region = opened.place, opened.data, opened.region
        trainer.packages = added_by(config.model.name)
        trainer.loggers = watching(
            loggers, settings, opened.validation, opened.timestep_minutes, opened.place
        )
        if start is not None:
            begin_from(trainer, start)
        resume(trainer, settings, folder, defaults)
        run(trainer, opened)
        return summarise(trainer) if processes.is_first else best_score(trainer)


def refuse_other_settings(settings: Sequence[Settings] | None) -> None:
    """Errors: ConfigError, in the first process, if the processes of a training do not have the
    same settings.
    """
    first, *others = settings or [{}]
    changes = {
        key: (key, before, now)
        for other in others
        for key, before, now in changes_between(first, other)
        if key not in ("output", "device", "data.cache")
    }
    if changes:
        raise ConfigError(
            f"{changes_in_words([*changes.values()])}: differs between the processes of this"
            " training; give all the same settings, or start separate trainings with one task each"
            " (srun --ntasks=1)."
        )


def added_by(model: str) -> dict[str, str]:
    """Return the package that adds a model as {"model": package}; empty for our own models."""
    return {} if model in MODELS else {"model": package_of(plugins(ADDED_MODELS)[model])}


def run(trainer: Trainer, opened: Opened) -> None:
    """Train to the end of the plan, and log it."""
    done = why_nothing_is_left(trainer)
    if done:
        log.info("nothing to train: %s", done)
        return
    log.info(
        "training %s parameters on %s%s: %d windows an epoch, %d for validation, into %s",
        f"{sum(p.numel() for p in trainer.model.parameters()):,}", trainer.precision,
        f" by {trainer.processes.size} processes" if trainer.processes.size > 1 else "",
        len(opened.training), len(opened.validation), trainer.folder,
    )  # fmt: skip
    with stop_request() as stop, logging_redirect_tqdm():
        trainer.fit(opened.training, opened.validation, stop)
    if trainer.progress.epoch < trainer.plan.epochs:
        log.info(ended_early(trainer))


def open_windows(config: TrainConfig) -> Opened:
    """Open the training and validation windows. Errors: as for each kind of data."""
    if isinstance(config.data, RadarConfig):
        return _open_radar_windows(config, config.data)
    assert isinstance(config.data, MovingMnistConfig)
    return _open_moving_mnist(config, config.data)


def _open_radar_windows(config: TrainConfig, data: RadarConfig) -> Opened:
    periods = {
        f"data.{name}": parse_period(f"data.{name}", dates) for name, dates in splits(data).items()
    }
    refuse_overlap(periods)
    train, validation = periods["data.train"], periods["data.validation"]
    grid = open_radar(data, train, validation)
    region = _region(config, grid)
    both = Period(min(train.start, validation.start), max(train.end, validation.end))
    rates = rates_to_learn_from(data, grid, both)
    for name in ("data.train", "data.validation"):
        refuse_unmeasured(rates, periods[name], name)
    moving = config.model.frame == "moving"
    steps: dict[str, Any] = {
        "input_steps": config.input_steps,
        "lead_steps": config.lead_steps,
        "scaling": config.scaling,
        "fields": open_fields(asdict(config), grid, both, data.cache),
        "motion": motion_of_radar(rates, clock_of(rates), config.input_steps) if moving else None,
    }
    if config.model.grids == "any":
        minutes = float(grid.attrs["timestep_minutes"])
        _refuse_other_steps(config, minutes)
        steps |= {"spacing": Spacing(pixel_km(grid), minutes), "speed": True}
    training_windows = RadarWindows(
        rates,
        train,
        **steps,
        sampling=config.sampling,
        shuffle=True,
        seed=config.seed,
        take_along=moving,
        region=region,
    )
    validation_windows = RadarWindows(
        rates, validation, **steps, sampling=replace(EVERY_WINDOW, **asdict(config.validation)),
        region=region,
    )  # fmt: skip
    return Opened(
        training_windows,
        validation_windows,
        grid.attrs["timestep_minutes"],
        place_for_checkpoint(grid),
        {
            "frames": len(rates.times),
            "size": list(rates.frames.shape[1:]),
            # the checksum needs all frames, and frames that are not unpacked are read as needed
            "sha256": rates.digest() if rates.is_unpacked else None,
        },
        None if region is None else region_for_checkpoint(grid, region),
    )


def _region(config: TrainConfig, grid: xr.Dataset) -> Region | None:
    """Return and log the part of the grid to train on; None for the whole grid.

    Errors: ConfigError if the index is too high.
    """
    asked, size = config.region, grid[RATE].shape[1:]
    if asked.size is None:
        return None
    region = region_at(asked.size, asked.stride, asked.index, size)
    count = len(regions_of(asked.size, asked.stride, size))
    log.info("region %d of %d, counted from 0: %s", asked.index, count, region)
    return region


def _refuse_other_steps(config: TrainConfig, minutes: float) -> None:
    """Errors: ConfigError if a model for any grid would be trained on other frames than it
    forecasts from; as `refuse_too_far`.
    """
    wanted, every = frames_seen(minutes)
    if every > 1:
        raise ConfigError(
            f"{config.data.path}: frames every {minutes:g} minutes, but a model for any grid is"
            " trained on frames at least 4 minutes apart; give a store that 'nowcast prepare' made"
            f" with timestep_minutes={every * minutes:g}."
        )
    if config.input_steps != wanted:
        raise ConfigError(
            f"input_steps: a model for any grid sees {wanted} frames at a time step of"
            f" {minutes:g} minutes; set input_steps={wanted}."
        )
    refuse_too_far(config.lead_steps, minutes)


def refuse_unmeasured(rates: PackedRates, period: Period, name: str) -> None:
    """Errors: DataError if no frame of the period has a measured pixel; its loss would be 0 for any
    forecast.
    """
    first, last = (
        np.searchsorted(rates.times, period.start),
        np.searchsorted(rates.times, period.end, side="right"),
    )
    if last > first and not rates.tiles[first:last, 1].any():
        raise DataError(
            f"{name}: none of its {last - first} frames has a measured pixel; give other days, or"
            " see 'nowcast inspect'."
        )


def splits(data: RadarConfig) -> dict[str, list[str]]:
    """Return the days of each split that is set."""
    return {
        name: days
        for name in ("train", "validation", "test")
        if (days := getattr(data, name)) is not None
    }


def _open_moving_mnist(config: TrainConfig, data: MovingMnistConfig) -> Opened:
    train, validation = (
        moving_mnist_windows(data, split, config.input_steps, config.lead_steps, config.seed)
        for split in ("train", "validation")
    )
    return Opened(train, validation)


def refuse_other_sizes(model: FCLSTMConfig, training: Windows, validation: Windows) -> None:
    """Errors: ConfigError if the frames do not have the one size that the model takes."""
    cropped, whole = (
        list(windows[windows.epoch(0)[0]].shape[-2:]) for windows in (training, validation)
    )
    if cropped != whole:
        raise ConfigError(
            f"sampling.crop: {model.name} takes only frames of one size, and validation frames are"
            f" {whole}, uncropped; set sampling.crop={max(whole)}, or choose another model."
        )
    if whole != model.grid_size:
        raise ConfigError(
            f"model.grid_size: is {model.grid_size}, but the frames are {whole}; set"
            f" model.grid_size=[{whole[0]},{whole[1]}], or choose another model."
        )


def build_trainer(
    config: TrainConfig,
    settings: dict[str, Any],
    windows: Windows,
    precision: Precision,
    folder: Path,
    processes: Processes = ALONE,
) -> Trainer:
    """Build a trainer at its first step."""
    inputs = build_inputs(settings)
    model = build_model(
        settings["model"],
        inputs.channels,
        output_channels=1,
        ahead_channels=len(inputs.ahead),
        mask=inputs.mask,
    ).to(precision.device)
    if processes.size > 1 or config.training.accumulate > 1:
        refuse_parts_of_batches(model, config.model.name)
    optimizer = build_optimizer(model, **settings["optimizer"])
    steps = config.training.steps(len(windows))
    schedule = build_schedule(optimizer, steps=steps, **settings["schedule"])
    return Trainer(
        model, optimizer, schedule, loss_of(config.loss, config.model.thresholds), precision,
        config.training, config.thresholds, folder, settings, inputs, processes,
    )  # fmt: skip


def refuse_parts_of_batches(model: nn.Module, name: str) -> None:
    """Errors: ConfigError if the model has batch normalisation, which needs the whole batch."""
    if any(isinstance(one, nn.modules.batchnorm._BatchNorm) for one in model.modules()):
        raise ConfigError(
            f"model: {name} uses batch normalisation, which needs the whole batch; train it in one"
            " process with training.accumulate=1, or choose another model."
        )


def best_score(trainer: Trainer) -> float:
    """Return the best validation score, NaN if it is undefined."""
    assert trainer.best is not None
    return trainer.best[f"validation_{trainer.plan.monitor}"]


def summarise(trainer: Trainer) -> float:
    """Write summary.json and the curves, log the result and return the best validation score."""
    folder, epochs, best, monitor = (
        trainer.folder,
        len(trainer.progress.history),
        trainer.best,
        trainer.plan.monitor,
    )
    assert best is not None
    score, checkpoint = best_score(trainer), folder / "best.pt"
    before = None if trainer.start is None else trainer.start[f"validation_{monitor}"]
    seconds = round(sum(row["seconds"] for row in trainer.rows))
    loading = sum(row.get("loading_seconds", 0.0) for row in trainer.rows)
    summary = {
        "monitor": monitor,
        "score": score,
        "score_before_training": before,
        "validation_loss": best["validation_loss"],
        "best_epoch": best["epoch"],
        "epochs": epochs,
        "ended_early": epochs < trainer.plan.epochs,
        "seconds": seconds,
        "loading_seconds": round(loading),
        "processes": trainer.processes.size,
        "versions": versions(),
        "checkpoint_sha256": sha256(checkpoint) if checkpoint.exists() else None,
    }
    with written_whole(folder / "summary.json") as path:
        path.write_text(as_json(summary) + "\n")
    digest = str(summary["checkpoint_sha256"] or "")
    draw_curves(trainer.rows, folder / "curves.png", line_of(facts_of_training(checkpoint, digest)))
    log.info(
        "best validation %s %s %s (%d s in all, %.0f %% of it waiting for windows)",
        monitor,
        in_words(score),
        f"in epoch {best['epoch']} of {epochs}" if best["epoch"] else "before training",
        seconds,
        100 * loading / max(1, seconds),
    )
    if before is not None:
        log.info(
            "%s had %s before training%s",
            trainer.config["start"],
            in_words(before),
            "" if best["epoch"] else "; no epoch was better, so best.pt holds its weights",
        )
    others = decided_by_loss(trainer.rows, best, monitor)
    if others:
        log.info(
            "that epoch was chosen by the loss: %d other%s the same validation CSI",
            others,
            " has" if others == 1 else "s have",
        )
    log.info("checkpoint %s, curves %s", checkpoint, folder / "curves.png")
    return score
