"""The training loop: epochs of training and validation, checkpoints, early stopping."""

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from nowcast.errors import InternalError, Interrupted, LostProcessError
from nowcast.files import written_whole
from nowcast.model.pointwise import planned_batches
from nowcast.model.probability_head import ladder_of
from nowcast.model.unroll import in_segments
from nowcast.probability.calibration import Calibration
from nowcast.sequences.batch import Batch
from nowcast.sequences.inputs import RAIN_ALONE, Inputs
from nowcast.sequences.scaling import Scaling
from nowcast.sequences.windows import Pick, Windows
from nowcast.training.checkpoints import Checkpoint, write_checkpoint
from nowcast.training.choice import EpochRow, rank
from nowcast.training.distribution import ALONE, Processes
from nowcast.training.examples import Examples, join_examples
from nowcast.training.loading import Part, Waited, load
from nowcast.training.loggers import Loggers, epoch_values, validation_values
from nowcast.training.losses import Loss
from nowcast.training.options import Plan
from nowcast.training.precision import Precision
from nowcast.training.progress import Progress, as_json, bar, in_words
from nowcast.training.signals import StopRequest
from nowcast.training.state import restore, state_of
from nowcast.training.steps import Steps
from nowcast.training.validation import Skill, build_skill, join_skills

log = logging.getLogger(__name__)

T = TypeVar("T")


class Trainer:
    """Trains a model and keeps `last.pt` and `best.pt` in `folder`.

    The windows drawn in an epoch depend only on the seed and the epoch, and a checkpoint records
    the number of steps done in the epoch. So a resumed run continues with the very next batch, and
    on the CPU its result is bit-identical to that of an uninterrupted run.

    With several processes each takes a part of every batch. Losses, gradients and scores are those
    of the whole batch, and only the first process writes files.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        schedule: LRScheduler,
        loss: Loss,
        precision: Precision,
        plan: Plan,
        thresholds: Sequence[float],
        folder: Path,
        config: dict[str, Any],
        inputs: Inputs = RAIN_ALONE,
        processes: Processes = ALONE,
    ) -> None:
        self.steps = Steps(model, optimizer, schedule, loss, precision, plan, processes)
        self.model, self.averaged, self.precision = model, self.steps.averaged, precision
        self.plan, self.folder, self.config = plan, folder, config
        self.thresholds = thresholds  # of the CSI of validation [mm/h]
        self.inputs, self.processes = inputs, processes
        # location of the grid of the frames, as plain values, needed for forecasts
        self.place: Mapping[str, Any] | None = None
        # the part of that grid on which the model is trained, as plain values; None for all of it
        self.region: Mapping[str, Any] | None = None
        # the installed package that adds the model, if any, needed for forecasts
        self.packages: Mapping[str, str] = {}
        # description of the frames, as plain values, used to resume and to inspect
        self.data: Mapping[str, Any] | None = None
        self._unread: list[Tensor] = []  # losses that were not yet copied from the device
        self.progress = Progress()
        self.starts_trained = False  # whether the weights are those of a trained model
        self.start: EpochRow | None = None  # epoch 0: the model before training, if it was scored
        self.best: EpochRow | None = None  # the epoch kept in best.pt
        self.calibration: Calibration | None = None  # of the most recently validated epoch
        self.loggers = Loggers()  # only the first process has any
        self.steps_per_epoch = 0  # set by fit

    def fit(self, train: Windows, validation: Windows, stop: StopRequest) -> list[EpochRow]:
        """Train to the end of the plan, or until validation no longer improves, and return the
        metrics of every epoch. Weights that are already trained are scored first, as epoch 0.

        Errors: Interrupted, after saving, if `stop` was requested; InternalError if the loss is not
        finite or a worker died.
        """
        self.steps.begin()
        self.steps_per_epoch = -(-len(train) // self.plan.batch_size)
        try:
            with (
                planned_batches(self.plan.steps(len(train))),
                in_segments(self.plan.checkpoint_segments),
                self.loggers.running(self.folder, self.steps_done),
            ):
                if self.starts_trained and self.start is None and self._is_at_first_step():
                    self._score_start(validation, stop)
                while self.progress.epoch < self.plan.epochs and not self.stalled():
                    self._run_epoch(train, validation, stop)
        # raised anywhere in this process when a worker dies
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise InternalError(
                "a worker process that loads windows was killed, perhaps because memory ran out;"
                f" {self._last_good()}. Run again with fewer training.workers."
            ) from error
        return self.progress.history

    def calibrate(self, validation: Windows, stop: StopRequest) -> EpochRow:
        """Validate the model without training it, save it with the new calibration, and return the
        metrics, as those of epoch 0.

        Errors: Interrupted, after saving, if `stop` was requested; InternalError if the loss is not
        finite.
        """
        started = time.monotonic()
        validated = self._validate(validation, stop)
        seconds = round(time.monotonic() - started, 3)
        self.start = self.best = {"epoch": 0, **validated, "seconds": seconds}
        self.save(self.folder / "best.pt")
        return self.start

    def _score_start(self, validation: Windows, stop: StopRequest) -> None:
        row = self.calibrate(validation, stop)
        log.info(
            "before training: validation loss %.5g, validation CSI %s",
            row["validation_loss"], in_words(row["validation_csi"]),
        )  # fmt: skip

    def _is_at_first_step(self) -> bool:
        return self.progress.epoch == self.progress.step == 0

    @property
    def steps_done(self) -> int:
        """Steps since the training began."""
        return self.progress.epoch * self.steps_per_epoch + self.progress.step

    @property
    def rows(self) -> list[EpochRow]:
        """The metrics of epoch 0, if it was scored, and of every epoch."""
        return [*([self.start] if self.start else []), *self.progress.history]

    def _run_epoch(self, train: Windows, validation: Windows, stop: StopRequest) -> None:
        started = time.monotonic()
        waited = self._train_epoch(train, stop)
        validated = self._validate(validation, stop)
        row = {
            "epoch": self.progress.epoch + 1,
            "train_loss": self.progress.loss_sum / self.progress.step,
            **validated,
            "learning_rate": self.steps.optimizer.param_groups[0]["lr"],
            "seconds": round(time.monotonic() - started, 3),
            "loading_seconds": round(waited, 3),
        }
        row = self.processes.share(row)
        self.progress = Progress(self.progress.epoch + 1, history=[*self.progress.history, row])
        self._finish_epoch(row)

    def _train_epoch(self, windows: Windows, stop: StopRequest) -> float:
        """Train for one epoch; return the seconds spent waiting for windows."""
        self.model.train()
        batches = self._batches(windows, self.progress.epoch)
        loaded = Waited(
            self._load(windows, batches[self.progress.step :], part=self.processes.part)
        )
        shown = bar(
            loaded, len(batches), f"{self._epoch_in_words()} train", self.progress.step,
            self.processes.is_first,
        )  # fmt: skip
        for batch in shown:
            windows_of_all = len(batches[self.progress.step])
            guide = self._guide(batch, len(batches), windows_of_all)
            self._unread.append(self.steps.take(batch, guide))
            self.progress.step += 1
            if self._is_read_now(len(batches)):
                self._read_losses()
                shown.set_postfix(
                    loss=f"{self.progress.loss_sum / self.progress.step:.4g}", refresh=False
                )
            self._heed(stop)
        return loaded.seconds

    def _batches(self, windows: Windows, epoch: int) -> list[list[Pick]]:
        picks, size = windows.epoch(epoch), self.plan.batch_size
        return [picks[i : i + size] for i in range(0, len(picks), size)]

    def _is_read_now(self, steps_per_epoch: int) -> bool:
        """Return whether to read the loss after this step, which waits for a GPU."""
        step = self.progress.step
        is_shown = step % self.plan.log_every == 0 or step == steps_per_epoch
        return self.steps.are_read_at_once or is_shown

    def _read_losses(self) -> None:
        """Add the losses not yet read to the sum.

        Errors: InternalError if one is not finite.
        """
        if not self._unread:
            return
        losses = self.processes.sum(torch.stack(self._unread).cpu().double()).tolist()
        first = self.progress.step - len(losses)
        self._unread.clear()
        for step, loss in enumerate(losses, first + 1):
            if not math.isfinite(loss):
                raise self._of_all(
                    f"the loss or its gradient is not finite in epoch {self.progress.epoch + 1},"
                    f" step {step}; {self._last_good()}. Lower optimizer.lr or"
                    " training.gradient_clip, or use precision=fp32."
                )
            self.progress.loss_sum += loss
            self._log_step(self.progress.epoch * self.steps_per_epoch + step, loss)

    def _log_step(self, step: int, loss: float) -> None:
        """Log the loss of a step; for the newest step also its gradient norm and learning rate."""
        if not self.loggers or step % self.plan.log_every:
            return
        values = {"train/loss": loss}
        if step == self.steps_done:
            values["train/learning_rate"] = self.steps.optimizer.param_groups[0]["lr"]
            values["train/gradient_norm"] = self.steps.norm.item()
        self.loggers.log(step, values)

    def _of_all(self, message: str) -> InternalError | LostProcessError:
        """Return an error that all processes raise and only the first one reports."""
        return InternalError(message) if self.processes.is_first else LostProcessError(message)

    def _guide(
        self, batch: Batch, steps_per_epoch: int, windows: int | None = None
    ) -> Tensor | None:
        """Return the true frames to feed back, drawn for each sequence and step, NaN elsewhere;
        None without scheduled sampling. All processes draw for all `windows` of a batch.

        A missing frame is never fed back, because the model would take it for dry.
        """
        first, last = self.plan.scheduled_sampling
        if first == last == 0:
            return None
        step = self.progress.epoch * steps_per_epoch + self.progress.step
        share = linear_share(first, last, step, self.plan.epochs * steps_per_epoch)
        future = batch.future
        own = torch.rand(windows or len(future), future.shape[1]) >= share
        own = own[self.processes.part(range(len(own))) or [0]]
        unknown = ~batch.future_mask.flatten(2).any(dim=2)
        return future.masked_fill(
            (own.to(future.device) | unknown)[..., None, None, None], math.nan
        )

    @torch.no_grad()
    def _validate(self, windows: Windows, stop: StopRequest) -> EpochRow:
        """Score the model on the validation windows. Processes take whole batches in turn."""
        (self.averaged or self.model).eval()
        batches = self._batches(windows, 0)
        rank, size = self.processes.rank, self.processes.size
        cases = sum(map(len, batches))
        loaded = self._load(windows, batches[rank::size])
        losses, skill = torch.zeros(len(batches), dtype=torch.float64), None
        watched = self.processes.share(bool(self.loggers))
        examples = Examples(windows.epoch(0), windows.lead_steps) if watched else None
        when = "before training:" if self._is_at_first_step() else self._epoch_in_words()
        firsts = range(0, len(batches), size)
        label = f"{when} validate"
        for first in bar(firsts, len(firsts), label, shown=self.processes.is_first):
            if first + rank < len(batches):
                batch, number = next(loaded), first + rank
                first_case = number * self.plan.batch_size
                forecast = self.steps.forecast(batch)
                losses[number] = self.steps.validation_loss(batch, forecast) * len(batch.rates)
                skill = skill or self._no_skill(windows, cases * math.prod(batch.rates.shape[-2:]))
                skill.add(forecast, batch.observed, batch.motion, first_case)
                if examples is not None:
                    examples.add(forecast, batch, first_case)
            self._heed(stop)
        loss_sum = sum(self.processes.sum(losses).tolist())
        return self._validated(loss_sum / cases, skill, examples, windows.scaling)

    def _validated(
        self, loss: float, skill: Skill | None, examples: Examples | None, scaling: Scaling
    ) -> EpochRow:
        """Return the validation scores from the cases of all processes; the first process keeps
        the calibration.
        """
        if not math.isfinite(loss):
            if self._is_at_first_step():
                raise self._of_all(
                    f"the validation loss is {loss} before any training; start from another"
                    " checkpoint, or use precision=fp32."
                )
            raise self._of_all(
                f"the validation loss became {loss} in epoch {self.progress.epoch + 1};"
                f" {self._last_good()}. Lower optimizer.lr."
            )
        row: EpochRow = {"validation_loss": loss}
        skills, parts = self.processes.gather(skill), self.processes.gather(examples)
        if skills is not None:
            whole = join_skills([one for one in skills if one is not None])
            self.calibration = whole.calibration()
            row["validation_csi"] = whole.csi()
            if self.loggers and parts is not None:
                shown = join_examples([one for one in parts if one is not None])
                made = shown.made(scaling, self.calibration)
                self.loggers.log(self.steps_done, validation_values(row, whole), made)
        return self.processes.share(row)

    def _no_skill(self, windows: Windows, pixels: int) -> Skill:
        """Return an empty sum for validation cases with so many pixels in total."""
        return build_skill(
            ladder_of(self.model),
            self.thresholds,
            windows.lead_steps,
            windows.scaling,
            pixels,
        )

    def _load(
        self, windows: Windows, batches: Sequence[Sequence[Pick]], part: Part = list
    ) -> Iterator[Batch]:
        return load(windows, batches, self.inputs, self.precision.device, self.plan.workers, part)

    def _epoch_in_words(self) -> str:
        return f"epoch {self.progress.epoch + 1}/{self.plan.epochs}"

    def _heed(self, stop: StopRequest) -> None:
        number = self.processes.largest(stop.signal_number or 0)
        if number:
            self._read_losses()
            self.save(self.folder / "last.pt")
            self.processes.wait()  # when one process ends, a launcher ends the others at once
            log.info(
                "stopped by a signal %s; saved %s",
                "before training"
                if self._is_at_first_step()
                else f"in epoch {self.progress.epoch + 1}",
                self.folder / "last.pt",
            )
            raise Interrupted(number)

    def _finish_epoch(self, row: EpochRow) -> None:
        if self.best is None or rank(row, self.plan.monitor) > rank(self.best, self.plan.monitor):
            self.best = row
            self.save(self.folder / "best.pt")
        self.loggers.log(self.steps_done, epoch_values(row, self.best))
        if row["epoch"] == 1 and self.plan.monitor == "csi" and math.isnan(row["validation_csi"]):
            log.warning(
                "the validation windows have no rain at or above %g mm/h, so their CSI is"
                " undefined and the validation loss chooses best.pt; give data.validation days with"
                " rain, use lower thresholds, or set training.monitor=loss",
                min(self.thresholds),
            )
        if self.processes.is_first:
            with written_whole(self.folder / "metrics.jsonl") as path:
                path.write_text("".join(as_json(row) + "\n" for row in self.rows))
        # saved last: if the run is killed before, it repeats the epoch and all of the above
        self.save(self.folder / "last.pt")
        log.info(
            "epoch %d/%d: train loss %.5g, validation loss %.5g, validation CSI %s (%.0f s)",
            row["epoch"], self.plan.epochs, row["train_loss"], row["validation_loss"],
            in_words(row["validation_csi"]), row["seconds"],
        )  # fmt: skip

    def stalled(self) -> bool:
        """Return whether validation has not improved for `patience` epochs."""
        return (
            self.best is not None and self.progress.epoch - self.best["epoch"] >= self.plan.patience
        )

    def _last_good(self) -> str:
        last = self.folder / "last.pt"
        return (
            f"the last good checkpoint is {last}"
            if last.exists()
            else "no checkpoint has been written yet"
        )

    def save(self, path: Path) -> None:
        """Write a checkpoint for `restore` and for forecasts, in the first process only."""
        if self.processes.is_first:
            write_checkpoint(path, state_of(self))

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue the run from `checkpoint`."""
        restore(self, checkpoint)


def linear_share(first: float, last: float, step: int, steps: int) -> float:
    """Interpolate linearly from `first` at step 0 to `last` at the last of `steps`."""
    return first + (last - first) * step / max(1, steps - 1)
