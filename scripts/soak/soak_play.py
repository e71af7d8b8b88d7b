"""Play a day of the soak test: run the watching process, deliver frames and faults, and read its
log.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import soak_faults as faults
from soak_checks import Line, forecast_name, is_of, read_lines
from soak_faults import LATE_BY, MISSING, RESTARTING, SPOILT, Plan, Time, frame_name
from tqdm import tqdm

TRY_LATER, INPUT_OUTPUT, STOPPED = 75, 74, 143


@dataclass(frozen=True)
class Settings:
    """Settings of the day. keep_hours: of the watching process. patience: seconds that a cycle may
    take. more: further overrides.
    """

    checkpoint: Path
    folder: Path
    keep_hours: float
    fallback: Sequence[str] = ("model", "extrapolation", "persistence", "none")
    patience: float = 120.0
    more: Sequence[str] = ()

    def words(self, *more: str) -> list[str]:
        """Return the command, to run in a folder that contains `radar`. Settings that affect the
        rain are the same in all commands.
        """
        own = [
            f"checkpoint={self.checkpoint.resolve()}", "data.path=radar/%Y%m%d_%H%M*.nc",
            f"fallback=[{','.join(self.fallback)}]", "max_age=null", "retry=0.3", "lock_wait=0",
            "device=cpu", *self.more,
        ]  # fmt: skip
        return [
            sys.executable,
            "-m",
            "nowcast",
            "predict",
            "--config-dir",
            str(Path(__file__).parents[1] / "deploy"),
            "+operation=five_minutes",
            *own,
            *more,
        ]


class StuckError(Exception):
    """A cycle did not end in time, or a process ended unexpectedly."""


@dataclass
class Watcher:
    """The watching process and its log."""

    settings: Settings
    folder: Path
    output: str
    process: subprocess.Popen[bytes] | None = None
    read: int = 0  # lines of its log read so far
    memory: list[list[int]] = field(default_factory=list)  # bytes after each cycle, of each process
    # both recorded from the first extrapolation on
    handles: list[list[int]] = field(default_factory=list)
    has_opencv: bool = False

    @property
    def log(self) -> Path:
        return self.folder / "log.jsonl"

    def start(self) -> None:
        words = self.settings.words(
            "--watch", "poll=0.05", f"output={self.output}/%Y%m%dT%H%MZ.nc",
            f"keep_hours={self.settings.keep_hours}", "log_file=log.jsonl", "status=status.json",
            "metrics=metrics/nowcast.prom",
        )  # fmt: skip
        with (self.folder / "stderr.txt").open("ab") as stderr:
            self.process = subprocess.Popen(
                words, cwd=self.folder, stderr=stderr, stdout=stderr, env=environment()
            )
        self.memory.append([])
        self.has_opencv = False
        self.handles.append([])

    def end(self, by: signal.Signals) -> int:
        """Stop the process; return its exit code."""
        assert self.process is not None
        self.process.send_signal(by)
        return self.process.wait(self.settings.patience)

    def wait_for(self, done: Callable[[Line], bool]) -> list[Line]:
        """Return the new lines of its log up to one that is `done`. Errors: StuckError."""
        assert self.process is not None
        until, seen = time.monotonic() + self.settings.patience, list[Line]()
        while time.monotonic() < until:
            with suppress(ValueError):  # a line not yet completely written
                lines = read_lines(self.log)
                seen, self.read = seen + lines[self.read :], len(lines)
            if any(done(line) for line in seen):
                self.sample()
                return seen
            if self.process.poll() is not None:
                raise StuckError(
                    f"the process ended with exit code {self.process.returncode}; see"
                    f" {self.folder / 'stderr.txt'}"
                )
            time.sleep(0.02)
        raise StuckError(
            f"the expected cycle did not end within {self.settings.patience:g} s; the last line:"
            f" {seen[-1:] or 'none'}"
        )

    def sample(self) -> None:
        assert self.process is not None
        held = Path(f"/proc/{self.process.pid}")
        if held.exists():  # only on Linux
            pages = int((held / "statm").read_text().split()[1])
            # OpenCV is loaded by the first extrapolation
            if not self.has_opencv and "cv2" in (held / "maps").read_text():
                self.has_opencv = True
                self.memory[-1].clear()
                self.handles[-1].clear()
            self.memory[-1].append(pages * os.sysconf("SC_PAGE_SIZE"))
            self.handles[-1].append(len(list((held / "fd").iterdir())))


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def succeeded(at: Time) -> Callable[[Line], bool]:
    return lambda line: is_of(line, at) and line["outcome"] != "failed"


@dataclass
class Play:
    """The run of a day. kept: folder to which each forecast is copied when it is published. live:
    cycles that were forecast when their frame arrived.
    """

    plan: Plan
    clean: Path
    watcher: Watcher
    kept: Path
    draw: random.Random
    live: set[Time] = field(default_factory=set)
    landed: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    # late frames, by the cycle before which they arrive
    pending: dict[Time, Time] = field(default_factory=dict)

    @property
    def radar(self) -> Path:
        return self.watcher.folder / "radar"

    @property
    def forecasts(self) -> Path:
        return self.watcher.folder / self.watcher.output

    def run(self) -> None:
        """Errors: StuckError."""
        self.watcher.start()
        for at in tqdm(self.plan.times, "cycles", disable=None, leave=False):
            started = time.monotonic()
            if at in self.pending:
                self.land(self.pending.pop(at))
            kind = self.plan.faults.get(at)
            self.suffer(kind, at) if kind else self.whole(at)
            self.seconds.append(time.monotonic() - started)
        code = self.watcher.end(signal.SIGTERM)
        self.problems += [f"SIGTERM ended the process with {code}, not {STOPPED}"] * (
            code != STOPPED
        )

    def land(self, at: Time, content: bytes | None = None, name: str | None = None) -> None:
        name = name or frame_name(at)
        self.landed.add(name)
        faults.land(
            content or (self.clean / frame_name(at)).read_bytes(), self.radar / name, self.draw
        )

    def whole(self, at: Time) -> None:
        """Deliver the frame, and check its forecast and latest.nc."""
        self.land(at)
        self.keep(at)

    def keep(self, at: Time) -> None:
        self.watcher.wait_for(succeeded(at))
        path, latest = self.forecasts / forecast_name(at), self.forecasts / "latest.nc"
        shutil.copyfile(path, self.kept / path.name)
        self.live.add(at)
        if latest.resolve() != path.resolve():
            self.problems.append(f"{at:.16}: latest.nc points to {latest.resolve().name}")

    def restart(self, by: signal.Signals) -> None:
        code, wanted = self.watcher.end(by), STOPPED if by == signal.SIGTERM else -by
        self.problems += [f"{by.name} ended the process with {code}, not {wanted}"] * (
            code != wanted
        )
        self.watcher.start()

    def suffer(self, kind: str, at: Time) -> None:
        """Play one fault of that kind at that cycle."""
        if kind in MISSING:
            return
        if kind in SPOILT:
            self.land(at, faults.spoil(kind, self.clean / frame_name(at)))
            self.watcher.wait_for(lambda line: True)
        elif kind == "late frame":
            self.pending[self.plan.times[self.plan.times.index(at) + LATE_BY]] = at
        elif kind in RESTARTING:
            self.suffer_restart(kind, at)
        else:
            self.suffer_beside(kind, at)

    def suffer_restart(self, kind: str, at: Time) -> None:
        if kind == "damaged forecast":  # found by the next process
            self.whole(at)
            faults.damage(self.forecasts / forecast_name(at))
            self.restart(signal.SIGTERM)
        else:
            self.land(at)
            time.sleep(self.draw.uniform(0, 1))
            if kind == "stale temporary":
                (self.forecasts / f".{forecast_name(at)}.0a1b2c3d.tmp").write_bytes(
                    b"half of a forecast"
                )
            self.restart(signal.SIGTERM if kind == "SIGTERM" else signal.SIGKILL)
        self.keep(at)

    def suffer_beside(self, kind: str, at: Time) -> None:
        """Play a fault that does not damage the frame of the cycle, so it can be forecast."""
        frame, stem = self.clean / frame_name(at), frame_name(at).removesuffix(".nc")
        if kind == "future frame":
            self.land(at, faults.far_off(frame), f"20990101_0000_{stem}.nc")
        elif kind == "dangling latest.nc":
            faults.mislead(self.forecasts / "latest.nc")
        if kind == "disk full":
            ballast = faults.fill_disk(self.forecasts.parent)
            self.land(at)
            failed = self.watcher.wait_for(
                lambda line: is_of(line, at) and line["outcome"] == "failed"
            )
            codes = [line["exit_code"] for line in failed if is_of(line, at)]
            self.problems += [f"{at:.16}: a full disk ended the cycle with {codes}"] * (
                set(codes) != {INPUT_OUTPUT}
            )
            ballast.unlink()
            return
        self.whole(at)
        if kind == "two at once":
            second = subprocess.run(
                self.watcher.settings.words(f"output={self.watcher.output}/%Y%m%dT%H%MZ.nc"),
                cwd=self.watcher.folder, env=environment(), capture_output=True,
                timeout=self.watcher.settings.patience,
            )  # fmt: skip
            self.problems += [f"{at:.16}: a second process ended with {second.returncode}"] * (
                second.returncode != TRY_LATER
            )
        elif kind in ("equal duplicate", "differing duplicate"):
            content = frame.read_bytes() if kind == "equal duplicate" else faults.spoil(kind, frame)
            self.land(at, content, f"{stem}_again.nc")
            self.watcher.wait_for(lambda line: True)
