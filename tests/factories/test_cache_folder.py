"""Series and their motion in the folder `data.cache`: what a person is told of it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import SPLITS, TINY, Outcome

Run = Callable[..., Outcome]


@pytest.fixture
def train(run: Run, radar_file: Path, tmp_path: Path) -> Callable[..., Outcome]:
    """Train one epoch in the moving frame."""
    data = ["data=radar", f"data.path={radar_file}", *SPLITS, f"data.cache={tmp_path}/cache"]
    words = ["train", *TINY, *data, "training.epochs=1", "model.frame=moving"]
    return lambda *more: run(*words, *more)


def test_a_cache_that_cannot_be_written_is_named_with_its_key(
    train: Callable[..., Outcome], tmp_path: Path
) -> None:
    Path(tmp_path, "cache").write_text("a file where the folder is to be")
    made = train(f"output={tmp_path}/run")
    said = made.err.splitlines(keepends=True)[-1]
    assert made.code == 73 and said.startswith(f"nowcast: data.cache: {tmp_path}/cache")
    assert said.endswith("; choose another folder, or make this one writable.\n")


def test_so_is_one_that_holds_the_frames_but_cannot_take_their_motion(
    train: Callable[..., Outcome], tmp_path: Path
) -> None:
    assert train(f"output={tmp_path}/run").code == 0
    [motion] = tmp_path.glob("cache/*/motion*")
    motion.unlink()
    motion.with_name(".lock").mkdir()  # nobody can lock the folder
    made = train(f"output={tmp_path}/other")
    assert made.code == 73
    assert f"data.cache: {motion.parent}: cannot be locked" in made.err.splitlines()[-1]
    assert not Path(tmp_path, "other", "last.pt").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_damaged_motion_is_refused_in_one_line(
    train: Callable[..., Outcome], tmp_path: Path, workers: int
) -> None:
    assert train(f"output={tmp_path}/run").code == 0
    [motion] = tmp_path.glob("cache/*/motion*")
    np.save(motion, np.full_like(np.load(motion), np.nan))
    made = train(f"output={tmp_path}/other", f"training.workers={workers}")
    assert made.code == 65
    said = made.err.splitlines()[-1]
    assert (
        said.startswith(f"nowcast: {motion}: this motion file is damaged (")
        and "Traceb" not in said
    )
    assert said.endswith("; delete it to have it estimated again.")
