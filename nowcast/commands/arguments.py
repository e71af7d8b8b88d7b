"""Words of the command line that mix paths and overrides. Nothing heavy is imported here."""

import re
from pathlib import Path

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
