"""Words of the command line that mix paths, overrides and Hydra's options.

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
"""Hydra's options that take the word that follows; the long ones may be shortened."""


def in_one_piece(words: list[str]) -> list[str]:
    """The words of the command line with Hydra's options last, since Hydra wants its overrides
    in one piece, no option in between.
    """
    others, options = split_options(words)
    return [*others, *options]


def split_options(words: list[str]) -> tuple[list[str], list[str]]:
    """The words of the command line → (paths and overrides, Hydra's options with their values)."""
    others, options = list[str](), list[str]()
    for before, word in zip(["", *words], words, strict=False):
        is_value = before in _SHORT or (
            len(before) > 2 and any(option.startswith(before) for option in _LONG)
        )
        is_value &= not (before.startswith(("-i", "--i")) and "=" in word)  # it need not have one
        (options if word.startswith("-") or is_value else others).append(word)
    return others, options


def split_arguments(words: list[str]) -> tuple[list[str], list[str]]:
    """The words of the command line → (paths, overrides and options): key=value is an override
    where there is no such file, and what has other signs before its '=' than a key has is a
    path, as archive/year=2023/*.h5.
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
    """The words with place=52.5,13.4 as place=[52.5,13.4]: to Hydra a comma makes a sweep."""
    return [
        f"place=[{word.removeprefix('place=')}]" if _LATITUDE_LONGITUDE.fullmatch(word) else word
        for word in words
    ]


def refuse_repeated(words: Sequence[str]) -> None:
    """Refuse a word that gives a name twice, as forecasts={a: x, a: y}: Hydra keeps only the last.

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
    """Refuse words that choose what a training takes from the checkpoint it starts from.

    Errors: ConfigError.
    """
    for word in words:
        key = word.lstrip("+~").split("=")[0]
        group = re.split(r"[.@]", key)[0]
        if group in ("model", "inputs", "scaling"):
            raise ConfigError(
                f"{key}: a training with start= has the {group} of the checkpoint that it starts"
                f" from; leave out {key}, or start."
            )


def predict_words(words: list[str], watch: bool) -> list[str]:
    """The words of `nowcast predict` as the keys of its configuration have it: `model=x` is
    `baseline=x`, for Hydra would look for it among the models of training; `from=a to=b` is
    `period=[a,b]`, for no key of Python's can be called `from`; a rule of warnings is new, so that
    Hydra wants ++.

    Errors: UsageError where only one of `from` and `to` is given.
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
