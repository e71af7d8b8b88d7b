"""A score is one record: nothing else lists scores, and a record is all that a new one needs."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest
from counts_by_hand import OPTIONS, tallied

import nowcast
from nowcast.report.page import write_report
from nowcast.verification.dataset import scores_dataset
from nowcast.verification.headline import headline_text
from nowcast.verification.scores import Scores, Table, as_float64, ratio
from nowcast.verification.scoring import SCORES, Place, Score
from nowcast.verification.table import write_scores

PACKAGE = Path(nowcast.__file__).parent
RECORDS = PACKAGE / "verification" / "scoring.py"
LOSSES = PACKAGE / "training" / "options.py"
"""Has the names of losses, such as mse."""


def lists_of_scores(path: Path) -> list[str]:
    """The lists, tuples, sets and dicts written out in a file that name two scores or more."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.List | ast.Tuple | ast.Set | ast.Dict):
            named = {
                inner.value
                for inner in ast.walk(node)
                if isinstance(inner, ast.Constant) and inner.value in SCORES
            }
            if len(named) > 1:
                found.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {sorted(named)}")
    return found


def test_scores_are_listed_in_their_records_only() -> None:
    assert lists_of_scores(RECORDS)
    others = set(PACKAGE.rglob("*.py")) - {RECORDS, LOSSES}
    assert [line for path in sorted(others) for line in lists_of_scores(path)] == []


def near_misses(table: Table) -> Scores:
    """Near-miss ratio: c / (b + c).

    Range 0 to 1.
    """
    b, c = as_float64(table.false_alarms), as_float64(table.misses)
    return ratio(c, b + c)


@pytest.mark.parametrize("place", [Place(numbers="all"), Place(terminal=3, headline=3, by_lead=3)])
def test_a_record_is_all_that_a_new_score_needs(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = replace(
        SCORES["csi"], name="near", function=near_misses, long_name="near-miss ratio",
        label="NEAR", place=place,
    )  # fmt: skip
    monkeypatch.setitem(SCORES, record.name, record)
    counts = tallied([f"2018-05-{day}T12" for day in range(10, 22)])
    scores = scores_dataset(counts, **OPTIONS)
    one = scores.isel(part=0, lead_time=0)
    wanted = one["misses"] / (one["misses"] + one["false_alarms"])
    assert one["near"].equals(wanted.rename("near").assign_attrs(one["near"].attrs))
    assert {"near_mean_low", "near_mean_difference_p"} <= set(scores)

    _, table = write_scores(scores, tmp_path)
    head = table.read_text().splitlines()[0].split(",")
    report = write_report(tmp_path / "a.html", scores, counts, [], "CSI", "upper", {}).read_text()
    assert "<dt>NEAR</dt><dd>Near-miss ratio: c / (b + c).</dd>" in report
    at_head = place.headline is not None
    assert "near" in head and ("near_low" in head) == at_head
    assert ("NEAR ≥ " in headline_text(scores)) == at_head
    assert ('<th scope="col">NEAR</th>' in report) == at_head
    assert ("<h3>Near-miss ratio (NEAR)</h3>" in report) == at_head
    assert ("NEAR<br><small>mean</small>" in report) != at_head


def test_numbers_have_the_decimals_of_their_record() -> None:
    csi, mse = SCORES["csi"], SCORES["mse"]
    assert [csi.decimals_of([value]) for value in (0.5, 0.001, 12.0)] == [3, 3, 3]
    nan = float("nan")
    assert [mse.decimals_of([nan, value]) for value in (1234.0, 12.3, -0.5, 0.0, 1e-12, nan)] == [
        0, 1, 3, 3, 7, 3,
    ]  # fmt: skip
    assert replace(csi, decimals=0).decimals_of([0.5]) == 0


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_a_score_of_a_perfect_forecast_lies_in_its_range(score: Score) -> None:
    low, high = score.range
    assert low < high and (score.perfect is None or low <= score.perfect <= high)
    assert score.place.headline is None or score.perfect is not None  # the best is marked there
