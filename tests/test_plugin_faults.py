"""A fault in a model, loss or logger of a user's own package names it, with file and line."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers import SPLITS, Outcome
from hydra.core.config_store import ConfigStore
from packages import install

Run = Callable[..., Outcome]
Installed = Callable[[str, str], None]

IMPORTS = """\
from dataclasses import dataclass
import torch
from torch import nn
from nowcast.config.models import ModelConfig

"""
MODEL = """\
class mine(nn.Module):
    @dataclass
    class Config(ModelConfig):
        width: int = 3

    def __init__(self, channels, width):
        super().__init__()
        self.blur = nn.Conv2d(channels, channels, width, padding="same")

    def forward(self, frames, lead_steps, guide=None):
        made = self.blur(frames[:, -1])
        {body}
"""
LINE_OF_BODY = 17


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    """Install a package that adds `mine`."""
    monkeypatch.chdir(tmp_path)
    site = tmp_path / "site"  # not the working folder, from which nothing is imported

    site.mkdir()

    def written(kind: str, code: str) -> None:
        monkeypatch.syspath_prepend(install(site, f"nowcast.{kind}", "mine", code))

    yield written
    sys.modules.pop("tenlines", None)
    ConfigStore.instance().repo.get("model", {}).pop("mine.yaml", None)


@pytest.fixture
def train(run: Run, radar_file: Path) -> Run:
    def trained(*words: str) -> Outcome:
        return run(
            "train", "data=radar", f"data.path={radar_file}", *SPLITS, "input_steps=2",
            "lead_steps=3", "sampling.windows_per_epoch=4", "sampling.crop=16",
            "training.epochs=1", "training.batch_size=4", "device=cpu", "precision=fp32",
            "output=run", *words,
        )  # fmt: skip

    return trained


def last_line(outcome: Outcome) -> str:
    return outcome.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return undefined_name", "NameError: name 'undefined_name' is not defined"),
        ("return self.blur(made[:, :, :, :, None, None])", "RuntimeError: "),
    ],
)
def test_a_fault_in_a_model_is_told_with_its_line(
    installed: Installed, train: Run, body: str, says: str
) -> None:
    installed("models", IMPORTS + MODEL.format(body=body))
    outcome = train("model=mine")
    place = f"nowcast: in model 'mine' (tenlines.py:{LINE_OF_BODY}): {says}"
    assert outcome.code == 70 and last_line(outcome).startswith(place), outcome.err
    assert "a fault in nowcast" not in outcome.err


@pytest.mark.parametrize(
    ("body", "got"),
    [
        ("return made", "(4, 1, 16, 16)"),
        ("return [made] * lead_steps", "list"),
    ],
)
def test_a_forecast_of_another_shape_is_told_with_the_expected_one(
    installed: Installed, train: Run, body: str, got: str
) -> None:
    installed("models", IMPORTS + MODEL.format(body=body))
    outcome = train("model=mine")
    assert outcome.code == 70
    assert last_line(outcome).startswith(
        "nowcast: model 'mine': its forward must return (b, lead, c, h, w) = (4, 3, 1, 16, 16),"
        f" but it returned {got}; "
    ), outcome.err


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return (forecast - observed) ** 2", "must return one number, a tensor of shape (), but"),
        ("return 0.5", "must return one number, a tensor of shape (), but it returned float"),
        ("return observed.mean()", "the number it returned has no gradient"),
        ("return forecast.wrong()", "in loss 'mine' (tenlines.py:2): AttributeError"),
    ],
)
def test_a_fault_in_a_loss_is_told(installed: Installed, train: Run, body: str, says: str) -> None:
    installed("losses", f"def mine(forecast, observed, mask, rates, weights):\n    {body}\n")
    outcome = train("loss=mine", "model=small", "model.hidden_channels=[4,4]")
    assert outcome.code == 70 and says in last_line(outcome), outcome.err
    assert "'mine'" in last_line(outcome)


def test_a_fault_in_a_logger_is_told_with_its_line(
    installed: Installed, train: Run, without_pictures: None
) -> None:
    logger = (
        "class mine:\n    def start(self, *words):\n        raise_this\n    log = finish = start\n"
    )
    installed("loggers", logger)
    outcome = train("loggers=[mine]", "model=small", "model.hidden_channels=[4,4]")
    assert outcome.code == 74
    assert "in logger 'mine' (tenlines.py:3): NameError: name 'raise_this'" in outcome.err
