"""The progress of a training, and how it is shown."""

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
    """The progress of a run. Together with weights, optimizer, schedule and RNG state it is all
    that a resumed run needs.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    history: list[EpochRow] = field(default_factory=list)


def bar(
    items: Iterable[T], total: int, label: str, initial: int = 0, shown: bool = True
) -> "tqdm[T]":
    """Return the items with a progress bar, which is only shown on a terminal."""
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
    """Return one line of JSON; NaN, which JSON lacks, becomes null."""
    return json.dumps(
        {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in values.items()
        }
    )


def in_words(score: float) -> str:
    """Return a score with four decimals, or 'undefined' for NaN."""
    return "undefined" if math.isnan(score) else f"{score:.4f}"
