"""Log a training to TensorBoard, in the folder `tensorboard` of its output."""

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
"""Folder within the output of a training."""
METRICS = ("best/validation_csi", "best/validation_loss")
"""Metrics in the table of hyperparameters."""


class TensorBoard:
    """Write scalars, images and hyperparameters; see `nowcast.training.loggers.Logger`.

    Each call writes immediately, in this thread. PyTorch's writer uses a thread of its own, which
    reports a full disk only later and does not exist in forked processes.
    """

    def start(self, folder: Path, settings: Mapping[str, Any], step: int) -> None:
        """Begin a file of events; events of earlier files after `step` become invalid."""
        place = folder / FOLDER
        if step == 0:
            shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads files in the order of their names
        self.path = place / f"events.out.tfevents.{time.time_ns()}"
        about = {key: _plain(value) for key, value in settings.items() if value is not None}
        experiment, beginning, self._end = hparams(about, dict.fromkeys(METRICS, 0.0))
        self._append(
            Event(file_version="brain.Event:2"),
            Event(step=step + 1, session_log=SessionLog(status=SessionLog.START)),
            Event(step=step, summary=experiment),
            Event(step=step, summary=beginning),
        )

    def log(self, step: int, values: Mapping[str, float], images: Mapping[str, Image]) -> None:
        """Write values and images (h, w, 3) of a step."""
        parts = [scalar(name, value) for name, value in values.items()]
        parts += [image(name, pixels, dataformats="HWC") for name, pixels in images.items()]
        whole = Summary(value=[value for part in parts for value in part.value])
        self._append(Event(step=step, summary=whole))

    def finish(self) -> None:
        """Mark the training as ended in the table of hyperparameters."""
        self._append(Event(summary=self._end))

    def _append(self, *events: Event) -> None:
        with self.path.open("ab") as file:
            for event in events:
                event.wall_time = time.time()
                RecordWriter(file).write(event.SerializeToString())


def _plain(value: Any) -> float | str:
    """Return a value in a form that the table of hyperparameters accepts."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
