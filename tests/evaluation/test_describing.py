"""How often `nowcast evaluate` looks into each file of the archive."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import Outcome

from nowcast.radar.reading.file import RadarFile, ReadOptions
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
