"""The models that come with nowcast: named, described, sealed."""

import json
from pathlib import Path

import pytest

from nowcast import pretrained
from nowcast.errors import DataError, MissingInputError
from nowcast.files import sha256
from nowcast.pretrained import (
    card_of,
    card_text,
    checkpoint_name,
    checkpoint_path,
    data_of,
    model_names,
    path_of,
)
from nowcast.training.checkpoints import read_checkpoint

LARGEST = 5_000_000
"""Bytes of a model in the package."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one model."""
    (tmp_path / "mine.pt").write_bytes(b"weights")
    card = {"summary": "mine", "sha256": sha256(tmp_path / "mine.pt")}
    (tmp_path / "mine.json").write_text(json.dumps(card))
    (tmp_path / "mine.md").write_text("# Mine\n")
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    path_of.cache_clear()
    yield tmp_path
    path_of.cache_clear()


def test_a_model_is_found_by_its_name(folder: Path) -> None:
    assert model_names() == ["mine"]
    assert checkpoint_path("mine") == str(folder / "mine.pt")
    assert checkpoint_name(str(folder / "mine.pt")) == "mine"
    assert card_text("mine") == "# Mine\n"


def test_a_file_of_the_user_stays_what_it_is(folder: Path) -> None:
    assert checkpoint_path("runs/a/best.pt") == checkpoint_name("runs/a/best.pt")


def test_another_file_in_its_place_is_refused(folder: Path) -> None:
    (folder / "mine.pt").write_bytes(b"others")
    with pytest.raises(DataError, match="mine.pt: is not the file that came with this version"):
        path_of("mine")


@pytest.mark.parametrize("card", [b"", b'{"sha256": "ab', b"[]", b"{}", b"\xff\xfe"])
def test_a_broken_card_is_refused(folder: Path, card: bytes) -> None:
    (folder / "mine.json").write_bytes(card)
    for ask in (card_of, card_text, path_of):
        with pytest.raises(DataError, match="mine.json: is not the file that came with"):
            ask("mine")


def test_a_card_without_its_text_is_refused(folder: Path) -> None:
    (folder / "mine.md").unlink()
    with pytest.raises(DataError, match="mine.md: is not the file that came with"):
        card_text("mine")


def test_an_unknown_name_is_answered_by_those_there_are(folder: Path) -> None:
    with pytest.raises(MissingInputError, match="moon: no model of this name.*mine"):
        card_of("moon")


@pytest.mark.parametrize("name", model_names())
def test_each_model_in_the_package_is_whole_and_described(name: str) -> None:
    card = card_of(name)
    assert path_of(name).stat().st_size == card["bytes"] <= LARGEST
    assert {"summary", "licence", "trained_on", "pixel_km", "timestep_minutes", "limits"} <= set(
        card
    )
    assert card["sha256"] in card_text(name)
    for row in card["trained_on"]:
        assert row["licence"] and f"{row['radar']}, {row['days']} ({row['licence']})" in data_of(
            name
        )


@pytest.mark.parametrize("name", model_names())
def test_each_model_in_the_package_opens(name: str) -> None:
    read = read_checkpoint(path_of(name))
    assert read["weights"] and read["calibration"]
