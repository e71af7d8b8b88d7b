"""What watches a training is told what happens, changes nothing, and may fail."""

import logging
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import SPLITS, TINY
from packages import install

from nowcast.errors import InputOutputError, Interrupted
from nowcast.sequences.batch import build_batch
from nowcast.training.checkpoints import read_checkpoint
from nowcast.training.choice import mean_csi, mean_csi_of_thresholds
from nowcast.training.loggers import Loggers, build_loggers
from nowcast.training.losses import mse
from nowcast.training.resuming import may_change
from nowcast.training.signals import StopRequest
from nowcast.verification.counts import Counts

NAN = float("nan")


class Notebook:
    """Notes all that it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def start(self, folder, settings, step):
        self.told.append(("start", folder, dict(settings), step))

    def log(self, step, values, images):
        self.told.append(("log", step, dict(values), dict(images)))

    def finish(self):
        self.told.append(("finish",))

    def steps_of(self, name: str) -> list[int]:
        return [one[1] for one in self.told if one[0] == "log" and name in one[2]]

    def last(self, name: str) -> float:
        return [one[2][name] for one in self.told if one[0] == "log" and name in one[2]][-1]


class Failing(Notebook):
    """Fails in one of its methods, from a call on."""

    def __init__(self, method: str, error: Exception, call: int = 1) -> None:
        super().__init__()
        self.method, self.error, self.left = method, error, call

    def start(self, *told):
        self._pass("start")

    def log(self, *told):
        self._pass("log")

    def finish(self):
        self._pass("finish")

    def _pass(self, method: str) -> None:
        self.told.append((method,))
        if method == self.method:
            self.left -= 1
            if self.left <= 0:
                raise self.error


class Gambler(Notebook):
    """Draws from PyTorch's random numbers whenever it is told something."""

    def log(self, step, values, images):
        torch.rand(7)
        torch.manual_seed(5)


def weights(folder: Path) -> list[torch.Tensor]:
    return list(read_checkpoint(folder / "last.pt")["weights"].values())


def fitted(trainer, showers, *loggers, stop=None, **named):
    trainer.loggers = Loggers({f"logger_{k}": one for k, one in enumerate(loggers)}, **named)
    trainer.fit(showers(), showers(), StopRequest() if stop is None else stop)
    return trainer


# ---- what they are told


def test_a_logger_is_told_of_steps_and_epochs_by_the_number_of_steps(
    build_trainer, showers, tmp_path
) -> None:
    """Four steps an epoch, of which every third is told."""
    notes = Notebook()
    trainer = build_trainer(tmp_path, epochs=2, log_every=3)
    fitted(trainer, showers, notes, settings={"optimizer.lr": 3e-3})
    assert notes.told[0] == ("start", tmp_path, {"optimizer.lr": 3e-3}, 0)
    assert notes.told[-1] == ("finish",)
    assert notes.steps_of("train/loss") == [3, 6]
    assert notes.steps_of("validation/loss") == notes.steps_of("epoch/train_loss") == [4, 8]
    row, best = trainer.progress.history[-1], trainer.best
    for name in ("validation_loss", "validation_csi"):
        assert notes.last(name.replace("_", "/")) == row[name]
        assert notes.last(f"best/{name}") == best[name]
    assert notes.last("epoch/train_loss") == row["train_loss"]
    assert (notes.last("epoch/number"), notes.last("best/epoch")) == (2, best["epoch"])
    assert notes.last("epoch/seconds") == row["seconds"]


def test_the_loss_and_the_gradient_are_those_of_the_step_and_the_rate_that_of_the_next(
    build_trainer, showers, tmp_path
) -> None:
    notes, windows = Notebook(), showers()
    fitted(build_trainer(tmp_path, epochs=1, log_every=1, gradient_clip=1e-4), showers, notes)
    same = build_trainer(tmp_path / "same", epochs=1)
    same.model.train()
    picks = windows.epoch(0)[:2]
    batch = build_batch(torch.stack([windows[pick] for pick in picks]), windows.scaling, 3)
    loss = mse(
        same.model(batch.past, 2), batch.future, batch.future_mask, batch.future_rates,
        batch.weights,
    )  # fmt: skip
    loss.backward()
    squares = [one.grad.square().sum() for one in same.model.parameters()]
    first = notes.told[1]
    assert first[:2] == ("log", 1) and first[3] == {}
    assert first[2]["train/loss"] == loss.item()
    assert first[2]["train/gradient_norm"] == pytest.approx(sum(squares).sqrt().item(), rel=1e-5)
    assert first[2]["train/learning_rate"] == pytest.approx(3e-3)  # 2 steps of warming up: the 2nd


def test_the_csi_of_each_threshold_is_its_mean_over_the_lead_times_with_an_event() -> None:
    """At the first threshold 1/2 and 1/4; at the second 1/3, and no event at the second lead time;
    at the third none at all.
    """
    joint = torch.zeros(2, 4, 4, dtype=torch.int64)
    joint[0, 1, 0], joint[0, 2, 2], joint[0, 1, 2], joint[0, 2, 0] = 1, 1, 1, 1
    joint[1, 1, 1], joint[1, 1, 0] = 1, 3
    csi = mean_csi_of_thresholds(Counts((0.5, 2.0, 9.0), joint))
    assert (csi[0.5], csi[2.0]) == ((2 / 4 + 1 / 4) / 2, 1 / 3) and np.isnan(csi[9.0])
    assert mean_csi(Counts((0.5, 2.0, 9.0), joint)) == pytest.approx((2 / 4 + 1 / 4 + 1 / 3) / 3)


def test_what_is_undefined_is_not_told(build_trainer, showers, tmp_path) -> None:
    """It rains at 5 mm/h at most, so there is no event at 6."""
    notes = Notebook()
    trainer = build_trainer(tmp_path, epochs=1)
    trainer.thresholds = [2.0, 6.0]
    fitted(trainer, showers, notes)
    (validated,) = [one[2] for one in notes.told if one[0] == "log" and "validation/csi" in one[2]]
    assert "validation/csi_6" not in validated
    assert validated["validation/csi_2"] == validated["validation/csi"]


def test_the_model_before_training_is_told_as_step_0(build_trainer, showers, tmp_path) -> None:
    notes = Notebook()
    trainer = build_trainer(tmp_path, epochs=1)
    trainer.starts_trained = True
    fitted(trainer, showers, notes)
    assert notes.steps_of("validation/loss") == [0, 4] and notes.steps_of("best/epoch") == [4]


# ---- they change nothing


def test_a_training_that_is_watched_ends_with_the_bits_of_one_that_is_not(
    build_trainer, showers, tmp_path
) -> None:
    """Though its logger draws random numbers, true frames are drawn, and it is stopped once."""
    guided = {"kind": "feedback", "scheduled_sampling": [0.8, 0.2], "log_every": 1}
    fitted(build_trainer(tmp_path / "plain", **guided), showers)
    stop, notes = StopRequest(), Notebook()

    def interrupt(step, values, images):
        if step == 6:
            stop(signal.SIGTERM, None)

    notes.log = interrupt  # type: ignore[method-assign]
    with pytest.raises(Interrupted):
        fitted(build_trainer(tmp_path / "watched", **guided), showers, Gambler(), notes, stop=stop)
    assert notes.told[-1] == ("finish",)
    resumed, later = build_trainer(tmp_path / "watched", **guided), Notebook()
    resumed.restore(read_checkpoint(tmp_path / "watched" / "last.pt"))
    fitted(resumed, showers, Gambler(), later)
    assert later.told[0][-1] == 6 and later.steps_of("train/loss") == list(range(7, 13))
    for one, other in zip(weights(tmp_path / "watched"), weights(tmp_path / "plain"), strict=True):
        assert torch.equal(one, other)


def test_a_run_may_go_on_with_other_loggers() -> None:
    assert may_change("loggers") and may_change("training.log_every")


# ---- they may fail


def test_a_logger_that_cannot_begin_ends_a_new_training_before_its_first_step(
    build_trainer, showers, tmp_path
) -> None:
    notes = Notebook()
    with pytest.raises(InputOutputError, match=r"loggers: logger_1 cannot start \(OSError: no ser"):
        fitted(build_trainer(tmp_path), showers, notes, Failing("start", OSError("no\nserver")))
    assert [one[0] for one in notes.told] == ["start", "finish"]
    assert not list(tmp_path.iterdir())


def test_a_logger_that_cannot_begin_again_ends_no_training_that_goes_on(
    build_trainer, showers, tmp_path, caplog
) -> None:
    fitted(build_trainer(tmp_path, epochs=1), showers)
    trainer = build_trainer(tmp_path, epochs=2)
    trainer.restore(read_checkpoint(tmp_path / "last.pt"))
    fitted(trainer, showers, Failing("start", OSError("no server")))
    assert trainer.progress.epoch == 2
    assert "the logger logger_0 failed to start (OSError: no server)" in caplog.text


@pytest.mark.parametrize(("method", "calls"), [("log", 2), ("finish", 1)])
def test_a_logger_that_fails_is_left_out_with_one_line_and_the_training_goes_on(
    method, calls, build_trainer, showers, tmp_path, caplog
) -> None:
    failing, notes = Failing(method, OSError(28, "No space left on device"), calls), Notebook()
    fitted(build_trainer(tmp_path / "watched", log_every=1), showers, failing, notes)
    said = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert said == [
        f"the logger logger_0 failed to {method} (OSError: [Errno 28] No space left on device);"
        " the training continues without it"
    ]
    assert [one[0] for one in failing.told][-calls:] == [method] * calls  # and nothing after it
    assert notes.steps_of("train/loss") == list(range(1, 13)) and notes.told[-1] == ("finish",)
    fitted(build_trainer(tmp_path / "plain"), showers)
    for one, other in zip(weights(tmp_path / "watched"), weights(tmp_path / "plain"), strict=True):
        assert torch.equal(one, other)


def test_pictures_that_cannot_be_drawn_leave_the_numbers(
    build_trainer, showers, tmp_path, caplog
) -> None:
    def draw(example):
        raise RuntimeError("no font")

    notes = Notebook()
    fitted(build_trainer(tmp_path, epochs=2), showers, notes, draw=draw)
    assert notes.steps_of("validation/csi") == [4, 8]
    said = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert len(said) == 1 and "cannot be drawn (RuntimeError: no font)" in said[0]


# ---- those of packages, and those that cannot begin


@pytest.fixture
def site(tmp_path, monkeypatch):
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    yield site
    sys.modules.pop("tenlines", None)


PACKAGE = """
class Lines:
    def start(self, folder, settings, step):
        self.path = folder / "lines.txt"
        self.path.write_text(f"{settings['optimizer.name']} from {step}\\n")

    def log(self, step, values, images):
        with self.path.open("a") as file:
            for name, image in images.items():
                file.write(f"{step} {name} {image.dtype} {image.shape[2]}\\n")

    def finish(self):
        with self.path.open("a") as file:
            file.write("finished\\n")
"""


def train(run, radar_file: Path, output: Path, *words: str):
    data = ["data=radar", f"data.path={radar_file}", *SPLITS, f"data.cache={output}/cache"]
    step = ["training.epochs=1", "sampling.windows_per_epoch=4"]  # of four: one step
    return run("train", *TINY, *data, *step, *words, f"output={output}")


def test_the_logger_of_a_package_watches_a_training(
    site, run, radar_file, tmp_path, without_pictures
) -> None:
    install(site, "nowcast.loggers", "Lines", PACKAGE)
    outcome = train(run, radar_file, tmp_path / "run", "loggers=[Lines]")
    assert outcome.code == 0, outcome.err
    lines = (tmp_path / "run" / "lines.txt").read_text().splitlines()
    cases = [f"1 validation/case_{k} uint8 3" for k in (1, 2, 3, 4)]
    assert lines == ["adamw from 0", *cases, "finished"]


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("import no_such_library", "No module named 'no_such_library'"),
        ("Lines = 4", "cannot start (TypeError: 'int' object is not callable)"),
        (PACKAGE.replace("finish", "end"), "has no method finish"),
        ("def Lines(): raise OSError('no server')", "(tenlines.py:1): OSError: no server"),
    ],
)
def test_a_logger_that_cannot_be_used_is_refused_before_frames_are_read(
    site, run, radar_file, tmp_path, code, fault
) -> None:
    install(site, "nowcast.loggers", "Lines", code)
    outcome = train(run, radar_file, tmp_path / "run", "loggers=[Lines]")
    told = " ".join(outcome.err.split())
    assert outcome.code == 69 and "Traceback" not in told
    assert "Lines: " in told and "tenlines 1.0" in told and fault in told
    assert not (tmp_path / "run" / "cache").exists()


def test_a_library_that_is_not_installed_is_named_with_the_remedy(
    run, radar_file, tmp_path, monkeypatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    for name in list(sys.modules):
        if name.startswith(("tensorboard.", "torch.utils.tensorboard", "nowcast.training.tens")):
            monkeypatch.delitem(sys.modules, name)
    outcome = train(run, radar_file, tmp_path / "run", "loggers=[tensorboard]")
    told = " ".join(outcome.err.split())
    assert outcome.code == 69 and "pip install 'nowcast-radar[tensorboard]'" in told
    assert "loggers: tensorboard needs tensorboard" in told
    assert not (tmp_path / "run" / "cache").exists()


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("loggers=[wandb]", "loggers: 'wandb' is not one of tensorboard, Lines."),
        ("loggers=[Lines,Lines]", "loggers: "),
        ("training.log_every=0", "training.log_every: must be at least 1, not 0."),
    ],
)
def test_what_is_no_logger_is_refused(site, run, radar_file, tmp_path, words, fault) -> None:
    install(site, "nowcast.loggers", "Lines", PACKAGE)
    outcome = train(run, radar_file, tmp_path / "run", words)
    assert outcome.code == 78 and fault in " ".join(outcome.err.split())
    assert not (tmp_path / "run").exists()


def test_without_loggers_there_are_none() -> None:
    assert build_loggers([]) == {} and not Loggers()
