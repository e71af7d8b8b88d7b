"""What befalls the machine: signals, a full or read-only disk, too little memory, a clock that
jumps, no home.
"""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from test_file_faults import equal
from workplace import (
    EARLIER,
    LANDED,
    MADE,
    PREDICT,
    TRAIN,
    Done,
    Fault,
    Tell,
    as_parameters,
    await_file,
    check_said,
    clean_environment,
    command,
    contents,
    finish,
    frame_path,
    lay_out,
    leftovers,
    rain,
    run,
    start,
    survive,
    write_frame,
)  # fmt: skip

from nowcast.training.checkpoints import read_checkpoint

FAULTS = [
    Fault("no HOME", "HOME is not set", 0, "", environment={"HOME": None}, made=equal),
    Fault("LANG=C", "and nothing else", 0, "", environment={"LANG": "C", "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0"}, made=equal, often=False), Fault("CUDA asked and absent",
    "device=cuda", 69, "device: 'cuda' was requested, but PyTorch sees no GPU", words=(*PREDICT,
    "device=cuda")), Fault("CUDA asked and absent", "of training", 69,
    "device: 'cuda' was requested, but PyTorch sees no GPU", words=(*TRAIN, "device=cuda"),
    often=False),
]  # fmt: skip


@pytest.mark.parametrize("fault", as_parameters(FAULTS))
def test_an_odd_environment_is_named_or_makes_no_difference(
    fault: Fault, base: Path, tmp_path: Path, tell: Tell
) -> None:
    done = survive(fault, base, tmp_path / "work")
    tell(
        fault.name,
        fault.broken,
        done,
        "the forecast of the undisturbed files, bit for bit" if fault.made else "all as it was",
    )


@pytest.mark.faults
@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_closed_stream_makes_no_difference(
    closed: str, base: Path, tmp_path: Path, tell: Tell
) -> None:
    lay_out(base, tmp_path)
    shell = ["bash", "-c", f'exec "$@" {closed}', "bash", *command(*PREDICT)]
    done = subprocess.run(
        shell, cwd=tmp_path, env=clean_environment(tmp_path), stderr=subprocess.PIPE, text=True
    )
    assert done.returncode == 0, done.stderr
    equal(tmp_path, base)
    tell(
        "closed stdout",
        closed,
        Done(0, done.stderr, 0),
        "the forecast of the undisturbed files, bit for bit",
    )


def test_one_at_a_time_and_a_signal_ends_it(base: Path, tmp_path: Path, tell: Tell) -> None:
    lay_out(base, tmp_path)
    watching = start(tmp_path, *PREDICT, "watch=true")
    await_file(watching, tmp_path, MADE)
    second = run(tmp_path, *PREDICT)
    assert (
        second.code == 75 and "forecasts: another process is writing to this folder" in second.err
    )
    check_said(second)
    tell("two at once", "a second call while one watches", second, "the first goes on")
    watching.send_signal(signal.SIGTERM)
    stopped = finish(watching)
    assert stopped.code == 143 and stopped.err.splitlines()[-1] == "nowcast: stopped."
    equal(tmp_path, base)
    assert not leftovers(tmp_path / "forecasts")
    tell("SIGTERM", "to predict --watch", stopped, "its forecasts, and no lock")


@pytest.mark.faults
def test_two_at_once_may_wait_for_each_other(base: Path, tmp_path: Path, tell: Tell) -> None:
    lay_out(base, tmp_path)
    both = [start(tmp_path, *PREDICT, "lock_wait=100") for _ in range(2)]
    done = [finish(process) for process in both]
    assert [one.code for one in done] == [0, 0], [one.err for one in done]
    equal(tmp_path, base)
    assert not leftovers(tmp_path / "forecasts")
    tell(
        "two at once",
        "lock_wait=100",
        max(done, key=lambda one: "already there" in one.err),
        "one forecast; the other call finds it there",
    )


@pytest.mark.faults
@pytest.mark.parametrize("signals", [1, 2])
def test_a_signal_to_training_keeps_what_is_done(
    signals: int, base: Path, tmp_path: Path, tell: Tell
) -> None:
    (tmp_path / "archive").symlink_to(base / "archive")
    training = start(tmp_path, *TRAIN, "training.epochs=10000")
    await_file(training, tmp_path, "run/last.pt")
    for _ in range(signals):
        training.send_signal(signal.SIGTERM)
        time.sleep(0.001)
    stopped = finish(training)
    assert (
        stopped.code == 143
        and "Traceback" not in stopped.err
        and stopped.err.splitlines()[-1] == "nowcast: stopped."
    )
    epochs = read_checkpoint(tmp_path / "run/last.pt")["progress"]["epoch"]
    assert epochs >= len((tmp_path / "run/metrics.jsonl").read_text().splitlines()) - 1
    assert leftovers(tmp_path / "run") == []
    tell(
        ("SIGTERM", "second SIGTERM")[signals - 1],
        f"to training, {signals}×",
        stopped,
        "last.pt, from which resume=auto goes on",
    )


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """`folder` is a file system of so many bytes."""
    folder.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"no file system may be mounted here ({mounted.stderr.strip()})")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_leaves_the_earlier_forecasts(base: Path, tmp_path: Path, tell: Tell) -> None:
    lay_out(base, tmp_path)
    earlier = (tmp_path / EARLIER).read_bytes()
    with small_disk(tmp_path / "forecasts", "256k"):
        (tmp_path / EARLIER).write_bytes(earlier)
        fill(tmp_path / "forecasts/filling", leave=4096)
        before = contents(tmp_path / "forecasts")
        done = run(tmp_path, *PREDICT)
        assert done.code == 74 and "no space left" in done.err.lower()
        check_said(done)
        assert contents(tmp_path / "forecasts") == before
    tell("disk full", "a tmpfs of 256 KiB", done, "all as it was")


@pytest.mark.faults
def test_a_full_disk_leaves_the_checkpoints_of_training(
    base: Path, tmp_path: Path, tell: Tell
) -> None:
    (tmp_path / "archive").symlink_to(base / "archive")
    with small_disk(tmp_path / "run", "256k"):
        fill(tmp_path / "run/filling", leave=60_000)
        done = run(tmp_path, *TRAIN, "model.hidden_channels=[16,16]")
        assert done.code == 74 and "no space left" in done.err.lower()
        check_said(done)
        assert leftovers(tmp_path / "run") == []
        for path in (tmp_path / "run").glob("*.pt"):
            read_checkpoint(path)
    tell("disk full", "of training", done, "checkpoints that are whole, or none")


def fill(path: Path, leave: int) -> None:
    """Fill the file system that `path` is on, but for so many bytes."""
    free = os.statvfs(path.parent)
    path.write_bytes(bytes(free.f_bavail * free.f_frsize - leave))


@pytest.mark.parametrize(
    ("key", "value", "sees"),
    [
        ("output", None, "forecasts: cannot be locked with a file .lock (Read-only file system); choose another output folder"),
        ("status", "said/one.json", "status: said/one.json: cannot write this file (Read-only file system); choose another path"),
        pytest.param("log_file", "said/one.log", "log_file: said/one.log: cannot be written (Read-only file system)", marks=pytest.mark.faults),
    ],
)  # fmt: skip
def test_what_is_read_only_is_refused_at_the_start(
    key: str, value: str | None, sees: str, base: Path, tmp_path: Path, tell: Tell
) -> None:
    lay_out(base, tmp_path)
    earlier = (tmp_path / EARLIER).read_bytes()
    place = Path(value or EARLIER).parent
    with small_disk(tmp_path / place, "256k"):
        (tmp_path / EARLIER).write_bytes(earlier)
        subprocess.run(["mount", "-o", "remount,ro", tmp_path / place], check=True)
        before = contents(tmp_path)
        done = run(tmp_path, *PREDICT, *([f"{key}={value}"] if value else []))
        assert contents(tmp_path) == before
    assert done.code == 73 and done.err.startswith(f"nowcast: {sees}"), done.err
    check_said(done)
    tell("read-only output", f"a file system mounted so, of {key}", done, "all as it was")


def limited(gigabytes: float) -> Callable[[], None]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (int(gigabytes * 2**30),) * 2)

    return limit


@pytest.mark.faults
def test_a_batch_that_does_not_fit_the_memory_is_named(
    base: Path, tmp_path: Path, tell: Tell
) -> None:
    (tmp_path / "archive").symlink_to(base / "archive")
    too_large = (
        "training.batch_size=2048",
        "sampling.windows_per_epoch=2048",
        "model.hidden_channels=[64,64]",
        "model.patch_size=1",
    )
    done = run(tmp_path, *TRAIN, *too_large, preexec_fn=limited(3))
    assert done.code == 69 and "out of memory" in done.err and "training.batch_size" in done.err, (
        done.err
    )
    check_said(done)
    assert leftovers(tmp_path / "run") == [] and not list(tmp_path.glob("run/*.pt"))
    tell("out of memory on a batch", "2048 windows in 3 GiB", done, "no checkpoint")


@pytest.mark.faults
def test_a_dead_loader_worker_ends_training(base: Path, tmp_path: Path, tell: Tell) -> None:
    (tmp_path / "archive").symlink_to(base / "archive")
    training = start(tmp_path, *TRAIN, "training.epochs=10000", "training.workers=1")
    await_file(training, tmp_path, "run/last.pt")
    while training.poll() is None:  # of each epoch there is a new one
        for child in Path(f"/proc/{training.pid}/task/{training.pid}/children").read_text().split():
            try:
                if "multiprocessing" not in Path(f"/proc/{child}/cmdline").read_text():
                    os.kill(int(child), signal.SIGKILL)
            except (ProcessLookupError, FileNotFoundError):
                continue
        time.sleep(0.02)
    done = finish(training)
    assert done.code == 70 and "worker" in done.err, done.err
    check_said(done)
    read_checkpoint(tmp_path / "run/last.pt")
    tell("dead loader worker", "kill -9 of it", done, "last.pt, from which resume=auto goes on")


@pytest.mark.parametrize(
    ("minutes", "more", "code", "sees"),
    [
        (60, (), 75, "all frames are in the future"),
        pytest.param(
            -60, ("max_age=15",), 75, "older than max_age=15 minutes", marks=pytest.mark.faults
        ),
    ],
)
def test_a_clock_that_jumps_makes_no_forecast_of_a_wrong_time(
    minutes: int,
    more: tuple[str, ...],
    code: int,
    sees: str,
    base: Path,
    tmp_path: Path,
    tell: Tell,
) -> None:
    """As the frames see it: those that landed are an hour ahead of the clock, or an hour behind."""
    lay_out(base, tmp_path)
    for path in (tmp_path / "radar").iterdir():
        path.unlink()
    now = np.datetime64(int(time.time() // 300 * 300), "s").astype("datetime64[m]")
    for k in range(LANDED):
        at = now + np.timedelta64(minutes - 5 * k + 5 * (LANDED - 1 if minutes > 0 else 0), "m")
        write_frame(
            frame_path(tmp_path, at),
            rain()[-1 - k],
            at,
            time_units="minutes since 1970-01-01",
            minutes=float(at.astype(int)),
        )
    before = contents(tmp_path)
    done = run(tmp_path, *PREDICT, *more)
    assert done.code == code and sees in done.err, done.err
    check_said(done)
    assert contents(tmp_path) == before
    tell("clock jump", f"an hour {'back' if minutes > 0 else 'ahead'}", done, "all as it was")
