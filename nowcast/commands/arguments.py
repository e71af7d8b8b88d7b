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
    period = f"period=[{ends.get('from')},{ends.get('to')}]"
    renamed = [f"baseline={word.removeprefix('model=')}" if word.startswith("model=") else word for word in words]
    named = [period if word.startswith("from=") else word for word in renamed if not word.startswith("to=")]
    return _beside_others(named, "watch=true") if watch else named


def _beside_others(words: list[str], override: str) -> list[str]:
    """With one more override after the last of them: Hydra wants them in one piece, no option in between."""
    before = ["", *words]
    last = max(
        (k for k, word in enumerate(words, 1) if not word.startswith("-") and before[k - 1] not in _WITH_VALUE), default=None
    )
    place = len(words) if last is None else last
    return [*words[:place], override, *words[place:]]
