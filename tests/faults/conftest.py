"""The working folder that all faults begin with, and the table of what became of them:
--fault-table=PATH.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from workplace import (
    BEFORE,
    EARLIER,
    LANDED,
    LISTED,
    MADE,
    NEWEST,
    PREDICT,
    STARTED,
    TIMES,
    TRAIN,
    Done,
    Tell,
    frame_path,
    rain,
    run,
    shown,
    write_frame,
)

from nowcast.forecast.dataset import open_forecast
from nowcast.radar.grid import RATE


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder that nothing is wrong with, made once, by the command itself: frames, a
    checkpoint, an earlier forecast; and in `undisturbed/` the forecast from the newest frame.
    """
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "faults-base"
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of the workers of pytest-xdist the first makes it
        if not (folder / "whole").exists():
            make_base(folder)
            (folder / "whole").touch()
    return folder


def make_base(folder: Path) -> None:
    for k, time in enumerate(TIMES):
        write_frame(frame_path(folder, time, "archive"), rain()[k], time)
    for k in range(-LANDED, 0):
        write_frame(frame_path(folder, TIMES[k]), rain()[k], TIMES[k])
    trained = run(folder, *TRAIN)
    assert trained.code == 0, trained.err
    (folder / "run/best.pt").rename(folder / "best.pt")
    made = run(
        folder, *PREDICT, f"from={BEFORE}", f"to={NEWEST}", "output=undisturbed/%Y%m%dT%H%MZ.nc"
    )
    assert made.code == 0, made.err
    (folder / "forecasts").mkdir()
    (folder / "undisturbed" / Path(EARLIER).name).rename(folder / EARLIER)
    earlier, newest = (
        open_forecast(folder / EARLIER)[RATE].values,
        open_forecast(folder / "undisturbed" / Path(MADE).name)[RATE].values,
    )
    assert (earlier != newest).mean() > 0.1, (
        "a forecast that is equal to the undisturbed one would prove nothing"
    )


@pytest.fixture(autouse=True)
def no_process_outlives_its_test() -> Iterator[None]:
    yield
    for process in STARTED:
        if process.poll() is None:
            process.kill()
            process.communicate()
    STARTED.clear()


@pytest.fixture
def tell(record_property: Callable[[str, Any], None]) -> Tell:
    """Put a line into the table: the fault, what is broken, what the user saw of it, and what
    is there afterwards.
    """

    def tell_it(name: str, broken: str, done: Done | str, there: str) -> None:
        seen, code = (shown(done.err), str(done.code)) if isinstance(done, Done) else (done, "")
        record_property("fault", [name, broken, seen, code, there])

    return tell_it


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fault-table", help="Write what became of each fault here, as Markdown.")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--fault-table", None)
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Table(Path(path)))


class Table:
    """Gathers the lines from all workers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[list[str]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.rows += [value for name, value in report.user_properties if name == "fault"]

    def pytest_sessionfinish(self) -> None:
        head = [
            "fault",
            "what is broken",
            "what the user sees",
            "exit code",
            "what is there afterwards",
        ]
        lines = [
            head,
            ["---"] * len(head),
            *sorted(self.rows, key=lambda row: (LISTED.index(row[0]), row)),
        ]
        cells = [" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("".join(f"| {line} |\n" for line in cells))
