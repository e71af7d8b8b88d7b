"""Train the model that comes with nowcast: COPIES OUTPUT [--leave-out GROUP …] [--prepare].

The best epoch is written to OUTPUT/trained. OUTPUT/best.pt is the same model with half of what the
network and the other thresholds add to the logits, calibrated again. With `--untrained` the model
is not trained: the result is the Lagrangian probability forecast with a calibration and cuts from
the same validation days, a fair baseline. `--calibrate OUTPUT/trained/best.pt` does only what
follows a training.
"""

import argparse
import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from sources import COPIES, OWNERS, RADARS, VALIDATION, Copy

from nowcast.config.effects import default_values
from nowcast.factories.start import begin_from
from nowcast.forecast.any_grid import frames_seen
from nowcast.model import build_model
from nowcast.motion.spacing import Spacing
from nowcast.periods import Period, parse_period
from nowcast.radar import open_grid
from nowcast.sequences.clock import clock_of
from nowcast.sequences.inputs import Inputs
from nowcast.sequences.many import ManyWindows
from nowcast.sequences.motions import motion_of
from nowcast.sequences.options import EVERY_WINDOW, Sampling
from nowcast.sequences.packed import pack
from nowcast.sequences.scaling import Scaling
from nowcast.sequences.windows import RadarWindows
from nowcast.training.checkpoints import Checkpoint, forecast_weights, read_checkpoint
from nowcast.training.loop import Trainer
from nowcast.training.losses import loss_of
from nowcast.training.optimizers import build_optimizer, build_schedule
from nowcast.training.options import Plan
from nowcast.training.precision import choose_precision
from nowcast.training.signals import stop_request

STEPS, EPOCHS, BATCH, CROP, SEED = 3000, 4, 4, 128, 0
LEAD_STEPS, MINUTES = 24, 5.0
SCORED = [0.5, 1, 2, 5, 10]
SAMPLING = Sampling(
    stride=1, min_wet_share=0.0, windows_per_epoch=None, rain_power=0.5, unbiased=False, crop=CROP,
    flip=True, rotate=True, frame_dropout=0.1, rate_jitter=0.5, noise=0.0,
)  # fmt: skip
PLAN = Plan(
    epochs=EPOCHS, batch_size=BATCH, gradient_clip=1.0, ema_decay=0.995, scheduled_sampling=[0, 0],
    monitor="csi", patience=EPOCHS, workers=0, accumulate=1, checkpoint_segments=False,
    log_every=50,
)  # fmt: skip
MODEL = {
    "hidden_channels": [48, 48], "patch_size": 4, "output_grid": "refined", "frame": "moving",
    "head": "probability", "grids": "any",
}  # fmt: skip

KEPT = 0.5
"""The share that is kept of the corrections by the network, with its `Detail`, and by the other
thresholds. They are learned on few radars, and on another radar they make heavy rain too rare in
the forecast: see README.md here.
"""

CORRECTIONS = (
    "across.weights", "network.output.weight", "network.output.bias", "detail.output.weight",
    "detail.output.bias",
)  # fmt: skip
"""The weights to which these corrections are proportional."""


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    arguments = read_arguments()
    folder, left_out = Path(arguments.copies), set(arguments.leave_out)
    if arguments.prepare:
        for copy in {
            copy.name: copy for copy in (*COPIES, *(one for one, _, _ in VALIDATION))
        }.values():
            opened(folder, copy, None)
        return
    trained = arguments.calibrate or arguments.output / "trained" / "best.pt"
    arguments.output.mkdir(parents=True, exist_ok=True)
    scaling = Scaling(**settings_of_run(left_out)["scaling"])
    validation = validation_windows(folder, left_out, scaling)
    with stop_request() as stop:
        if not arguments.untrained and arguments.calibrate is None:
            trained.parent.mkdir(exist_ok=True)
            trainer = build(left_out, trained.parent)
            trainer.fit(training_windows(folder, left_out, scaling), validation, stop)
        finished = build(left_out, arguments.output)
        if not arguments.untrained:
            begin_from(finished, shrunk(read_checkpoint(trained)))
        print(finished.calibrate(validation, stop))


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("copies")
    parser.add_argument("output", type=Path)
    parser.add_argument("--leave-out", nargs="+", default=[], choices=OWNERS)
    parser.add_argument("--prepare", action="store_true")
    nothing_learned = parser.add_mutually_exclusive_group()
    nothing_learned.add_argument("--untrained", action="store_true")
    nothing_learned.add_argument("--calibrate", type=Path)
    given = parser.parse_args()
    left_out, best = set(given.leave_out), given.output / "best.pt"
    if not copies_without(left_out) or not validation_without(left_out):
        parser.error("--leave-out: no radar is left for training or for validation; name fewer.")
    if given.calibrate is not None and given.calibrate.resolve() == best.resolve():
        parser.error(f"--calibrate: {best} would be replaced; give another OUTPUT.")
    if given.calibrate is not None and not read_checkpoint(given.calibrate).get("best_epoch"):
        parser.error(
            f"--calibrate: {given.calibrate} is not the best epoch of a training, or its"
            " corrections are halved already; give OUTPUT/trained/best.pt of one."
        )
    return given


def build(left_out: set[str], output: Path) -> Trainer:
    settings = settings_of_run(left_out)
    inputs = Inputs(mask=True, speed=True)
    torch.manual_seed(SEED)
    model = build_model(settings["model"], inputs.channels, 1, mask=inputs.mask)
    for widths in (model.offsets, model.slopes):  # if trained, they fit other radars less well
        widths.requires_grad_(False)
    optimizer = build_optimizer(model, **settings["optimizer"])
    steps = EPOCHS * sum(batches_of(copy) for copy in copies_without(left_out))
    schedule = build_schedule(optimizer, steps=steps, **settings["schedule"])
    return Trainer(
        model, optimizer, schedule, loss_of("exceedance", settings["model"]["thresholds"]),
        choose_precision("auto", "auto"), PLAN, SCORED, output, settings, inputs,
    )  # fmt: skip


def shrunk(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint with the share `KEPT` of the corrections."""
    weights = {
        name: KEPT * value if name in CORRECTIONS else value
        for name, value in forecast_weights(checkpoint).items()
    }
    return {**checkpoint, "weights": weights, "ema": None}


def settings_of_run(left_out: set[str]) -> dict[str, Any]:
    """Return the configuration that is stored in the checkpoint."""
    usual = {key: value for key, value in default_values("train").items() if key != "hydra"}
    used = [name for name, radar in RADARS.items() if radar.group not in left_out]
    return {
        **usual,
        "model": {**usual["model"], **MODEL},
        "inputs": {**usual["inputs"], "mask": True},
        "optimizer": {**usual["optimizer"], "lr": 7e-4},
        "schedule": {**usual["schedule"], "warmup_steps": 50},
        "sampling": asdict(SAMPLING),
        "training": asdict(PLAN),
        "loss": "exceedance",
        "thresholds": SCORED,
        "lead_steps": LEAD_STEPS,
        "timestep_minutes": MINUTES,
        "seed": SEED,
        "output": "",
        "data": {"name": "radar", "path": ", ".join(used), "train": None, "validation": None},
    }


def copies_without(left_out: set[str]) -> list[Copy]:
    return [copy for copy in COPIES if RADARS[copy.radar].group not in left_out]


def validation_without(left_out: set[str]) -> list[tuple[Copy, tuple[str, str] | None, int]]:
    return [one for one in VALIDATION if RADARS[one[0].radar].group not in left_out]


def batches_of(copy: Copy) -> int:
    """Return the batches of a copy in an epoch, by its share of the steps, at least one. Copies
    left out make the training shorter; the other copies keep their batches.
    """
    return max(1, round(STEPS // EPOCHS * copy.share / sum(one.share for one in COPIES)))


def training_windows(folder: Path, left_out: set[str], scaling: Scaling) -> ManyWindows:
    sources = []
    for number, copy in enumerate(copies_without(left_out)):
        rates, period, motion, seen = opened(folder, copy, RADARS[copy.radar].days)
        crop = min(CROP, *rates.frames.shape[1:]) // 4 * 4
        sources.append(
            RadarWindows(
                rates, period, input_steps=seen, lead_steps=copy.lead_steps, scaling=scaling,
                sampling=replace(SAMPLING, windows_per_epoch=batches_of(copy) * BATCH, crop=crop),
                shuffle=True, seed=SEED + number, motion=motion, take_along=True,
                spacing=Spacing(copy.pixel_km, copy.minutes), speed=True,
            )
        )  # fmt: skip
    return ManyWindows(sources, BATCH, SEED)


def validation_windows(folder: Path, left_out: set[str], scaling: Scaling) -> ManyWindows:
    sources = []
    for copy, days, stride in validation_without(left_out):
        rates, period, motion, seen = opened(folder, copy, days)
        sources.append(
            RadarWindows(
                rates, period, input_steps=seen, lead_steps=copy.lead_steps, scaling=scaling,
                sampling=replace(EVERY_WINDOW, stride=stride), motion=motion,
                spacing=Spacing(copy.pixel_km, copy.minutes), speed=True,
            )
        )  # fmt: skip
    return ManyWindows(sources, BATCH, SEED)


def opened(folder: Path, copy: Copy, days: tuple[str, str] | None) -> Any:
    """Return the frames of a copy, its usable period, the motion, and the number of past frames."""
    grid = open_grid(str(folder / f"{copy.name}.nc"))
    times = grid["time"].values
    whole = Period(times[0], times[-1])
    rates = pack(grid, whole, folder / "cache", copy.name)
    seen, _ = frames_seen(copy.minutes)
    motion = motion_of(rates, clock_of(rates), input_steps=seen)
    return rates, whole if days is None else parse_period("days", list(days)), motion, seen


if __name__ == "__main__":
    main()
