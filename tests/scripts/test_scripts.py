"""What a person copies from scripts/ to run forecasts unattended is right as it stands there."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from helpers import Outcome

from nowcast.config.predict import WarningsConfig
from nowcast.places.rule import parse_rules
from nowcast.service import metrics

SCRIPTS = Path(__file__).parents[2] / "scripts" / "deploy"
SERVICES = ("nowcast.service", "nowcast-watch.service")
CALLERS = (
    "crontab.example",
    *SERVICES,
    "slurm_backfill.sh",
    "Containerfile",
    "operation/five_minutes.yaml",
)


def command_of(name: str) -> list[str]:
    """The words after `nowcast` in a file that calls it."""
    text = (SCRIPTS / name).read_text().replace("\\\n", " ")
    if name == "Containerfile":
        found = re.search(r"^CMD \[(.*)\]$", text, re.MULTILINE)
        assert found is not None
        return re.findall(r'"([^"]*)"', found[1])
    found = re.search(
        r"^(?!#).*\bnowcast (predict [^\n]*?)(?= 2>>|$)|^#   nowcast (predict [^\n]*)",
        text,
        re.MULTILINE,
    )
    assert found is not None
    words = shlex.split(found[1] or found[2])
    values = {
        "${NOWCAST_CONFIG:-/etc/nowcast}": "/etc/nowcast",
        "${day}": "2018-05-10",
        "$folder": "/archive",
        "$day": "2018-05-10",
    }
    for name, value in values.items():
        words = [word.replace(name, value) for word in words]
    return words


def crontab_line() -> str:
    lines = (SCRIPTS / "crontab.example").read_text().splitlines()
    return next(line for line in lines if line and not re.match(r"#|\w+=", line))


@pytest.mark.parametrize("name", CALLERS)
def test_the_command_of_every_script_composes_and_all_its_keys_exist(
    name: str, run: Callable[..., Outcome], tmp_path: Path
) -> None:
    words = [word.replace("/etc/nowcast", str(SCRIPTS)) for word in command_of(name)]
    assert str(SCRIPTS) in words
    assert ("--watch" in words) == (name == "nowcast-watch.service")
    once = [word for word in words if word != "--watch"]
    shown = run(*once, "--cfg", "job")
    assert shown.code == 0, shown.err
    assert "fallback:\n- model\n- lagrangian_probability\n- persistence\n- none\n" in shown.out
    # and every value is allowed: the command goes as far as to look for its checkpoint
    names = {"status": "status.json", "metrics": "nowcast.prom", "checkpoint": "best.pt"}
    elsewhere = [f"{key}={tmp_path}/{name}" for key, name in names.items()] + [
        f"output={tmp_path}/%Y%m%d.nc"
    ]
    ran = run(*once, *elsewhere)
    assert (ran.code, "no such checkpoint" in ran.err) == (66, True), ran.err


def test_the_commented_warnings_are_rules() -> None:
    text = (SCRIPTS / "operation/five_minutes.yaml").read_text()
    _, found, lines = text.partition("\n# warnings:\n")
    warnings = yaml.safe_load(re.sub("^# ", "", found + lines, flags=re.MULTILINE))["warnings"]
    assert WarningsConfig(**warnings).exit_code == 10
    assert [one.name for one in parse_rules(warnings["rules"])] == ["flood", "station"]
    shown = (SCRIPTS.parents[1] / "docs/answers.md").read_text()
    assert yaml.safe_load(shown.partition("```yaml\n")[2].partition("```")[0]) == {
        "warnings": warnings
    }


def test_alerts_are_for_metrics_that_exist() -> None:
    text = (SCRIPTS / "nowcast.rules.yml").read_text()
    rules = [one for group in yaml.safe_load(text)["groups"] for one in group["rules"]]
    names = {name for rule in rules for name in re.findall(r"\bnowcast_\w+", rule["expr"])}
    assert len(names) == 5 and names <= set(metrics._ABOUT)
    shown = (SCRIPTS.parents[1] / "docs" / "unattended.md").read_text()
    assert all(f"`{rule['alert']}`" in shown for rule in rules)


def test_settings_stand_in_one_file_only() -> None:
    for name in set(CALLERS) - {"operation/five_minutes.yaml", "slurm_backfill.sh"}:
        assert not [
            word for word in command_of(name) if "=" in word and word != "+operation=five_minutes"
        ]


def test_the_array_takes_its_day_from_its_number_and_forecasts_from_every_frame_of_it(
    tmp_path: Path,
) -> None:
    fake = tmp_path / "nowcast"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "SLURM_ARRAY_TASK_ID": "19",
        "NOWCAST_CONFIG": "/mine",
    }
    command = ["sh", str(SCRIPTS / "slurm_backfill.sh"), "2018-05-13", "/archive"]
    words = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert words[:4] == ["predict", "--config-dir", "/mine", "+operation=five_minutes"]
    assert {
        "from=2018-06-01T00:00",
        "to=2018-06-01T23:59",
        "output=/archive/2018-06-01/%Y%m%dT%H%MZ.nc",
    } < set(words)
    del environment["SLURM_ARRAY_TASK_ID"]
    assert subprocess.run(command, env=environment, capture_output=True).returncode != 0


@pytest.mark.parametrize(("code", "requeued"), [(138, True), (0, False), (78, False)])
def test_a_training_under_slurm_is_queued_again_only_after_it_saved_at_the_end_of_its_time(
    code: int, requeued: bool, tmp_path: Path
) -> None:
    for name in ("srun", "scontrol"):
        fake = tmp_path / name
        ends = code if name == "srun" else 0
        fake.write_text(f'#!/bin/sh\necho {name} "$@"\nexit {ends}\n')
        fake.chmod(0o755)
    ran = subprocess.run(
        ["sh", str(SCRIPTS / "slurm_train.sh"), "output=/scratch/mine", "seed=1"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "7"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == code
    assert ran.stdout.splitlines() == [
        "srun --kill-on-bad-exit=1 nowcast train resume=auto output=/scratch/mine seed=1",
        *(["scontrol requeue 7"] if requeued else []),
    ]


@pytest.mark.parametrize("name", ["prepare", "evaluate"])
def test_a_task_of_an_array_takes_its_day_from_its_number_and_settings_as_they_are(
    name: str, tmp_path: Path
) -> None:
    fake = tmp_path / "nowcast"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_ARRAY_TASK_ID": "19"}
    more = ["data.path=two words", "stride=3"]
    command = ["sh", str(SCRIPTS / "slurm_days.sh"), name, "2018-05-13", "/archive", *more]
    words = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert words[:3] == [name, "period=[2018-06-01,2018-06-01]", "output=/archive/2018-06-01"]
    assert words[-2:] == more
    del environment["SLURM_ARRAY_TASK_ID"]
    assert subprocess.run(command, env=environment, capture_output=True).returncode != 0


@pytest.mark.parametrize(
    ("code", "mail"), [(0, ""), (75, ""), (66, "exit code 66"), (70, "exit code 70")]
)
def test_cron_mails_every_failure_but_one_that_the_next_cycle_mends(
    code: int, mail: str, tmp_path: Path
) -> None:
    fake = tmp_path / "nowcast"
    fake.write_text(f"#!/bin/sh\necho '{{}}' >&2\nexit {code}\n")
    fake.chmod(0o755)
    command = crontab_line().split(maxsplit=5)[5]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "LOG": str(tmp_path / "log")}
    ran = subprocess.run(
        ["/bin/sh", "-c", command], env=environment, capture_output=True, text=True
    )
    assert mail in ran.stdout and bool(ran.stdout) == bool(mail)
    assert ran.stderr == "" and (tmp_path / "log").read_text() == "{}\n"


def test_cron_calls_a_minute_after_every_fifth_and_its_line_has_no_percent_sign() -> None:
    minutes, *others = crontab_line().split(maxsplit=5)
    command = others.pop()
    first, last, step = (
        int(number) for number in re.fullmatch(r"(\d+)-(\d+)/(\d+)", minutes).groups()
    )  # type: ignore[union-attr]
    assert list(range(first, last + 1, step)) == [1, 6, 11, 16, 21, 26, 31, 36, 41, 46, 51, 56]
    assert others == ["*"] * 4
    assert "%" not in command  # at which cron would cut it off


def hardening(name: str) -> list[str]:
    """What a unit says of its user and its walls."""
    return (
        (SCRIPTS / name)
        .read_text()
        .partition("User=nowcast\n")[2]
        .partition("\n[Install]")[0]
        .strip()
        .splitlines()
    )


def test_both_services_run_behind_the_same_walls() -> None:
    assert hardening("nowcast.service") == hardening("nowcast-watch.service")
    assert {"ProtectSystem=strict", "NoNewPrivileges=yes", "PrivateTmp=yes"} < set(
        hardening("nowcast.service")
    )


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_understands_the_units_and_calls_a_minute_after_every_fifth(tmp_path: Path) -> None:
    units = [*SERVICES, "nowcast.timer"]
    for name in units:
        text = (SCRIPTS / name).read_text()
        (tmp_path / name).write_text(
            text.replace("/opt/nowcast/bin/nowcast", f"{sys.executable} -m nowcast")
        )
    verify = ["systemd-analyze", "verify", *(str(tmp_path / name) for name in units)]
    ran = subprocess.run(verify, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    schedule = re.search(
        r"^OnCalendar=(.*)$", (SCRIPTS / "nowcast.timer").read_text(), re.MULTILINE
    )
    assert schedule is not None
    shown = subprocess.run(
        ["systemd-analyze", "calendar", schedule[1]], capture_output=True, text=True, check=True
    )
    assert "Normalized form: *-*-* *:01/5:00" in shown.stdout


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
def test_shellcheck_finds_nothing(tmp_path: Path) -> None:
    line = tmp_path / "line.sh"
    line.write_text(f"#!/bin/sh\nLOG=log\n{crontab_line().split(maxsplit=5)[5]}\n")
    ran = subprocess.run(
        ["shellcheck", *map(str, SCRIPTS.glob("*.sh")), str(line)], capture_output=True, text=True
    )
    assert ran.stdout == ""


def test_the_container_copies_what_the_package_is_built_of_and_runs_as_nobody_special() -> None:
    text = (SCRIPTS / "Containerfile").read_text()
    copied = {
        word
        for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)
        for word in line.split()[:-1]
    }
    assert copied == {
        "pyproject.toml",
        "constraints.txt",
        "README.md",
        "LICENSE",
        "requirements",
        "configs",
        "nowcast",
    }
    assert all((SCRIPTS.parents[1] / name).exists() for name in copied)
    assert "\nUSER nowcast\n" in text and '\nENTRYPOINT ["nowcast"]\n' in text


FAKE_DEMO = """#!/bin/sh
echo "nowcast $*"
case "$1 $2" in
"fetch radolan") exit $FETCHED ;;
evaluate*) mkdir -p "${5#output=}" && cp "$SCORES" "${5#output=}/scores.csv" ;;
esac
"""


@pytest.mark.parametrize(("fetched", "out"), [(0, "runs/demo"), (75, "runs/demo-synthetic")])
def test_the_demo_keeps_to_one_path_forecasts_rain_and_says_how_to_call_nowcast(
    fetched: int, out: str, tmp_path: Path
) -> None:
    fake, scores = tmp_path / "nowcast", tmp_path / "scores.csv"
    fake.write_text(FAKE_DEMO)
    fake.chmod(0o755)
    rows = [
        f"all,{name},,{threshold},mean,{csi}"
        for threshold in (0.5, 10)
        for name, csi in (("model", "0.4"), ("extrapolation", 0.3 if threshold == 0.5 else 0.5))
    ]
    scores.write_text("\n".join(["part,forecast,lead_minutes,threshold,aggregate,csi", *rows, ""]))
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "FETCHED": str(fetched),
        "SCORES": str(scores),
    }
    command = ["sh", str(SCRIPTS.parent / "demo.sh")]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    called = [
        line
        for line in ran.stdout.splitlines()
        if line.startswith("nowcast ") and "fetch" not in line
    ]
    assert [line.split()[1] for line in called] == [
        "predict", "plot", "evaluate", "train", "predict", "predict", "plot", "evaluate",
    ]  # fmt: skip
    assert all(f"{out}/" in line or line.endswith(f"output={out}") for line in called)
    assert all(" at=2018-05-20T01:15 " in called[k] for k in (0, 4, 5))
    assert "checkpoint=" not in called[0] and f"output={out}/first.png" in called[1]
    assert f"output={out}/forecast.png" in called[6]
    assert "CSI at 0.5 mm/h over 5-60 minutes: the model beats extrapolation\n" in ran.stdout
    assert "CSI at 10 mm/h over 5-60 minutes: the model DOES NOT beat ext" in ran.stdout
    assert (
        f". .venv/bin/activate     and then, for example:   nowcast inspect {out}/best.pt\n"
        in ran.stdout
    )
