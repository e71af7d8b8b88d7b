"""One path, or several with names: `a.pt`, `[a.pt, b.pt]` or `{ours: a.pt, wide: b.pt}`; several
models that make one forecast: `{both: [a.pt, b.pt]}`.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import PurePath
from typing import Any, TypeVar

from nowcast.errors import ConfigError

Value = TypeVar("Value", bound="str | list[str]")
Named = str | dict[str, Value] | None
_GLOB, _SUFFIX = re.compile(r"[*?\[]"), re.compile(r"\.(pt|nc)$")


def named_paths(key: str, given: Any) -> Named[str]:
    """Return a single path unchanged, and several by name; paths of a list are named by the parts
    in which they differ.

    Errors: ConfigError naming the key, if a path or a name is empty, or two are the same.
    """
    return _named(key, given, _path)


def named_models(key: str, given: Any) -> Named[str | list[str]]:
    """Return paths as `named_paths`; a name may have a list of models that make one forecast.

    Errors: as `named_paths`.
    """
    return _named(key, given, one_or_several)


def one_or_several(key: str, given: Any) -> str | list[str]:
    """Return a path or a glob unchanged, and several paths as a list.

    Errors: ConfigError naming the key, if no path is given, or one is empty or given twice.
    """
    if not isinstance(given, list) or not given:
        return _path(key, given)
    paths = _each_once(key, given)
    return paths if len(paths) > 1 else paths[0]


def by_name(given: Named[Value]) -> dict[str, str | Value]:
    """Return paths by name; the name of a single one is ""."""
    return {} if given is None else {"": given} if isinstance(given, str) else {**given}


def _named(key: str, given: Any, read: Callable[[str, Any], Value]) -> Named[Value]:
    if given is None:
        return None
    if isinstance(given, list) and given:
        paths = _each_once(key, given)
        return dict(zip(_names(paths), map(partial(read, key), paths), strict=True))
    if isinstance(given, dict) and given:
        if not all(str(name).strip() for name in given):
            raise ConfigError(f"{key}: a name is empty; give one, as in {{ours: {key}s/a}}.")
        return {str(name): read(key, path) for name, path in given.items()}
    return _path(key, given)


def _each_once(key: str, given: Sequence[Any]) -> list[str]:
    paths = [_path(key, one) for one in given]
    if len(set(paths)) < len(paths):
        raise ConfigError(f"{key}: {', '.join(paths)} has a path twice; give each path once.")
    return paths


def _path(key: str, given: Any) -> str:
    """Return a path as text; YAML reads a folder name such as 2018 as a number."""
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        raise ConfigError(
            f"{key}: give a path, several as [a, b], or several with names as {{ours: a, theirs:"
            f" b}}, not {given}."
        )
    if not str(given).strip():
        raise ConfigError(f"{key}: is empty; give a path.")
    return str(given)


def _names(paths: Sequence[str]) -> list[str]:
    """Return the last parts that differ between paths: a and b for a/best.pt and b/best.pt."""
    parts = [_parts(path) for path in paths]
    while len(parts) > 1 and min(map(len, parts)) > 1 and len({one[-1] for one in parts}) == 1:
        parts = [one[:-1] for one in parts]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(one[-length:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    return list(paths)


def _parts(path: str) -> list[str]:
    """Return the parts of a path without the suffix, the root and parts with wildcards."""
    parts = PurePath(_SUFFIX.sub("", path)).parts
    fixed = [one for one in parts if not _GLOB.search(one) and one.strip("/")]
    return fixed or [path]
