"""The language of the project: uncommon idioms are counted, and stay rare."""

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
IDIOMS = [
    re.compile(line, re.IGNORECASE)
    for line in (ROOT / "tests/idioms.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
MOST_PER_1000_WORDS = 1


def texts(path: Path) -> list[str]:
    """The docstrings, comments and messages of a Python file; all of another file."""
    if path.suffix != ".py":
        return [path.read_text()]
    wanted = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)}
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    return [token.string for token in tokens if token.type in wanted]


def found(text: str) -> list[str]:
    return [match.group() for idiom in IDIOMS for match in idiom.finditer(text)]


@pytest.mark.parametrize("folder", ["nowcast", "configs", "docs"])
def test_uncommon_idioms_are_rare(folder: str) -> None:
    paths = [path for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".yaml", ".md")]
    every = [(path, text) for path in paths for text in texts(path)]
    words = sum(len(re.findall(r"[A-Za-z]{2,}", text)) for _, text in every)
    hits = [f"{path.relative_to(ROOT)}: {hit}" for path, text in every for hit in found(text)]
    assert words > 1000
    assert len(hits) <= MOST_PER_1000_WORDS * words / 1000, "\n".join(hits)


def test_an_idiom_is_found_and_a_plain_sentence_is_not() -> None:
    assert found("The pixels, of which none is wet, are left as they are.") == [
        "of which",
        "as they are",
    ]
    assert found("Return the frame's time parsed from its file name, or None.") == []


def test_the_readme_can_be_read_in_a_minute() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
