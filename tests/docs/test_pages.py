"""The commands and the Python of the README and of the site run as they stand there, on a small
file in place of the sample and with short training.

`bash` blocks hold commands that run here, one after the other, each page in a folder of its own
where `make demo` has run. `sh` and `console` blocks hold what a test cannot run: installing,
clusters, servers.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from nowcast.radar import write_synthetic
from nowcast.sequences.windows import Pick
from nowcast.training.examples import Example
from nowcast.training.loggers import Loggers

ROOT = Path(__file__).parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
}
ALL = "\n".join(PAGES.values())
SHORT = [
    "sampling.windows_per_epoch=8",
    "training.epochs=1",
    "validation.stride=96",
    "sampling.crop=16",
    "device=cpu",
]
COMMANDS = {
    "train", "predict", "evaluate", "describe", "export", "inspect", "prepare", "plot", "point", "sweep",
}  # fmt: skip
NOT_RUN = re.compile(
    r"(make|pip|python3? -m venv|git|\.|cd|export|sbatch|srun|systemctl|sudo|tensorboard|kill|crontab) "
    r"|nowcast (fetch|models|train|predict|prepare|evaluate|--debug|--help|--version)\b"
)
"""How a line of a `sh` or `console` block may begin."""

IMAGE = np.zeros((4, 4, 3), np.uint8)
RAIN = np.zeros((1, 4, 4), np.float32)
EXAMPLE = Example(1, Pick(0), (1,), RAIN, RAIN)


def lines(page: str, *languages: str) -> list[str]:
    """The commands of a page's blocks in these languages, with continued lines joined."""
    found = re.findall(rf"^```(?:{'|'.join(languages)})\n(.*?)^```", PAGES[page], re.DOTALL | re.M)
    joined = "".join(found).replace("\\\n", " ").splitlines()
    return [line.strip() for line in joined if line.strip() and line[0] not in "# "]


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `nowcast …` or `torchrun …`; a training is made short."""
    words = shlex.split(command.split(" #")[0].replace("$(which nowcast)", "-m nowcast"))
    if words[0] == "torchrun":
        words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", *words[2:]]
    else:
        words = [sys.executable, "-m", *words]
    words += SHORT if "train" in words else []
    words += ["grid_size=[24,28]"] if "export" in words else []
    words += ["region.size=16", "region.step=12"] if "region.size" in command else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="session")
def after_the_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where `make demo` has run, with files of the reader's own next to it."""
    folder = tmp_path_factory.mktemp("demo")
    write_synthetic(folder / "data/radolan.nc", 11 * 288, 24, 28, seed=2, start="2018-05-10")
    (folder / "archive").mkdir()
    (folder / "archive/rain.nc").symlink_to("../data/radolan.nc")
    (folder / "places.csv").write_text("name,latitude,longitude,radius\nHere,51.08,10,5\n")
    square = [[[9.9, 51.0], [10.1, 51.0], [10.1, 51.1], [9.9, 51.1], [9.9, 51.0]]]
    area = json.dumps({"type": "Polygon", "coordinates": square})
    (folder / "areas.geojson").write_text(area)
    (folder / "mine/experiment").mkdir(parents=True)
    (folder / "mine/experiment/winter.yaml").write_text(
        "# @package _global_\nmodel:\n  hidden_channels: [4]\n"
    )
    terrain = xr.Dataset({"height": (("y", "x"), np.zeros((24, 28), np.float32))})
    terrain.to_netcdf(folder / "terrain.nc", engine="netcdf4")
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
    runs.to_netcdf(folder / "nwp.nc", engine="netcdf4")
    for command in (
        "nowcast train experiment=demo output=runs/demo",
        "nowcast predict checkpoint=runs/demo/best.pt data=radolan at=2018-05-20T01:15 "
        "output=runs/demo/forecast.nc",
    ):
        ran = run(command, folder)
        assert ran.returncode == 0, ran.stderr
    return folder


@pytest.mark.pages
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run_one_after_the_other(
    page: str, after_the_demo: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "page"
    shutil.copytree(after_the_demo, folder, symlinks=True)
    for command in lines(page, "bash"):
        ran = run(command, folder)
        lacking = find_spec("pysteps") is None and re.search(
            r"\b(sprog|steps|steps_mean|linda|anvil)\b", command
        )
        assert ran.returncode == (69 if lacking else 0), f"{command}\n{ran.stderr}"


def test_every_command_is_shown_in_a_block_that_runs() -> None:
    found = [line for page in PAGES for line in lines(page, "bash")]
    assert all(line.startswith(("nowcast ", "torchrun ")) for line in found), found
    assert {line.split()[1] for line in found if line.startswith("nowcast ")} == COMMANDS


@pytest.mark.parametrize("page", PAGES)
def test_blocks_that_do_not_run_hold_only_what_a_test_cannot_run(page: str) -> None:
    assert [line for line in lines(page, "sh", "console") if not NOT_RUN.match(line)] == []


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs(page: str, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mine)
    for block in re.findall(r"```python\n(.*?)```", PAGES[page], flags=re.DOTALL):
        if any(
            name in block and find_spec(name) is None for name in ("pysteps", "mlflow", "wandb")
        ):
            continue  # the loggers of the last two: see below
        exec(compile(block, page, "exec"), {})


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
def test_the_loggers_shown_hand_on_what_a_training_gives(
    library: str, logger: str, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a library that only notes its calls: whether it would take them is not tested."""
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
    monkeypatch.setitem(sys.modules, library, Recorder(library, calls))
    (block,) = re.findall(rf"```python\n(import {library}\n.*?)```", ALL, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block, "the page", "exec"), names)
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
        assert line in PAGES["README.md"], f"not in the README: {line}"


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_points_to_is_there(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", PAGES[page]):
        here = (ROOT / page).parent / target
        assert target.startswith("http") or here.exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_the_files_that_a_page_names_exist(page: str) -> None:
    named = re.findall(r"(?<![\w/])((?:nowcast|tests|scripts|configs)/[\w./-]*\w)", PAGES[page])
    assert not [one for one in named if not (ROOT / one).exists()]
