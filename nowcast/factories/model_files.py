"""Describe a checkpoint or an exported model for `nowcast inspect`.

PyTorch is imported only for a checkpoint.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nowcast.console import printable
from nowcast.errors import DataError
from nowcast.files import sha256
from nowcast.forecast.exported import SUFFIX
from nowcast.startup import without_garbage_collection

SUFFIXES = (".pt", SUFFIX)

Document = Mapping[str, Any]


def is_model(path: str) -> bool:
    """Return whether a path has the suffix of a checkpoint or an exported model."""
    return path.lower().endswith(SUFFIXES) and not Path(path).is_dir()


def model_document(path: str) -> dict[str, Any]:
    """Return the description of a model as plain values; None for values that older versions did
    not write.

    Errors: as `read_checkpoint` and `read_exported`; DataError if the file does not describe a
    model.
    """
    try:
        made = _exported(path) if path.lower().endswith(SUFFIX) else _checkpoint(path)
        model_rows(made)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise DataError(
            f"{path}: does not describe a model of nowcast ({type(error).__name__}: {error})."
        ) from error
    return {**made, "bytes": Path(path).stat().st_size, "sha256": sha256(path)}


def _checkpoint(path: str) -> dict[str, Any]:
    with without_garbage_collection():
        from nowcast.training.checkpoints import read_checkpoint
    checkpoint = read_checkpoint(path)
    progress = checkpoint["progress"]
    epoch = progress["epoch"]
    done = progress["history"][epoch - 1] if epoch else checkpoint.get("start")
    return {
        "kind": "checkpoint",
        "schema": checkpoint["schema"],
        "written": checkpoint.get("written"),
        "versions": checkpoint["versions"],
        "parameters": sum(
            one.numel()
            for name, one in checkpoint["weights"].items()
            if not name.endswith("num_batches_tracked")
        ),
        "epoch": epoch,
        "steps_into_next_epoch": progress["step"],
        "scores": done,
        "best_epoch": checkpoint.get("best_epoch"),
        "data": checkpoint.get("data"),
        "place": checkpoint.get("place"),
        "region": checkpoint.get("region"),
        "config": checkpoint["config"],
    }


def _exported(path: str) -> dict[str, Any]:
    from nowcast.forecast.exported import read_exported

    about = read_exported(path).about
    return {"kind": "exported model", **about}


def model_rows(about: Document) -> list[tuple[str, str]]:
    """Return the description of a model for people, as names and texts."""
    config, model = about["config"], about["config"]["model"]
    idle = {
        "name",
        *(("thresholds",) if model.get("head") != "probability" else ()),
        *(("grids",) if model.get("grids") == "one" else ()),
    }
    shape = ", ".join(f"{key} {value}" for key, value in model.items() if key not in idle)
    size = f"{about['parameters']:,} parameters; " if "parameters" in about else ""
    minutes = config["timestep_minutes"]
    spacing = "without times" if minutes is None else f"every {minutes:g} minutes"
    scaling = ", ".join(
        f"{value:g}" if isinstance(value, float) else f"{value}"
        for value in config["scaling"].values()
    )
    rows = [
        ("model", f"{model['name']}: {size}{shape}"),
        (
            "frames",
            f"{config['input_steps']} → {config['lead_steps']} {spacing}; scaling {scaling}",
        ),
        ("inputs", ", ".join(["rain", *_further(config.get("inputs", {}))])),
        ("data", _data(config["data"], about.get("data"))),
        *([("region", _region(about["region"]))] if about.get("region") else []),
        (
            "days",
            "; ".join(
                f"{split} {_days(config['data'][split])}"
                for split in _SPLITS
                if config["data"].get(split)
            ),
        ),
        ("settings", _settings(config)),
        *([("epoch", _epoch(about, config))] if "epoch" in about else []),
        (
            "written",
            f"{about.get('written') or 'at a time not recorded'} by {_versions(about['versions'])}",
        ),
    ]
    if "exported_from_sha256" in about:
        rows.append(("made from", f"the checkpoint with SHA-256 {about['exported_from_sha256']}"))
    return [(name, printable(text)) for name, text in rows if text]


_SPLITS = ("train", "validation", "test")


def _further(inputs: Document) -> list[str]:
    """Return the further inputs besides rain."""
    known = inputs.get("ahead", {})
    return [*_asked_for(inputs), *(f"{name} (ahead)" for name in _asked_for(known))]


def _asked_for(inputs: Document) -> list[str]:
    """Return the keys that are switched on, and the names of fields."""
    keys = [key for key, value in inputs.items() if value is True]
    return [*keys, *inputs.get("fields", {})]


def _data(data: Document, frames: Document | None) -> str:
    known = (
        f": {frames['frames']:,} frames of {frames['size'][0]} × {frames['size'][1]}, SHA-256"
        f" {frames['sha256']}"
        if frames
        else ""
    )
    return f"{data['name']}, {data['path']}{known}"


def _region(region: Document) -> str:
    (top, below), (left, right), (height, width) = (
        region[key] for key in ("rows", "columns", "size")
    )
    return f"rows {top} to {below - 1}, columns {left} to {right - 1} of {height} × {width}"


def _days(days: list[str]) -> str:
    return f"{days[0]} to {days[1]}"


def _settings(config: Document) -> str:
    optimizer, training = config["optimizer"], config["training"]
    return (
        f"loss {config['loss']}, {optimizer['name']} at {optimizer['lr']:g},"
        f" {config['schedule']['name']} schedule, {training['epochs']} epochs at most, batches of"
        f" {training['batch_size']}, seed {config['seed']}; --json shows all"
    )


def _epoch(about: Document, config: Document) -> str:
    steps, scores = about["steps_into_next_epoch"], about["scores"]
    done = f"{about['epoch']}" + (f" and {steps} steps of the next" if steps else "")
    if scores is None:
        return done
    csi = scores["validation_csi"]
    best = about["best_epoch"]
    other = best not in (None, about["epoch"])
    return (
        f"{done}: validation CSI {'undefined' if csi != csi else f'{csi:.4f}'}, loss"
        f" {scores['validation_loss']:.5g}; monitored is the {config['training']['monitor']}"
        + (f", best {f'in epoch {best}' if best else 'before training'}" if other else "")
    )


def _versions(versions: Document) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
