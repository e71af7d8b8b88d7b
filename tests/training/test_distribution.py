"""Several processes train as one does."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from one_of_several import train

from nowcast.commands.train import refuse_other_settings
from nowcast.errors import ConfigError, TryLaterError
from nowcast.launch import Launch, first_host, launch_of, tasks_of_nodes
from nowcast.training import distribution
from nowcast.training.checkpoints import read_checkpoint
from nowcast.training.distribution import ALONE, Processes, device_of, joined

SCRIPT = Path(__file__).with_name("one_of_several.py")
PLAN = {"epochs": 2, "batch_size": 4, "ema_decay": 0.9}


def a_free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def environment_of(rank: int, size: int, port: int) -> dict[str, str]:
    return {
        "TORCHELASTIC_RUN_ID": "a", "RANK": f"{rank}", "WORLD_SIZE": f"{size}",
        "LOCAL_RANK": f"{rank}", "LOCAL_WORLD_SIZE": f"{size}", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": f"{port}",
    }  # fmt: skip


def start(folder: Path, size: int, *words: str) -> list[subprocess.Popen[bytes]]:
    """`size` processes that train together."""
    folder.mkdir(exist_ok=True)
    port = a_free_port()
    path = f"{SCRIPT.parent}:{os.environ.get('PYTHONPATH', '')}"
    return [
        subprocess.Popen(
            [sys.executable, SCRIPT, folder, *words],
            env={**os.environ, **environment_of(rank, size, port), "PYTHONPATH": path},
        )
        for rank in range(size)
    ]


def train_together(
    folder: Path, size: int, kind: str = "unconditional", loss: str = "mse",
    plan: dict[str, Any] = PLAN, *words: str,
) -> list[dict[str, Any]]:  # fmt: skip
    """→ what each of `size` processes tells of its training."""
    started = start(folder, size, kind, loss, json.dumps(plan), *words)
    assert [one.wait(timeout=120) for one in started] == [0] * size
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(size)]


def assert_close(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            if "seconds" not in key:
                assert_close(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_close(a, b)
    elif isinstance(one, str):
        assert one == other
    else:
        assert one == pytest.approx(other, rel=1e-4, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize(
    ("kind", "loss", "size", "more"),
    [
        ("unconditional", "mse", 2, {}),
        ("unconditional", "mse", 3, {"accumulate": 2}),  # a process of the last batch has none
        ("feedback", "balanced", 2, {"scheduled_sampling": [0.7, 0.3]}),
        ("unconditional", "mae", 2, {"accumulate": 2, "checkpoint_segments": True}),
    ],
)
def test_several_processes_have_the_losses_and_weights_of_one(
    kind, loss, size, more, tmp_path
) -> None:
    """7 windows of different numbers of measured pixels, in batches of 4 and 3."""
    usual = {"accumulate": 1, "checkpoint_segments": False}
    alone = train(tmp_path / "alone", kind, loss, {**PLAN, **more, **usual})
    together = train_together(tmp_path / "together", size, kind, loss, {**PLAN, **more})
    assert len(alone["losses"]) == 4
    for one in together:
        assert_close(one, alone)


def test_a_signal_to_one_process_stops_all_after_the_same_step_and_they_go_on_as_if_never_stopped(
    tmp_path,
) -> None:
    whole = train_together(tmp_path / "whole", 2)
    stopped = train_together(
        tmp_path / "stopped", 2, "unconditional", "mse", PLAN, f"{signal.SIGUSR1:d}", "3"
    )
    assert [one["ended"] for one in stopped] == ["SIGUSR1", "SIGUSR1"]
    assert read_checkpoint(tmp_path / "stopped/last.pt")["progress"]["step"] == 1  # of epoch 2
    went_on = train_together(tmp_path / "stopped", 2)
    for one, other in zip(went_on, whole, strict=True):
        assert one["weights"] == other["weights"]
        assert one["history"][1]["train_loss"] == other["history"][1]["train_loss"]


def test_a_checkpoint_of_two_processes_goes_on_in_one(tmp_path) -> None:
    whole = train(tmp_path / "whole", "unconditional", "mse", PLAN)
    train_together(
        tmp_path / "stopped", 2, "unconditional", "mse", PLAN, f"{signal.SIGTERM:d}", "1"
    )
    went_on = train(tmp_path / "stopped", "unconditional", "mse", PLAN)
    assert_close(went_on["weights"], whole["weights"])


def test_a_process_that_is_killed_ends_the_others_at_once(tmp_path) -> None:
    started = start(tmp_path, 2, "unconditional", "mse", json.dumps({**PLAN, "epochs": 10_000}))
    while not (tmp_path / "last.pt").exists():
        time.sleep(0.1)
        assert all(one.poll() is None for one in started)
    started[1].kill()
    assert [one.wait(timeout=60) for one in started] == [0, -signal.SIGKILL]
    assert json.loads((tmp_path / "0.json").read_text())["ended"] == "LostProcessError"


def test_a_process_that_waits_for_others_hears_a_signal(tmp_path) -> None:
    """One of two is started."""
    environment = {**os.environ, **environment_of(0, 2, a_free_port())}
    alone = subprocess.Popen(
        [sys.executable, "-m", "nowcast", "train", "data.path=none.nc"],
        env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with alone:
        assert alone.stderr is not None
        line = alone.stderr.readline()
        assert "waiting for all 2 processes at 127.0.0.1" in line
        alone.send_signal(signal.SIGTERM)
        assert alone.wait(timeout=20) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def test_processes_that_do_not_meet_end(monkeypatch) -> None:
    monkeypatch.setattr(distribution, "MEETING", timedelta(seconds=0.2))
    launch = launch_of(environment_of(0, 2, a_free_port()))
    with pytest.raises(TryLaterError, match="process 0 of 2 did not meet"), joined(launch):
        pass


# ---- which process this is


def test_a_process_of_torchrun_is_told_by_its_environment() -> None:
    assert launch_of(environment_of(1, 4, 29500)) == Launch(
        "torchrun", 1, 4, 1, 4, "127.0.0.1:29500"
    )


def test_a_process_of_srun_is_told_by_its_environment() -> None:
    """The second task on the second of two nodes of four tasks each."""
    environment = {
        "SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_STEP_NUM_TASKS": "8",
        "SLURM_STEP_TASKS_PER_NODE": "4(x2)", "SLURM_STEP_NODELIST": "gpu[03-04]",
        "SLURM_JOB_ID": "1234567",
    }  # fmt: skip
    assert launch_of(environment) == Launch("srun", 5, 8, 1, 4, "gpu03:24567")


@pytest.mark.parametrize(
    "environment",
    [
        {},
        environment_of(0, 1, 29500),
        {"SLURM_NTASKS": "8", "SLURM_PROCID": "0"},  # the script of a job, which starts its steps
        {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},
        {"RANK": "1", "WORLD_SIZE": "2"},
    ],
)
def test_a_process_is_alone_without_others_that_torchrun_or_srun_started(environment) -> None:
    assert launch_of(environment) is None


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu[03-05,9],cpu1", "gpu03"),
        ("cpu1,gpu[03-05]", "cpu1"),
        ("n-7", "n-7"),
        ("gpu[03-05]-ib", "gpu03-ib"),
        ("rack[1-2]node[3-4]", "rack1node3"),
    ],
)
def test_the_first_of_the_nodes(nodes, first) -> None:
    assert first_host(nodes) == first


def test_steps_of_a_job_meet_at_ports_of_their_own_and_nodes_may_differ() -> None:
    task = {
        "SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "3", "SLURM_STEP_TASKS_PER_NODE": "2,1",
        "SLURM_NODEID": "1", "SLURM_JOB_ID": "77",
    }  # fmt: skip
    found = [launch_of({**task, "SLURM_STEP_ID": step}) for step in "01"]
    assert [one.local_size for one in found if one] == [1, 1]
    assert len({one.address for one in found if one}) == 2
    assert tasks_of_nodes("4(x2),1") == [4, 4, 1]


def test_one_gpu_is_not_named_for_several_processes() -> None:
    with pytest.raises(ConfigError, match="device=cuda, which gives each"):
        device_of("cuda:0", launch_of(environment_of(0, 2, 1)))


def test_processes_with_other_settings_are_told_of_and_trained_is_nothing() -> None:
    same = {"seed": 1, "output": "a", "device": "cpu"}
    refuse_other_settings([same, {**same, "output": "b"}])
    refuse_other_settings(None)
    with pytest.raises(ConfigError, match="seed 1 → 2: differs between the processes"):
        refuse_other_settings([same, {**same, "seed": 2}])


def test_a_process_that_heard_a_signal_waits_until_the_first_has_saved(tmp_path) -> None:
    """A launcher ends the others once one has ended."""
    folder = tmp_path / "stopped"
    started = start(
        folder, 2, "unconditional", "mse", json.dumps(PLAN), f"{signal.SIGUSR1:d}", "1", "2"
    )
    ended: dict[int, float] = {}
    while len(ended) < 2:
        time.sleep(0.05)
        ended |= {
            k: time.monotonic()
            for k, one in enumerate(started)
            if k not in ended and one.poll() is not None
        }
    assert (folder / "last.pt").exists()
    assert abs(ended[0] - ended[1]) < 1.5  # seconds, of the 2 that saving takes


@pytest.mark.parametrize(("count", "size"), [(4, 3), (1, 2), (0, 2), (7, 7)])
def test_the_parts_of_a_batch_are_the_batch(count, size) -> None:
    parts = [Processes(rank, size).part(range(count)) for rank in range(size)]
    assert [item for part in parts for item in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_alone_a_batch_is_whole() -> None:
    assert ALONE.part(range(3)) == [0, 1, 2]
