"""The trained model that comes with nowcast: a checkpoint, and a card that says what it is.

A card is JSON for programs and Markdown for people. It holds the SHA-256 of its checkpoint, so that
another file in its place is noticed before it is used.
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
"""The name of the model, as `checkpoint=pretrained`."""

SUFFIX = ".pt"


def model_names() -> list[str]:
    """Return the names of the models that come with nowcast."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def card_of(name: str) -> Mapping[str, Any]:
    """Return what is known of a model.

    Raises:
        MissingInputError: if there is no model of this name.
        DataError: if its card cannot be read.
    """
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        raise MissingInputError(
            f"{name}: no model of this name comes with nowcast; choose among"
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
    """Return the data that a model was trained on, with their licences; empty if its card names
    none.

    Raises:
        MissingInputError: if there is no model of this name.
        DataError: if its card cannot be read.
    """
    rows = card_of(name).get("trained_on", [])
    return "; ".join(f"{row['radar']}, {row['days']} ({row['licence']})" for row in rows)


@cache
def path_of(name: str) -> Path:
    """Return the checkpoint of a model, its seal verified.

    Raises:
        MissingInputError: if there is no model of this name.
        DataError: if it is not the file that its card describes.
    """
    card, path = card_of(name), FOLDER / f"{name}{SUFFIX}"
    if not path.is_file() or sha256(path) != card["sha256"]:
        raise _not_ours(path)
    return path


def _not_ours(path: Path) -> DataError:
    """What to say of a file that this version of nowcast did not bring."""
    return DataError(
        f"{path}: is not the file that came with this version of nowcast; install it again."
    )


def checkpoint_path(checkpoint: str) -> str:
    """Return the path of a checkpoint: of a file, or of a model that comes with nowcast."""
    return str(path_of(checkpoint)) if checkpoint in model_names() else checkpoint


def checkpoint_paths(given: str | Sequence[str]) -> list[str]:
    """Return the checkpoints that are there now of a path or a glob, or of several, in this order
    and those of a glob sorted.

    Raises:
        MissingInputError: if a glob finds none.
        ConfigError: if two of them are the same file.
    """
    found: list[str] = []
    for one in [given] if isinstance(given, str) else given:
        named = checkpoint_path(one)
        if glob.has_magic(named) and not Path(named).expanduser().exists():
            paths = sorted(glob.glob(str(Path(named).expanduser()), recursive=True))
            if not paths:
                raise MissingInputError(
                    f"{named}: no such checkpoint; give those that 'nowcast train' wrote, as"
                    " checkpoint='runs/*/best.pt'."
                )
            found += paths
        else:
            found.append(named)
    _refuse_same(found, [str(Path(one).expanduser().resolve()) for one in found], "file")
    return found


def refuse_same_model(checkpoints: Sequence[str]) -> None:
    """Refuse to count one model twice in a forecast.

    Raises:
        ConfigError: if two checkpoints hold the same, byte for byte.
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
    """Return how a checkpoint is called in files and logs, or several: by its path, or by its name
    if it comes with nowcast.
    """
    if not isinstance(path, str):
        return ", ".join(map(checkpoint_name, path))
    given = Path(path)
    return given.stem if given.parent == FOLDER else path


FACE: dict[str, str] = {}
"""The modules that other rooms may import, and what they give."""
