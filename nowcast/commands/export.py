"""`nowcast export`: a checkpoint → a model that forecasts without PyTorch, equal to it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from nowcast.config.export import ExportConfig
from nowcast.errors import InternalError
from nowcast.factories.models import refuse_other_size
from nowcast.factories.windows import open_forecaster
from nowcast.files import refuse_unwritable, sha256, written_whole
from nowcast.forecast.exported import SUFFIX, open_exported, seal
from nowcast.forecast.exporting import export_forecaster, random_past
from nowcast.forecast.tiling import WORKSPACE
from nowcast.model.describe import forecasting_memory
from nowcast.training.precision import choose_precision

Result = TypeVar("Result")

_EQUAL = {
    "rtol": 1e-3,
    "atol": 1e-3,
    # mm/h; sums in another order, through an exponential function where rain was scaled by a
    # logarithm
}


def export(config: ExportConfig) -> Path:
    """Write the model of a checkpoint for frames of one size, once it is seen to forecast what the
    checkpoint does, and say so.

    Errors: DataError for a model of another size; InternalError where the forecasts differ; as each
    part.
    """
    forecaster, checkpoint = open_forecaster(config.checkpoint, choose_precision("cpu", "fp32"))
    refuse_other_size(checkpoint["config"], config.grid_size, "grid_size")
    path = Path(config.output or Path(config.checkpoint).with_suffix(SUFFIX)).expanduser()
    refuse_unwritable(path)
    past = random_past(forecaster, config.grid_size)
    frames = forecaster.inputs.frames(past, forecaster.scaling)
    about = {
        **{key: checkpoint.get(key) for key in ("config", "place", "versions")},
        "exported_from_sha256": sha256(config.checkpoint),
        "grid_size": config.grid_size,
        "memory_bytes": round(
            WORKSPACE * forecasting_memory(forecaster.model, frames.shape, forecaster.lead_steps)
        ),
    }
    content = seal(export_forecaster(forecaster, config.grid_size), about)
    # refused here if its graph were none that predict takes
    exported = open_exported(content, path)
    rates, seconds = _timed(lambda: forecaster(past).numpy())
    ours, ours_seconds = _timed(lambda: exported(past.numpy()))
    if not np.allclose(ours, rates, equal_nan=True, **_EQUAL):
        raise InternalError(
            f"{path}: would not forecast what {config.checkpoint} does, so it was not written;"
            " forecast by the checkpoint."
        )
    with written_whole(path) as temporary:
        temporary.write_bytes(content)
    height, width = config.grid_size
    print(
        f"{path}: {forecaster.input_steps} → {forecaster.lead_steps} frames of {height} × {width},"
        f" {len(content) / 1e6:.1f} MB; equal to {config.checkpoint} within"
        f" {np.nanmax(np.abs(ours - rates)):.1e} mm/h; a forecast takes {ours_seconds:.2f} s, not"
        f" {seconds:.2f} s"
    )
    return path


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """What it gives the second time, and how long that took."""
    work()
    start = time.perf_counter()
    return work(), time.perf_counter() - start
