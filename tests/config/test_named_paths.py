"""Several paths have names, one stays as it is."""

from typing import Any

import pytest

from nowcast.config.named_paths import by_name, named_models, named_paths, one_or_several
from nowcast.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["runs/a/best.pt", "runs/b/best.pt"], ["a", "b"]),
        (["runs/a/best.pt", "runs/a/last.pt"], ["best", "last"]),
        (["a/best.pt", "a/last.pt", "b/best.pt"], ["a/best", "a/last", "b/best"]),
        (["x/steps/*.nc", "linda", "/y/*/z.nc"], ["steps", "linda", "z"]),
        (["run.1", "run.2"], ["run.1", "run.2"]),
        (["a.pt"], ["a"]),
        ({"ours": "a.pt", "wide": "b.pt"}, ["ours", "wide"]),
    ],
)
def test_names_tell_paths_apart(given: Any, names: list[str]) -> None:
    paths = list(given.values()) if isinstance(given, dict) else given
    assert by_name(named_paths("checkpoint", given)) == dict(zip(names, paths, strict=True))


def test_a_single_path_stays_as_it_is() -> None:
    assert named_paths("forecasts", "a/*.nc") == "a/*.nc" and named_paths("forecasts", None) is None
    assert named_paths("forecasts", 2018) == "2018"  # a folder, to YAML a number
    assert by_name("a") == {"": "a"} and by_name(None) == {}


@pytest.mark.parametrize("given", ["", " ", [], {}, [""], ["a", "a"], {" ": "a"}, [["a"]], True])
def test_what_is_no_path_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"^checkpoint: "):
        named_paths("checkpoint", given)


def test_a_name_may_have_several_models() -> None:
    given = {"both": ["a.pt", "b.pt"], "all": "r/*.pt", "one": ["c.pt"]}
    assert named_models("checkpoint", given) == {**given, "one": "c.pt"}
    assert named_models("checkpoint", ["r/a.pt", "r/b.pt"]) == {"a": "r/a.pt", "b": "r/b.pt"}
    assert one_or_several("checkpoint", ["a.pt", "b.pt"]) == ["a.pt", "b.pt"]
    with pytest.raises(ConfigError, match="has a path twice; give each path once"):
        one_or_several("checkpoint", ["a.pt", "a.pt"])
    for wrong in ({"both": []}, {"both": ["a.pt", "a.pt"]}, {"both": [["a.pt"]]}, {"both": [""]}):
        with pytest.raises(ConfigError, match=r"^checkpoint: "):
            named_models("checkpoint", wrong)
