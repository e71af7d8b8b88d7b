"""Check a user's YAML files before anything is built from them, and limit what they can expand
to.
"""

import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent, ScalarEvent

from nowcast.console import is_text
from nowcast.errors import ConfigError

MOST_BYTES = 2**18
MOST_NODES = 10_000
DEEPEST = 40
MOST_DIGITS = 30

_INTEGER = re.compile(r"[-+]?(0[xob])?[0-9a-f_:]+", re.IGNORECASE)
_TAGS = {
    None,
    "!",
    *(
        f"tag:yaml.org,2002:{kind}"
        for kind in ("str", "int", "float", "bool", "null", "seq", "map")
    ),
}


def check_yaml(path: str | Path) -> None:
    """Errors: ConfigError, naming file and line, for a file that is not UTF-8, not YAML, or larger
    than a configuration needs.
    """
    text = _text(Path(path))
    try:
        _refuse_huge(yaml.parse(text, Loader=yaml.SafeLoader), path)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError(
            f"{path}: not valid YAML"
            f" ({error.problem or error.context}{f', line {mark.line + 1}' if mark else ''})."
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML ({' '.join(str(error).split())}).") from error


def _text(path: Path) -> str:
    about = path.stat()
    if not stat.S_ISREG(about.st_mode) or about.st_size > MOST_BYTES:
        raise ConfigError(
            f"{path}: not a regular file, or larger than {MOST_BYTES} bytes; give another."
        )
    content = path.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}: line {line} is not UTF-8; save the file as UTF-8.") from error
    if text.startswith("\ufeff"):
        raise ConfigError(f"{path}: starts with a byte order mark; save it as UTF-8 without one.")
    return text


def _refuse_huge(events: Iterable[Any], path: str | Path) -> None:
    """Count the nodes with each alias expanded, without expanding any, and refuse too many."""
    sizes: dict[str, int] = {}  # nodes below each complete anchor
    # the anchor of each open collection, and its number of nodes
    counts: list[tuple[str | None, int]] = [(None, 0)]
    for event in events:
        where = f"{path}: line {event.start_mark.line + 1}"
        if isinstance(event, CollectionEndEvent):
            anchor, size = counts.pop()
        elif isinstance(event, NodeEvent):
            anchor, size = event.anchor, 1
        else:
            continue
        if isinstance(event, CollectionStartEvent | ScalarEvent):
            _refuse_value(event, where)
            if len(counts) == 1 and isinstance(event, ScalarEvent) and not _is_nothing(event):
                raise ConfigError(f"{where}: no keys with values; write them as 'key: value'.")
        if isinstance(event, CollectionStartEvent):
            counts.append((anchor, size))
            if len(counts) > DEEPEST:
                raise ConfigError(
                    f"{where}: more than {DEEPEST} levels of nesting; no configuration needs so"
                    " many."
                )
            continue
        if isinstance(event, AliasEvent):
            if any(anchor == one for one, _ in counts):
                raise ConfigError(f"{where}: *{anchor} refers to itself; leave it out.")
            size = sizes.get(event.anchor, 1)
        elif anchor is not None:
            sizes[anchor] = size
        counts[-1] = (counts[-1][0], counts[-1][1] + size)
        if sum(count for _, count in counts) > MOST_NODES:
            raise ConfigError(
                f"{where}: more than {MOST_NODES} values, counting repeats by aliases; no"
                " configuration needs so many."
            )


def _refuse_value(event: Any, where: str) -> None:
    if event.tag not in _TAGS:
        raise ConfigError(
            f"{where}: the tag {event.tag!r} is not allowed in a configuration; leave it out."
        )
    if isinstance(event, ScalarEvent) and not is_text(event.value):
        raise ConfigError(
            f"{where}: a text with \\0 or a lone surrogate such as \\uD800, which no file name may"
            " contain; leave it out."
        )
    if isinstance(event, ScalarEvent) and len(event.value) > MOST_DIGITS and _is_number(event):
        raise ConfigError(
            f"{where}: a number of more than {MOST_DIGITS} digits; give a smaller one."
        )


def _is_nothing(event: Any) -> bool:
    """Return whether this is the single null value of a document with only comments."""
    return event.implicit[0] and event.value in ("", "~", "null")


def _is_number(event: Any) -> bool:
    plain = event.implicit[0] and re.match(r"[-+]?\d", event.value)
    return bool(
        (plain or str(event.tag).endswith((":int", ":float"))) and _INTEGER.fullmatch(event.value)
    )
