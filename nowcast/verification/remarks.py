"""What is to be known of the cases that were scored, in sentences, as counts and scores carry
it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr

_KEY = "remarks"

WITH_CUTS = " (cuts)"
"""What follows the name of a forecast whose rates are made by fitted cuts."""

WITH_MEMBERS = " (members)"
"""What follows the name of a forecast for the members drawn from its probabilities."""

CUTS_FITTED_ON = "cuts_fitted_on"
"""The attribute of counts and scores that names the days on which cuts were fitted."""


def remarks_attr(remarks: Sequence[str]) -> dict[str, str]:
    """Remarks as an attribute of counts: a line each, none twice; nothing without a remark."""
    return {_KEY: "\n".join(dict.fromkeys(remarks))} if remarks else {}


def remarks_of(dataset: "xr.Dataset") -> list[str]:
    """The remarks of counts, or of the scores made of them."""
    return str(dataset.attrs[_KEY]).split("\n") if _KEY in dataset.attrs else []
