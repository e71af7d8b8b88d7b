"""Resume from last.pt: check which settings must be unchanged, and log those that changed."""

import json
import logging
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nowcast.errors import ConfigError
from nowcast.runs import SAME_BITS, SAME_RESULT, flat
from nowcast.training.checkpoints import Checkpoint, read_checkpoint
from nowcast.training.loop import Trainer
from nowcast.training.optimizers import scheduled_rate

log = logging.getLogger(__name__)

Settings = Mapping[str, Any]
Defaults = Callable[[set[str]], Mapping[str, Any]]
"""The values that keys have in configs/, with the groups that were chosen for this run."""
Change = tuple[str, Any, Any]
"""A key with its value before and now."""

MAY_CHANGE = ("training", "precision", *SAME_RESULT)
"""Keys and groups that may differ between a run and the checkpoint that it resumes from."""
MUST_NOT_CHANGE = ("training.batch_size", "training.monitor")
"""Keys of those groups that must not: they define a step, and which epoch is the best."""
SHOWN = 5


def no_defaults(keys: set[str]) -> Mapping[str, Any]:
    """Return no values: only the command line composes the defaults."""
    return {}


def resume(
    trainer: Trainer, settings: Settings, folder: Path, defaults: Defaults = no_defaults
) -> None:
    """Go on from last.pt in `folder` if it exists; with resume=never clear what an earlier run
    left.

    Errors: ConfigError if last.pt has other settings.
    """
    checkpoint = trainer.processes.share(
        _last_checkpoint(settings, folder, defaults) if trainer.processes.is_first else None
    )
    if checkpoint is None:
        return
    trainer.restore(checkpoint)
    log.info(
        "resuming from %s, %d of %d epochs done",
        folder / "last.pt", trainer.progress.epoch, trainer.plan.epochs,
    )  # fmt: skip
    changes = changes_between(checkpoint.get("config", {}), settings, defaults)
    say_what_changed(trainer, checkpoint, [one for one in changes if is_said(one)])


def is_said(change: Change) -> bool:
    """Return whether a change may make a difference to the result: frames that are not unpacked
    (data.cache=null) give other windows.
    """
    key, before, now = change
    return key not in SAME_BITS or (key == "data.cache" and (before is None) != (now is None))


def _last_checkpoint(settings: Settings, folder: Path, defaults: Defaults) -> Checkpoint | None:
    """Return the last.pt to resume from, if any.

    Errors: ConfigError if it has other settings.
    """
    last = folder / "last.pt"
    if settings["resume"] == "never":
        for name in ("last.pt", "best.pt", "metrics.jsonl", "summary.json", "curves.png"):
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / "tensorboard", ignore_errors=True)
    if not last.exists():
        return None
    checkpoint = read_checkpoint(last)
    changes = changes_between(checkpoint.get("config", {}), settings, defaults)
    refused = [change for change in changes if not may_change(change[0])]
    if refused:
        raise ConfigError(
            f"{in_words(refused)}: not as in {last}, from which resume=auto would resume; give"
            " another output, the same settings, or resume=never to start again there, which"
            " removes that run."
        )
    return checkpoint


def say_what_changed(trainer: Trainer, checkpoint: Checkpoint, changes: list[Change]) -> None:
    """Log every change that makes the result differ from that of an uninterrupted training."""
    if changes:
        log.info("resuming with other settings: %s", in_words(changes))
    before, now = checkpoint.get("data"), trainer.data
    digests = [data.get("sha256") for data in (before, now) if data]
    if len(digests) == 2 and None not in digests and digests[0] != digests[1]:
        log.warning(
            "resuming with other data: the frames of these days are not those that %s was"
            " trained on",
            "last.pt",
        )
    was, rate = checkpoint["schedule"]["_last_lr"][0], scheduled_rate(trainer.steps.schedule)
    if trainer.progress.epoch < trainer.plan.epochs and not math.isclose(was, rate, rel_tol=1e-6):
        log.warning(
            "the schedule now ends after %d epochs, so the learning rate goes on at %.3g, after"
            " %.3g: not as in one training of %d epochs",
            trainer.plan.epochs,
            rate,
            was,
            trainer.plan.epochs,
        )


def why_nothing_is_left(trainer: Trainer) -> str | None:
    """Return why no epoch is left to train, or None if one is left."""
    progress, plan = trainer.progress, trainer.plan
    if progress.epoch >= plan.epochs:
        return (
            f"{progress.epoch} of {plan.epochs} epochs are done; to train longer, raise"
            " training.epochs"
        )
    if trainer.stalled():
        return ended_early(trainer)
    return None


def ended_early(trainer: Trainer) -> str:
    """Return why training ended before all epochs, and how to go on."""
    assert trainer.best is not None
    best = trainer.best["epoch"]
    since = f"since epoch {best:.0f}" if best else "on the model that it started from"
    return (
        f"ended early after epoch {trainer.progress.epoch} of {trainer.plan.epochs}: validation has"
        f" not improved {since}; to continue, raise"
        f" training.patience={trainer.plan.patience}"
    )


def changes_between(
    before: Settings, now: Settings, defaults: Defaults = no_defaults
) -> Iterator[Change]:
    """Yield the keys whose value changed.

    A key that an earlier version did not have is unchanged at its default. For a group with another
    name only the name counts as changed.
    """
    old, new = dict(flat(before)), dict(flat(now))
    renamed = [
        key.removesuffix("name")
        for key in new
        if key.endswith(".name") and key in old and old[key] != new[key]
    ]
    unknown = {key for key in new if key not in old}
    standard = defaults(unknown) if unknown else {}
    for key, value in new.items():
        if key.startswith(tuple(renamed)) and not key.endswith(".name"):
            continue
        if old.get(key, standard.get(key)) != value:
            yield key, old.get(key, standard.get(key)), value
    for key in old:
        if key.startswith(("inputs.fields.", "inputs.ahead.fields.")) and key not in new:
            yield key, old[key], None


def may_change(key: str) -> bool:
    return key not in MUST_NOT_CHANGE and any(f"{key}.".startswith(f"{one}.") for one in MAY_CHANGE)


def in_words(changes: list[Change]) -> str:
    """Return the first keys with their old and new values, and the number of further ones."""
    said = [f"{key} {_shown(before)} → {_shown(now)}" for key, before, now in changes[:SHOWN]]
    return ", ".join(said) + (f" and {len(changes) - SHOWN} more" if len(changes) > SHOWN else "")


def _shown(value: Any) -> str:
    return (
        value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), default=str)
    )
