"""Training in the moving frame with a head of probabilities: what it keeps, and that a forecast sees
what validation saw.
"""

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nowcast.errors import Interrupted
from nowcast.forecast.forecaster import Forecaster
from nowcast.model import build_model
from nowcast.periods import Period
from nowcast.probability.calibration import calibration_of
from nowcast.sequences.clock import clock_of
from nowcast.sequences.motions import motion_of
from nowcast.sequences.options import EVERY_WINDOW, Sampling
from nowcast.sequences.packed import PackedRates, sum_tiles
from nowcast.sequences.scaling import Scaling
from nowcast.sequences.windows import RadarWindows
from nowcast.training.checkpoints import read_checkpoint
from nowcast.training.choice import mean_csi
from nowcast.training.examples import Example
from nowcast.training.loggers import Loggers
from nowcast.training.loop import Trainer
from nowcast.training.losses import loss_of
from nowcast.training.optimizers import MIXTURE_RATE, build_optimizer, build_schedule
from nowcast.training.options import Plan
from nowcast.training.precision import Precision
from nowcast.training.signals import StopRequest
from nowcast.verification.counts import Counts, count

SIZE, FRAMES, INPUT_STEPS, LEAD_STEPS = (48, 56), 20, 4, 3
THRESHOLDS = (0.5, 2.0, 5.0)
SCALING = Scaling("log", 100, 0.5)
SETTINGS = {
    "name": "encoder_forecaster", "hidden_channels": [4], "kernel_size": 3,
    "input_kernel_size": 3, "patch_size": 4, "output_grid": "refined", "frame": "moving",
    "head": "probability", "thresholds": THRESHOLDS,
}  # fmt: skip


@pytest.fixture(scope="module")
def rates() -> PackedRates:
    """Showers that move by two columns and one row a timestep, and grow and fade."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    frames = np.zeros((FRAMES, *SIZE), np.float32)
    for top, left, phase in generator.uniform((-20, -40, 0), (48, 56, 6), (14, 3)):
        for step, frame in enumerate(frames):
            squared = (x - left - 2 * step) ** 2 + (y - top - step) ** 2
            frame += (8 + 5 * np.sin(phase + step / 3)) * np.exp(-squared / 25)
    frames[frames < 0.1] = 0
    frames[:, :4, :6] = np.nan
    times = np.datetime64("2020-01-01T00:00", "ns") + np.arange(FRAMES) * np.timedelta64(5, "m")
    return PackedRates(
        frames, times, np.timedelta64(5, "m"), np.full(FRAMES, 0.5), sum_tiles(frames),
        np.ones(SIZE, bool),
    )  # fmt: skip


def windows_of(rates: PackedRates, *, training: bool) -> RadarWindows:
    drawn = {"windows_per_epoch": 8, "crop": 32, "flip": True, "rotate": True}
    sampling = Sampling(**{**vars(EVERY_WINDOW), **(drawn if training else {"stride": 3})})
    return RadarWindows(
        rates, Period(rates.times[0], rates.times[-1]), input_steps=INPUT_STEPS,
        lead_steps=LEAD_STEPS, scaling=SCALING, sampling=sampling, take_along=training,
        motion=motion_of(rates, clock_of(rates), input_steps=INPUT_STEPS),
    )  # fmt: skip


def trainer_in(folder: Path) -> Trainer:
    torch.manual_seed(0)
    model = build_model(SETTINGS, 1, output_channels=1)
    optimizer = build_optimizer(model, "adamw", 3e-3, weight_decay=1e-4, decay=0.99, momentum=0.9)
    schedule = build_schedule(optimizer, "cosine", steps=4, warmup_steps=1, final_share=0.1)
    plan = Plan(
        epochs=2, batch_size=4, gradient_clip=1.0, ema_decay=0.5, patience=9, monitor="csi",
        workers=0, log_every=50, scheduled_sampling=[0.0, 0.0], accumulate=1, checkpoint_segments=False,
    )  # fmt: skip
    loss, precision = loss_of("exceedance", THRESHOLDS), Precision(torch.device("cpu"), "fp32")
    return Trainer(model, optimizer, schedule, loss, precision, plan, THRESHOLDS, folder, {})


@pytest.fixture(scope="module")
def whole(rates: PackedRates, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("whole")
    windows = windows_of(rates, training=True), windows_of(rates, training=False)
    trainer_in(folder).fit(*windows, StopRequest())
    return folder


def flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [one for key in sorted(value, key=str) for one in flat(value[key])]
    if isinstance(value, list | tuple):
        return [one for part in value for one in flat(part)]
    return [value]


@pytest.mark.parametrize("step", [1, 3])
def test_a_stopped_run_ends_with_the_bits_of_one_that_was_not(
    step: int, rates: PackedRates, whole: Path, tmp_path: Path
) -> None:
    windows, stop = (
        (windows_of(rates, training=True), windows_of(rates, training=False)),
        StopRequest(),
    )
    stopped, steps = trainer_in(tmp_path), list[int]()

    def loss(*arguments: Tensor) -> Tensor:
        if stopped.model.training:
            steps.append(1)
            if len(steps) == step:
                stop(signal.SIGTERM, None)
        return loss_of("exceedance", THRESHOLDS)(*arguments)

    stopped.steps.loss = loss
    with pytest.raises(Interrupted):
        stopped.fit(*windows, stop)
    resumed = trainer_in(tmp_path)
    resumed.restore(read_checkpoint(tmp_path / "last.pt"))
    resumed.fit(*windows, StopRequest())
    for name in ("last.pt", "best.pt"):
        made, wanted = read_checkpoint(tmp_path / name), read_checkpoint(whole / name)
        for part in ("weights", "ema", "optimizer", "schedule", "calibration"):
            for one, other in zip(flat(made[part]), flat(wanted[part]), strict=True):
                assert torch.equal(one, other) if isinstance(one, Tensor) else one == other


def forecaster_of(checkpoint: dict[str, Any]) -> Forecaster:
    model = build_model(SETTINGS, 1, output_channels=1)
    average = {
        name.removeprefix("module."): value
        for name, value in checkpoint["ema"].items()
        if name.startswith("module.")
    }
    model.load_state_dict(average)
    return Forecaster(
        model.eval(), SCALING, INPUT_STEPS, LEAD_STEPS, 5.0, moving=True,
        calibration=calibration_of(checkpoint["calibration"]),
    )  # fmt: skip


def test_a_forecast_scores_as_validation_did(rates: PackedRates, whole: Path) -> None:
    """The windows are forecast with what the checkpoint holds, their motion estimated again."""
    checkpoint = read_checkpoint(whole / "best.pt")
    forecaster = forecaster_of(checkpoint)
    windows, counts = windows_of(rates, training=False), Counts.zeros(THRESHOLDS, LEAD_STEPS)
    for pick in windows.epoch(0):
        raw = windows[pick][None]
        counts += count(forecaster(raw[:, :INPUT_STEPS]), raw[:, INPUT_STEPS:], THRESHOLDS)
    row = checkpoint["progress"]["history"][checkpoint["best_epoch"] - 1]
    assert mean_csi(counts) == pytest.approx(row["validation_csi"], abs=0.002)
    assert row["validation_csi"] > 0.6


def test_the_cases_that_loggers_show_are_those_that_are_forecast(
    rates: PackedRates, tmp_path: Path
) -> None:
    """In the fixed frame, at the 1st, 2nd and 3rd lead time, after the second epoch."""
    shown: dict[int, Example] = {}

    class Watching:
        def start(self, *told: Any) -> None: ...

        def log(self, *told: Any) -> None: ...

        def finish(self) -> None: ...

    def draw(example: Example) -> Any:
        shown[example.number] = example
        return np.zeros((1, 1, 3), np.uint8)

    trainer, windows = trainer_in(tmp_path), windows_of(rates, training=False)
    trainer.loggers = Loggers({"watching": Watching()}, {}, draw)
    trainer.fit(windows_of(rates, training=True), windows, StopRequest())
    forecaster = forecaster_of(read_checkpoint(tmp_path / "last.pt"))
    assert list(shown) == [1, 2, 3, 4]
    for example in shown.values():
        raw = windows[example.pick][None]
        assert np.array_equal(example.observed, raw[0, INPUT_STEPS:, 0], equal_nan=True)
        wanted = forecaster(raw[:, :INPUT_STEPS])[0, :, 0].numpy()
        assert np.array_equal(np.isnan(example.forecast), np.isnan(wanted))
        near = np.isclose(example.forecast, wanted, rtol=1e-3, atol=1e-3, equal_nan=True)
        assert near.mean() > 0.99  # motion is kept in float16 for training
        assert np.nanmax(wanted) >= 0.5


def test_the_weights_of_neighbourhoods_learn_faster_and_do_not_decay() -> None:
    network, mixture = trainer_in(Path()).steps.optimizer.param_groups
    assert mixture["initial_lr"] == MIXTURE_RATE * network["initial_lr"]
    assert mixture["weight_decay"] == 0 < network["weight_decay"] and len(mixture["params"]) == 3
