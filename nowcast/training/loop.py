"""The crank: epochs of training and validation, checkpoints, early stopping."""

import json
import logging
import math
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm import tqdm

from nowcast.errors import InternalError, Interrupted
from nowcast.files import written_whole
from nowcast.model.pointwise import planned_batches
from nowcast.model.probability_head import ladder_of
from nowcast.model.stacks import call_model
from nowcast.probability.calibration import Calibration, calibration_of
from nowcast.sequences.batch import Batch, build_batch
from nowcast.sequences.inputs import RAIN_ALONE, Inputs
from nowcast.sequences.many import source_of
from nowcast.sequences.windows import Pick, RadarWindows, Windows
from nowcast.training.checkpoints import Checkpoint, write_checkpoint
from nowcast.training.choice import EpochRow, best_row_before_ties, rank
from nowcast.training.losses import Loss
from nowcast.training.options import Plan
from nowcast.training.precision import Precision
from nowcast.training.signals import StopRequest
from nowcast.training.validation import Skill, build_skill
from nowcast.version import __version__

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """How far a run has come; with weights, optimizer, schedule and RNG it is all that a
    resumed run needs.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    history: list[EpochRow] = field(default_factory=list)


class Trainer:
    """Trains a model and keeps `last.pt` and `best.pt` in `folder`.

    Which windows an epoch draws depends on the seed and the epoch alone, and a checkpoint says how
    many steps of the
    epoch are done: so a resumed run takes up the very next batch, and on the CPU ends with the same
    bits as one that was never stopped.
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
    ) -> None:
        self.model, self.optimizer, self.schedule, self.loss = model, optimizer, schedule, loss
        self.precision, self.plan, self.folder, self.config = precision, plan, folder, config
        self.thresholds = thresholds  # of the CSI of validation [mm/h]
        self.inputs = inputs
        # of the grid of the frames, as plain values, for those who forecast
        self.place: Mapping[str, Any] | None = None
        # the part of that grid that the model learns, as plain values; None for all of it
        self.region: Mapping[str, Any] | None = None
        # the package that adds the model, if it is none of ours, for those who forecast
        self.packages: Mapping[str, str] = {}
        # what the frames were, as plain values, for those who resume or inspect
        self.data: Mapping[str, Any] | None = None
        self.averaged = (
            AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(plan.ema_decay))
            if plan.ema_decay
            else None
        )
        self.gradient_scaler = precision.gradient_scaler()
        self.progress = Progress()
        self.starts_trained = False  # whether the weights are those of a trained model
        self.start: EpochRow | None = None  # epoch 0: the model before training, if it was scored
        self.best: EpochRow | None = None  # the epoch that best.pt holds
        self.calibration: Calibration | None = None  # of the epoch validated last

    def fit(self, train: Windows, validation: Windows, stop: StopRequest) -> list[EpochRow]:
        """Train to the end of the plan, or until validation no longer improves. → the metrics of
        every epoch. Trained weights are scored first, as epoch 0.

        Errors: Interrupted, after saving, where `stop` was requested; InternalError where the loss
        is not finite, or a worker died.
        """
        batches = self.plan.epochs * -(-len(train) // self.plan.batch_size)
        try:
            with planned_batches(batches):
                if self.starts_trained and self.start is None and self._is_at_first_step():
                    self._score_start(validation, stop)
                while self.progress.epoch < self.plan.epochs and not self.stalled():
                    self._run_epoch(train, validation, stop)
        # raised wherever this process is when it hears of the death of a worker
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise InternalError(
                "a worker process that loads windows was killed, perhaps for want of memory;"
                f" {self._last_good()}. Run again, with fewer training.workers."
            ) from error
        return self.progress.history

    def calibrate(self, validation: Windows, stop: StopRequest) -> EpochRow:
        """Validate the model without training it, and save it with the new calibration. → the
        metrics, those of epoch 0.

        Errors: Interrupted, after saving, where `stop` was requested; InternalError where the loss
        is not finite.
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
    def rows(self) -> list[EpochRow]:
        """The metrics of the start, if it was scored, and of every epoch."""
        return [*([self.start] if self.start else []), *self.progress.history]

    def _run_epoch(self, train: Windows, validation: Windows, stop: StopRequest) -> None:
        started = time.monotonic()
        self._train_epoch(train, stop)
        validated = self._validate(validation, stop)
        row = {
            "epoch": self.progress.epoch + 1,
            "train_loss": self.progress.loss_sum / self.progress.step,
            **validated,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "seconds": round(time.monotonic() - started, 3),
        }
        self.progress = Progress(self.progress.epoch + 1, history=[*self.progress.history, row])
        self._finish_epoch(row)

    def _train_epoch(self, windows: Windows, stop: StopRequest) -> None:
        self.model.train()
        picks = windows.epoch(self.progress.epoch)
        batches = [
            picks[i : i + self.plan.batch_size] for i in range(0, len(picks), self.plan.batch_size)
        ]
        todo = batches[self.progress.step :]
        bar = self._bar(
            self._load(windows, todo), len(batches), f"{self._epoch_in_words()} train",
            initial=self.progress.step,
        )  # fmt: skip
        for batch in bar:
            loss = self._train_step(batch, self._guide(batch, len(batches)))
            if not math.isfinite(loss):
                raise InternalError(
                    f"the loss or its gradient is not finite in epoch {self.progress.epoch + 1},"
                    f" step {self.progress.step + 1}; {self._last_good()}. Lower optimizer.lr or"
                    " training.gradient_clip, or use precision=fp32."
                )
            self.progress.step += 1
            self.progress.loss_sum += loss
            bar.set_postfix(
                loss=f"{self.progress.loss_sum / self.progress.step:.4g}", refresh=False
            )
            self._heed(stop)

    def _guide(self, batch: Batch, steps_per_epoch: int) -> Tensor | None:
        """The true frames to feed back, drawn for each sequence and step, and NaN elsewhere; None
        if never.

        A missing frame is never fed back: the model would take it for dry.
        """
        first, last = self.plan.scheduled_sampling
        if first == last == 0:
            return None
        step = self.progress.epoch * steps_per_epoch + self.progress.step
        share = linear_share(first, last, step, self.plan.epochs * steps_per_epoch)
        future = batch.future
        own = torch.rand(future.shape[:2]) >= share
        unknown = ~batch.future_mask.flatten(2).any(dim=2)
        return future.masked_fill(
            (own.to(future.device) | unknown)[..., None, None, None], math.nan
        )

    def _train_step(self, batch: Batch, guide: Tensor | None = None) -> float:
        with self.precision.autocast():
            forecast = call_model(
                self.model,
                batch.past,
                batch.future.shape[1],
                guide,
                batch.ahead,
                batch.newest_rates,
                batch.spacing,
            )
        loss = self.loss(
            forecast, batch.future, batch.future_mask, batch.future_rates, batch.weights
        )
        self.optimizer.zero_grad(set_to_none=True)
        self.gradient_scaler.scale(loss).backward()
        self.gradient_scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(
            self.model.parameters(), self.plan.gradient_clip or math.inf
        )
        # the scaler leaves such a step out by itself
        if not self.gradient_scaler.is_enabled() and not norm.isfinite():
            return math.nan
        scale = self.gradient_scaler.get_scale()
        self.gradient_scaler.step(self.optimizer)
        self.gradient_scaler.update()
        # it falls where gradients overflow in fp16: then no step was taken
        if self.gradient_scaler.get_scale() >= scale:
            self.schedule.step()
            if self.averaged is not None:
                self.averaged.update_parameters(self.model)
        return loss.item()

    @torch.no_grad()
    def _validate(self, windows: Windows, stop: StopRequest) -> EpochRow:
        model = self.averaged or self.model
        model.eval()
        picks = windows.epoch(0)
        batches = [
            picks[i : i + self.plan.batch_size] for i in range(0, len(picks), self.plan.batch_size)
        ]
        loss_sum, skill = 0.0, None
        when = "before training:" if self._is_at_first_step() else self._epoch_in_words()
        for batch in self._bar(self._load(windows, batches), len(batches), f"{when} validate"):
            with self.precision.autocast():
                forecast = call_model(
                    model, batch.past, windows.lead_steps, None, batch.ahead, batch.newest_rates,
                    batch.spacing,
                )  # fmt: skip
            loss = self.loss(
                forecast,
                batch.future,
                batch.future_mask,
                batch.future_rates,
                torch.ones_like(batch.weights),
            )
            loss_sum += loss.item() * batch.rates.shape[0]
            skill = skill or self._no_skill(windows, len(picks) * math.prod(batch.rates.shape[-2:]))
            skill.add(forecast, batch.observed, batch.motion)
            self._heed(stop)
        loss_mean = loss_sum / len(picks)
        if not math.isfinite(loss_mean):
            if self._is_at_first_step():
                raise InternalError(
                    f"the validation loss is {loss_mean} before any training; start from another"
                    " checkpoint, or use precision=fp32."
                )
            raise InternalError(
                f"the validation loss became {loss_mean} in epoch {self.progress.epoch + 1};"
                f" {self._last_good()}. Lower optimizer.lr."
            )
        assert skill is not None
        self.calibration = skill.calibration()
        return {"validation_loss": loss_mean, "validation_csi": skill.csi()}

    def _no_skill(self, windows: Windows, pixels: int) -> Skill:
        """An empty sum of validation cases, which have so many pixels together."""
        return build_skill(
            ladder_of(self.model),
            self.thresholds,
            windows.lead_steps,
            windows.scaling,
            pixels,
        )

    def _load(self, windows: Windows, batches: list[list[Pick]]) -> Iterator[Batch]:
        """The windows of each batch, on the device.

        PyTorch's own collating lets workers stack them in shared memory at once.
        """
        loader: DataLoader[Tensor] = DataLoader(
            cast(Dataset[Tensor], windows),
            # what an index is is for the windows to say
            batch_sampler=cast(Sampler[list[int]], batches),
            num_workers=self.plan.workers,
            # each loader draws a seed: of a stream of its own, lest a resumed run's be one ahead
            generator=torch.Generator(),
        )
        for raw, picks in zip(loader, batches, strict=True):
            raw = raw.to(self.precision.device, non_blocking=True)
            source = source_of(windows, picks[0])
            yield build_batch(
                raw,
                source.scaling,
                source.input_steps,
                self.inputs,
                [pick.weight for pick in picks],
                self._motion(source, picks),
                source.spacing if isinstance(source, RadarWindows) else None,
            )

    def _motion(self, source: Windows, picks: Sequence[Pick]) -> Tensor | None:
        """The motion that windows are still to be taken along, (b, 2, hc, wc)."""
        if not isinstance(source, RadarWindows) or source.motion is None or source.take_along:
            return None
        return source.motions(picks).to(self.precision.device)

    def _bar(
        self, batches: Iterator[Batch], total: int, label: str, initial: int = 0
    ) -> "tqdm[Batch]":
        """A progress bar on a terminal; nothing in a log."""
        return tqdm(
            batches,
            label,
            total,
            initial=initial,
            leave=False,
            disable=None,
            file=sys.stderr,
            dynamic_ncols=True,
        )

    def _epoch_in_words(self) -> str:
        return f"epoch {self.progress.epoch + 1}/{self.plan.epochs}"

    def _heed(self, stop: StopRequest) -> None:
        if stop.signal_number is not None:
            self.save(self.folder / "last.pt")
            log.info(
                "stopped by a signal %s; saved %s",
                "before training"
                if self._is_at_first_step()
                else f"in epoch {self.progress.epoch + 1}",
                self.folder / "last.pt",
            )
            raise Interrupted(stop.signal_number)

    def _finish_epoch(self, row: EpochRow) -> None:
        if self.best is None or rank(row, self.plan.monitor) > rank(self.best, self.plan.monitor):
            self.best = row
            self.save(self.folder / "best.pt")
        if row["epoch"] == 1 and self.plan.monitor == "csi" and math.isnan(row["validation_csi"]):
            log.warning(
                "the validation windows have no event at or above %g mm/h, so their CSI is"
                " undefined and the validation loss chooses best.pt; for a CSI give data.validation"
                " days with rain, or lower thresholds, or set training.monitor=loss",
                min(self.thresholds),
            )
        with written_whole(self.folder / "metrics.jsonl") as path:
            path.write_text("".join(as_json(row) + "\n" for row in self.rows))
        # last: a run killed before it does the epoch again, and all of the above
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
            else "no checkpoint had been written yet"
        )

    def save(self, path: Path) -> None:
        """Write all that `restore` needs, and all that a forecast needs."""
        checkpoint: Checkpoint = {
            "versions": {
                "nowcast": __version__,
                "torch": str(torch.__version__),
                "python": platform.python_version(),
            },
            "config": self.config,
            "place": self.place,
            "region": self.region,
            "data": self.data,
            "written": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "best_epoch": self.best["epoch"] if self.best else None,
            "start": self.start,
            "packages": dict(self.packages),
            "weights": self.model.state_dict(),
            "ema": self.averaged.state_dict() if self.averaged is not None else None,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "gradient_scaler": self.gradient_scaler.state_dict(),
            "rng": torch.get_rng_state(),
            "progress": vars(self.progress),
            "calibration": None if self.calibration is None else self.calibration.state(),
        }
        write_checkpoint(path, checkpoint)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take up the run where `checkpoint` left it."""
        self.model.load_state_dict(checkpoint["weights"])
        if self.averaged is not None and checkpoint["ema"] is not None:
            self.averaged.load_state_dict(checkpoint["ema"])
        elif self.averaged is not None:  # switched on since: the average starts from these weights
            self.averaged.module.load_state_dict(checkpoint["weights"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.schedule.load_state_dict(checkpoint["schedule"])
        if checkpoint["gradient_scaler"]:  # empty where the precision was another
            self.gradient_scaler.load_state_dict(checkpoint["gradient_scaler"])
        torch.set_rng_state(checkpoint["rng"])
        self.progress = Progress(**checkpoint["progress"])
        if checkpoint["calibration"] is not None:
            self.calibration = calibration_of(checkpoint["calibration"])
        self.start = checkpoint.get("start")
        if self.rows:
            epoch = checkpoint.get("best_epoch")
            if epoch is None:
                epoch = best_row_before_ties(self.rows, self.plan.monitor)["epoch"]
            self.best = next((row for row in self.rows if row["epoch"] == epoch), None)


def as_json(values: Mapping[str, Any]) -> str:
    """One line of JSON, which has no NaN: what is undefined is null."""
    return json.dumps(
        {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in values.items()
        }
    )


def in_words(score: float) -> str:
    """A score with four digits, or that it is undefined."""
    return "undefined" if math.isnan(score) else f"{score:.4f}"


def linear_share(first: float, last: float, step: int, steps: int) -> float:
    """From `first` at step 0 to `last` at the last of `steps`, in equal parts."""
    return first + (last - first) * step / max(1, steps - 1)
