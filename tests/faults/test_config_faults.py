"""Configurations that nowcast cannot follow: refused at once, in one line that names the key,
with nothing touched.
"""

from pathlib import Path

import pytest
from workplace import PREDICT, TRAIN, Fault, Tell, as_parameters, survive


def broken_yaml(folder: Path) -> None:
    (folder / "mine.yaml").write_text("defaults: [predict\nat: {")


FAULTS = [
    Fault("unknown key", "max_aeg=15", 78, "max_aeg: no such key; the nearest is max_age",
    words=(*PREDICT, "max_aeg=15")), Fault("wrong type", "keep_files=many", 78,
    "keep_files: must be a whole number", words=(*PREDICT, "keep_files=many")), Fault("out of range",
    "deadline=-1", 78, "deadline: must be above 0", words=(*PREDICT, "deadline=-1")),
    Fault("missing value", "no data.path", 78, "data.path: needs a value", words=("predict",
    "checkpoint=best.pt")), Fault("unknown option", "--wtach", 2, "unrecognized arguments: --wtach",
    words=(*PREDICT, "--wtach")), Fault("comma list without -m", "max_age=15,30", 78,
    ": several values need -m", words=(*PREDICT, "max_age=15,30")), Fault(
        "comma list without -m", "of training, model=small,next_frame", 78,
        ": several values need -m", words=(*TRAIN, "model=small,next_frame"), often=False,
    ),
    Fault(
        "broken user YAML", "mine.yaml ends within a bracket", 78, "mine.yaml", broken_yaml,
        (*PREDICT, "--config-dir", ".", "-cn", "mine"),
    ),
    Fault("missing folder", "--config-dir nowhere", 78, "nowhere", words=(*PREDICT, "--config-dir",
    "nowhere")), Fault(
        "missing folder", "data.path=nowhere", 66, "nowhere: no such file or folder",
        words=(*PREDICT, "data.path=nowhere"),
    ),
]  # fmt: skip


@pytest.mark.parametrize("fault", as_parameters(FAULTS))
def test_a_configuration_that_cannot_be_followed_changes_nothing(
    fault: Fault, base: Path, tmp_path: Path, tell: Tell
) -> None:
    done = survive(fault, base, tmp_path / "work")
    tell(fault.name, fault.broken, done, "all as it was")
