"""How often `nowcast evaluate` looks into each file of the archive."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from helpers import Outcome

from nowcast.evaluation import file_cases
from nowcast.evaluation.cases import Cases
from nowcast.radar.reading.file import RadarFile
from nowcast.radar.reading.options import ReadOptions
from nowcast.radar.series import describing
from nowcast.radar.synthetic import write_synthetic

Run = Callable[..., Outcome]


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two hours of files with one frame each."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "radar").mkdir()
    for k in range(24):
        start = f"2020-01-01T{k // 12:02}:{5 * (k % 12):02}"
        write_synthetic(tmp_path / "radar" / f"{k:02}.nc", 1, 16, 16, start=start)
    return tmp_path / "radar"


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file is described."""
    count, describe = Counter[str](), describing.describe_file

    def counting(path: Path, options: ReadOptions) -> RadarFile:
        count[path.name] += 1
        return describe(path, options)

    monkeypatch.setattr(describing, "describe_file", counting)
    return count


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("baseline", ["persistence", "climatology", "[persistence,climatology]"])
def test_each_file_is_described_once(
    run: Run, archive: Path, described: Counter[str], baseline: str
) -> None:
    outcome = run(
        "evaluate", "data=radar", f"data.path={archive}/*.nc", f"baseline={baseline}",
        "data.train=['2020-01-01T00:00','2020-01-01T00:55']",
        "period=['2020-01-01T01:10','2020-01-01T01:40']", "input_steps=2", "lead_steps=2",
        "data.cache=cache", "output=scores", "device=cpu", "precision=fp32",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert described == {path.name: 1 for path in archive.iterdir()}


@pytest.mark.usefixtures("without_pictures")
def test_each_forecast_file_is_opened_once_before_the_cases_are_read(
    run: Run, archive: Path, described: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words, steps = ["data=radar", f"data.path={archive}/*.nc"], ["input_steps=2", "lead_steps=2"]
    for at in ("01:00", "01:10"):
        made = run("predict", "model=persistence", *words, *steps, f"at=2020-01-01T{at}")
        assert made.code == 0, made.err
    described.clear()
    count, opening = Counter[Path](), file_cases.open_forecast

    def counting(path: Path) -> object:
        count[path] += 1
        return opening(path)

    def first_read(self: file_cases.FileCases, indices: Sequence[int]) -> Cases:
        before.append(dict(count))
        return read(self, indices)

    read, before = file_cases.FileCases.read, list[dict[Path, int]]()
    monkeypatch.setattr(file_cases, "open_forecast", counting)
    monkeypatch.setattr(file_cases.FileCases, "read", first_read)
    outcome = run("evaluate", *words, "forecasts=forecasts", "data.cache=cache", "output=scores",
                  "baseline=climatology", "data.train=['2020-01-01T00:00','2020-01-01T00:55']")  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert list(before[0].values()) == [1, 1]
    assert described == {path.name: 1 for path in archive.iterdir()}
