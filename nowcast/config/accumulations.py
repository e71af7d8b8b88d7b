"""Checks of the accumulation keys, which `nowcast predict` and `nowcast evaluate` share."""

from collections.abc import Sequence

from nowcast.config.checks import thresholds
from nowcast.config.effects import default_values
from nowcast.errors import ConfigError

_LONGEST = 1440
"""Minutes of a day."""


def accumulations(
    command: str,
    minutes: Sequence[int],
    amounts: Sequence[float],
    *,
    for_members: str | None = None,
) -> None:
    """Check the accumulation keys.

    Args:
        command: name of the command.
        minutes: durations of the sums.
        amounts: thresholds in mm.
        for_members: setting that gives the forecast members; None if it already has members.

    Raises:
        ConfigError: if durations or thresholds do not increase or are out of range, or if
            thresholds have no effect.
    """
    numbers = all(isinstance(one, int) for one in minutes)
    rising = numbers and sorted(set(minutes)) == list(minutes)
    if not rising or (minutes and not 1 <= minutes[0] <= minutes[-1] <= _LONGEST):
        raise ConfigError(
            f"accumulations: give minutes from 1 to {_LONGEST}, each above the one before, as in"
            f" [30, 60], not {list(minutes)}."
        )
    thresholds("accumulation_thresholds", amounts, "amounts in mm")
    usual = default_values(command)["accumulation_thresholds"]
    if not minutes and list(amounts) != usual:
        raise ConfigError(
            "accumulation_thresholds: is for sums of rain; give their minutes, such as"
            " accumulations=[30,60], or leave it out."
        )
    if for_members is not None and list(amounts) != usual:
        raise ConfigError(
            "accumulation_thresholds: their probabilities come from ensemble members, and this"
            f" forecast has none; set {for_members}, or leave it out."
        )
