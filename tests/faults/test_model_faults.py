"""Checkpoints that are not what nowcast wrote, or whose forecast is none: refused, and nothing
of them is ever run as code.
"""

import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from workplace import (
    MADE,
    PREDICT,
    Fault,
    Prepare,
    Tell,
    as_parameters,
    check_said,
    lay_out,
    run,
    survive,
    written,
)

from nowcast.forecast.dataset import open_forecast
from nowcast.radar.grid import RATE
from nowcast.training.checkpoints import SCHEMA, read_checkpoint, write_checkpoint

MARKER = "hostile"


class Hostile:
    """What leaves a file where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {MARKER}",)


def put(content: bytes) -> Prepare:
    def prepare(folder: Path) -> None:
        (folder / "best.pt").write_bytes(content)

    return prepare


def cut(folder: Path) -> None:
    content = (folder / "best.pt").read_bytes()
    (folder / "best.pt").write_bytes(content[: len(content) // 2])


def flip_in_a_weight(folder: Path) -> None:
    """In the numbers of the largest weight, where it would change a forecast and nothing else."""
    path = folder / "best.pt"
    weight = max(read_checkpoint(path)["weights"].values(), key=torch.Tensor.numel)
    content = bytearray(path.read_bytes())
    content[content.index(weight.numpy().tobytes()) + 2] ^= 1
    path.write_bytes(content)


def changed(change: Callable[[dict[str, Any]], Any]) -> Prepare:
    """A checkpoint with something in it changed, its checksums right."""

    def prepare(folder: Path) -> None:
        checkpoint = read_checkpoint(folder / "best.pt")
        change(checkpoint)
        write_checkpoint(folder / "best.pt", checkpoint)

    return prepare


def without_numbers(checkpoint: dict[str, Any]) -> None:
    for weights in (checkpoint["weights"], checkpoint["ema"] or {}):
        for weight in weights.values():
            if weight.is_floating_point():
                weight.fill_(torch.nan)


def flooded(folder: Path) -> None:
    """A model by which it rains everywhere at once, after frames without rain."""

    def flood(checkpoint: dict[str, Any]) -> None:
        for name, weight in [*checkpoint["weights"].items(), *(checkpoint["ema"] or {}).items()]:
            if name.endswith("output.bias"):
                weight.fill_(0.5)

    changed(flood)(folder)
    written(values=np.zeros_like)(folder)


def in_torchs_way(folder: Path) -> None:
    torch.save({"schema": SCHEMA, "weights": Hostile()}, folder / "best.pt")


FAULTS = [
    Fault("NaN forecast", "all weights are NaN", 70, "the model's forecast is not finite",
    changed(without_numbers)), Fault(
        "implausible forecast", "rain everywhere, after frames without", 70,
        "is wet on 100.0% of its pixels at lead time 1, the newest frame on 0.0%: more than max_wet_ratio=30 times as much, so it is not published",
        flooded, words=(*PREDICT, "max_wet_ratio=30"),
    ),
    Fault("hostile pickle", "in the way that torch saves", 65,
    "contains more than weights and plain values", in_torchs_way), Fault("hostile pickle", "alone", 65,
    "best.pt: not a checkpoint", put(pickle.dumps(Hostile())), often=False),
    Fault("truncated checkpoint", "half of it", 65, "best.pt: not a checkpoint, or cut short", cut),
    Fault("empty checkpoint", "0 bytes", 65, "best.pt: not a checkpoint, or cut short", put(b""),
    often=False), Fault("empty checkpoint", "none there", 66, "nowhere.pt: no such checkpoint",
    words=(*PREDICT, "checkpoint=nowhere.pt")), Fault("garbage checkpoint", "random bytes", 65,
    "best.pt: not a checkpoint", put(random.Random(1).randbytes(9999))), Fault("one flipped bit",
    "of a weight", 65, "best.pt: damaged", flip_in_a_weight), Fault(
        "other architecture", "its configuration says 8 channels, its weights are of 4", 65,
        "describes a model that this version cannot build",
        changed(lambda checkpoint: checkpoint["config"]["model"].update(hidden_channels=[8, 8])),
    ),
    Fault(
        "other architecture", "a model that is not known", 65,
        "describes a model that this version cannot build",
        changed(lambda checkpoint: checkpoint["config"]["model"].update(name="transformer")),
        often=False,
    ),
    Fault(
        "newer schema", f"{SCHEMA + 1}", 65,
        f"written by a newer nowcast (schema {SCHEMA + 1}, here {SCHEMA})",
        changed(lambda checkpoint: checkpoint.update(schema=SCHEMA + 1)),
    ),
]  # fmt: skip


@pytest.mark.parametrize("fault", as_parameters(FAULTS))
def test_a_checkpoint_that_is_none_is_refused_and_runs_no_code(
    fault: Fault, base: Path, tmp_path: Path, tell: Tell
) -> None:
    done = survive(fault, base, tmp_path / "work")
    assert not (tmp_path / "work" / MARKER).exists()
    tell(fault.name, fault.broken, done, "all as it was")


@pytest.mark.faults
def test_no_flipped_bit_changes_a_forecast(base: Path, tmp_path: Path, tell: Tell) -> None:
    """Where nothing reads it, as in the dates of a zip archive, it may stay unnoticed."""
    lay_out(base, tmp_path)
    whole, draw, noticed = (tmp_path / "best.pt").read_bytes(), random.Random(1), 0
    for _ in range(20):
        content, spot = bytearray(whole), draw.randrange(8 * len(whole))
        content[spot // 8] ^= 1 << spot % 8
        (tmp_path / "best.pt").write_bytes(content)
        done = run(tmp_path, *PREDICT)
        check_said(done)
        assert done.code in (0, 65), done.err
        noticed += done.code == 65
        assert (tmp_path / MADE).exists() == (done.code == 0)
        if done.code == 0:
            xr.testing.assert_identical(
                open_forecast(tmp_path / MADE)[RATE],
                open_forecast(base / "undisturbed" / Path(MADE).name)[RATE],
            )
            (tmp_path / MADE).unlink()
    tell(
        "one flipped bit",
        "anywhere, 20 times",
        f"{noticed} times: damaged",
        "all as it was, or the same forecast",
    )
