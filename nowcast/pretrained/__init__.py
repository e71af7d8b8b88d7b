"""The pretrained model that comes with nowcast: a checkpoint and its card.

The card is JSON for programs and Markdown for people. It contains the SHA-256 of the checkpoint, so
that a different file is noticed before it is used.
"""

import glob
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from nowcast.errors import ConfigError, DataError, MissingInputError
from nowcast.files import sha256

FOLDER = Path(__file__).parent

PRETRAINED = "pretrained"
"""The name of the model, used as `checkpoint=pretrained`."""

SUFFIX = ".pt"


def model_names() -> list[str]:
    """Return the names of the models that come with nowcast."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def card_of(name: str) -> Mapping[str, Any]:
    """Return the card of a model as a mapping.

    Raises:
        MissingInputError: if there is no model of this name.
        DataError: if its card cannot be read.
    """
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        raise MissingInputError(
            f"{name}: no model of this name comes with nowcast; choose from"
            f" {', '.join(model_names()) or 'none, in this installation'}."
        )
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _not_ours(path) from error
    if not isinstance(card, dict) or not {"summary", "sha256"} <= set(card):
        raise _not_ours(path)
    return card


def card_text(name: str) -> str:
    """Return the card of a model in Markdown.

    Raises:
        MissingInputError: if there is no model of this name.
        DataError: if its card cannot be read.
    """
    card_of(name)
    path = FOLDER / f"{name}.md"
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise _not_ours(path) from error


def data_of(name: str) -> str:
    """Return the training data of a model with their licences; empty if its card names none.

    Raises:
        MissingInputError: if there is no model of this name.
        DataError: if its card cannot be read.
    """
    rows = card_of(name).get("trained_on", [])
    return "; ".join(f"{row['radar']}, {row['days']} ({row['licence']})" for row in rows)


@cache
def path_of(name: str) -> Path:
    """Return the checkpoint of a model after verifying its checksum.

    Raises:
        MissingInputError: if there is no model of this name.
        DataError: if it does not match its card.
    """
    card, path = card_of(name), FOLDER / f"{name}{SUFFIX}"
    if not path.is_file() or sha256(path) != card["sha256"]:
        raise _not_ours(path)
    return path


def _not_ours(path: Path) -> DataError:
    """Return the error for a file that did not come with this version of nowcast."""
    return DataError(
        f"{path}: is not the file that came with this version of nowcast; install nowcast again."
    )


def checkpoint_path(checkpoint: str) -> str:
    """Return the path of a checkpoint, given as a path or as the name of a model in nowcast."""
    return str(path_of(checkpoint)) if checkpoint in model_names() else checkpoint


def checkpoint_paths(given: str | Sequence[str]) -> list[str]:
    """Return the existing checkpoints of one or several paths or globs, in this order, those of a
    glob sorted.

    Raises:
        MissingInputError: if a glob matches none.
        ConfigError: if two of them are the same file.
    """
    found: list[str] = []
    for one in [given] if isinstance(given, str) else given:
        named = checkpoint_path(one)
        if glob.has_magic(named) and not Path(named).expanduser().exists():
            paths = sorted(glob.glob(str(Path(named).expanduser()), recursive=True))
            if not paths:
                raise MissingInputError(
                    f"{named}: no such checkpoint; give those that 'nowcast train' wrote, such as"
                    " checkpoint='runs/*/best.pt'."
                )
            found += paths
        else:
            found.append(named)
    _refuse_same(found, [str(Path(one).expanduser().resolve()) for one in found], "file")
    return found


def refuse_same_model(checkpoints: Sequence[str]) -> None:
    """Refuse to count a model twice in a forecast.

    Raises:
        ConfigError: if two checkpoints are identical, byte for byte.
        MissingInputError, InputOutputError: if one of several cannot be read.
    """
    if len(checkpoints) > 1:
        _refuse_same(checkpoints, list(map(sha256, checkpoints)), "model")


def _refuse_same(checkpoints: Sequence[str], marks: Sequence[str], what: str) -> None:
    first: dict[str, str] = {}
    for one, mark in zip(checkpoints, marks, strict=True):
        if mark in first:
            raise ConfigError(
                f"checkpoint: {checkpoint_name(first[mark])} and {checkpoint_name(one)} are the"
                f" same {what}, which would count twice in one forecast; give each once."
            )
        first[mark] = one


def checkpoint_name(path: str | Sequence[str]) -> str:
    """Return the name of one or several checkpoints in files and logs: the path, or the name of a
    model that comes with nowcast.
    """
    if not isinstance(path, str):
        return ", ".join(map(checkpoint_name, path))
    return Path(path).stem if is_shipped(path) else path


def is_shipped(path: str) -> bool:
    """Return whether this is the path of a checkpoint that comes with nowcast."""
    return Path(path).parent == FOLDER


FACE: dict[str, str] = {}
"""The modules that other rooms may import, and what they give."""
