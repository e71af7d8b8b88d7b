"""A training in TensorBoard, in the folder `tensorboard` of its output."""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import hparams, image, scalar

from nowcast.training.loggers import Image

FOLDER = "tensorboard"
"""Within the output of a training."""
METRICS = ("best/validation_csi", "best/validation_loss")
"""What the table of hyperparameters shows of a training."""


class TensorBoard:
    """Scalars, images and hyperparameters, as `nowcast.training.loggers.Logger` describes them.

    Each call writes at once, in this thread: TensorBoard's own writer has a thread, which would be
    copied into the processes that load windows, and tells of a full disk only later.
    """

    def start(self, folder: Path, settings: Mapping[str, Any], step: int) -> None:
        """Begin a file of events; of those of earlier files only what came up to `step` holds."""
        place = folder / FOLDER
        if step == 0:
            shutil.rmtree(place, ignore_errors=True)
        place.mkdir(exist_ok=True)
        # TensorBoard reads files in the order of their names
        self._file = (place / f"events.out.tfevents.{time.time_ns()}").open("wb")
        self._write(file_version="brain.Event:2")
        self._write(step=step + 1, session_log=SessionLog(status=SessionLog.START))
        about = {key: _plain(value) for key, value in settings.items() if value is not None}
        experiment, beginning, self._end = hparams(about, dict.fromkeys(METRICS, 0.0))
        self._write(step=step, summary=experiment)
        self._write(step=step, summary=beginning)
        self._file.flush()

    def log(self, step: int, values: Mapping[str, float], images: Mapping[str, Image]) -> None:
        """Write values and images (h, w, 3) of a step."""
        parts = [scalar(name, value) for name, value in values.items()]
        parts += [image(name, pixels, dataformats="HWC") for name, pixels in images.items()]
        if parts:
            whole = Summary(value=[value for part in parts for value in part.value])
            self._write(step=step, summary=whole)
            self._file.flush()

    def finish(self) -> None:
        """Say in the table of hyperparameters that the training ended."""
        with self._file:
            self._write(summary=self._end)

    def _write(self, **event: Any) -> None:
        RecordWriter(self._file).write(Event(wall_time=time.time(), **event).SerializeToString())


def _plain(value: Any) -> float | str:
    """A value as the table of hyperparameters takes it."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
