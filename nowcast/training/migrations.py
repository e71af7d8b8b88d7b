"""Migrate checkpoints of earlier schemas to the current one."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from nowcast.probability.ladder import LADDER

Checkpoint = dict[str, Any]
"""A dictionary with the keys schema, versions, config, place, weights, ema, optimizer, schedule,
gradient_scaler, rng and progress, among others; it holds only tensors and plain values.
"""

_PARTS = {
    "from_input.weight": "weight_ih",
    "from_hidden.weight": "weight_hh",
    "bias": "bias",
    "peephole": "peephole",
}
"""Names of a cell's weights in schema 1 → in schema 2, in the order of schema 2."""
_IN_CELL = re.compile(rf"(.*(?:encoder|forecaster)\.\d+)\.({'|'.join(map(re.escape, _PARTS))})")


def migrate(checkpoint: Checkpoint, to: int) -> Checkpoint:
    """Return a checkpoint converted to schema `to`; its key `schema` keeps the value in the file.

    Errors: KeyError for a schema without migration; any error of a migration if the checkpoint
    does not follow its schema.
    """
    migrated = checkpoint
    for schema in range(checkpoint["schema"], to):
        migrated = MIGRATIONS[schema](migrated)
    return migrated


def _name_cells(checkpoint: Checkpoint) -> Checkpoint:
    """1 → 2: a layer holds cells, whose weights are named as in `torch.nn.LSTM`."""
    if "optimizer" not in checkpoint:
        return checkpoint
    old = list(checkpoint["weights"])
    new = sorted(old, key=lambda name: _place(name, old))
    state = checkpoint["optimizer"]["state"]
    moved = {
        place: {key: _flat(name, value) for key, value in state[old.index(name)].items()}
        for place, name in enumerate(new)
        if old.index(name) in state
    }
    ema, rng = checkpoint["ema"], checkpoint["rng"]
    return {
        **checkpoint,
        "weights": _renamed(checkpoint["weights"]),
        "ema": None if ema is None else _renamed(ema),
        "optimizer": {**checkpoint["optimizer"], "state": moved},
        "rng": rng["cpu"] if isinstance(rng, dict) else rng,
    }


def _say_inputs_and_place(checkpoint: Checkpoint) -> Checkpoint:
    """2 → 3: models took only rain as input, and the grid was not recorded."""
    none = {"mask": False, "time_of_day": False, "fields": {}}
    config = {"config": {"inputs": none, **checkpoint["config"]}} if "config" in checkpoint else {}
    return {"place": None, **checkpoint, **config}


def _say_nothing_is_ahead(checkpoint: Checkpoint) -> Checkpoint:
    """3 → 4: models took no fields ahead."""
    config = checkpoint.get("config", {})
    inputs = config.get("inputs") if isinstance(config, dict) else None
    if not isinstance(inputs, dict):  # an invalid one is rejected later
        return checkpoint
    none = {"time_of_day": False, "fields": {}}
    return {**checkpoint, "config": {**config, "inputs": {**inputs, "ahead": none}}}


def _say_frame_and_head(checkpoint: Checkpoint) -> Checkpoint:
    """4 → 5: all models used the fixed frame of reference and returned rates."""
    config = checkpoint.get("config", {})
    model = config.get("model") if isinstance(config, dict) else None
    if not isinstance(model, dict):  # an invalid one is rejected later
        return {"calibration": None, **checkpoint}
    name = model.get("name")
    new: dict[str, Any] = {"frame": "fixed", "head": "rate", "thresholds": []}
    if name in ("encoder_forecaster", "encoder_forecaster_strided", "fc_lstm"):
        new["thresholds"] = list(LADDER)
    if name == "encoder_forecaster":
        new["output_grid"] = "pixels"
    return {
        "calibration": None,
        **checkpoint,
        "config": {**config, "model": {**new, **model}},
    }


def _say_one_grid(checkpoint: Checkpoint) -> Checkpoint:
    """5 → 6: all models were for the grid on which they were trained."""
    config = checkpoint.get("config", {})
    model = config.get("model") if isinstance(config, dict) else None
    if not isinstance(model, dict):  # an invalid one is rejected later
        return checkpoint
    return {**checkpoint, "config": {**config, "model": {"grids": "one", **model}}}


def _say_no_trend(checkpoint: Checkpoint) -> Checkpoint:
    """6 → 7: models for any grid did not use the trend of the rain."""
    return _with_zeros(checkpoint, "any", "trend.weights", lambda count: (4, count, 2, 7))


def _say_no_other_thresholds(checkpoint: Checkpoint) -> Checkpoint:
    """7 → 8: models for any grid treated each threshold separately."""
    return _with_zeros(checkpoint, "any", "across.weights", lambda count: (2, count, count))


def _say_no_other_thresholds_on_one_grid(checkpoint: Checkpoint) -> Checkpoint:
    """8 → 9: models of probabilities for one grid treated each threshold separately."""
    return _with_zeros(checkpoint, "one", "across.weights", lambda count: (2, count, count))


def _with_zeros(
    checkpoint: Checkpoint, grids: str, name: str, shape: Callable[[int], tuple[int, ...]]
) -> Checkpoint:
    """Add zero weights, which change nothing, to a model of probabilities for such grids; `shape`
    depends on the number of thresholds. They join the last parameter group of the optimizer.
    """
    config = checkpoint.get("config", {})
    model = config.get("model") if isinstance(config, dict) else None
    if not isinstance(model, dict):  # an invalid one is rejected later
        return checkpoint
    if (model.get("head"), model.get("grids")) != ("probability", grids):
        return checkpoint
    zeros = torch.zeros(shape(len(model["thresholds"])))
    ema = checkpoint.get("ema")
    more = {
        **checkpoint,
        "weights": {**checkpoint["weights"], name: zeros},
        "ema": ema and {**ema, f"module.{name}": zeros},
    }
    optimizer = checkpoint.get("optimizer")
    if optimizer:  # a pretrained model in a package has none
        *others, mixture = optimizer["param_groups"]
        mixture = {**mixture, "params": [*mixture["params"], mixture["params"][-1] + 1]}
        more["optimizer"] = {**optimizer, "param_groups": [*others, mixture]}
    return more


MIGRATIONS: dict[int, Callable[[Checkpoint], Checkpoint]] = {
    1: _name_cells,
    2: _say_inputs_and_place,
    3: _say_nothing_is_ahead,
    4: _say_frame_and_head,
    5: _say_one_grid,
    6: _say_no_trend,
    7: _say_no_other_thresholds,
    8: _say_no_other_thresholds_on_one_grid,
}
"""For each schema n the function that converts a checkpoint to schema n + 1. Never remove one."""


def _place(name: str, names: list[str]) -> tuple[int, int]:
    """Return the layer of a parameter, and its place in the layer, as a sort key."""
    found = _IN_CELL.fullmatch(name)
    if found is None:
        return names.index(name), 0
    layer = next(place for place, one in enumerate(names) if one.startswith(f"{found[1]}."))
    return layer, list(_PARTS).index(found[2])


def _renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        _IN_CELL.sub(lambda found: f"{found[1]}.cells.0.{_PARTS[found[2]]}", name): _flat(name, one)
        for name, one in weights.items()
    }


def _flat(name: str, value: Tensor) -> Tensor:
    """Flatten a bias, or the optimizer's state of a bias, (n, 1, 1) → (n,)."""
    return value.flatten() if name.endswith(".bias") and value.ndim == 3 else value
