"""The foot of a page or a picture: the source of the data, what made it, when, and its licence.

Only what a file or a setting states is given; nothing stands for what they do not state.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

from nowcast.places.zone import zone_name
from nowcast.version import __version__

Facts = list[tuple[str, str]]
"""What a foot states: names and words."""

_INPUT = {
    "radar": "input_institution",
    "radar product": "input_title",
    "licence of the radar data": "input_license",
}
_NOT_STATED = ("", "not stated")
_DIGITS = 12
"""Digits of a checksum that are shown."""
MODEL = "model"
"""The name of a fact on a model, or its start if there are several."""


def facts_of_forecast(attrs: Mapping[Any, Any], zone: tzinfo = UTC) -> Facts:
    """Return the facts of a forecast from its attributes, times in a zone."""
    stated = {str(name): str(value) for name, value in attrs.items()}
    ours = {"forecast by": "institution", "licence of the forecast": "license"}
    facts = _stated(stated, {**_INPUT, **ours, "contact": "contact"})
    facts.append(("method", method_of(stated)))
    facts += _known("program", stated.get("source", "").partition(":")[0])
    with suppress(ValueError):  # another program changed the history
        made = datetime.fromisoformat(stated.get("history", "")[:20]).astimezone(zone)
        facts.append(("made", f"{made:%Y-%m-%d %H:%M} {zone_name(made)}"))
    return facts


def facts_of_counts(attrs: Mapping[Any, Any], made: datetime | None = None) -> Facts:
    """Return the facts of an evaluation from the attributes of its counts.

    made: when the page or picture is made; None is now.
    """
    settings: dict[str, Any] = json.loads(attrs.get("settings", "{}"))
    data = settings.get("data") or {}
    stated = {str(name): str(value) for name, value in attrs.items()}
    return [
        *_known("counts", _several(settings.get("counts"))),
        *_known("data", str(data.get("path") or data.get("name") or "")),
        *_stated(stated, _INPUT),
        *_known("forecast files", _several(settings.get("forecasts"))),
        *_models(settings.get("checkpoint"), str(attrs.get("checkpoint_sha256", ""))),
        *made_now(made),
    ]


def facts_of_training(checkpoint: Path, checksum: str) -> Facts:
    """Return the facts of a training that ends now: its best checkpoint, program and date."""
    return [*_known(MODEL, _named(str(checkpoint), checksum) if checksum else ""), *made_now()]


def made_now(made: datetime | None = None) -> Facts:
    """Return the program and the date of making, in UTC; None is now."""
    moment = datetime.now(UTC) if made is None else made.astimezone(UTC)
    return [("program", f"nowcast {__version__}"), ("made", f"{moment:%Y-%m-%d %H:%M} UTC")]


def joined(parts: Sequence[Facts]) -> Facts:
    """Return the facts of several forecasts, each name once, with all its different words."""
    names = dict.fromkeys(name for facts in parts for name, _ in facts)
    return [
        (
            name,
            "; ".join(dict.fromkeys(words for facts in parts for n, words in facts if n == name)),
        )
        for name in names
    ]


def line_of(facts: Facts) -> str:
    """Return facts as the small line of a picture: "radar: KNMI · program: nowcast 0.1.0"."""
    return " · ".join(f"{name}: {' '.join(words.split())}" for name, words in facts)


def method_of(attrs: Mapping[str, str]) -> str:
    """Return the name of a forecast's method; for a model its file name and short checksum, for
    several models their number.
    """
    method = attrs.get("method", MODEL)
    if method != MODEL or "checkpoint" not in attrs:
        return method.replace("_", " ")
    with suppress(ValueError, TypeError):  # of one path
        return f"{len(json.loads(attrs['checkpoint']))} models as one"
    return f"model {_named(attrs['checkpoint'], attrs.get('checkpoint_sha256', ''))}"


def _models(checkpoint: Any, checksums: str) -> Facts:
    """Return each model of an evaluation by its name."""
    if isinstance(checkpoint, dict):
        digits = json.loads(checksums) if checksums else {}
        return [
            fact
            for name, one in checkpoint.items()
            for fact in _of_model(f"{MODEL} {name}", one, digits.get(name, ""))
        ]
    return _of_model(MODEL, checkpoint, checksums)


def _of_model(name: str, checkpoint: Any, checksums: str) -> Facts:
    paths = checkpoint if isinstance(checkpoint, list) else [checkpoint or ""]
    digits = checksums.split(", ")
    digits += [""] * (len(paths) - len(digits))
    words = [_named(str(path), sha) for path, sha in zip(paths, digits, strict=False)]
    return _known(name, ", ".join(filter(None, words)))


def _named(checkpoint: str, checksum: str) -> str:
    """Return "best.pt (SHA-256 ab12cd34ef56)"."""
    name = Path(checkpoint).name
    short = f"SHA-256 {checksum[:_DIGITS]}" if checksum else ""
    return f"{name} ({short})" if name and short else name or short


def _several(paths: Any) -> str:
    """Return one path, or the first and how many more; a group of paths one after the other."""
    if isinstance(paths, dict):
        return ", ".join(f"{name}: {_several(one)}" for name, one in paths.items())
    if isinstance(paths, list) and paths:
        return str(paths[0]) + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
    return str(paths or "")


def _stated(attrs: Mapping[str, str], names: Mapping[str, str]) -> Facts:
    return [fact for words, name in names.items() for fact in _known(words, attrs.get(name, ""))]


def _known(name: str, words: str) -> Facts:
    """Return a fact, or nothing if the words are empty or say that nothing is stated."""
    return [] if words in _NOT_STATED else [(name, words)]
