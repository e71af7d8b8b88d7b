"""kill -9 at random moments: nothing is lost but what was not yet done, and nothing is half
written under a final name.
"""

import random
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import xarray as xr
from workplace import PREDICT, TIMES, TRAIN, Tell, lay_out, leftovers, run, start

from nowcast.forecast.dataset import open_forecast
from nowcast.training.checkpoints import read_checkpoint

KILLS = 50
LONG = ("training.epochs=20", "training.patience=20")
LARGE = (
    "training.epochs=12",
    "training.patience=12",
    "model.hidden_channels=[96,96]",
    "model.patch_size=4",
    "sampling.windows_per_epoch=4",
)
"""Of which saving takes most of the time."""


@pytest.mark.faults
@pytest.mark.parametrize(
    ("name", "words"),
    [("kill -9 of training", LONG), ("kill -9 of a checkpoint save", LARGE)],
)
def test_killed_training_goes_on_to_the_same_end(
    name: str, words: tuple[str, ...], base: Path, tmp_path: Path, tell: Tell
) -> None:
    for folder in (tmp_path, tmp_path / "undisturbed"):
        folder.mkdir(exist_ok=True)
        (folder / "archive").symlink_to(base / "archive")
    undisturbed = run(tmp_path / "undisturbed", *TRAIN, *words)
    assert undisturbed.code == 0, undisturbed.err
    draw, epochs = random.Random(1), 0
    for _ in range(KILLS):
        moment = (undisturbed.seconds - 3) / 2 * draw.random() ** 2
        epochs = killed_after(moment, tmp_path, words, epochs)
    last = run(tmp_path, *TRAIN, *words)
    assert last.code == 0, last.err
    assert not leftovers(tmp_path / "run"), "the next call removes what a kill left half written"
    assert_same(
        read_checkpoint(tmp_path / "run/last.pt"),
        read_checkpoint(tmp_path / "undisturbed/run/last.pt"),
    )
    lines = [
        len((folder / "run/metrics.jsonl").read_text().splitlines())
        for folder in (tmp_path, tmp_path / "undisturbed")
    ]
    assert lines[0] == lines[1]
    tell(
        name,
        f"{KILLS} times",
        last,
        "after the last call the weights of an undisturbed run, bit for bit; checkpoints whole at"
        " all times",
    )


def killed_after(seconds: float, folder: Path, words: tuple[str, ...], epochs: int) -> int:
    """Kill training so long after it began to write; a run that is at its end begins anew. →
    the epochs that are done by then.
    """
    run_folder = folder / "run"
    if epochs >= int(words[0].split("=")[1]):
        shutil.rmtree(run_folder)
        epochs = 0
    before = (
        (run_folder / "metrics.jsonl").stat().st_mtime_ns
        if (run_folder / "metrics.jsonl").exists()
        else 0
    )
    process = start(folder, *TRAIN, *words)
    while process.poll() is None:  # until it has trained an epoch, or saves for the first time
        path = run_folder / "metrics.jsonl"
        if (path.exists() and path.stat().st_mtime_ns != before) or (
            epochs == 0 and next(run_folder.glob(".*.tmp"), None)
        ):
            break
        time.sleep(0.002)
    time.sleep(seconds)
    process.kill()
    process.communicate()
    checkpoints = {path.name: read_checkpoint(path) for path in run_folder.glob("*.pt")}
    done: int = checkpoints["last.pt"]["progress"]["epoch"] if "last.pt" in checkpoints else 0
    said = (
        (run_folder / "metrics.jsonl").read_text().splitlines()
        if (run_folder / "metrics.jsonl").exists()
        else []
    )
    assert done >= epochs, "an epoch was lost"
    assert done >= len(said) - 1, "more than the epoch that was at work was lost"
    return done


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one["progress"]["epoch"] == other["progress"]["epoch"]
    for key in ("weights", "ema"):
        assert one[key].keys() == other[key].keys()
        assert all(torch.equal(one[key][name], other[key][name]) for name in one[key])


@pytest.mark.parametrize(
    ("kills", "forecasts"), [(1, 4), pytest.param(KILLS, 31, marks=pytest.mark.faults)]
)
def test_killed_forecasts_are_whole_or_absent(
    kills: int, forecasts: int, base: Path, tmp_path: Path, tell: Tell
) -> None:
    """A back-fill of so many forecasts, killed, and run again."""
    lay_out(base, tmp_path)
    ends = f"from={TIMES[4]}", f"to={TIMES[3 + forecasts]}"
    period = (*PREDICT, "data.path=archive/rain_%Y%m%d%H%M.nc", *ends, "latest=symlink")
    wanted = run(tmp_path, *period, "output=undisturbed/%H%MZ.nc")
    assert wanted.code == 0, wanted.err
    draw, kept = random.Random(1), set[str]()
    undisturbed = tmp_path / "undisturbed"
    for _ in range(kills):
        if len(kept) >= forecasts - 3:
            shutil.rmtree(tmp_path / "made")
            kept = set()
        process = start(tmp_path, *period, "output=made/%H%MZ.nc")
        there = len(kept)
        while (
            process.poll() is None
            and len(list(tmp_path.glob("made/*Z.nc"))) <= there
            and not list(tmp_path.glob("made/.*.tmp"))
        ):
            time.sleep(0.001)
        time.sleep(0.4 * draw.random() ** 2)
        process.kill()
        process.communicate()
        made = {path.name for path in tmp_path.glob("made/*Z.nc")}
        assert kept <= made, "a forecast was lost"
        for name in made - kept:
            assert_same_forecast(tmp_path / "made" / name, undisturbed / name)
        kept = made
    last = run(tmp_path, *period, "output=made/%H%MZ.nc")
    assert last.code == 0, last.err
    assert {path.name for path in (tmp_path / "made").iterdir()} == {
        path.name for path in undisturbed.iterdir()
    }
    for path in undisturbed.iterdir():
        assert_same_forecast(tmp_path / "made" / path.name, path)
    tell(
        "kill -9 of a forecast write",
        f"{kills} times, of a back-fill",
        last,
        "at all times whole forecasts alone, after the last call all of them",
    )


def assert_same_forecast(one: Path, other: Path) -> None:
    a, b = open_forecast(one), open_forecast(other)
    assert one.stat().st_size == other.stat().st_size
    for dataset in (a, b):
        del dataset.attrs["history"]
    xr.testing.assert_identical(a, b)
