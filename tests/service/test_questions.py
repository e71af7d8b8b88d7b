"""Places and warnings of an unattended cycle: next to each forecast, in status, metrics, lines and
the exit code.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from helpers import Outcome

from nowcast.radar import RATE, write_synthetic

Run = Callable[..., Outcome]
AREAS = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {"name": name},
            "geometry": {
                "type": "Polygon",
                "coordinates": [[[w, 50], [w + 1, 50], [w + 1, 52], [w, 52]]],
            },
        }
        for name, w in (("Here", 9.5), ("Far", 0))
    ],
}
RULES = [
    "warnings.rules.flood={rate: 5, probability: 0.3, within: 10, area: areas.geojson}",
    "warnings.rules.hail={rate: 50, probability: 0.3, within: 10, place: [51.08, 10]}",
]


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of predict, where the newest frame, of 12:25, has 8 mm/h everywhere."""
    monkeypatch.chdir(tmp_path)
    write_synthetic("rain.nc", 6, 24, 28, start="2024-06-02T12:00")
    with xr.open_dataset("rain.nc", engine="netcdf4") as file:
        rain = file.load()
    rain[RATE].values[:] = 0.0
    rain[RATE].values[5] = 8.0
    Path("rain.nc").unlink()
    rain.to_netcdf("rain.nc", engine="netcdf4")
    Path("places.csv").write_text("name,latitude,longitude\nHere,51.08,10\nFar,0,0\n")
    Path("areas.geojson").write_text(json.dumps(AREAS))
    return [
        "model=persistence", "input_steps=1", "lead_steps=3", "data.path=rain.nc",
        "output=out/%H%M.nc", "places=places.csv", "timezone=Europe/Berlin",
    ]  # fmt: skip


def test_places_stand_next_to_each_forecast_and_go_with_it(run: Run, words: list[str]) -> None:
    outcome = run("predict", *words, "place=51.1,10.01", "keep_files=1", "at=2024-06-02T12:20")
    assert outcome.code == 0, outcome.err
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "1220.nc", "1220.places.csv", "1220.places.json",
    ]  # fmt: skip
    assert run("predict", *words, "keep_files=1").code == 0
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "1225.nc", "1225.places.csv", "1225.places.json",
    ]  # fmt: skip
    document = json.loads(Path("out/1225.places.json").read_text())
    assert document["forecast"] == "1225.nc" and document["method"] == "persistence"
    here, far = document["places"]
    assert here["raining_now"] is True and here["now"] == {
        "time": "2024-06-02T14:25:00+02:00", "rate": 8.0, "observed": True,
    }  # fmt: skip
    assert here["words"].startswith("Raining now (8 mm/h), goes on until 14:40 CEST at least")
    assert far["status"] == "outside" and far["raining_now"] is None
    table = Path("out/1225.places.csv").read_text().splitlines()
    assert len(table) == 1 + 2 * 3 and table[1].endswith(
        "covered,2024-06-02T14:30:00+02:00,5.0,8.0"
    )


def test_places_that_a_killed_process_left_out_are_written_by_the_next(
    run: Run, words: list[str]
) -> None:
    assert run("predict", *words).code == 0
    made = Path("out/1225.nc").stat().st_mtime_ns
    Path("out/1225.places.json").unlink()
    outcome = run("predict", *words)
    assert outcome.code == 0 and "already there" in outcome.err
    assert Path("out/1225.nc").stat().st_mtime_ns == made
    here, _ = json.loads(Path("out/1225.places.json").read_text())["places"]
    assert here["now"]["observed"] is False and here["raining_now"] is True


def test_a_warning_is_in_status_metrics_lines_log_and_exit_code(run: Run, words: list[str]) -> None:
    asked = [
        *words, *RULES, "warnings.file=out/%H%M.jsonl", "warnings.exit_code=10",
        "status=out/status.json", "metrics=out/nowcast.prom",
    ]  # fmt: skip
    for cycle in ("first", "already there"):
        outcome = run("predict", *asked)
        assert outcome.code == 10 and "flood: 5 mm/h or more in Here" in outcome.err, cycle
        status = json.loads(Path("out/status.json").read_text())
        assert status["last_cycle"]["outcome"] in ("forecast", "already there")
        assert status["last_cycle"]["reason"] is None
        assert status["consecutive_failures"] == 0
        found = status["last_cycle"]["warnings"]
        assert [one["area"] for one in found["flood"]] == ["Here"] and found["hail"] == []
        assert status["last_cycle"]["remarks"] == [
            "warnings.rules.flood: Far is outside of the grid"
        ]
        metrics = Path("out/nowcast.prom").read_text()
        assert 'nowcast_warnings{rule="flood"} 1.0\n' in metrics
        assert 'nowcast_warnings{rule="hail"} 0.0\n' in metrics
        (line,) = map(json.loads, Path("out/1225.jsonl").read_text().splitlines())
        assert line == {**found["flood"][0], "forecast": "out/1225.nc"}
        assert (line["rule"], line["area"], line["basis"]) == ("flood", "Here", "rate")
        assert (line["start"], line["end"]) == ("2024-06-02T12:30:00Z", "2024-06-02T12:35:00Z")
        assert line["highest_rate"] == 8.0 and line["share"] == 1.0


@pytest.mark.parametrize(
    "where", ["area: swapped.geojson", "place: [10, 51.08]", "place: [51.08, 10], within: 2"]
)
def test_a_rule_without_a_forecast_is_a_warning_in_the_log_and_unknown(
    run: Run, words: list[str], where: str
) -> None:
    Path("swapped.geojson").write_text(json.dumps({
        "type": "Polygon", "coordinates": [[[50, 9.5], [52, 9.5], [52, 10.5], [50, 10.5]]],
    }))  # fmt: skip
    within = "" if "within" in where else "within: 10, "
    asked = [
        f"warnings.rules.swapped={{rate: 5, probability: 0.3, {within}{where}}}", RULES[1],
        "log_format=json", "status=status.json", "metrics=nowcast.prom", "warnings.exit_code=10",
    ]  # fmt: skip
    outcome = run("predict", *words, *asked)
    said = json.loads(outcome.err)
    assert outcome.code == 0 and said["level"] == "WARNING"
    assert said["warnings"] == {"swapped": None, "hail": []}
    assert said["remarks"][0].startswith("warnings.rules.swapped")
    assert json.loads(Path("status.json").read_text())["last_cycle"]["warnings"]["swapped"] is None
    metrics = Path("nowcast.prom").read_text()
    assert 'nowcast_warnings{rule="swapped"} NaN\n' in metrics
    assert 'nowcast_warnings{rule="hail"} 0.0\n' in metrics


def test_warnings_may_be_printed_and_without_one_the_exit_code_is_0(
    run: Run, words: list[str]
) -> None:
    outcome = run("predict", *words, *RULES, "warnings.file=-")
    assert outcome.code == 0 and json.loads(outcome.out)["rule"] == "flood"
    outcome = run(
        "predict", *words, *RULES, "warnings.file=-", "warnings.exit_code=10", "at=2024-06-02T12:20"
    )
    assert (outcome.code, outcome.out) == (0, "")


def test_warnings_do_not_go_back_to_an_older_forecast(run: Run, words: list[str]) -> None:
    Path("radar").mkdir()
    with xr.open_dataset("rain.nc", engine="netcdf4") as rain:
        for number in range(6):
            rain.isel(time=[number]).to_netcdf(f"radar/{number}.nc", engine="netcdf4")
    asked = [
        *words, *RULES, "data.path=radar", "on_bad_file=skip", "retry=0", "max_wet_ratio=1e9",
        "warnings.file=out/warnings.jsonl", "warnings.exit_code=10", "page=out/index.html",
        "page_map=none", "latest=copy",
    ]  # fmt: skip
    assert run("predict", *asked).code == 10
    there = {path: path.read_bytes() for path in Path("out").glob("[!1]*")}
    Path("radar/5.nc").write_bytes(b"damaged since")
    outcome = run("predict", *asked, "status=status.json")
    assert outcome.code == 10 and "flood: 5 mm/h or more in Here" in outcome.err
    assert "out/1225.nc is newer, and its warnings still hold" in outcome.err
    assert Path("out/1220.places.json").exists()
    # the older forecast itself has no warning
    assert run("predict", *asked, "at=2024-06-02T12:20").code == 0
    assert {path: path.read_bytes() for path in there} == there
    assert sorted(path.name for path in there) == ["index.html", "latest.nc", "warnings.jsonl"]


@pytest.mark.parametrize("live", ["before", "never"])
def test_a_back_fill_writes_forecasts_with_their_places_and_a_log_only(
    run: Run, words: list[str], live: str
) -> None:
    service = [
        *words, *RULES, "warnings.file=out/warnings.jsonl", "warnings.exit_code=10",
        "status=out/status.json", "metrics=out/nowcast.prom", "page=out/index.html",
        "page_map=none", "latest=copy", "keep_hours=0.05", "keep_files=1",
    ]  # fmt: skip
    if live == "before":
        assert run("predict", *service).code == 10
    there = {path: path.read_bytes() for path in Path("out").glob("*")}
    assert len(there) == (8 if live == "before" else 0)
    outcome = run("predict", *service, "from=2024-06-02T12:05", "to=2024-06-02T12:25")
    assert outcome.code == 0 and outcome.err.count("flood: 5 mm/h or more in Here") == 1
    assert {path: path.read_bytes() for path in there} == there
    kinds = ("nc", "places.csv", "places.json")
    made = {f"12{minute:02d}.{one}" for minute in (5, 10, 15, 20, 25) for one in kinds}
    assert {path.name for path in Path("out").iterdir()} == made | {
        "latest.nc",
        *(path.name for path in there),
    }


@pytest.mark.parametrize(
    ("asked", "code", "says"),
    [
        (["places=places.csv"], 65, "rain.nc: does not say where its pixels are on Earth"),
        (["place=51.08,10"], 65, "rain.nc: does not say where its pixels are on Earth"),
        (RULES[1:], 65, "rain.nc: does not say where its pixels are on Earth"),
        (["page=page.html", "page_map=areas.geojson"], 78, "page_map: rain.nc does not say where"),
    ],
)
def test_on_a_radar_without_a_place_none_is_looked_for(
    run: Run, words: list[str], asked: list[str], code: int, says: str
) -> None:
    with xr.open_dataset("rain.nc", engine="netcdf4") as file:
        rain = file.load().drop_vars("crs")
    Path("rain.nc").unlink()
    rain[RATE].attrs.pop("grid_mapping", None)
    rain[RATE].encoding.pop("grid_mapping", None)
    rain.to_netcdf("rain.nc", engine="netcdf4")
    outcome = run("predict", *words[:5], *asked)
    assert outcome.code == code and says in outcome.err
    assert not list(Path("out").rglob("*.nc")) and not Path("page.html").exists()


@pytest.mark.parametrize(
    ("asked", "code", "says"),
    [
        (["places=bad.csv"], 65, "bad.csv, line 2: the latitude 'x' is no number"),
        (["places=none.csv"], 66, "none.csv: cannot be read"),
        (["place=[1]"], 78, "place: give latitude and longitude"),
        (["timezone=Berlin"], 78, "timezone: 'Berlin' is no time zone"),
        ([RULES[0].replace("areas", "none")], 66, "none.geojson: no such GeoJSON"),
        ([RULES[0].replace("areas.geojson", "places.csv")], 65, "places.csv: is no GeoJSON"),
        ([RULES[0].replace("5", "-5")], 78, "warnings.rules.flood.rate: give a number above 0"),
        (["warnings.exit_code=10"], 78, "warnings.rules: give a rule"),
        ([*RULES, "warnings.exit_code=75"], 78, "warnings.exit_code: must be 0, or a code from 3 to 63"),
        ([*RULES, "warnings.file=w.txt"], 78, "warnings.file: must end in .jsonl"),
        ([*RULES, "warnings.file=places.csv/w.jsonl"], 73, "warnings.file: places.csv: cannot create"),
        ([*RULES, "warnings.file=%Q.jsonl"], 78, "warnings.file: '%Q' is not a time code"),
        ([*RULES, "warnings.file=l.jsonl", "log_file=l.jsonl"], 78, "log_file, warnings.file: both"),
        (["places=out/1225.places.csv"], 78, "places: "),
        (["status=out/1225.places.json"], 78, "could be overwritten by the place file of a forecast"),
        (["page=out/p.html", "page_map=none.geojson"], 66, "none.geojson: no such GeoJSON"),
        (["page=out/p.html", "page_map=bad.geojson"], 65, "bad.geojson: is no GeoJSON"),
        (["page=out/p.html", "page_map=none.geojson", "--check"], 66, "page_map: none.geojson"),
        (["accumulations=[[1]]"], 78, "accumulations: give minutes from 1 to 1440"),
        (["accumulations=[5]", "accumulation_thresholds=[[1]]"], 78, "accumulation_thresholds: give"),
        ([RULES[0].replace("areas", "none"), "--check"], 66, "warnings.rules.flood.area: none"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_before_there_is_a_forecast(
    run: Run, words: list[str], asked: list[str], code: int, says: str
) -> None:
    Path("bad.csv").write_text("name,latitude,longitude\nA,x,2\n")
    Path("bad.geojson").write_text('{"type": "Feat')
    Path("out").mkdir()
    Path("out/1225.places.csv").write_text("name,latitude,longitude\nHere,51.08,10\n")
    outcome = run("predict", *words, *asked)
    assert outcome.code == code and says in outcome.err
    assert not list(Path("out").rglob("*.nc")) and not list(Path("out").rglob("*.json"))


def test_a_rule_that_ends_before_the_first_lead_time_is_told(run: Run, words: list[str]) -> None:
    outcome = run("predict", *words, RULES[0].replace("within: 10", "within: 2"))
    assert outcome.code == 0
    assert "flood.within: the forecast begins 5 minutes ahead" in outcome.err
    assert "not covered" not in outcome.err


def test_a_rate_that_the_model_gives_no_probability_of_is_refused_before_the_forecast(
    run: Run, words: list[str]
) -> None:
    model = ["lead_steps=2", *words[3:], RULES[0].replace("rate: 5", "rate: 60")]
    outcome = run("predict", *model)
    assert outcome.code == 78 and not Path("out/1225.nc").exists()
    assert "warnings.rules.flood.rate: the model gives probabilities for 0.1 to 50" in outcome.err


def test_a_rate_that_a_baseline_gives_no_probability_of_is_remarked(
    run: Run, words: list[str]
) -> None:
    asked = [RULES[0].replace("rate: 5", "rate: 60"), "model=lagrangian_probability"]
    outcome = run("predict", *words, *asked, "input_steps=2", "place=51.08,10")
    assert outcome.code == 0 and "60 mm/h lies outside of the forecast's prob" in outcome.err


def test_the_sum_at_a_place_is_that_of_the_file_with_and_without_its_sums(
    run: Run, words: list[str]
) -> None:
    """Up to the probabilities of the file, which are rounded to 0.005."""
    with xr.open_dataset("rain.nc", engine="netcdf4") as file:
        rain = file.load()
    rain[RATE].values[:, :, ::2], rain[RATE].values[:, :, 1::2] = 8.0, 0.0
    rain.to_netcdf("stripes.nc", engine="netcdf4")
    asked = ["model=lagrangian_probability", "input_steps=3", "lead_steps=6"]
    asked += ["data.path=stripes.nc", *words[4:]]
    sums = []
    for more in (["accumulations=[30]"], []):
        outcome = run("predict", *asked, *more)
        assert outcome.code == 0, outcome.err
        here, _ = json.loads(Path("out/1225.places.json").read_text())["places"]
        sums.append(here["sums"]["30"]["amount"])
    rates = [one["rate"] for one in here["lead_times"]]
    assert sums[0] > 0.1 and sums[1] == pytest.approx(sums[0], rel=0.03)
    assert sum(rates) / 12 != pytest.approx(sums[0], rel=0.1)  # of medians


def test_rules_are_taken_together_too(run: Run, words: list[str]) -> None:
    rule = RULES[0].split("=", 1)[1]
    outcome = run("predict", *words, f"warnings.rules={{flood: {rule}}}")
    assert outcome.code == 0 and "flood: 5 mm/h or more in Here" in outcome.err


def test_answers_of_the_newest_frame_take_no_other_pixel(run: Run, words: list[str]) -> None:
    with xr.open_dataset("rain.nc", engine="netcdf4") as file:
        rain = file.load()
    rain[RATE].values[5] = np.arange(24 * 28, dtype=np.float32).reshape(24, 28) / 100.0
    Path("rain.nc").unlink()
    rain.to_netcdf("rain.nc", engine="netcdf4")
    assert run("predict", *words, "max_wet_ratio=1e9").code == 0
    here, _ = json.loads(Path("out/1225.places.json").read_text())["places"]
    assert here["now"]["rate"] == here["lead_times"][0]["rate"] > 0
