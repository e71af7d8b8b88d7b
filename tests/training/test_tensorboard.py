"""TensorBoard shows the numbers and pictures of a training, also of one that went on."""

import logging
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from helpers import SPLITS, TINY
from PIL import Image

from nowcast.training.checkpoints import read_checkpoint
from nowcast.training.loggers import Loggers
from nowcast.training.signals import StopRequest

pytest.importorskip("tensorboard")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nowcast.training.tensorboard import TensorBoard


class Killed(BaseException):
    """As a power cut: nothing gets a chance to save."""


def read(folder: Path) -> EventAccumulator:
    """What TensorBoard finds in the output of a training."""
    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return found


def points(folder: Path, name: str) -> list[tuple[int, float]]:
    return [(one.step, one.value) for one in read(folder).Scalars(name)]


def watched(trainer, logger=None):
    trainer.loggers = Loggers({"tensorboard": logger or TensorBoard()}, {"seed": 0})
    return trainer


def test_the_curves_are_those_of_the_training(build_trainer, showers, tmp_path) -> None:
    trainer = watched(build_trainer(tmp_path, epochs=2, log_every=2))
    history = trainer.fit(showers(), showers(), StopRequest())
    assert [step for step, _ in points(tmp_path, "train/loss")] == [2, 4, 6, 8]
    for name in ("validation/loss", "validation/csi", "epoch/train_loss"):
        key = name.removeprefix("epoch/").replace("/", "_")
        assert points(tmp_path, name) == [
            (4 * k + 4, pytest.approx(row[key], rel=1e-6)) for k, row in enumerate(history)
        ]


def test_the_curves_of_a_killed_training_go_on_from_its_checkpoint(
    build_trainer, showers, tmp_path
) -> None:
    """Killed in the third step of its second epoch, it goes on from the end of the first: steps 5
    and 6 are there once, as they were the second time.
    """

    def build(folder):
        return build_trainer(folder, epochs=2, log_every=1)

    watched(build(tmp_path / "whole")).fit(showers(), showers(), StopRequest())
    killed = watched(build(tmp_path / "killed"))
    loss = killed.steps.loss

    def kill(*arguments):
        if killed.steps_done == 6 and killed.model.training:
            raise Killed
        return loss(*arguments)

    killed.steps.loss = kill
    with pytest.raises(Killed):
        killed.fit(showers(), showers(), StopRequest())
    assert [step for step, _ in points(tmp_path / "killed", "train/loss")] == [1, 2, 3, 4, 5, 6]
    resumed = watched(build(tmp_path / "killed"))
    resumed.restore(read_checkpoint(tmp_path / "killed" / "last.pt"))
    resumed.fit(showers(), showers(), StopRequest())
    assert len(list((tmp_path / "killed" / "tensorboard").iterdir())) == 2
    for name in ("train/loss", "train/gradient_norm", "validation/loss"):
        assert points(tmp_path / "killed", name) == points(tmp_path / "whole", name)
    assert [step for step, _ in points(tmp_path / "killed", "train/loss")] == [*range(1, 9)]


def test_a_new_training_does_not_show_an_earlier_one(build_trainer, showers, tmp_path) -> None:
    for epochs in (2, 1):
        watched(build_trainer(tmp_path, epochs=epochs)).fit(showers(), showers(), StopRequest())
    assert [step for step, _ in points(tmp_path, "validation/loss")] == [4]


def test_a_picture_is_shown_as_it_was_drawn(build_trainer, showers, tmp_path) -> None:
    drawn = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
    trainer = watched(build_trainer(tmp_path, epochs=1))
    trainer.loggers.draw = lambda example: drawn
    trainer.fit(showers(), showers(), StopRequest())
    for case in (1, 2, 3, 4):
        (found,) = read(tmp_path).Images(f"validation/case_{case}")
        assert found.step == 4
        shown = np.asarray(Image.open(BytesIO(found.encoded_image_string)))
        assert np.array_equal(shown, drawn)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_on_a_full_disk_the_training_goes_on_without_it(
    build_trainer, showers, tmp_path, caplog
) -> None:
    logger, trainer = TensorBoard(), build_trainer(tmp_path, epochs=2, log_every=1)
    begin = logger.start

    def start(*told):
        begin(*told)
        logger.path = Path("/dev/full")

    logger.start = start  # type: ignore[method-assign]
    assert len(watched(trainer, logger).fit(showers(), showers(), StopRequest())) == 2
    said = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert len(said) == 1 and "the logger tensorboard failed to log (OSError: " in said[0]


def test_a_command_shows_rain_and_settings_and_never_clears_them(
    run, radar_file, tmp_path, without_pictures
) -> None:
    output = tmp_path / "run"
    data = ["data=radar", f"data.path={radar_file}", *SPLITS, f"data.cache={tmp_path}/cache"]
    words = [*TINY, *data, "sampling.windows_per_epoch=4", f"output={output}"]
    once = run("train", *words, "training.epochs=1", "loggers=[tensorboard]")
    assert once.code == 0, once.err
    assert run("train", *words, "training.epochs=2").code == 0  # goes on without
    went_on = run("train", *words, "training.epochs=3", "loggers=[tensorboard]")
    assert went_on.code == 0 and "loggers" not in went_on.err
    assert [step for step, _ in points(output, "validation/csi_0.5")] == [1, 3]
    found = read(output)
    picture = Image.open(BytesIO(found.Images("validation/case_1")[-1].encoded_image_string))
    assert picture.size[0] > picture.size[1] > 100
    assert (
        b"optimizer.lr" in found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    )
    assert run("train", *words, "training.epochs=1", "resume=never").code == 0
    assert not (output / "tensorboard").exists()
