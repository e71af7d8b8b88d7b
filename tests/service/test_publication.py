"""What is in the output folder is whole, is what it says it is, and is what is to be kept."""

import logging
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nowcast.cli.schemas import register_schemas
from nowcast.config.effects import configs_folder
from nowcast.config.predict import PredictConfig
from nowcast.errors import CannotCreateError, ConfigError, InputOutputError
from nowcast.forecast.dataset import build_forecast, open_forecast, write_forecast
from nowcast.radar.finding.time_patterns import follow
from nowcast.radar.synthetic import synthetic_grid
from nowcast.service import publication
from nowcast.service.publication import (
    CODES,
    forecast_path,
    output_folder,
    publish,
    published,
    tidy_up,
)

NOON = np.datetime64("2024-06-02T12:00", "ns")
NOW = np.datetime64("2026-01-01", "ns")
MINUTE, HOUR, DAY = (np.timedelta64(1, unit) for unit in "mhD")
FLAT, DAILY = "out/%Y%m%dT%H%MZ.nc", "out/%Y/%m%d/%H%M.nc"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in; its disk is not waited for, which takes most of the time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    return tmp_path


@cache
def rain() -> xr.Dataset:
    return synthetic_grid(2, 8, 9)


def forecast(time: np.datetime64, **attrs: str) -> xr.Dataset:
    return build_forecast(
        rain()["precipitation_rate"].values, rain(), time, np.timedelta64(300, "s"), attrs
    )


@cache
def settings(*words: str) -> PredictConfig:
    register_schemas()
    with initialize_config_dir(str(configs_folder()), version_base="1.3"):
        config = OmegaConf.to_object(
            compose("predict", ["checkpoint=a.pt", "data.path=x.nc", *words])
        )
    assert isinstance(config, PredictConfig)
    return config


def cycle(config: PredictConfig, time: np.datetime64, **attrs: str) -> Path:
    """What a cycle from this time does at its end."""
    path = forecast_path(config.output, time)
    write_forecast(forecast(time, **attrs), path)
    tidy_up(config, time, NOW)
    return path


def files(folder: str = "out") -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*"))


def shown(folder: str = "out") -> np.datetime64:
    time: np.datetime64 = open_forecast(f"{folder}/latest.nc")["forecast_reference_time"].values[()]
    return time


def test_a_path_takes_codes_of_its_time_and_no_others() -> None:
    time = np.datetime64("2024-03-05T07:09:01", "ns")
    assert forecast_path("a/%Y/%m/%d/%H%M%S.nc", time) == Path("a/2024/03/05/070901.nc")
    assert forecast_path("%y%j.nc", time) == Path("24065.nc")
    assert forecast_path("50%% ü/a.nc", time) == Path("50% ü/a.nc")
    assert forecast_path("~/a.nc", time) == Path.home() / "a.nc"
    for code in ("%b", "%p", "%c", "%s", "%F", "%Q", "%-d", "%"):
        with pytest.raises(ConfigError, match=r"^output: '%.?' is not a time code; use %Y"):
            forecast_path(f"{code}", time)


def test_a_name_is_read_again_by_the_codes_that_wrote_it() -> None:
    for code in CODES:
        list(follow(Path(f"out/%{code}.nc")))
    path = forecast_path(DAILY, NOON)
    path.parent.mkdir(parents=True)
    path.touch()
    [(span, found)] = follow(Path(DAILY))
    assert found == path and np.datetime64(span.start) == NOON


@pytest.mark.parametrize(
    ("output", "folder"),
    [
        ("a.nc", "."),
        ("out/a.nc", "out"),
        (FLAT, "out"),
        (DAILY, "out"),
        ("%Y/out/%m.nc", "."),
        ("50%%/%Y/a.nc", "50%"),
    ],
)
def test_the_folder_of_all_forecasts_is_above_the_first_named_by_a_time(
    output: str, folder: str
) -> None:
    assert output_folder(output) == Path(folder)


def test_done_already_is_the_same_time_by_the_same_recipe(caplog: pytest.LogCaptureFixture) -> None:
    path, recipe = Path("out/a.nc"), {"config": "{}", "checkpoint_sha256": "0"}
    assert not published(path, NOON, recipe)
    write_forecast(forecast(NOON, **recipe), path)
    assert published(path, NOON, recipe) and published(path, NOON, {})
    assert not published(path, NOON + MINUTE, recipe)
    assert not published(path, NOON, {**recipe, "config": '{"seed": 1}'})
    assert not published(path, NOON, {**recipe, "more": "1"})
    assert caplog.text == ""


def test_no_pixel_is_read_to_see_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen, genuine = Path("out/a.nc"), list[xr.Dataset](), publication.open_own_forecast
    write_forecast(forecast(NOON, made="here"), path)

    def spied(*given: Any, **how: Any) -> xr.Dataset:
        seen.append(genuine(*given, **how))
        return seen[-1]

    monkeypatch.setattr(publication, "open_own_forecast", spied)
    assert published(path, NOON, {}) == open_forecast(path).attrs
    [there] = seen
    assert (there.sizes["y"], there.sizes["x"], there.sizes["time"]) == (0, 0, 2)
    xr.testing.assert_identical(there["time"], open_forecast(path)["time"])


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_what_is_damaged_is_not_done_and_that_is_said(
    share: float, caplog: pytest.LogCaptureFixture
) -> None:
    path = Path("out/a.nc")
    write_forecast(forecast(NOON), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with caplog.at_level(logging.WARNING):
        assert not published(path, NOON, {})
    [said] = caplog.messages
    assert said.startswith("out/a.nc: not a whole NetCDF file") and said.endswith(
        "It is made again."
    )


def test_without_options_only_the_forecast_is_there() -> None:
    config = settings(f"output={DAILY}")
    for minutes in (0, 5):
        cycle(config, NOON + minutes * MINUTE)
    assert files() == ["2024", "2024/0602", "2024/0602/1200.nc", "2024/0602/1205.nc"]


@pytest.mark.parametrize("output", [FLAT, DAILY, "out/%Y%m%d/%H.nc", "out/newest.nc"])
@pytest.mark.parametrize("kind", ["symlink", "copy"])
def test_latest_is_the_newest_and_never_goes_back(kind: str, output: str) -> None:
    config = settings(f"output={output}", f"latest={kind}")
    latest = Path("out/latest.nc")
    for time, newest in (
        (NOON, NOON),
        (NOON + HOUR, NOON + HOUR),
        (NOON - HOUR, NOON + HOUR),
        (NOON + DAY, NOON + DAY),
    ):
        path = cycle(config, time)
        if output == "out/newest.nc":
            # there is but one, and a copy keeps what it had
            newest = time if kind == "symlink" else max(newest, time)
        assert shown() == newest
        assert latest.is_symlink() == (kind == "symlink")
        if newest == time:
            assert latest.read_bytes() == path.read_bytes()
    assert kind == "copy" or not os.readlink(latest).startswith("/")


@pytest.mark.parametrize("kind", ["symlink", "copy"])
def test_latest_is_mended_by_a_cycle_that_finds_its_forecast_there(kind: str) -> None:
    config, latest = settings(f"output={FLAT}", f"latest={kind}"), Path("out/latest.nc")
    for time in (NOON, NOON + HOUR):
        cycle(config, time)
    for dangling in ("nowhere.nc", "latest.nc", "20240602T1200Z.nc"):
        latest.unlink()
        tidy_up(config, NOON, NOW)
        assert shown() == NOON + HOUR
        latest.unlink()
        latest.symlink_to(dangling)
        tidy_up(config, NOON, NOW)
        assert shown() == NOON + HOUR and latest.is_symlink() == (kind == "symlink")
    cycle(config, NOON + HOUR, remarks="made anew")
    assert open_forecast(latest).attrs["remarks"] == "made anew"


def test_latest_changes_its_kind_with_the_option() -> None:
    for kind in ("copy", "symlink", "copy"):
        cycle(settings(f"output={FLAT}", f"latest={kind}"), NOON)
        assert Path("out/latest.nc").is_symlink() == (kind == "symlink") and shown() == NOON
    assert files() == ["20240602T1200Z.nc", "latest.nc"]


@pytest.mark.parametrize("kind", ["symlink", "copy"])
def test_what_is_not_ours_is_not_taken_for_a_latest(kind: str) -> None:
    config, latest = settings(f"output={FLAT}", f"latest={kind}"), Path("out/latest.nc")
    latest.parent.mkdir()
    latest.write_text("a letter")
    with pytest.raises(
        CannotCreateError, match=r"out/latest\.nc: already exists and is not a forecast; remove it"
    ):
        cycle(config, NOON)
    assert latest.read_text() == "a letter" and files() == ["20240602T1200Z.nc", "latest.nc"]
    latest.unlink()
    latest.mkdir()
    with pytest.raises(CannotCreateError, match="already exists and is not a forecast"):
        cycle(config, NOON)


def test_a_forecast_from_a_time_to_come_removes_nothing_and_is_not_the_latest() -> None:
    config, to_come = settings(f"output={FLAT}", "latest=symlink", "keep_hours=6"), NOW + 10 * DAY
    cycle(config, NOON)
    write_forecast(forecast(to_come), forecast_path(FLAT, to_come))
    cycle(config, NOON + HOUR)
    assert files() == ["20240602T1200Z.nc", "20240602T1300Z.nc", "20260111T0000Z.nc", "latest.nc"]
    assert shown() == NOON + HOUR


def test_what_is_no_forecast_is_not_written_over() -> None:
    path = forecast_path(FLAT, NOON)
    path.parent.mkdir()
    path.write_text("a letter")
    with pytest.raises(CannotCreateError, match="already exists and is not a forecast"):
        published(path, NOON, {})
    assert path.read_text() == "a letter"


@pytest.mark.parametrize("damaged", [b"", b"\0" * 512, None])
def test_a_damaged_latest_is_made_anew(damaged: bytes | None) -> None:
    config, latest = settings(f"output={FLAT}", "latest=copy"), Path("out/latest.nc")
    cycle(config, NOON)
    latest.write_bytes(latest.read_bytes()[:2000] if damaged is None else damaged)
    cycle(config, NOON)
    assert shown() == NOON


def test_a_latest_that_is_the_output_itself_is_left_so() -> None:
    cycle(settings("output=out/latest.nc", "latest=symlink"), NOON)
    assert files() == ["latest.nc"] and shown() == NOON and not Path("out/latest.nc").is_symlink()


def test_the_names_of_what_is_kept_may_hold_any_sign() -> None:
    config = settings('output="[a]* ?/x[1]%Y%m%dT%H%M.nc"', "latest=symlink", "keep_files=2")
    for hours in range(4):
        cycle(config, NOON + hours * HOUR)
    assert files("[a]* ?") == ["latest.nc", "x[1]20240602T1400.nc", "x[1]20240602T1500.nc"]


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["keep_files=3"], [13, 14, 15]),
        (["keep_hours=2"], [14, 15]),  # that of 13 is two hours older
        (["keep_hours=2.1"], [13, 14, 15]),
        (["keep_hours=2.1", "keep_files=2"], [14, 15]),
        (["keep_hours=0.1"], [15]),
        (["keep_files=1"], [15]),
        (["keep_files=10"], [12, 13, 14, 15]),
    ],
)
@pytest.mark.parametrize("output", [DAILY, "out/%Y%m%d/%H.nc"])
def test_what_is_kept_by_age_and_by_number(output: str, words: list[str], kept: list[int]) -> None:
    """Cycles at 12, 13, 14 and 15 o'clock."""
    config = settings(f"output={output}", *words)
    for hours in range(4):
        cycle(config, NOON + hours * HOUR)
    assert {str(path) for path in Path("out").rglob("*.nc")} == {
        str(forecast_path(output, NOON + (hour - 12) * HOUR)) for hour in kept
    }


@pytest.mark.parametrize(
    ("file", "kept"),
    [
        ("w/%Y/%m%d.jsonl", ["2024", "2024/0602.jsonl", "2024/0603.jsonl"]),
        ("w/%Y%m%d/%H.jsonl", ["20240602", "20240602/13.jsonl", "20240603", "20240603/00.jsonl"]),
        ("w/all.jsonl", ["all.jsonl"]),
    ],
)
def test_warnings_go_with_the_last_forecast_that_they_are_of(file: str, kept: list[str]) -> None:
    rule = "++warnings.rules.flood={rate: 10, probability: 0.3, within: 60, place: [51, 10]}"
    config = settings(f"output={FLAT}", "keep_files=2", rule, f"warnings.file={file}")
    for time in (NOON - DAY, NOON, NOON + HOUR, NOON + 12 * HOUR):
        cycle(config, time)
        path = forecast_path(file, time)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    Path("w/20230101.jsonl").write_text("of nobody")
    cycle(config, NOON + 12 * HOUR)
    assert files("w") == sorted([*kept, "20230101.jsonl"])


@pytest.mark.parametrize("output", [FLAT, "out/newest.nc"])
def test_geotiffs_go_with_the_forecast_that_they_are_of(output: str) -> None:
    """Also once no more are asked for."""
    pytest.importorskip("rasterio")
    before, since = settings(f"output={output}", "format=geotiff"), settings(f"output={output}")
    for time, config in ((NOON, before), (NOON, since), (NOON + HOUR, before)):
        path = forecast_path(output, time)
        publish(forecast(time, made=str(config.format)), path, config, time, NOW)
        assert path.with_suffix(".tif").exists() == (config is before)
    last = settings(f"output={output}", "keep_files=1")
    publish(forecast(NOON + DAY), forecast_path(output, NOON + DAY), last, NOON + DAY, NOW)
    tidy_up(last, NOON + DAY, NOW)
    assert files() == [forecast_path(output, NOON + DAY).name]


def test_geotiffs_of_an_earlier_forecast_stay_until_the_new_one_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("rasterio")
    before, since = settings(f"output={FLAT}", "format=geotiff"), settings(f"output={FLAT}")
    path = forecast_path(FLAT, NOON)
    publish(forecast(NOON), path, before, NOON, NOW)

    def full(*_: object) -> None:
        raise InputOutputError("out: no space left")

    with monkeypatch.context() as patch, pytest.raises(InputOutputError, match="no space left"):
        patch.setattr(publication, "write_forecast", full)
        publish(forecast(NOON), path, since, NOON, NOW)
    assert files() == [path.name, path.with_suffix(".tif").name]

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", denied)
    with pytest.raises(InputOutputError, match=r"Z\.tif: cannot be removed \(Permission denied\)"):
        publish(forecast(NOON), path, since, NOON, NOW)


def test_only_forecasts_of_ours_with_such_a_name_are_removed() -> None:
    config = settings(f"output={FLAT}", "keep_files=1", "latest=copy")
    old = forecast(NOON - 300 * DAY)
    write_forecast(old, Path("out/other name.nc"))
    write_forecast(old, Path("out/deeper/20230807T1200Z.nc"))
    write_forecast(old.assign_attrs(source="another model"), Path("out/20230806T1200Z.nc"))
    write_forecast(old, Path("elsewhere.nc"))
    Path("out/20230805T1200Z.nc").write_text("a letter")
    Path("out/20230804T1200Z.nc").mkdir()
    Path("out/20230803T1200Z.nc").symlink_to("../elsewhere.nc")
    Path("out/20239999T1200Z.nc").write_text("of no time")
    foreign = files()
    for hours in range(3):
        cycle(config, NOON + hours * HOUR)
    assert files() == sorted([*foreign, "20240602T1400Z.nc", "latest.nc"])
    assert Path("elsewhere.nc").exists()


def test_only_forecasts_of_ours_are_counted() -> None:
    config = settings(f"output={FLAT}", "keep_files=2")
    for hours in (0, 1, 2):
        write_forecast(forecast(NOON + hours * HOUR), forecast_path(FLAT, NOON + hours * HOUR))
    write_forecast(
        forecast(NOON).assign_attrs(source="another model"), Path("out/20240602T1355Z.nc")
    )
    rain().to_netcdf("out/20240602T1350Z.nc")
    Path("out/20240602T1345Z.nc").write_text("a letter")
    os.mkfifo("out/20240602T1340Z.nc")
    foreign = [f"20240602T13{minute}Z.nc" for minute in (40, 45, 50, 55)]
    tidy_up(config, NOON + 2 * HOUR, NOW)
    assert files() == ["20240602T1300Z.nc", *foreign, "20240602T1400Z.nc"]


def test_what_was_just_made_and_what_latest_shows_are_kept() -> None:
    """A forecast of an earlier time than is kept stays until the next cycle."""
    config = settings(f"output={FLAT}", "keep_hours=1")
    cycle(config, NOON)
    Path("out/latest.nc").symlink_to("20240602T1200Z.nc")
    cycle(config, NOON + DAY)
    cycle(config, NOON - DAY)
    assert files() == ["20240601T1200Z.nc", "20240602T1200Z.nc", "20240603T1200Z.nc", "latest.nc"]
    cycle(config, NOON + DAY + 5 * MINUTE)
    assert files() == ["20240602T1200Z.nc", "20240603T1200Z.nc", "20240603T1205Z.nc", "latest.nc"]


def test_folders_that_are_emptied_go_too() -> None:
    config = settings(f"output={DAILY}", "keep_hours=24")
    new_year = np.datetime64("2024-01-01T00:00", "ns")
    first = cycle(config, new_year - 2 * DAY)
    (first.parent / f".{first.name}.0123abcd.tmp").write_text("of a process that was killed")
    second = cycle(config, new_year - DAY)
    (second.parent / "notes.txt").touch()
    cycle(config, new_year)
    assert files() == [
        "2023",
        "2023/1231",
        "2023/1231/notes.txt",
        "2024",
        "2024/0101",
        "2024/0101/0000.nc",
    ]


def test_an_output_without_codes_has_nothing_to_remove() -> None:
    config = settings("output=out/newest.nc", "keep_files=1", "keep_hours=1", "latest=symlink")
    write_forecast(forecast(NOON - DAY), Path("out/other.nc"))
    for hours in range(2):
        cycle(config, NOON + hours * HOUR)
    assert files() == ["latest.nc", "newest.nc", "other.nc"]


def test_what_killed_processes_left_in_the_folders_of_the_last_day_is_removed() -> None:
    config = settings(f"output={DAILY}")
    today, yesterday, before = (cycle(config, NOON - days * DAY).parent for days in range(3))
    for folder in (today, yesterday, before):
        (folder / ".1100.nc.0123abcd.tmp").touch()
        (folder / ".mine.tmp").touch()
    tidy_up(config, NOON, NOW)
    assert [
        (folder / ".1100.nc.0123abcd.tmp").exists() for folder in (today, yesterday, before)
    ] == [False, False, True]
    assert all((folder / ".mine.tmp").exists() for folder in (today, yesterday, before))


def test_only_what_is_to_be_removed_and_the_newest_are_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = settings(f"output={FLAT}", "latest=symlink", "keep_files=3")
    for hours in range(4):
        write_forecast(forecast(NOON + hours * HOUR), forecast_path(FLAT, NOON + hours * HOUR))
    opened = list[str]()
    genuine = publication.read_reference_time

    def read(path: Path) -> np.datetime64 | None:
        opened.append(path.name)
        return genuine(path)

    monkeypatch.setattr(publication, "read_reference_time", read)
    tidy_up(config, NOON + 3 * HOUR, NOW)
    assert opened == ["20240602T1500Z.nc", "latest.nc", "20240602T1200Z.nc"]
