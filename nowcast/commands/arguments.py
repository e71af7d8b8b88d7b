"""Words of the command line that mix paths and overrides. Nothing heavy is imported here."""

import re
from pathlib import Path

from nowcast.errors import UsageError

_OVERRIDE = re.compile(r"(hydra/)?[\w.@]+=")
_WITH_VALUE = {
    "--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd", "--info", "-i",
}  # fmt: skip
"""Hydra's options that take the word that follows."""


def split_arguments(words: list[str]) -> tuple[list[str], list[str]]:
    """The words of the command line → (paths, overrides): key=value is an override where there is no such file, and what has other
    signs before its '=' than a key has is a path, as archive/year=2023/*.h5."""
    paths, overrides = list[str](), list[str]()
    for before, word in zip(["", *words], words, strict=False):
        is_override = word.startswith(("-", "+", "~")) or before in _WITH_VALUE
        is_override |= _OVERRIDE.match(word) is not None and not Path(word).exists()
        (overrides if is_override else paths).append(word)
    return paths, overrides


def predict_words(words: list[str], watch: bool) -> list[str]:
    """The words of `nowcast predict` as the keys of its configuration have it: `model=x` is `baseline=x`, for Hydra would look for
    it among the models of training; `from=a to=b` is `period=[a,b]`, for no key of Python's can be called `from`.

    Errors: UsageError where only one of `from` and `to` is given.
    """
    ends = {word.split("=")[0]: word.split("=", 1)[1] for word in words if word.startswith(("from=", "to="))}
    if len(ends) == 1:
        raise UsageError("from, to: give both, the first and the last time to forecast from.")
    rest = [word for word in words if not word.startswith(("from=", "to="))]
    renamed = [f"baseline={word.removeprefix('model=')}" if word.startswith("model=") else word for word in rest]
    period = [f"period=[{ends['from']},{ends['to']}]"] if ends else []
    return [*renamed, *period, *(["watch=true"] if watch else [])]
