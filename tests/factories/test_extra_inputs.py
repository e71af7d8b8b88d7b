"""The channels of a configuration: each has one name."""

import pytest

from nowcast.errors import ConfigError
from nowcast.factories.extra_inputs import build_inputs

FIELD = {"path": "a.nc", "variable": "b", "offset": 0.0, "scale": 1.0}


@pytest.mark.parametrize("ahead", [False, True])
def test_a_field_that_has_the_name_of_another_channel_is_refused(ahead: bool) -> None:
    named = {"time_of_day": True, "fields": {"time_of_day_sine": FIELD}}
    none = {"time_of_day": False, "fields": {}}
    inputs = {"mask": False, **(none if ahead else named), "ahead": named if ahead else none}
    with pytest.raises(ConfigError, match=r"fields: time_of_day_sine is also the name of another"):
        build_inputs({"inputs": inputs})
