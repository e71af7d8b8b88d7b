"""The keys of sums, which `nowcast predict` and `nowcast evaluate` share."""

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
    """Check the keys of sums.

    Args:
        command: of the configuration.
        minutes: the lengths of windows.
        amounts: the thresholds in mm.
        for_members: what to set so that the forecast has members; None if it has.

    Raises:
        ConfigError: if lengths or thresholds do not rise or are out of range, or if thresholds are
            set without a length, or without a use.
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
            "accumulation_thresholds: is for sums; give their minutes, as accumulations=[30,60], or"
            " leave it out."
        )
    if for_members is not None and list(amounts) != usual:
        raise ConfigError(
            "accumulation_thresholds: their probabilities are those of members, and there are none;"
            f" set {for_members}, or leave it out."
        )
