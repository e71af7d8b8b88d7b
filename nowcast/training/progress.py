"""How far a training has come, and how that is told."""

import json
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tqdm import tqdm

from nowcast.training.choice import EpochRow

T = TypeVar("T")


@dataclass
class Progress:
    """How far a run has come; with weights, optimizer, schedule and RNG it is all that a
    resumed run needs.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    history: list[EpochRow] = field(default_factory=list)


def bar(
    items: Iterable[T], total: int, label: str, initial: int = 0, shown: bool = True
) -> "tqdm[T]":
    """Return the items with a progress bar on a terminal; nothing in a log."""
    return tqdm(
        items,
        label,
        total,
        initial=initial,
        leave=False,
        disable=None if shown else True,
        file=sys.stderr,
        dynamic_ncols=True,
    )


def as_json(values: Mapping[str, Any]) -> str:
    """One line of JSON, which has no NaN: what is undefined is null."""
    return json.dumps(
        {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in values.items()
        }
    )


def in_words(score: float) -> str:
    """A score with four digits, or that it is undefined."""
    return "undefined" if math.isnan(score) else f"{score:.4f}"
