"""The commands of the README run as they stand there, on a small file in place of the sample
and with short training.
"""

import json
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from nowcast.radar import write_synthetic
from nowcast.sequences.windows import Pick
from nowcast.training.examples import Example
from nowcast.training.loggers import Loggers

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SHORT = [
    "sampling.windows_per_epoch=8",
    "training.epochs=1",
    "validation.stride=96",
    "sampling.crop=16",
    "device=cpu",
]


IMAGE = np.zeros((4, 4, 3), np.uint8)
RAIN = np.zeros((1, 4, 4), np.float32)
EXAMPLE = Example(1, Pick(0), (1,), RAIN, RAIN)


def commands(language: str) -> list[str]:
    blocks = re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("nowcast ")]


@pytest.mark.readme
def test_the_commands_of_the_readme_run_one_after_the_other(tmp_path: Path) -> None:
    write_synthetic(tmp_path / "data/radolan.nc", 11 * 288, 24, 28, seed=2, start="2018-05-10")
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive/rain.nc").symlink_to(tmp_path / "data/radolan.nc")
    (tmp_path / "places.csv").write_text("name,latitude,longitude,radius\nHere,51.08,10,5\n")
    square = [[[9.9, 51.0], [10.1, 51.0], [10.1, 51.1], [9.9, 51.1], [9.9, 51.0]]]
    area = json.dumps({"type": "Polygon", "coordinates": square})
    (tmp_path / "areas.geojson").write_text(area)
    (tmp_path / "mine/experiment").mkdir(parents=True)
    (tmp_path / "mine/experiment/winter.yaml").write_text(
        "# @package _global_\nmodel:\n  hidden_channels: [4]\n"
    )
    terrain = xr.Dataset({"height": (("y", "x"), np.zeros((24, 28), np.float32))})
    terrain.to_netcdf(tmp_path / "terrain.nc", engine="netcdf4")
    runs = xr.Dataset(
        {"rain": (("run", "lead", "y", "x"), np.zeros((44, 10, 24, 28), np.float32))},
        {
            "run": ("run", 6.0 * np.arange(44), {
                "units": "hours since 2018-05-10", "standard_name": "forecast_reference_time",
            }),
            "lead": ("lead", np.arange(10.0), {
                "units": "hours", "standard_name": "forecast_period",
            }),
        },
    )  # fmt: skip
    runs.to_netcdf(tmp_path / "nwp.nc", engine="netcdf4")
    found = commands("bash")
    assert {command.split()[1] for command in found} == {
        "train", "predict", "evaluate", "describe", "export", "inspect", "prepare", "plot", "point", "sweep",
    }  # fmt: skip
    for command in found:
        words = shlex.split(command.split(" #")[0])[1:]
        words += SHORT if words[0] == "train" else []
        words += ["grid_size=[24,28]"] if words[0] == "export" else []
        is_tiled = any(word.startswith("region.size") for word in words)
        words += ["region.size=16", "region.step=12"] if is_tiled else []
        ran = subprocess.run(
            [sys.executable, "-m", "nowcast", *words], cwd=tmp_path, capture_output=True, text=True
        )
        lacking = find_spec("pysteps") is None and re.search(
            r"\b(sprog|steps|steps_mean|linda|anvil)\b", command
        )
        assert ran.returncode == (69 if lacking else 0), f"{command}\n{ran.stderr}"


def test_the_python_of_the_readme_runs(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mine)
    conv = torch.nn.Conv2d(3 + 4, 4 * 4, 3, padding=1)
    copied = torch.nn.ModuleDict(
        {"cell_list": torch.nn.ModuleList([torch.nn.ModuleDict({"conv": conv})])}
    )
    for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL):
        if any(
            name in block and find_spec(name) is None for name in ("pysteps", "mlflow", "wandb")
        ):
            continue  # the loggers of the last two: see below
        names = {"copied_convlstm": copied, "frames": torch.rand(2, 5, 3, 8, 8)}
        exec(compile(block, "README.md", "exec"), names)


class Recorder(ModuleType):
    """Takes the place of a library: notes each call of its functions, and theirs in turn."""

    def __init__(self, name: str, calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]]) -> None:
        super().__init__(name)
        self.calls = calls

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def called(*words: Any, **named: Any) -> Any:
            self.calls.append((name, words, named))
            # what MLflow calls the number of a run is written to a file
            return SimpleNamespace(
                info=SimpleNamespace(run_id="42"), log=self.__getattr__("log"),
                finish=self.__getattr__("finish"),
            )  # fmt: skip

        return called


@pytest.mark.parametrize(
    ("library", "logger", "told"),
    [
        ("mlflow", "MLflow", ["start_run", "log_params", "log_metrics", "log_image", "end_run"]),
        ("wandb", "WandB", ["init", "Image", "log", "finish"]),
    ],
)
def test_the_loggers_of_the_readme_hand_on_what_a_training_gives(
    library: str, logger: str, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a library that only notes its calls: whether it would take them is not tested."""
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
    monkeypatch.setitem(sys.modules, library, Recorder(library, calls))
    (block,) = re.findall(rf"```python\n(import {library}\n.*?)```", README, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block, "README.md", "exec"), names)
    loggers = Loggers({library: names[logger]()}, {"optimizer.lr": 0.001}, lambda example: IMAGE)
    with loggers.running(tmp_path, 0):
        loggers.log(50, {"train/loss": 2.5})
        loggers.log(100, {"validation/csi": 0.5}, [EXAMPLE])
    assert loggers, "it did not fail"
    assert {name for name, _, _ in calls} == set(told)
    every = [value for _, words, named in calls for value in (*words, *named.values())]
    assert {"optimizer.lr": 0.001} in every and {"train/loss": 2.5} in every
    assert any(value is IMAGE for value in every)
    assert [named["step"] for _, _, named in calls if "step" in named][:2] == [50, 100]
    calls.clear()
    with loggers.running(tmp_path, 100):  # it goes on in the same run
        loggers.log(150, {"train/loss": 2.0})
    _, words, named = calls[0]
    assert ("42" in words) if library == "mlflow" else (named["resume"] == "allow")
    assert "log_params" not in {name for name, _, _ in calls}


def test_the_notebook_runs_and_stores_no_output(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mine)
    notebook = json.loads((ROOT / "notebooks/quickstart.ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    names: dict[str, object] = {}
    for cell in cells:
        assert cell["outputs"] == [] and cell["execution_count"] is None
        exec(compile("".join(cell["source"]), "quickstart.ipynb", "exec"), names)
    for line in [line.strip() for cell in cells for line in cell["source"]]:
        assert line in README, f"not in the README: {line}"


def test_every_file_that_the_readme_points_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_files_that_a_page_names_exist(page: str) -> None:
    named = re.findall(
        r"(?<![\w/])((?:nowcast|tests|scripts|configs)/[\w./-]*\w)", (ROOT / page).read_text()
    )
    assert named and not [one for one in named if not (ROOT / one).exists()]
