"""Checkpoints of models of probabilities as earlier schemas had them. For any grid: in 6 without the
trend of the rain, in 6 and 7 without what other thresholds tell. For one grid: without that until 8.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nowcast.model import build_model
from nowcast.model.any_grid import AnyGridModel
from nowcast.model.probability_head import ProbabilityModel
from nowcast.motion.spacing import Spacing
from nowcast.training import checkpoints
from nowcast.training.checkpoints import read_checkpoint, write_checkpoint
from nowcast.training.optimizers import build_optimizer

SETTINGS = {
    "name": "encoder_forecaster", "hidden_channels": [4], "kernel_size": 3, "input_kernel_size": 3,
    "patch_size": 4, "feedback": False, "frame": "moving", "output_activation": "identity",
    "output_grid": "refined", "head": "probability", "thresholds": [1.0, 5.0],
}  # fmt: skip
LATER = {
    (6, "any"): ["trend.weights", "across.weights"],
    (7, "any"): ["across.weights"],
    (6, "one"): ["across.weights"],
    (8, "one"): ["across.weights"],
}
"""By schema and grids, the parameters that came after it, in their order in the optimizer."""


def settings(grids: str) -> dict[str, Any]:
    return {**SETTINGS, "grids": grids}


def built(grids: str) -> tuple[ProbabilityModel, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = build_model(settings(grids), channels=3, output_channels=1, mask=True)
    assert isinstance(model, AnyGridModel if grids == "any" else ProbabilityModel)
    return model, build_optimizer(
        model, "adamw", lr=0.01, weight_decay=0.01, decay=0.99, momentum=0.9
    )


def forecast(model: ProbabilityModel) -> Tensor:
    frames = torch.rand(1, 3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    told = {"spacing": Spacing(1.0, 5.0)} if isinstance(model, AnyGridModel) else {}
    logits: Tensor = model(frames, 2, newest=5 * frames[:, -1, 0], **told)
    return logits


def step(model: ProbabilityModel, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    (forecast(model) ** 2).mean().backward()
    optimizer.step()


@pytest.fixture(params=LATER, ids=str)
def earlier(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, str, list[str], Tensor]:
    """A checkpoint after one step, its grids, what its model had not, and the forecast of its
    model.
    """
    (schema, grids), later = request.param, LATER[request.param]
    model, optimizer = built(grids)
    for name in later:
        model.get_parameter(name).requires_grad_(False)
    step(model, optimizer)
    state = optimizer.state_dict()
    *_, mixture = state["param_groups"]
    del mixture["params"][-len(later) :]  # they are the last of the last group
    weights = {name: value for name, value in model.state_dict().items() if name not in later}
    ema = {"n_averaged": torch.tensor(1)} | {f"module.{name}": one for name, one in weights.items()}
    with monkeypatch.context() as then:
        then.setattr(checkpoints, "SCHEMA", schema)
        write_checkpoint(
            tmp_path / "last.pt",
            {
                "config": {"model": settings(grids)}, "weights": weights, "ema": ema,
                "optimizer": state, "calibration": None,
            },
        )  # fmt: skip
    return tmp_path / "last.pt", grids, later, forecast(model.eval()).detach()


def test_it_forecasts_as_before(earlier: tuple[Path, str, list[str], Tensor]) -> None:
    path, grids, later, expected = earlier
    read, (model, _) = read_checkpoint(path), built(grids)
    model.load_state_dict(read["weights"])
    assert torch.equal(forecast(model.eval()), expected)
    assert all((read["ema"][f"module.{name}"] == 0).all() for name in later)


def test_its_training_goes_on_and_learns_what_is_new(
    earlier: tuple[Path, str, list[str], Tensor],
) -> None:
    path, grids, later, _ = earlier
    read, (model, optimizer) = read_checkpoint(path), built(grids)
    model.load_state_dict(read["weights"])
    optimizer.load_state_dict(read["optimizer"])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    moments = optimizer.state_dict()["state"]
    assert len(moments) == len(list(model.parameters())) - len(later)
    step(model, optimizer)
    assert all((model.get_parameter(name) != 0).any() for name in later)
    assert not torch.equal(model.slopes, before["slopes"])


def test_one_that_comes_with_a_package_has_no_optimizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = {
        "config": {"model": settings("any")}, "weights": {}, "ema": None, "optimizer": {},
        "calibration": None,
    }  # fmt: skip
    with monkeypatch.context() as then:
        then.setattr(checkpoints, "SCHEMA", 6)
        write_checkpoint(tmp_path / "sealed.pt", sealed)
    read = read_checkpoint(tmp_path / "sealed.pt")
    assert read["optimizer"] == {}
    assert all((read["weights"][name] == 0).all() for name in LATER[6, "any"])


def test_one_of_a_model_of_rates_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"model": {**settings("one"), "head": "rate"}}
    with monkeypatch.context() as then:
        then.setattr(checkpoints, "SCHEMA", 6)
        write_checkpoint(tmp_path / "last.pt", {"config": config, "weights": {}, "ema": None})
    assert read_checkpoint(tmp_path / "last.pt")["weights"] == {}
