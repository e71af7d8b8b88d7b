"""`nowcast sweep`: a leaderboard of the trainings below a folder."""

import csv
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from helpers import Outcome
from run_folders import make_run

from nowcast.files import only_writer
from nowcast.runs import record_failure

Run = Callable[..., Outcome]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four runs: finished, unfinished, finished and worse, failed."""
    make_run(tmp_path / "sweep/one", ["optimizer.lr=0.001"], csi=[0.1, 0.2], finished=True)
    make_run(tmp_path / "sweep/two", ["optimizer.lr=0.002"], lr=2e-3, csi=[0.1, 0.3])
    make_run(tmp_path / "sweep/three", ["optimizer.lr=0.003"], lr=3e-3, csi=[0.1], finished=True)
    make_run(tmp_path / "sweep/four", ["optimizer.lr=0.004"], lr=4e-3)
    record_failure(tmp_path / "sweep/four", "data.path: <b>rain</b>.nc: no such file.")
    return tmp_path / "sweep"


def test_the_best_run_is_first_in_table_and_csv_also_while_one_runs(run: Run, folder: Path) -> None:
    with only_writer(folder / "two"):
        outcome = run("sweep", str(folder))
    assert outcome.code == 0, outcome.err
    rows = [line.split() for line in outcome.out.splitlines() if f"{folder}/" in line][:4]
    assert [row[:-1] for row in rows] == [
        ["1", "CSI", "0.3000", "0.002", "2/5", "4", "s", "running"],
        ["2", "CSI", "0.2000", "0.001", "2/5", "4", "s", "finished"],
        ["3", "CSI", "0.1000", "0.003", "1/5", "2", "s", "finished"],
        ["4", "–", "0.004", "0/5", "0", "s", "failed"],
    ]
    assert f"failed: {folder}/four: data.path: <b>rain</b>.nc: no such file." in outcome.out
    with (folder / "leaderboard.csv").open() as file:
        first, *_, last = csv.DictReader(file)
    assert first == {
        "place": "1", "state": "running", "monitor": "csi", "score": "0.3", "validation_loss": "0.7",
        "best_epoch": "2", "epochs": "2", "planned_epochs": "5", "seconds": "4.0",
        "optimizer.lr": "0.002", "folder": "two", "failure": "",
    }  # fmt: skip
    assert (last["state"], last["score"], last["folder"]) == ("failed", "", "four")


class Seen(HTMLParser):
    """What a page holds: its elements by name, and each line of its charts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.lines: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        if tag == "path" and "--line-" in (values.get("stroke") or ""):
            self.lines.append(values["stroke"] or "")
        self.addresses += [values[name] or "" for name in ("src", "href") if name in values]


def test_the_page_lays_all_curves_over_each_other_and_loads_nothing(run: Run, folder: Path) -> None:
    assert run("sweep", str(folder)).code == 0
    text = (folder / "leaderboard.html").read_text()
    page = Seen()
    page.feed(text)
    # a swatch in the table, and a line in each of the charts of CSI, validation and training loss
    for place in range(3):
        assert page.lines.count(f"var(--line-{place})") == 4
    assert page.tags.count("tr") == 5
    assert page.addresses == []
    assert "&lt;b&gt;rain&lt;/b&gt;.nc: no such file." in text and "<b>rain" not in text
    assert "default-src 'none'" in text


def test_runs_without_an_epoch_have_a_page_without_charts(run: Run, tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    assert run("sweep", str(tmp_path)).code == 0
    assert "Learning curves" not in (tmp_path / "leaderboard.html").read_text()


@pytest.mark.parametrize(
    ("name", "said"),
    [("nowhere", "nowhere: no such folder"), ("empty", "empty: contains no training")],
)
def test_a_folder_without_runs_is_refused(run: Run, tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    outcome = run("sweep", str(tmp_path / name))
    assert (outcome.code, outcome.err.count("\n")) == (66, 1)
    assert said in outcome.err
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_damaged_run_does_not_hide_the_others(
    run: Run, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "one/metrics.jsonl").write_text('{"epoch": 1, "validation_csi": "x"}\n')
    outcome = run("sweep", str(folder))
    assert outcome.code == 0
    assert caplog.text.count("one/metrics.jsonl: damaged") == 1
    assert f"{folder}/two" in outcome.out and f"{folder}/one" not in outcome.out
    alone = run("sweep", str(folder / "one"))
    assert (alone.code, alone.err.count("\n")) == (65, 1)


def test_no_cell_of_the_table_is_a_formula(run: Run, tmp_path: Path) -> None:
    for name, value in (("a", "=1+1"), ("b", "-0.5"), ("c", "@x"), ("d", "+x"), ("e", "-x")):
        make_run(tmp_path / name, [f"given={value}"], {"given": value}, csi=[0.1])
    assert run("sweep", str(tmp_path)).code == 0
    with (tmp_path / "leaderboard.csv").open() as file:
        cells = {row["folder"]: row["given"] for row in csv.DictReader(file)}
    assert cells == {"a": "'=1+1", "b": "-0.5", "c": "'@x", "d": "'+x", "e": "'-x"}
