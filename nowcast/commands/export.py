"""`nowcast export`: convert a checkpoint to an ONNX model that gives the same forecasts."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from nowcast.config.export import ExportConfig
from nowcast.errors import ConfigError, InternalError
from nowcast.factories.models import refuse_other_size
from nowcast.factories.windows import open_forecaster
from nowcast.files import refuse_unwritable, sha256, written_whole
from nowcast.forecast.any_grid import is_for_any_grid
from nowcast.forecast.exported import SUFFIX, open_exported, seal
from nowcast.forecast.exporting import export_forecaster, random_past, steady_motion
from nowcast.forecast.scene_forecast import SceneForecast, scene_forecast
from nowcast.forecast.tiling import WORKSPACE
from nowcast.model.describe import forecasting_memory
from nowcast.pretrained import checkpoint_name
from nowcast.training.precision import choose_precision

Result = TypeVar("Result")

_EQUAL = {
    "rtol": 1e-3,
    "atol": 1e-3,
    # mm/h; sums are in another order, and an exponential function follows if scaling is log
}
_ASTRAY = 1e-3
"""Share of the pixels that may differ by more with a moving-frame model: rounding can make a pixel
missing or move it to the other side of a cut.
"""


def export(config: ExportConfig) -> Path:
    """Export the model of a checkpoint for frames of one size, after checking that it gives the
    same forecast as the checkpoint.

    Errors: DataError for a model of another size; InternalError if the forecasts differ; as each
    part.
    """
    forecaster, checkpoint = open_forecaster(config.checkpoint, choose_precision("cpu", "fp32"))
    if is_for_any_grid(checkpoint["config"]):
        raise ConfigError(
            f"checkpoint: the model of {checkpoint_name(config.checkpoint)} is for any grid and"
            " cannot be exported; forecast with the checkpoint."
        )
    if checkpoint.get("region"):
        raise ConfigError(
            f"checkpoint: the model of {config.checkpoint} was trained on a region, and an exported"
            " model does not know where that is; forecast with the checkpoint."
        )
    refuse_other_size(checkpoint["config"], config.grid_size, "grid_size")
    path = Path(config.output or Path(config.checkpoint).with_suffix(SUFFIX)).expanduser()
    refuse_unwritable(path)
    past = random_past(forecaster, config.grid_size)
    frames = forecaster.inputs.frames(past, forecaster.scaling)
    about = {
        **{key: checkpoint.get(key) for key in ("config", "place", "versions")},
        "exported_from_sha256": sha256(config.checkpoint),
        "grid_size": config.grid_size,
        "thresholds": forecaster.calibration and list(forecaster.calibration.thresholds),
        "memory_bytes": round(
            WORKSPACE * forecasting_memory(forecaster.model, frames.shape, forecaster.lead_steps)
        ),
    }
    content = seal(export_forecaster(forecaster, config.grid_size), about)
    # raises if predict could not open this graph
    exported = open_exported(content, path)
    motion = steady_motion(forecaster, config.grid_size)
    with torch.inference_mode():
        made, seconds = _timed(lambda: forecaster.forecast_along(past, motion))
    ours, ours_seconds = _timed(
        lambda: exported.forecast_along(past.numpy(), None if motion is None else motion.numpy())
    )
    equal = _compared(ours, scene_forecast(made), _ASTRAY if forecaster.moving else 0.0)
    if equal is None:
        raise InternalError(
            f"{path}: not written, because its forecast differs from that of {config.checkpoint};"
            " forecast with the checkpoint."
        )
    with written_whole(path) as temporary:
        temporary.write_bytes(content)
    height, width = config.grid_size
    print(
        f"{path}: {forecaster.input_steps} → {forecaster.lead_steps} frames of {height} × {width},"
        f" {len(content) / 1e6:.1f} MB; equal to {config.checkpoint} within {equal}; a forecast"
        f" {'of known motion ' if forecaster.moving else ''}takes {ours_seconds:.2f} s with the"
        f" exported model{' (slower)' if ours_seconds > seconds else ''} and {seconds:.2f} s with"
        " the checkpoint"
    )
    return path


def _compared(ours: SceneForecast, theirs: SceneForecast, astray: float) -> str | None:
    """Return the largest difference of two forecasts as text; None if more than a share `astray`
    of their pixels differ.
    """
    pairs = [(ours.rates, theirs.rates, "mm/h")]
    if ours.probabilities is not None and theirs.probabilities is not None:
        pairs.append((ours.probabilities.values, theirs.probabilities.values, "in probability"))
    words, differ = [], 0.0
    for one, other, unit in pairs:
        close = np.isclose(one, other, equal_nan=True, **_EQUAL)
        differ = max(differ, 1 - close.mean())
        words.append(f"{np.nanmax(np.abs(one - other), where=close, initial=0):.1e} {unit}")
    if differ > astray:
        return None
    apart = f", apart from {differ:.1g} of the pixels" if differ else ""
    return f"{' and '.join(words)}{apart}"


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """Return the result of the second call and its duration in seconds."""
    work()
    start = time.perf_counter()
    return work(), time.perf_counter() - start
