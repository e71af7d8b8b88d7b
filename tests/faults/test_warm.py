"""A command that is forked from a process with its imports done does what a fresh process does."""

import re
import signal
from pathlib import Path

import pytest
from warm import WarmProcess
from workplace import (
    EARLIER,
    MADE,
    PATTERN,
    PREDICT,
    Done,
    age,
    contents,
    finish,
    lay_out,
    run,
    start,
)

from nowcast.forecast.dataset import open_forecast

NUMBERS = re.compile(r"\d+\.\d+|\d\d:\d\d:\d\d|\(\d+ days old")


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(PREDICT, id="a forecast"),
        pytest.param((*PREDICT, "deadline=soon"), id="a configuration that is refused"),
        pytest.param(("inspect", "best.nc"), id="a file that is missing"),
        pytest.param(
            ("predict", f"data.path={PATTERN}", "checkpoint=" + EARLIER),
            id="a checkpoint that is none",
        ),
    ],
)
def test_forked_and_fresh_processes_do_the_same(
    words: tuple[str, ...], base: Path, tmp_path: Path
) -> None:
    ended: list[Done] = []
    for name, environment in (("forked", None), ("fresh", {})):
        folder = tmp_path / name
        folder.mkdir()
        lay_out(base, folder)
        age(folder)
        process = start(folder, *words, environment=environment)
        assert isinstance(process, WarmProcess) == (environment is None)
        ended.append(finish(process))
    forked, fresh = ended
    assert forked.code == fresh.code
    assert NUMBERS.sub("", forked.err) == NUMBERS.sub("", fresh.err)
    there, as_well = contents(tmp_path / "forked"), contents(tmp_path / "fresh")
    assert there.keys() == as_well.keys()
    assert {name for name in there if there[name] != as_well[name]} <= {MADE}
    if MADE in there:
        rates = [
            open_forecast(tmp_path / name / MADE)["precipitation_rate"]
            for name in ("forked", "fresh")
        ]
        assert rates[0].identical(rates[1])


def test_a_forked_process_is_ended_by_a_signal(base: Path, tmp_path: Path) -> None:
    lay_out(base, tmp_path)
    process = start(tmp_path, *PREDICT, "--watch")
    process.send_signal(signal.SIGKILL)
    assert finish(process).code == -signal.SIGKILL
    assert run(tmp_path, *PREDICT).code == 0
