"""What is said of a cycle: lines of text or JSON, the status file, metrics; and that none of it
costs a forecast.
"""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from nowcast import __version__
from nowcast.config.predict import PredictConfig
from nowcast.errors import (
    CannotCreateError,
    Interrupted,
    MissingInputError,
    NowcastError,
    TryLaterError,
)
from nowcast.explain import report as print_failure
from nowcast.service.log_lines import log_lines
from nowcast.service.report import ALREADY_THERE, FALLBACK, FORECAST, Report, open_journal

log = logging.getLogger(__name__)
NOON = np.datetime64("2024-11-21T12:05", "ns")


@pytest.fixture(autouse=True)
def as_hydra_has_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def config(**given: Any) -> PredictConfig:
    """What a journal reads of a configuration."""
    keys = {
        "log_format": "text",
        "log_file": None,
        "status": None,
        "metrics": None,
        "period": None,
        "watch": False,
        "page": None,
        "warnings": SimpleNamespace(file=None),
    }
    return cast(PredictConfig, SimpleNamespace(**{**keys, **given}))


def made(outcome: str = FORECAST, **given: Any) -> Report:
    """The report of a cycle that went well."""
    seconds = {"find": 0.1, "model": 1.9, "forecast": 0.6, "check": 0.0, "write": 0.1}
    known = {
        "method": "model",
        "age": 63.4,
        "wet_share": 0.123,
        "input_wet_share": 0.1,
        "seconds": seconds,
        **given,
    }
    return Report(
        outcome, NOON, Path("forecasts/20241121T1205Z.nc"), started=time.monotonic() - 2.72, **known
    )


def failed(error: Exception | None = None) -> Report:
    report = Report(
        reference_time=NOON, path=Path("forecasts/20241121T1205Z.nc"), seconds={"find": 0.1}
    )
    report.fail(error or MissingInputError("radar: no frame at 12:00."))
    return report


def lose(folder: Path) -> None:
    """The folder is taken away, and a file put in its place."""
    assert not folder.exists() or not any(folder.iterdir())
    shutil.rmtree(folder, ignore_errors=True)
    folder.touch()


def written(captured: str) -> list[Any]:
    """Objects, one a line. Errors: ValueError where a line is anything else, as NaN is."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    return [json.loads(line, parse_constant=refuse) for line in captured.splitlines()]


def samples(path: Path) -> dict[str, float]:
    """The samples of a metrics file, each under a help and a type, as the format's grammar
    wants them.
    """
    text = path.read_text()
    assert text.endswith("\n")
    about: dict[str, str] = {}
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split()[2]
            assert name not in about, "help stands once"
            about[name] = "help"
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert (
                about.get(name) == "help"
                and kind in ("gauge", "counter")
                and (kind == "counter") == name.endswith("_total")
            )
            about[name] = "type"
        else:
            sample = re.fullmatch(
                r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-zA-Z_]\w*="[^"\\\n]*"\})?'
                r" (-?\d+\.\d+(?:e[+-]?\d+)?|NaN)",
                line,
            )
            assert sample, line
            assert list(about)[-1] == sample[1] and about[sample[1]] == "type", (
                "samples follow the type of their name"
            )
            assert sample[1] + (sample[2] or "") not in found
            found[sample[1] + (sample[2] or "")] = float(sample[3])
    return found


@pytest.mark.parametrize(
    ("report", "line"),
    [
        (
            made(),
            (
                "forecast from 2024-11-21T12:05 UTC by model: forecasts/20241121T1205Z.nc (63 s"
                " old, wet 12.3 %; find 0.1, model 1.9, forecast 0.6, check 0.0, write 0.1, in all"
                " 2.7 s)"
            ),
        ),
        (
            made(
                FALLBACK,
                method="persistence",
                reason="model: rain.nc: no frame at 11:50.",
                remarks=["2 frames filled"],
                age=None,
                seconds={},
            ),
            (
                "fallback from 2024-11-21T12:05 UTC by persistence: forecasts/20241121T1205Z.nc "
                "(wet 12.3 %; in all 2.7 s); not by the model: rain.nc: no frame at 11:50; 2 frames"
                " filled"
            ),
        ),
        (
            made(ALREADY_THERE, method=None, age=7300.0, wet_share=None, seconds={"find": 0.04}),
            (
                "already there from 2024-11-21T12:05 UTC: forecasts/20241121T1205Z.nc (2 h old;"
                " find 0.0, in all 2.7 s)"
            ),
        ),
        (
            failed(),
            (
                "failed from 2024-11-21T12:05 UTC, exit code 66: radar: no frame at 12:00. (find"
                " 0.1, in all 0.0 s)"
            ),
        ),
    ],
    ids=["forecast", "fallback", "already there", "failed"],
)
def test_a_cycle_is_one_line(report: Report, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    report.started = time.monotonic() - (0.0 if report.exit_code else 2.72)
    with open_journal(config(watch=True)) as journal:
        journal.write(report)
    said = capsys.readouterr().err
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ " + re.escape(line) + "\n", said), said


@pytest.mark.parametrize(
    ("report", "level"),
    [
        (made(), "INFO"),
        (made(frames_left_out=1), "WARNING"),
        (made(ALREADY_THERE, warnings={"flood": []}), "INFO"),
        (made(ALREADY_THERE, warnings={"flood": None}), "WARNING"),
        (made(FALLBACK, reason="a gap"), "WARNING"),
        (failed(), "ERROR"),
    ],
    ids=["forecast", "a frame left out", "dry rule", "rule without forecast", "fallback", "failed"],
)
def test_what_needs_attention_is_no_info(
    report: Report, level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_journal(config(log_format="json")) as journal:
        journal.write(report)
    (said,) = written(capsys.readouterr().err)
    assert said["level"] == level


def test_times_of_the_log_are_in_utc(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        with log_lines("text", None):
            log.handle(
                logging.makeLogRecord({"msg": "a\nb", "created": 0.0, "levelno": logging.INFO})
            )
    finally:
        monkeypatch.undo()
        time.tzset()
    assert capsys.readouterr().err == "1970-01-01T00:00:00Z a b\n"


def test_of_json_all_that_the_process_says_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    with (
        pytest.raises(TryLaterError) as raised,
        open_journal(config(log_format="json", period=["a", "b"])) as journal,
    ):
        log.warning("a file is left out:\n%s", "“bad”.h5")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("from a library", stacklevel=1)
        journal.write(made(wet_share=float("nan"), remarks=["a", "b"]))
        journal.write(failed())
        raise TryLaterError("1 of 2 forecasts failed.")
    assert print_failure(raised.value) == 75
    left_out, from_library, forecast, failure, end = written(capsys.readouterr().err)
    assert left_out["level"] == "WARNING" and left_out["message"] == "a file is left out: “bad”.h5"
    assert "from a library" in from_library["message"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", forecast.pop("time"))
    assert forecast.pop("duration_seconds") == pytest.approx(2.72, abs=0.2)
    assert forecast == {
        "level": "INFO", "outcome": "forecast", "method": "model", "reason": None, "exit_code": 0,
        "forecast_reference_time": "2024-11-21T12:05:00Z", "path": "forecasts/20241121T1205Z.nc",
        "age_seconds": 63.4, "wet_share": None, "input_wet_share": 0.1, "warnings": {}, "remarks": ["a", "b"],
        "frames_left_out": 0,
        "checkpoint_sha256": None, "nowcast_version": __version__, "seconds": {"find": 0.1,
        "model": 1.9, "forecast": 0.6, "check": 0.0, "write": 0.1},
    }  # fmt: skip
    assert (failure["level"], failure["outcome"], failure["exit_code"], failure["path"]) == (
        "ERROR",
        "failed",
        66,
        None,
    )
    assert failure["reason"] == "radar: no frame at 12:00."
    assert (end["message"], end["exit_code"]) == ("1 of 2 forecasts failed.", 75)


@pytest.mark.parametrize(
    ("given", "by_journal", "by_command"),
    [
        ({}, 0, 1),
        ({"watch": True}, 1, 0),
        ({"period": ["a", "b"]}, 1, 0),
        ({"log_format": "json"}, 1, 0),
        ({"log_file": "a.log"}, 0, 1),
    ],
    ids=str,
)
def test_a_failure_is_said_once_on_stderr(
    given: dict[str, Any], by_journal: int, by_command: int, capsys: pytest.CaptureFixture[str],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    error = MissingInputError("radar: no frame.")
    with pytest.raises(MissingInputError), open_journal(config(**given)) as journal:
        journal.write(failed(error))
        raise error
    assert capsys.readouterr().err.count("radar: no frame") == by_journal
    assert print_failure(error) == 66
    assert capsys.readouterr().err == "nowcast: radar: no frame.\n" * by_command
    if "log_file" in given:
        assert Path("a.log").read_text().count("radar: no frame") == 1


def test_a_fallback_with_its_own_exit_code_is_said_once_and_with_its_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = made(FALLBACK, method="zero", reason="no frame at 11:50.")
    error = TryLaterError("forecast by zero, not by the model: no frame at 11:50.")
    with pytest.raises(TryLaterError), open_journal(config()) as journal:
        report.fail(error)
        journal.write(report)
        raise error
    assert print_failure(error) == 75
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.endswith(
        "; not by the model: no frame at 11:50; exit code 75\n"
    )


def test_what_follows_a_published_forecast_and_fails_does_not_hide_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = made()
    report.fail(CannotCreateError("latest.nc: cannot write this file."))
    with open_journal(config()) as journal:
        journal.write(report)
    said = capsys.readouterr().err
    assert "forecast from 2024-11-21T12:05 UTC by model" in said
    assert said.endswith("; latest.nc: cannot write this file; exit code 73\n")


def test_what_follows_a_fallback_and_fails_stands_beside_its_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = made(FALLBACK, method="zero", reason="no frame at 11:50.")
    report.fail(CannotCreateError("latest.nc: cannot write this file."))
    assert report.reason == "no frame at 11:50; latest.nc: cannot write this file."
    assert report.exit_code == 73


def test_json_says_a_failure_once_even_where_the_status_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = MissingInputError("radar: no frame.")
    with (
        pytest.raises(MissingInputError),
        open_journal(config(log_format="json", status=str(tmp_path / "gone/s.json"))) as journal,
    ):
        lose(tmp_path / "gone")
        journal.write(failed(error))
        raise error
    assert print_failure(error) == 66
    failure, unwritten = written(capsys.readouterr().err)
    assert failure["reason"] == "radar: no frame." and "cannot create" in unwritten["message"]


def test_a_signal_is_json_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with (
        pytest.raises(Interrupted),
        open_journal(config(log_format="json", status=str(tmp_path / "s.json"))),
    ):
        raise Interrupted(15)
    (said,) = written(capsys.readouterr().err)
    # asked for, so no error
    assert (said["message"], said["exit_code"], said["level"]) == ("stopped.", 143, "INFO")
    assert not (tmp_path / "s.json").exists(), "no cycle failed"


def test_a_log_file_has_what_no_cycle_says_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.log"
    for error in (
        Interrupted(15),
        TryLaterError("forecasts: another process is writing to this folder."),
        MissingInputError("best.pt: gone."),
    ):
        path.unlink(missing_ok=True)
        with (
            pytest.raises(type(error)),
            open_journal(config(log_file=str(path), log_format="json")),
        ):
            raise error
        (said,) = written(path.read_text())
        assert said["exit_code"] in (143, 75, 66)
        assert said.get("message", said.get("reason")) == (
            "stopped." if said["exit_code"] == 143 else str(error)
        )
    assert capsys.readouterr().err == "", "it is left to the command line"


def test_a_log_file_is_appended_to_and_may_be_rotated(tmp_path: Path) -> None:
    path = tmp_path / "logs/nowcast.log"
    for text in ("first", "second"):
        with log_lines("text", str(path)):
            log.info(text)
    with log_lines("text", str(path)):
        path.rename(tmp_path / "logs/nowcast.log.1")
        log.info("third")
    assert [
        line.split()[1] for line in (tmp_path / "logs/nowcast.log.1").read_text().splitlines()
    ] == ["first", "second"]
    assert path.read_text().endswith("Z third\n") and path.read_text().count("\n") == 1


def test_lines_of_two_processes_do_not_mix(tmp_path: Path) -> None:
    code = (
        "import logging, sys\nfrom nowcast.service.log_lines import log_lines\nwith"
        " log_lines('json', sys.argv[1]):\n    [logging.warning(sys.argv[2] * 20000) for _ in"
        " range(200)]"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "a.log"), letter])
        for letter in "ab"
    ]
    assert [one.wait() for one in both] == [0, 0]
    messages = [one["message"] for one in written((tmp_path / "a.log").read_text())]
    assert sorted(messages) == ["a" * 20000] * 200 + ["b" * 20000] * 200


def test_logging_is_as_it_was_afterwards(tmp_path: Path) -> None:
    before = logging.root.handlers[:], warnings.showwarning
    with open_journal(config(log_file=str(tmp_path / "a.log"))):
        assert logging.root.handlers != before[0]
    assert (logging.root.handlers, warnings.showwarning) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a Linux device")
def test_a_log_on_a_full_disk_is_complained_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    with open_journal(config(log_file="/dev/full", log_format="json")) as journal:
        journal.write(made())
        journal.write(made())
    assert re.fullmatch(
        r"nowcast: /dev/full: cannot be written \(No space left on device\)\.\n",
        capsys.readouterr().err,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a Linux device")
def test_a_stderr_that_takes_nothing_costs_no_forecast_and_no_exit_code(
    radar_file: Path, tmp_path: Path
) -> None:
    words = [
        "model=persistence",
        "input_steps=3",
        "lead_steps=4",
        "data=radar",
        f"data.path={radar_file}",
        "output=made.nc",
    ]
    for redirected, code in ((">&- 2>/dev/full", 0), ("2>/dev/full", 66)):
        (tmp_path / "made.nc").unlink(missing_ok=True)
        line = (
            f'{sys.executable} -m nowcast predict "$@" {"data.path=none.nc" if code else ""}'
            f" {redirected}"
        )
        done = subprocess.run(
            ["bash", "-c", line, "-", *words], cwd=tmp_path, env=os.environ, check=False
        )
        assert done.returncode == code, redirected
        assert (tmp_path / "made.nc").exists() == (code == 0)


def test_the_status_outlives_the_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "status.json"
    reports = [
        made(),
        made(FALLBACK, method="persistence", reason="a gap"),
        failed(),
        failed(),
        made(ALREADY_THERE),
        failed(),
    ]
    in_a_row = []
    for report in reports:
        with open_journal(config(status=str(path), watch=True)) as journal:
            journal.write(report)
        in_a_row.append(
            written(json.dumps(json.loads(path.read_text())))[0]["consecutive_failures"]
        )
    assert in_a_row == [0, 0, 1, 2, 0, 1]
    status = json.loads(path.read_text())
    assert status["counters"].pop("since").endswith("Z")
    assert status["counters"] == {"forecasts": 1, "fallbacks": 1, "already_there": 1, "failures": 3}
    assert status["last_success"].pop("at").endswith("Z")
    assert status["last_success"] == {
        "forecast_reference_time": "2024-11-21T12:05:00Z",
        "path": "forecasts/20241121T1205Z.nc",
        "method": "persistence",
    }
    assert (status["last_cycle"]["outcome"], status["last_cycle"]["exit_code"]) == ("failed", 66)
    assert [one.name for one in tmp_path.iterdir()] == ["status.json"]


def test_counters_outlive_the_process_whatever_labels_stand_beside_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "nowcast.prom"
    for _ in range(3):
        with open_journal(config(metrics=str(path))) as journal:
            journal.write(made(checkpoint="0123456789abcdef" * 4))
    assert samples(path)['nowcast_cycles_total{outcome="forecast"}'] == 3.0
    assert "cannot be parsed" not in caplog.text


def test_status_and_metrics_show_one_chain_and_an_older_forecast_is_not_its_newest(
    tmp_path: Path,
) -> None:
    status, metrics = tmp_path / "status.json", tmp_path / "nowcast.prom"
    older = made(method="older")
    older.reference_time = NOON - np.timedelta64(1, "h")
    shown = []
    for report in (failed(), made(FALLBACK, method="zero"), older, failed()):
        with open_journal(config(status=str(status), metrics=str(metrics), watch=True)) as journal:
            journal.write(report)
        shown.append((json.loads(status.read_text()), samples(metrics)))
    for said, found in shown:
        assert [said["counters"][name] for name in ("forecasts", "fallbacks", "failures")] == [
            found[f'nowcast_cycles_total{{outcome="{name}"}}']
            for name in ("forecast", "fallback", "failed")
        ]
    assert [said["last_success"] and said["last_success"]["method"] for said, _ in shown] == [
        None, "zero", "zero", "zero",
    ]  # fmt: skip
    labels = [[name for name in found if "forecast_info" in name] for _, found in shown]
    zero = ['nowcast_forecast_info{method="zero"}']
    assert labels == [[], zero, zero, zero]
    for name in ("last_success", "forecast_reference"):
        times = [found[f"nowcast_{name}_timestamp_seconds"] for _, found in shown]
        assert times[0] == 0.0 < times[1] == times[2] == times[3], "0 before the first"


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\xff\x00",
        b"[]",
        b"null",
        b'{"counters": 3}',
        b"<html>",
        b'{"last_success": 7, "counters": {}}',
        b'{"last_success": 7, "consecutive_failures": 0, "counters": {"since": "2024-11-21T12:06:03Z",'
        b' "forecasts": 1, "fallbacks": 0, "already_there": 0, "failures": 0}}',
        b"[" * 100_000,
    ],
    ids=lambda damaged: str(damaged[:12]),
)
def test_a_damaged_status_or_metrics_file_is_begun_anew(
    damaged: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, metrics = tmp_path / "status.json", tmp_path / "nowcast.prom"
    for path in (status, metrics):
        path.write_bytes(damaged)
    with open_journal(config(status=str(status), metrics=str(metrics))) as journal:
        journal.write(made())
    assert f"{status}: cannot be parsed" in capsys.readouterr().err
    assert json.loads(status.read_text())["counters"]["forecasts"] == 1
    assert samples(metrics)['nowcast_cycles_total{outcome="forecast"}'] == 1


def test_what_cannot_be_written_is_an_error_only_once_all_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {
        "status": str(tmp_path / "gone/status.json"),
        "metrics": str(tmp_path / "nowcast.prom"),
        "period": ["a", "b"],
    }
    with pytest.raises(NowcastError) as raised, open_journal(config(**given)) as journal:
        lose(tmp_path / "gone")
        journal.write(made())
        journal.write(made())
    assert print_failure(raised.value) == 73
    assert samples(tmp_path / "nowcast.prom")['nowcast_cycles_total{outcome="forecast"}'] == 2
    lines = capsys.readouterr().err.splitlines()
    assert [f" status: {tmp_path}/gone: cannot create" in line for line in lines] == [
        False,
        True,
        False,
        True,
    ]


@pytest.mark.parametrize("key", ["log_file", "status", "metrics"])
@pytest.mark.parametrize("place", ["file/one", "folder"])
def test_what_cannot_be_written_is_refused_at_the_start_by_its_key(
    key: str, place: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    given = {"status": str(tmp_path / "status.json"), key: str(tmp_path / place)}
    with (
        pytest.raises(CannotCreateError, match=f"^{key}: {tmp_path}/f"),
        open_journal(config(**given)),
    ):
        raise AssertionError("the work began")
    if key == "metrics":
        assert json.loads((tmp_path / "status.json").read_text())["last_cycle"][
            "reason"
        ].startswith("metrics: ")
    assert {path.name for path in tmp_path.iterdir()} <= {"file", "folder", "status.json"}


def test_a_device_is_no_status_file() -> None:
    with (
        pytest.raises(CannotCreateError, match="^status: /dev/zero: .* not a regular file"),
        open_journal(config(status="/dev/zero", metrics="/dev/zero")),
    ):
        raise AssertionError("the work began")


def test_what_fails_before_any_cycle_stands_in_the_status_but_not_another_process(
    tmp_path: Path,
) -> None:
    path = tmp_path / "status.json"
    with pytest.raises(TryLaterError), open_journal(config(status=str(path))):
        raise TryLaterError("forecasts: another process is writing to this folder.")
    assert not path.exists()
    with pytest.raises(MissingInputError), open_journal(config(status=str(path))):
        raise MissingInputError("best.pt: no such checkpoint.")
    status = json.loads(path.read_text())
    assert (
        status["last_cycle"]["reason"] == "best.pt: no such checkpoint."
        and status["consecutive_failures"] == 1
    )


def test_metrics_are_what_prometheus_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, began = tmp_path / "nowcast.prom", time.time()
    before = os.umask(0o077)
    try:
        with open_journal(config(metrics=str(path))) as journal:
            journal.write(
                made(
                    FALLBACK,
                    method="persistence",
                    reason="a gap",
                    wet_share=float("nan"),
                    checkpoint="ab" * 32,
                )
            )
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644, "the exporter is another user"
    found = samples(path)
    assert began - 1 <= found.pop("nowcast_last_success_timestamp_seconds") <= time.time() + 1
    assert began - 1 <= found.pop("nowcast_last_cycle_timestamp_seconds") <= time.time() + 1
    assert found.pop("nowcast_cycle_duration_seconds") == pytest.approx(2.72, abs=0.2)
    assert np.isnan(found.pop("nowcast_wet_share"))
    parts = {"find": 0.1, "model": 1.9, "forecast": 0.6, "check": 0.0, "write": 0.1}
    cycles = {"forecast": 0, "fallback": 1, "already_there": 0, "failed": 0}
    assert found == {
        "nowcast_forecast_reference_timestamp_seconds": NOON.astype("datetime64[s]").astype(int),
        "nowcast_fallback": 1,
        'nowcast_forecast_info{method="persistence"}': 1,
        'nowcast_checkpoint_info{sha256="abababababab"}': 1,
        f'nowcast_build_info{{version="{__version__}"}}': 1,
        "nowcast_input_wet_share": 0.1,
        "nowcast_last_exit_code": 0,
        "nowcast_frames_left_out": 0,
        "nowcast_forecast_age_seconds": 63.4,
        **{
            f'nowcast_cycle_part_duration_seconds{{part="{part}"}}': seconds
            for part, seconds in parts.items()
        },
        **{
            f'nowcast_cycles_total{{outcome="{outcome}"}}': count
            for outcome, count in cycles.items()
        },
    }


def test_metrics_of_a_failure_keep_the_last_success_and_count_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "nowcast.prom"
    found = []
    for report in (
        made(),
        failed(),
        made(ALREADY_THERE),
        made(FALLBACK, method="zero", reason="a gap"),
    ):
        with open_journal(config(metrics=str(path), watch=True)) as journal:
            journal.write(report)
        found.append(samples(path))
    success, failure, there, fallback = found
    for name in (
        "nowcast_last_success_timestamp_seconds",
        'nowcast_forecast_info{method="model"}',
        "nowcast_wet_share",
    ):
        assert success[name] == failure[name] == there[name]
    assert [one["nowcast_last_exit_code"] for one in found] == [0, 66, 0, 0]
    assert 'nowcast_cycle_part_duration_seconds{part="model"}' not in failure, (
        "it did not come so far"
    )
    assert 'nowcast_forecast_info{method="model"}' not in fallback
    assert [
        fallback[f'nowcast_cycles_total{{outcome="{name}"}}']
        for name in ("forecast", "fallback", "already_there", "failed")
    ] == [1] * 4
