"""A command that fails leaves no folder that it made for nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import Outcome

DAYS = ("data.train=[2020-01-01,2020-01-01]", "data.validation=[2020-01-02,2020-01-02]")


@pytest.mark.parametrize(
    "words",
    [
        ("train", "data=radar", "data.path=nowhere", *DAYS, "output=new/deep"),
        ("train", "model=nothing", "output=new/deep"),
        (
            "predict",
            "model=persistence",
            "input_steps=2",
            "lead_steps=2",
            "data.path=nowhere",
            "output=new/deep/%H.nc",
        ),
        ("prepare", "data.path=nowhere", "output=new/deep"),
        ("plot", "nowhere.nc", "output=new/deep/a.png"),
        ("export", "checkpoint=nowhere.pt", "grid_size=[8,8]", "output=new/deep/a.onnx"),
        ("fetch", "nothing", "--folder", "new/deep"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_what_fails_leaves_no_folder(
    words: tuple[str, ...],
    run: Callable[..., Outcome],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert run(*words).code != 0
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]
    assert run(*[word.replace("new/deep", "mine/deep") for word in words]).code != 0
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"], (
        "an empty folder of the user's stays"
    )
