"""A run that is told to stop, or is killed: with real signals to a real process."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers import Outcome

from nowcast.errors import Interrupted
from nowcast.radar import Weather, write_synthetic
from nowcast.training.checkpoints import read_checkpoint
from nowcast.training.signals import stop_request

SETTINGS = (
    "data=radar", "data.path=rain.nc", 'data.train=["2020-06-01T00:00","2020-06-01T03:55"]',
    'data.validation=["2020-06-01T04:00","2020-06-01T05:55"]', "input_steps=3", "lead_steps=2",
    "sampling.windows_per_epoch=8", "sampling.crop=16", "model.hidden_channels=[4]",
    "training.epochs=100000", "training.patience=100000", "training.batch_size=2", "device=cpu",
    "precision=fp32", "output=run",
)  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with six hours of rain in it."""
    folder = tmp_path_factory.mktemp("home")
    write_synthetic(folder / "rain.nc", 72, 32, 32, weather=Weather(wet_share=0.3))
    return folder


def command(*overrides: str) -> list[str]:
    return [sys.executable, "-m", "nowcast", "train", *SETTINGS, *overrides]


@contextmanager
def training(home: Path, *overrides: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command(*overrides), cwd=home, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_epochs(
    process: subprocess.Popen[str], folder: Path, epochs: int, seconds: float = 300.0
) -> None:
    """Until so many epochs have ended."""
    patience = time.monotonic() + seconds
    while done_epochs(folder) < epochs:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < patience, f"no epoch {epochs} within {seconds:g} s"
        time.sleep(0.02)


def done_epochs(folder: Path) -> int:
    metrics = folder / "metrics.jsonl"
    return len(metrics.read_text().splitlines()) if metrics.exists() else 0


def ask_to_stop(process: subprocess.Popen[str], signal_number: int) -> tuple[int, str]:
    """→ the exit code, and what was said on stderr."""
    process.send_signal(signal_number)
    said = process.communicate(timeout=120)[1]
    return process.returncode, said


def test_sigterm_saves_and_ends_with_143_and_other_settings_do_not_go_on_from_there(
    home: Path, run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home / "terminated"
    with training(home, "output=terminated") as process:
        wait_for_epochs(process, folder, 1)
        code, said = ask_to_stop(process, signal.SIGTERM)
    assert code == 143
    lines = said.splitlines()
    assert [line for line in lines if "stopped" in line] == lines[-2:]
    assert re.search(r"stopped by a signal in epoch \d+; saved .*terminated/last\.pt", lines[-2])
    assert lines[-1] == "nowcast: stopped."
    assert "\r" not in said and "Traceback" not in said
    progress = read_checkpoint(folder / "last.pt")["progress"]
    assert progress["epoch"] == done_epochs(folder) >= 1
    assert 1 <= progress["step"] <= 4
    assert not list(folder.glob("*.tmp")) + list(folder.glob(".*.tmp"))

    before = (folder / "last.pt").read_bytes()
    # the last of them may change
    others = ("output=terminated", "optimizer.lr=0.5", "loss=mae", "training.epochs=5")
    monkeypatch.chdir(home)
    refused = run("train", *SETTINGS, *others)
    assert refused.code == 78
    assert re.fullmatch(
        r"nowcast: loss balanced → mae, optimizer\.lr 0\.001 → 0\.5: not as in .*last\.pt, .*",
        refused.err.splitlines()[-1],
    )
    assert (folder / "last.pt").read_bytes() == before


def test_a_run_killed_outright_goes_on_with_the_same_command_until_ctrl_c(home: Path) -> None:
    folder = home / "run"
    with training(home) as process:
        wait_for_epochs(process, folder, 2)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    saved = read_checkpoint(folder / "last.pt")["progress"]
    assert saved["epoch"] >= 1 and saved["step"] == 0

    with training(home) as process:
        wait_for_epochs(process, folder, saved["epoch"] + 2)
        code, said = ask_to_stop(process, signal.SIGINT)
    assert code == 130
    assert re.search(
        rf"resuming from .*run/last\.pt, {saved['epoch']} of 100000 epochs done\n", said
    )
    assert said.splitlines()[-1] == "nowcast: stopped."
    assert "Traceback" not in said
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))
    history = read_checkpoint(folder / "last.pt")["progress"]["history"]
    assert history == rows
    assert history[: saved["epoch"]] == saved["history"]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)]
)
def test_a_first_signal_is_noted_and_a_second_one_stops_at_once(
    number: signal.Signals, code: int
) -> None:
    with stop_request() as stop:
        assert not stop
        signal.raise_signal(number)
        assert stop and stop.signal_number == number
        signal.raise_signal(number)  # the same, passed on twice
        stop.heard -= 2 * stop.ECHO
        with pytest.raises(Interrupted) as interrupt:
            signal.raise_signal(number)
        assert interrupt.value.exit_code == code


def test_signals_are_handled_as_before_once_the_run_is_over() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    with pytest.raises(ZeroDivisionError), stop_request() as stop:
        assert [signal.getsignal(number) for number in numbers] == [stop] * 3
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in numbers] == before
