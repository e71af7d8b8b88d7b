"""A loss of an installed package is one of the losses, without a line changed here."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from helpers import SPLITS, TINY, Outcome
from packages import install

from nowcast.training.losses import loss_of

PACKAGE = '''
"""The mean error to the fourth power."""


def fourth(forecast, observed, mask, rates, weights):
    errors = (forecast - observed) ** 4 * mask * weights[:, None, None, None, None]
    return errors.sum() / mask.sum().clamp(min=1)
'''

Run = Callable[..., Outcome]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    yield site
    sys.modules.pop("tenlines", None)


def train(run: Run, radar_file: Path, output: Path, *words: str) -> Outcome:
    data = ["data=radar", f"data.path={radar_file}", *SPLITS, f"data.cache={output}/cache"]
    step = ["training.epochs=1", "sampling.windows_per_epoch=4"]  # of four: one step
    return run("train", *TINY, *data, *step, *words, f"output={output}")


def test_a_model_trains_by_the_loss_of_a_package(
    site: Path, run: Run, radar_file: Path, tmp_path: Path, without_pictures: None
) -> None:
    install(site, "nowcast.losses", "fourth", PACKAGE)
    outcome = train(run, radar_file, tmp_path / "run", "loss=fourth")
    assert outcome.code == 0, outcome.err
    assert torch.load(tmp_path / "run" / "best.pt")["config"]["loss"] == "fourth"
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["validation_loss"] > 0
    assert loss_of("fourth").args[0] is sys.modules["tenlines"].fourth


def test_a_loss_that_nobody_adds_is_refused_with_those_that_there_are(
    site: Path, run: Run, radar_file: Path, tmp_path: Path
) -> None:
    install(site, "nowcast.losses", "fourth", PACKAGE)
    outcome = train(run, radar_file, tmp_path / "run", "loss=third")
    assert outcome.code == 78 and not (tmp_path / "run").exists()
    words = "loss: 'third' is not one of mse, mae, balanced, cross_entropy, exceedance, fourth."
    assert words in " ".join(outcome.err.split())


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("import no_such_library", "No module named 'no_such_library'"),
        ("fourth = 4", "not a function"),
    ],
)
def test_a_package_that_cannot_be_used_is_named(
    site: Path, run: Run, radar_file: Path, tmp_path: Path, code: str, fault: str
) -> None:
    install(site, "nowcast.losses", "fourth", code)
    outcome = train(run, radar_file, tmp_path / "run", "loss=fourth")
    told = " ".join(outcome.err.split())
    assert outcome.code != 0 and "Traceback" not in told
    assert "fourth: " in told and "tenlines 1.0" in told and fault in told
    assert "update the package, or remove it" in told
    assert not (tmp_path / "run" / "cache").exists()


def test_a_configuration_names_no_code(run: Run, radar_file: Path, tmp_path: Path) -> None:
    for loss in ("nowcast.training.losses:mae", "balanced_weights", "torch", "os.system"):
        outcome = train(run, radar_file, tmp_path / "run", f"loss='{loss}'")
        assert outcome.code == 78 and "is not one of" in " ".join(outcome.err.split())
