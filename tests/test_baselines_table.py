"""A baseline is one record: what is added to the table, or by a package, is a baseline."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import nowcast
from nowcast.baselines import RECORDS, BaselineRecord, Forecast, Making, baseline_record
from nowcast.errors import ConfigError
from nowcast.forecast.baselines.building import build_baseline
from nowcast.forecast.dataset import open_forecast


def doubled(making: Making) -> Forecast:
    return lambda past: 2 * past[:, -1:, None].expand(-1, making.lead_steps, -1, -1, -1)


DOUBLED = BaselineRecord("doubled", doubled, "the newest frame, twice as much", "nobody", 2)


def test_a_record_is_all_that_a_new_baseline_needs(
    run, radar_file, tmp_path, monkeypatch, without_pictures
) -> None:
    monkeypatch.setitem(RECORDS, "doubled", DOUBLED)
    output = tmp_path / "forecast.nc"
    words = [f"data.path={radar_file}", "input_steps=3", "lead_steps=2"]
    run("predict", *words, "baseline=doubled", "at=2020-01-01T03:00", f"output={output}")
    made = open_forecast(output)
    assert made.attrs["source"].endswith("the newest frame, twice as much")
    run(
        "evaluate", "data=radar", *words, "baseline=[persistence,doubled]", f"output={tmp_path}/scores",
        "period=[2020-01-01T03:00,2020-01-01T04:00]",
    )  # fmt: skip
    assert "doubled" in (tmp_path / "scores" / "scores.csv").read_text()


@pytest.mark.parametrize("record", RECORDS.values(), ids=lambda record: record.name)
def test_each_record_is_of_its_name_and_sees_as_many_frames_as_it_says(
    record: BaselineRecord,
) -> None:
    assert RECORDS[record.name] is record and callable(record.make)
    settings = {"lead_steps": 2, "timestep_minutes": 5.0, "pixel_km": 1.0, "members": 2, "seed": 0}
    with pytest.raises(ConfigError, match=f"at least {record.least_steps} frames"):
        build_baseline(record.name, input_steps=record.least_steps - 1, **settings)


def test_what_a_record_makes_has_as_many_members_as_it_says(monkeypatch) -> None:
    monkeypatch.setitem(RECORDS, "doubled", DOUBLED)
    monkeypatch.setitem(RECORDS, "many", replace(DOUBLED, name="many", ensemble=True))
    settings = {"lead_steps": 2, "timestep_minutes": 5.0, "pixel_km": 1.0, "members": 7, "seed": 0}
    one, many = (build_baseline(name, input_steps=2, **settings) for name in ("doubled", "many"))
    assert (one.members, many.members) == (1, 7) and "7 members" in many.method
    assert one(torch.full((1, 2, 1, 3, 3), 1.5)).unique().tolist() == [3.0]


def test_a_name_of_no_baseline_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match="'rover' is unknown; choose persistence, extrapolation"):
        baseline_record("rover")


def test_no_other_module_lists_the_baselines() -> None:
    package = Path(nowcast.__file__).parent
    lists = {
        str(path.relative_to(package)): found
        for path in package.rglob("*.py")
        if path != package / "baselines.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict)
        and len(found := set(RECORDS) & {getattr(one, "value", 0) for one in _parts(node)}) > 1
    }
    assert not lists


def _parts(node: ast.Tuple | ast.List | ast.Set | ast.Dict) -> list[ast.Constant]:
    parts = [*node.keys, *node.values] if isinstance(node, ast.Dict) else node.elts
    return [one for one in parts if isinstance(one, ast.Constant)]
