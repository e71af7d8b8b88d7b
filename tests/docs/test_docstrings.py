"""Docstrings of nowcast as the API page takes them."""

import sys
from importlib import import_module
from pathlib import Path

import pytest


@pytest.fixture
def convert(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "docs")
    yield import_module("docstrings").as_restructured_text
    sys.modules.pop("docstrings")


def test_a_formula_is_a_literal_block_and_a_star_is_a_star(convert) -> None:
    assert convert(["A product (b, *grid), `a * b`:", "", "    h = o * c", "", "That is all."]) == [
        "A product (b, \\*grid), `a * b`:", "", "::", "", "    h = o * c", "", "That is all.",
    ]  # fmt: skip


def test_further_lines_of_an_argument_are_indented(convert) -> None:
    assert convert(["Args:", "    size: a number", "    or several.", "    *more: others."]) == [
        "Args:", "    size: a number", "        or several.", "    \\*more: others.",
    ]  # fmt: skip


def test_examples_stay(convert) -> None:
    lines = ["Example:", "    >>> f(*[1, 2])", "    3"]
    assert convert(lines) == lines


def test_fields_outside_of_sections_are_paragraphs(convert) -> None:
    lines = ["What it is made from.", "", "name: of it.", "size, seed: of all", "    of them."]
    assert convert(lines) == [*lines[:3], "", "size, seed: of all", "of them."]
