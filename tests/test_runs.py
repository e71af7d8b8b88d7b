"""Folders of training runs: their state, their place among others, and what tells them apart."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_folders import make_run

from nowcast.errors import DataError
from nowcast.files import only_writer
from nowcast.runs import (
    Run,
    differing,
    find_runs,
    finished_score,
    forget_failure,
    key_of,
    rank,
    read_run,
    record_failure,
    rounded,
)


def test_runs_are_ranked_by_score_then_by_loss_and_undefined_scores_are_not_better_than_0() -> None:
    def run(name: str, **values: Any) -> Run:
        return Run(Path(name), "finished", **{"best_epoch": 1, **values})

    runs = [
        run("failed", best_epoch=None),
        run("undefined", score=None, loss=3.0),
        run("zero", score=0.0, loss=2.0),
        run("skill", score=0.4, loss=5.0),
        run("same skill, less loss", score=0.4, loss=4.0),
        run("more loss", monitor="loss", score=0.2, loss=0.2),
        run("loss", monitor="loss", score=0.1, loss=0.1),
    ]
    assert [one.folder.name for one in sorted(runs, key=rank)] == [
        "same skill, less loss", "skill", "zero", "undefined", "loss", "more loss", "failed",
    ]  # fmt: skip


def test_the_key_of_settings_changes_with_what_makes_another_result_only() -> None:
    settings = {
        "optimizer": {"lr": 1e-3}, "training": {"epochs": 5, "workers": 0}, "seed": 0,
        "data": {"path": "a.nc", "cache": "b", "cache_gb": 8}, "resume": "auto", "device": "auto",
    }  # fmt: skip
    same = {
        **settings, "resume": "never", "device": "cuda", "output": "elsewhere",
        "data": {"path": "a.nc", "cache": "c"}, "training": {"epochs": 5, "workers": 4},
        "key_of_a_later_version": {"is_off": False, "noise": None, "fields": {}},
    }  # fmt: skip
    assert key_of(settings) == key_of(same) == key_of(dict(reversed(same.items())))
    assert len(key_of(settings)) == 8
    others = [
        {**settings, "optimizer": {"lr": 2e-3}},
        {**settings, "seed": 1},
        {**settings, "training": {"epochs": 6}},
        {**settings, "data": {"path": "b.nc"}},
        {**settings, "key_of_a_later_version": {"noise": 0.1}},
    ]
    assert len({key_of(one) for one in (settings, *others)}) == 6


def test_a_run_is_running_while_its_folder_is_locked_and_else_what_its_files_say(
    tmp_path: Path,
) -> None:
    folder = make_run(tmp_path / "run", csi=[0.1, 0.3, 0.2])
    unfinished = read_run(folder)
    assert (unfinished.state, unfinished.score, unfinished.best_epoch) == ("unfinished", 0.3, 2)
    assert (unfinished.epochs, unfinished.planned, unfinished.seconds) == (3, 5, 6.0)
    with only_writer(folder):
        assert read_run(folder).state == "running"
    (folder / ".lock").touch()  # as a killed process leaves it
    assert read_run(folder).state == "unfinished"
    record_failure(folder, "no rain")
    assert (read_run(folder).state, read_run(folder).failure) == ("failed", "no rain")
    assert finished_score(folder) is None
    forget_failure(folder)
    make_run(folder, csi=[0.1, 0.3, 0.2], finished=True)
    assert read_run(folder).state == "finished"
    assert finished_score(folder) == ("csi", 0.3)


def test_a_setting_of_the_command_line_stands_for_all_that_it_sets(tmp_path: Path) -> None:
    for name, model, channels, lr in (("a", "small", [4, 4], 1e-3), ("b", "large", [8], 2e-3)):
        settings = {"model": {"name": model, "channels": channels}, "seed": 0, "output": name}
        make_run(tmp_path / name, ["model=" + model, f"optimizer.lr={lr}"], settings, lr=lr)
    make_run(tmp_path / "c", ["model=small"], {"model": {"name": "small"}, "seed": 1}, lr=3e-3)
    runs = sorted(find_runs(tmp_path), key=lambda run: run.folder)
    assert differing(runs) == {
        "model": ["small", "large", "small"],
        "optimizer.lr": ["0.001", "0.002", "0.003"],
        "seed": ["0", "0", "1"],
    }


@pytest.mark.parametrize(
    ("value", "shown"),
    [("0.0026938830192854116", "0.002694"), ("0.001", "0.001"), ("data/long/name.nc",) * 2],
)
def test_long_numbers_are_rounded_in_tables(value: str, shown: str) -> None:
    assert rounded(value) == shown


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".hydra/config.yaml", "a: &a [1, 2]\nb: [*a, *a]\n"),
        (".hydra/config.yaml", "a: [1"),
        (".hydra/config.yaml", "a: !!python/name:os.mkdir"),
        (".hydra/overrides.yaml", "a: 1"),
        ("metrics.jsonl", "[1]\n"),
        ("metrics.jsonl", '{"epoch": 1\n'),
        ("metrics.jsonl", '{"epoch": "x"}\n'),
        ("metrics.jsonl", '{"epoch": 1, "validation_csi": "x"}\n'),
        ("metrics.jsonl", '{"epoch": 1, "validation_csi": [1]}\n'),
        ("metrics.jsonl", '{"epoch": 1, "seconds": 1' + "0" * 400 + "}\n"),
        ("metrics.jsonl", "[" * 100_000 + "\n"),
        (".hydra/config.yaml", "a: 2020-99-99"),
        (".hydra/config.yaml", "training: {monitor: [csi]}"),
    ],
)
def test_a_record_that_is_none_is_named(tmp_path: Path, name: str, content: str) -> None:
    folder = make_run(tmp_path / "run", csi=[0.1])
    (folder / name).write_text(content)
    with pytest.raises(DataError, match=f"{name}: damaged"):
        read_run(folder)


def test_an_undefined_number_is_none_and_ranks_last(tmp_path: Path) -> None:
    make_run(tmp_path / "good", csi=[0.1])
    for name, row in (
        ("nan", '{"epoch": 1, "validation_csi": NaN, "validation_loss": NaN}'),
        ("infinite", '{"epoch": 1, "validation_csi": Infinity, "seconds": Infinity}'),
    ):
        (make_run(tmp_path / name) / "metrics.jsonl").write_text(f"{row}\n")
    best, *others = find_runs(tmp_path)
    assert (best.folder.name, best.score) == ("good", 0.1)
    assert [(one.score, one.best_epoch, one.seconds) for one in others] == [(None, 1, 0.0)] * 2


@pytest.mark.parametrize("rest", ['{"epoch": 2, "valid', "\0\0\0\0", '{"epoch": "x"}'])
def test_half_a_last_line_is_no_epoch(tmp_path: Path, rest: str) -> None:
    folder = make_run(tmp_path / "run", csi=[0.3])
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(rest)
    assert (read_run(folder).epochs, read_run(folder).score) == (1, 0.3)


def test_a_whole_last_line_without_its_newline_is_an_epoch(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", csi=[0.3, 0.4])
    path = folder / "metrics.jsonl"
    path.write_text(path.read_text().rstrip())
    assert read_run(folder).score == 0.4


@pytest.mark.parametrize("name", ["metrics.jsonl", ".hydra/overrides.yaml", ".hydra/config.yaml"])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_a_run_that_cannot_be_read_is_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, make: Callable[[Path], None]
) -> None:
    make_run(tmp_path / "good", csi=[0.1])
    folder = make_run(tmp_path / "damaged", csi=[0.3])
    (folder / name).unlink()
    make(folder / name)
    assert [one.folder.name for one in find_runs(tmp_path)] == ["good"]
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"skipped: {folder / name}: ") and "remove" not in said
    with pytest.raises(DataError, match=name):
        find_runs(folder)


@pytest.mark.parametrize("score", ['"x"', "[1]", "true"])
def test_a_damaged_score_of_a_finished_run_is_named(tmp_path: Path, score: str) -> None:
    folder = make_run(tmp_path / "run", csi=[0.1], finished=True)
    (folder / "summary.json").write_text(f'{{"score": {score}}}')
    with pytest.raises(DataError, match=r"summary\.json: damaged"):
        finished_score(folder)


def test_a_run_that_has_only_begun_has_no_score(tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path / "run"))
    assert (run.state, run.score, run.best_epoch, run.epochs) == ("unfinished", None, None, 0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"data": {"missing_value": None}}, {"data": {"missing_value": 0}}),
        ({"data": {"cache": None}}, {"data": {"cache": "a"}}),
    ],
)
def test_null_is_not_zero_and_frames_that_are_not_unpacked_are_others(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert key_of(one) != key_of(other)
    assert key_of({"data": {"cache": "a"}}) == key_of({"data": {"cache": "b"}})
