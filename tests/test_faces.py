"""The names that a person imports: each says what it takes and gives, and its example runs."""

import doctest
import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

FACES = (
    "nowcast", "nowcast.radar", "nowcast.sequences", "nowcast.model", "nowcast.training",
    "nowcast.forecast", "nowcast.verification", "nowcast.report",
)  # fmt: skip


def names() -> Iterator[tuple[str, Any]]:
    """The functions and classes of all faces, each once."""
    seen = set[int]()
    for face in FACES:
        module = import_module(face)
        for name in module.__all__:
            value = getattr(module, name)
            if callable(value) and id(value) not in seen:
                seen.add(id(value))
                yield f"{face}.{name}", value


NAMES = dict(names())


@pytest.fixture
def here(mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in which the examples find archive/, runs/mine/best.pt and a forecast."""
    from nowcast import load_forecaster, open_grid, write_forecast

    for name in ("archive", "runs"):
        (tmp_path / name).symlink_to(mine / name)
    monkeypatch.chdir(tmp_path)
    model = load_forecaster("runs/mine/best.pt", device="cpu")
    write_forecast(model.forecast(open_grid("archive/*.nc")), "forecasts/one.nc")


def test_about_forty_names_are_offered() -> None:
    assert 35 <= len(NAMES) <= 60


@pytest.mark.parametrize("name", NAMES)
def test_a_name_says_what_it_takes_and_gives(name: str) -> None:
    value = NAMES[name]
    text = inspect.getdoc(value) or ""
    assert "Example:\n" in text
    if inspect.isfunction(value):
        sections = ["Args:\n"] * bool(inspect.signature(value).parameters) + ["Returns:\n"]
        assert [section for section in sections if section not in text] == []
        assert "Errors:" not in text


def test_the_examples_run(here: None) -> None:
    runner = doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    finder = doctest.DocTestFinder(recurse=False)
    for name, value in NAMES.items():
        for test in finder.find(value, name, globs=vars(inspect.getmodule(value)).copy()):
            assert test.examples, name
            runner.run(test)
    assert runner.summarize(verbose=False).failed == 0
