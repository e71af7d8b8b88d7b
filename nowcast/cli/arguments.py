"""Parsing of command-line words that mix paths, overrides and Hydra's options.

Nothing heavy is imported here.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from nowcast.errors import ConfigError, UsageError

_OVERRIDE = re.compile(r"(hydra/)?[\w.@]+=")
_LATITUDE_LONGITUDE = re.compile(r"place=[^\[\]{}'\"]*,[^\[\]{}'\"]*")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_IN_BRACES, _NAMES = re.compile(r"\{([^{}]*)\}"), re.compile(r"(?:^|,)\s*([^\s,:]+)\s*:")
_SHORT = ("-c", "-p", "-cp", "-cn", "-cd", "-i")
_LONG = ("--cfg", "--package", "--config-path", "--config-name", "--config-dir", "--info")
"""Hydra's options that take the next word as their value; the long ones may be shortened."""


def in_one_piece(words: list[str]) -> list[str]:
    """Return the words of the command line with Hydra's options last: Hydra does not accept
    options between overrides.
    """
    others, options = split_options(words)
    return [*others, *options]


def split_options(words: list[str]) -> tuple[list[str], list[str]]:
    """Split the words into (paths and overrides, Hydra's options with their values)."""
    others, options = list[str](), list[str]()
    for before, word in zip(["", *words], words, strict=False):
        is_value = before in _SHORT or (
            len(before) > 2 and any(option.startswith(before) for option in _LONG)
        )
        is_value &= not (before.startswith(("-i", "--i")) and "=" in word)  # its value is optional
        (options if word.startswith("-") or is_value else others).append(word)
    return others, options


def split_arguments(words: list[str]) -> tuple[list[str], list[str]]:
    """Split the words into (paths, overrides and options).

    key=value is an override unless a file of that name exists. A word with other characters before
    its '=' than a key can have is a path, such as archive/year=2023/*.h5.
    """
    others, options = split_options(words)
    paths, overrides = list[str](), list[str]()
    for word in others:
        is_override = word.startswith(("+", "~")) or (
            _OVERRIDE.match(word) is not None and not Path(word).exists()
        )
        (overrides if is_override else paths).append(word)
    return paths, [*overrides, *options]


def with_one_place(words: list[str]) -> list[str]:
    """Write place=52.5,13.4 as place=[52.5,13.4]: Hydra would take the comma as a sweep."""
    return [
        f"place=[{word.removeprefix('place=')}]" if _LATITUDE_LONGITUDE.fullmatch(word) else word
        for word in words
    ]


def refuse_repeated(words: Sequence[str]) -> None:
    """Refuse a word that gives a name twice, such as forecasts={a: x, a: y}: Hydra keeps only the
    last.

    Errors: ConfigError.
    """
    for word in words:
        key, _, value = word.partition("=")
        for group in _IN_BRACES.findall(_QUOTED.sub("", value)):
            names = _NAMES.findall(group)
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise ConfigError(f"{key}: names {twice[0]} twice; give each a name of its own.")


def refuse_with_start(words: Sequence[str]) -> None:
    """Refuse overrides of settings that a training takes from its start checkpoint.

    Errors: ConfigError.
    """
    for word in words:
        key = word.lstrip("+~").split("=")[0]
        group = re.split(r"[.@]", key)[0]
        if group in ("model", "inputs", "scaling"):
            raise ConfigError(
                f"{key}: a training with start= uses the {group} of its start checkpoint; leave out"
                f" {key}, or start."
            )


def predict_words(words: list[str], watch: bool) -> list[str]:
    """Translate the words of `nowcast predict` to the keys of its configuration.

    `model=x` becomes `baseline=x`, since Hydra would look for x among the models of training.
    `from=a to=b` becomes `period=[a,b]`, since `from` is a keyword of Python. A warning rule gets
    the prefix ++ that Hydra requires for new keys.

    Errors: UsageError if only one of `from` and `to` is given.
    """
    words, options = split_options(with_one_place(words))
    ends = {
        word.split("=")[0]: word.split("=", 1)[1]
        for word in words
        if word.startswith(("from=", "to="))
    }
    if len(ends) == 1:
        raise UsageError("from, to: give both, the first and the last time to forecast from.")
    period = f"period=[{ends.get('from')},{ends.get('to')}]"
    renamed = [
        f"baseline={word.removeprefix('model=')}"
        if word.startswith("model=")
        else f"++{word}"
        if word.startswith(("warnings.rules.", "warnings.rules="))
        else word
        for word in words
    ]
    named = [
        period if word.startswith("from=") else word
        for word in renamed
        if not word.startswith("to=")
    ]
    return [*named, *(["watch=true"] if watch else []), *options]
