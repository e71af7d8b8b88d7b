"""Docstrings of nowcast are plain text; Sphinx reads reStructuredText. This makes the one into the
other as the API page is built.
"""

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_SECTION = re.compile(r"( *)(Args|Raises):")
_SECTIONS = re.compile(r" *(Args|Raises|Returns|Yields|Errors|Examples?|References|Note):")
_ENTRY = re.compile(r" *\*{0,2}\w[\w.,* ]*(\(.*\))?:( |$)")

_FIELD = re.compile(r" *[a-z_]+(, [a-z_]+)*: ")


def setup(app: "Sphinx") -> dict[str, bool]:
    """Work before napoleon, which makes fields of the sections."""
    app.connect("autodoc-process-docstring", _process, priority=400)
    return {"parallel_read_safe": True}


def _process(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    lines[:] = as_restructured_text(lines)
    if what in ("attribute", "property", "data") and lines and ": " in lines[0]:
        lines[0] = f": {lines[0]}"  # else napoleon takes what precedes the colon for a type


def as_restructured_text(lines: list[str]) -> list[str]:
    """Return a docstring with formulas and code as literal blocks, stars that begin no emphasis,
    and arguments whose further lines are indented.
    """
    found: list[str] = []
    before, is_literal, section = 0, False, -1
    is_in_section, section_indent = False, 0
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if not line:
            found.append(line)
            continue
        if is_literal and indent <= before:
            is_literal = False
        if section >= 0 and indent <= section:
            section = -1
        is_in_section = is_in_section and indent > section_indent
        if not is_literal and number and not lines[number - 1] and indent > before:
            found += [f"{' ' * before}::", ""]
            is_literal = True
        if is_literal:
            found.append(line)
            continue
        follows = bool(number and lines[number - 1])
        if not is_in_section and follows and indent > before:
            found.append(f"{' ' * before}{_plain(line.lstrip())}")  # goes on with the line above
            continue
        if not is_in_section and follows and _FIELD.match(line) and found[-1].endswith("."):
            found.append("")  # `name: what it is`, a paragraph each
        if section >= 0 and indent == section + 4 and not _ENTRY.match(line):
            found.append(f"    {_plain(line)}")  # goes on with the argument above
        else:
            found.append(_plain(line))
        before = indent
        if number and lines[number - 1].strip() == "Returns:" and ":" in line:
            found[-1] = f"{' ' * indent}: {_plain(line.lstrip())}"  # no type before the colon
        if _SECTIONS.fullmatch(line):
            is_in_section, section_indent = True, indent
        if match := _SECTION.fullmatch(line):
            section = len(match[1])
    return found


def _plain(line: str) -> str:
    """A line whose stars stand for themselves, except between backquotes and in a doctest."""
    if line.lstrip().startswith((">>>", "...")):
        return line
    parts = line.split("`")
    return "`".join(
        part if k % 2 else re.sub(r"\*(?=\S)", r"\\*", part) for k, part in enumerate(parts)
    )
