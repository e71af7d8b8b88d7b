"""Export a model from PyTorch to ONNX: the graph maps past rain, and in the moving frame its
motion, to forecast rain.
"""

import io
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout

import torch
from torch import Tensor, nn

from nowcast.errors import ConfigError, DataError, MissingLibraryError
from nowcast.forecast.exported import MOTION, PAST, PROBABILITIES, RATES
from nowcast.forecast.forecaster import Forecaster
from nowcast.motion.grid import coarse_size
from nowcast.version import install_command


class _FromPastToForecast(nn.Module):
    """A forecaster as a module that can be traced."""

    def __init__(self, forecaster: Forecaster) -> None:
        super().__init__()
        self.forecaster, self.model = forecaster, forecaster.model

    def forward(self, past: Tensor, motion: Tensor | None = None) -> tuple[Tensor, ...]:
        forecast = self.forecaster.forecast_along(past, motion)
        if forecast.probabilities is None:
            return (forecast.rates,)
        return forecast.rates, forecast.probabilities.values


def export_forecaster(forecaster: Forecaster, grid_size: Sequence[int]) -> bytes:
    """Return an ONNX model of a forecaster on the CPU, for frames of (height, width) pixels, one
    past at a time.

    Errors: MissingLibraryError; ConfigError for a model with inputs.ahead; DataError if the model
    has an operation that ONNX lacks.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingLibraryError(
            f"export: needs {error.name}: {install_command('export')}."
        ) from error
    if forecaster.inputs.ahead:
        raise ConfigError(
            "checkpoint: a model with inputs.ahead cannot be exported yet, because an exported"
            " model takes past frames only; use its checkpoint to forecast."
        )
    past, motion = random_past(forecaster, grid_size), steady_motion(forecaster, grid_size)
    with _silence(), torch.no_grad():
        try:
            program = torch.onnx.export(
                _FromPastToForecast(forecaster).eval(),
                (past,) if motion is None else (past, motion),
                dynamo=True,
                verbose=False,
                input_names=[PAST] if motion is None else [PAST, MOTION],
                output_names=[RATES] if forecaster.calibration is None else [RATES, PROBABILITIES],
            )
        except torch.onnx.OnnxExporterError as error:
            raise DataError(
                f"model: cannot be exported ({str(error).strip().splitlines()[0]}); use its"
                " checkpoint to forecast."
            ) from error
    assert program is not None
    model = program.model_proto
    for part in (
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.initializer,
        *model.graph.input,
        *model.graph.output,
    ):
        part.ClearField("metadata_props")  # source files and lines that it was traced from
        part.ClearField("doc_string")
    content: bytes = model.SerializeToString()
    return content


def random_past(forecaster: Forecaster, grid_size: Sequence[int]) -> Tensor:
    """Return a past (1, t, 1 + k, h, w) that is half dry, with up to 20 mm/h and a margin that no
    frame covers.
    """
    generator = torch.Generator().manual_seed(0)
    shape = 1, forecaster.input_steps, forecaster.inputs.raw_channels, *grid_size
    past = (40 * torch.rand(shape, generator=generator) - 20).clamp(min=0)
    past[..., : grid_size[0] // 8, :] = math.nan
    return past


def steady_motion(forecaster: Forecaster, grid_size: Sequence[int]) -> Tensor | None:
    """Return a motion (1, 2, hc, wc) that shifts and rotates rain; None in the fixed frame."""
    if not forecaster.moving:
        return None
    y, x = (torch.linspace(-1, 1, points) for points in coarse_size(*grid_size))
    across, down = torch.broadcast_tensors(1.3 - 0.5 * y[:, None], 0.5 * x - 0.7)
    return torch.stack([across, down])[None]


@contextmanager
def _silence() -> Iterator[None]:
    """Silence PyTorch's exporter, which prints its steps and warns of unneeded libraries."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
