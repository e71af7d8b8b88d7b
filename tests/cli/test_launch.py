"""What the command line does as one of several processes of a training."""

import os
import subprocess
import sys

import pytest

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "a", "RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0",
    "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1",
}  # fmt: skip
SECOND = {**TORCHRUN, "RANK": "1", "LOCAL_RANK": "1"}


def nowcast(words, environment, folder):
    return subprocess.run(
        [sys.executable, "-m", "nowcast", *words],
        env={**os.environ, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "-m", "seed=1,2"], "-m: a sweep starts its trainings"),
        (["predict", "model=extrapolation"], "torchrun: only nowcast train supports it"),
    ],
)
def test_what_several_processes_cannot_do_together_is_refused_once(words, says, tmp_path) -> None:
    first, second = (nowcast(words, one, tmp_path) for one in (TORCHRUN, SECOND))
    assert (first.returncode, second.returncode) == (2, 2)
    assert first.stderr.startswith(f"nowcast: {says}") and first.stderr.count("\n") == 1
    assert second.stderr == ""


def test_a_wrong_key_is_told_once(tmp_path) -> None:
    first, second = (nowcast(["train", "seeed=1"], one, tmp_path) for one in (TORCHRUN, SECOND))
    assert (first.returncode, second.returncode) == (78, 78)
    assert first.stderr.count("\n") == 1 and second.stderr == ""
    assert not list(tmp_path.iterdir())


def test_under_srun_other_commands_run_by_themselves(tmp_path) -> None:
    """As a job step may start many of them."""
    task = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}
    done = nowcast(["predict", "model=extrapolation", "data.path=none.nc"], task, tmp_path)
    assert done.returncode == 66
    assert done.stderr.startswith("nowcast: none.nc")
