"""Trains as one of the processes that the environment tells of, and writes what came of it.

    python one_of_several.py FOLDER KIND LOSS 'PLAN as JSON' [SIGNAL STEP [SECONDS]]

With a SIGNAL, the second process gets it after STEP steps, and the first takes SECONDS to save.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from conftest import Showers, make_trainer

from nowcast.errors import Interrupted, LostProcessError
from nowcast.launch import launch_of
from nowcast.training.checkpoints import read_checkpoint
from nowcast.training.distribution import ALONE, Processes, joined
from nowcast.training.losses import loss_of
from nowcast.training.signals import stop_request


class Gappy(Showers):
    """Windows with more missing pixels the later they start, so that no two weigh the same."""

    def __getitem__(self, pick):
        rates = super().__getitem__(pick)
        rates[:, :, 5:, : pick.start] = torch.nan
        return rates


def train(
    folder: Path, kind: str, loss: str, plan: dict[str, Any], processes: Processes = ALONE,
    signal: int = 0, at: int = 0, seconds: float = 0.0,
) -> dict[str, Any]:  # fmt: skip
    """→ how the training ended, the loss of every step, the rows of its epochs, and the weights."""
    trainer = make_trainer(folder, kind=kind, loss=loss_of(loss), processes=processes, **plan)
    if (folder / "last.pt").exists():
        trainer.restore(read_checkpoint(folder / "last.pt"))
    losses, read_losses = [], trainer._read_losses

    def read() -> None:
        before = trainer.progress.loss_sum
        read_losses()
        losses.append(trainer.progress.loss_sum - before)
        if signal and processes.rank == 1 and len(losses) == at:
            os.kill(os.getpid(), signal)

    trainer._read_losses = read
    save = trainer.save
    trainer.save = lambda path: (
        time.sleep(seconds if processes.is_first and path.name == "last.pt" else 0),
        save(path),
    )
    ended = "done"
    with stop_request() as stop:
        try:
            trainer.fit(Gappy(7), Gappy(5), stop)
        except Interrupted as error:
            ended = str(error)
    weights = {name: value.tolist() for name, value in trainer.model.state_dict().items()}
    history = trainer.progress.history
    return {"ended": ended, "losses": losses, "history": history, "weights": weights}


def main(
    folder: str,
    kind: str,
    loss: str,
    plan: str,
    signal: str = "0",
    at: str = "0",
    seconds: str = "0",
) -> None:
    torch.set_num_threads(1)
    launch = launch_of()
    try:
        with joined(launch) as processes:
            result = train(
                Path(folder),
                kind,
                loss,
                json.loads(plan),
                processes,
                int(signal),
                int(at),
                float(seconds),
            )
    except LostProcessError as error:
        result = {"ended": type(error).__name__}
    Path(folder, f"{launch.rank}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
