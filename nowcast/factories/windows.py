"""Build training windows from a configuration, and a forecaster from a checkpoint."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn
from tqdm import tqdm

from nowcast.config.data import DataConfig, MovingMnistConfig, RadarConfig
from nowcast.errors import ConfigError, DataError, MissingLibraryError
from nowcast.factories.extra_inputs import build_inputs
from nowcast.factories.radar import into_cache, reading
from nowcast.files import FileVersion
from nowcast.forecast.exported import SUFFIX
from nowcast.forecast.forecaster import Forecaster
from nowcast.model import ProbabilityModel, build_model
from nowcast.periods import Period
from nowcast.plugins import MODELS, plugins
from nowcast.probability.calibration import Calibration, calibration_of, uncalibrated
from nowcast.radar.remote.path import RemotePath
from nowcast.sequences.clock import Clock
from nowcast.sequences.contents import contents_of
from nowcast.sequences.direct import DirectFrames, DirectMotion, direct
from nowcast.sequences.inputs import Inputs
from nowcast.sequences.motions import Progress, motion_of
from nowcast.sequences.moving_mnist import MovingMnistWindows, open_digits
from nowcast.sequences.packed import PackedRates, pack
from nowcast.sequences.scaling import Scaling
from nowcast.sequences.windows import Motions
from nowcast.training.checkpoints import Checkpoint, forecast_weights, read_checkpoint
from nowcast.training.precision import Precision
from nowcast.version import __version__


def pack_radar(data: RadarConfig, grid: xr.Dataset, period: Period) -> PackedRates:
    """Unpack the frames of a period into data.cache, with a progress bar on a terminal.

    Errors: ConfigError if data.cache is null.
    """
    if data.cache is None:
        raise ConfigError(
            "data.cache: null (read each frame when needed) is only for 'nowcast train'; give a"
            " folder here."
        )
    with into_cache(), _progress_bar("unpacking") as progress:
        return pack(
            grid,
            period,
            data.cache,
            _source(data, data.cache, grid, period),
            progress,
            data.cache_gb * 1e9,
        )


def rates_to_learn_from(data: RadarConfig, grid: xr.Dataset, period: Period) -> PackedRates:
    """Return the frames of a period: unpacked into data.cache, or read when a window needs them if
    it is null.
    """
    return direct(grid, period) if data.cache is None else pack_radar(data, grid, period)


def motion_of_radar(rates: PackedRates, clock: Clock, input_steps: int) -> Motions:
    """Estimate the motion at each time of a series from `input_steps` frames, with a progress bar
    on a terminal. If the series is not unpacked, motion is estimated when needed.

    Returns:
        (times, 2, hc, wc), as `motion_of`.
    """
    if isinstance(rates.frames, DirectFrames):
        return DirectMotion(rates.frames, clock, input_steps)
    with into_cache(), _progress_bar("estimating motion") as progress:
        return motion_of(rates, clock, progress, input_steps)


@contextmanager
def _progress_bar(words: str) -> Iterator[Progress]:
    """Show a progress bar on a terminal; call it with the frames done and their total."""
    with tqdm(desc=words, unit="frame", leave=False, disable=None, file=sys.stderr) as bar:

        def progress(done: int, of: int) -> None:
            bar.total = of
            bar.update(done - bar.n)

        yield progress


def _source(data: RadarConfig, cache: str, grid: xr.Dataset, period: Period) -> str:
    """Return a text that identifies the contents of the files of these frames and how they are
    read. It changes only with these; a store at a URL is identified by its array metadata.
    """
    series = grid.encoding["series"].within(period.start, period.end)
    paths = [series.files[k].path for k in np.unique(series.file_of)]
    here = [path for path in paths if not isinstance(path, RemotePath)]
    stores = [[str(one), FileVersion.of(one).inode] for one in paths if one not in here]
    return json.dumps([contents_of(here, cache), asdict(reading(data)), __version__, *stores])


def moving_mnist_windows(
    data: MovingMnistConfig, split: str, input_steps: int, lead_steps: int, seed: int
) -> MovingMnistWindows:
    """Return the sequences of a split: new ones in every epoch for 'train', always the same for
    'validation' and 'test'.

    Digits of one split never appear in another: the last 5,000 images are for the test, the 5,000
    before for validation.
    """
    digits = open_digits(data.path)
    if len(digits) <= 10_000:
        raise DataError(
            f"{data.path}: has {len(digits)} images, too few to split; data.path must name the"
            " 60,000 training images of MNIST."
        )
    parts = {
        "train": digits[:-10_000],
        "validation": digits[-10_000:-5_000],
        "test": digits[-5_000:],
    }
    return MovingMnistWindows(
        parts[split],
        input_steps=input_steps,
        lead_steps=lead_steps,
        count=getattr(data, f"{split}_sequences"),
        digits_per_sequence=data.digits_per_sequence,
        fresh=split == "train",
        seed=len(parts) * seed + list(parts).index(split),
    )


def build_scaling(config: dict[str, Any]) -> Scaling:
    """Return the scaling of a configuration or checkpoint."""
    return Scaling(**config["scaling"])


def open_forecaster(
    path: str, precision: Precision, rate: str = "csi"
) -> tuple[Forecaster, Checkpoint]:
    """Return the model of a checkpoint, ready to forecast on the device, and the checkpoint.

    rate: how the model converts probabilities to a rate; see `nowcast.probability.options`.
    """
    refuse_exported(path)
    checkpoint = read_checkpoint(path)
    refuse_missing_package(checkpoint, path)
    try:
        forecaster = _rebuild(checkpoint, rate)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, ConfigError) as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        raise DataError(
            f"{path}: describes a model that this version cannot build ({reason}); train it again."
        ) from error
    if rate != "csi" and forecaster.calibration is None:
        raise ConfigError(
            f"rate: the model of {path} gives rates, not probabilities; leave it out."
        )
    forecaster.model.to(precision.device).eval()
    return forecaster, checkpoint


def refuse_exported(path: str) -> None:
    """Errors: DataError for an exported model."""
    if Path(path).suffix == SUFFIX:
        raise DataError(
            f"{path}: is an exported model, which only 'nowcast predict' can use; give the best.pt"
            " that it was exported from."
        )


def refuse_missing_package(checkpoint: Checkpoint, path: str) -> None:
    """Errors: MissingLibraryError if the model comes from a package that is not installed."""
    package = checkpoint.get("packages", {}).get("model")
    name = checkpoint["config"].get("model", {}).get("name")
    if package is not None and name not in plugins(MODELS):
        raise MissingLibraryError(
            f"{path}: its model {name} comes from the package {package}, which is not installed;"
            " install it."
        )


def _rebuild(checkpoint: Checkpoint, rate: str) -> Forecaster:
    """Build the forecaster of a checkpoint on the CPU, with averaged weights if it has them."""
    config, weights = checkpoint["config"], forecast_weights(checkpoint)
    inputs = build_inputs(config)
    with torch.device("meta"):  # needs no memory, however large the model is
        expected = _built(config, inputs).state_dict()
    if {name: value.shape for name, value in expected.items()} != {
        name: value.shape for name, value in weights.items()
    }:
        raise ValueError("its weights are those of another model")
    with torch.random.fork_rng(devices=[]):  # initial weights draw random numbers
        model = _built(config, inputs)
    model.load_state_dict(weights)
    return Forecaster(
        model,
        build_scaling(config),
        config["input_steps"],
        config["lead_steps"],
        config["timestep_minutes"],
        inputs,
        moving=config["model"]["frame"] == "moving",
        calibration=_calibration(checkpoint, model),
        rate=rate,
    )


def _built(config: Mapping[str, Any], inputs: Inputs) -> nn.Module:
    """Build the untrained model of a checkpoint."""
    return build_model(config["model"], inputs.channels, 1, len(inputs.ahead), mask=inputs.mask)


def _calibration(checkpoint: Checkpoint, model: nn.Module) -> Calibration | None:
    """Return the calibration of a model's probabilities; None if it gives none."""
    if not isinstance(model, ProbabilityModel):
        return None
    if checkpoint["calibration"] is None:  # saved before the first validation
        return uncalibrated(model.thresholds, checkpoint["config"]["lead_steps"])
    return calibration_of(checkpoint["calibration"])


def require_radar(data: DataConfig | None) -> RadarConfig:
    """Return the data of a configuration as radar data. Errors: ConfigError for other data."""
    if isinstance(data, RadarConfig):
        return data
    kind = "moving_mnist" if isinstance(data, MovingMnistConfig) else getattr(data, "name", "null")
    raise ConfigError(
        f"data: {kind} has no times to forecast from; choose data=radar or data=radolan."
    )
