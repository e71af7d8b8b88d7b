"""The plan of the house, held against the imports: floors, and which words stand in which room
only.
"""

import ast
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "nowcast"
FILES = sorted(PACKAGE.rglob("*.py"))

FLOORS = (
    ("__main__", "__init__"),
    ("cli",),
    ("commands",),
    ("api", "pysteps"),
    ("service", "evaluation"),
    ("factories",),
    ("config",),
    ("report",),
    ("places",),
    ("forecast", "training"),
    ("model", "sequences", "verification"),
    ("radar", "motion", "probability"),
    ("untrusted", "explain", "baselines", "pretrained", "runs"),
    ("files",),
    ("console", "periods", "signals", "plugins"),
    ("arrays", "errors", "launch", "startup", "version"),
)
"""The rooms, the highest floor first. A room knows only rooms on floors below its own."""

NEVER = {
    "forecast": {"training"},
    "training": {"forecast"},
    "model": {"radar"},
    "report": {"forecast", "training", "model", "sequences"},
    "config": {"report", "forecast", "model", "verification"},
    "evaluation": {"service"},
}
"""Rooms below that a room does not know all the same."""

SCHEMAS = {
    "nowcast.radar.reading.options", "nowcast.sequences.options", "nowcast.sequences.scaling",
    "nowcast.training.options", "nowcast.probability.options",
}  # fmt: skip
"""The modules of rooms that `config` knows: frozen dataclasses that are a room's values and, with
limits added, its part of a configuration. So `config` stands above the rooms, which do not know it,
and each field is declared once. They import no large library, and `config` stays quick.
"""

ROOMS_OF_A_WORD = {
    "typer": {"cli"},
    "hydra": {"cli"},
    "omegaconf": {"cli", "config"},
    "tqdm": {"training", "factories", "commands", "evaluation"},
    "xarray": {
        "radar", "forecast", "verification", "sequences", "report", "factories", "service",
        "evaluation", "commands", "api", "places",
    },
    "pandas": {"verification"},
    "filelock": {"files"},
    "netCDF4": {"radar", "forecast"},
    "cftime": {"radar"},
    "h5py": {"model", "radar", "untrusted"},
    "eccodes": {"radar"},
    "rasterio": {"radar", "forecast"},
    "PIL": {"radar", "report"},
    "imageio_ffmpeg": {"report"},
    "zarr": {"radar"},
    "fsspec": {"radar"},
    "botocore": {"radar"},
    "pyproj": {"radar"},
    "pysteps": {"forecast", "pysteps"},
    "onnx": {"forecast"},
    "onnxscript": {"forecast"},
    "onnxruntime": {"forecast"},
    "cv2": {"motion"},
    "keras": set(),
    "tensorboard": {"training"},
    "mlflow": set(),
    "wandb": set(),
    "matplotlib": {"report"},
    "contourpy": {"report"},
    "jinja2": {"report"},
    "markupsafe": {"report"},
    "rich": {"verification", "console", "commands", "cli"},
    "torch": {
        "model", "sequences", "motion", "probability", "training", "forecast", "verification",
        "factories", "service", "evaluation", "commands", "api", "pysteps",
    },
}  # fmt: skip
"""A library, and the rooms that it may stand in."""


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def below(room: str) -> set[str]:
    """The rooms on the floors below a room's own."""
    floor = next(k for k, rooms in enumerate(FLOORS) if room in rooms)
    return {name for rooms in FLOORS[floor + 1 :] for name in rooms}


def imports_in(node: ast.AST) -> set[str]:
    """The names that a statement imports; none for another statement."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        return {f"{node.module}.{alias.name}" for alias in node.names}
    return set()


def imports_of(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text()))
    return {name for node in nodes for name in imports_in(node)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downward_only(path: Path) -> None:
    room = room_of(path)
    known = {name.split(".")[1] for name in imports_of(path) if name.startswith("nowcast.")}
    allowed = {room, *below(room)} - NEVER.get(room, set())
    assert known <= allowed, f"{room} may not import {known - allowed}"


def test_config_knows_no_more_of_the_rooms_than_their_values() -> None:
    known = {name for path in (PACKAGE / "config").glob("*.py") for name in imports_of(path)}
    rooms = {name.rpartition(".")[0] for name in known if name.startswith("nowcast.")}
    below_config = {f"nowcast.{room}" for room in ("radar", "sequences", "probability", "training")}
    assert {one for one in rooms if one.startswith(tuple(below_config))} == SCHEMAS


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_library_stands_only_in_its_rooms(path: Path) -> None:
    room = room_of(path)
    used = {name.split(".")[0] for name in imports_of(path)}
    strangers = {
        word for word, rooms in ROOMS_OF_A_WORD.items() if word in used and room not in rooms
    }
    assert not strangers


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_z_r_constants_have_one_room(path: Path) -> None:
    numbers = {
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
    }
    assert not ({1.6, 200.0} <= numbers) or path == PACKAGE / "radar" / "reading" / "units.py"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_is_swallowed_and_nothing_is_left_to_do(path: Path) -> None:
    text = path.read_text()
    assert not [
        word
        for word in ("TODO", "FIXME", "NotImplementedError", "except:", "except BaseException")
        if word in text
    ]


def test_every_room_has_its_tests() -> None:
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms <= {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()}


MODULES = {
    ".".join(("nowcast", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in FILES
}
REPORT = [name for name in MODULES if name.split(".")[1:2] == ["report"]]
WITHOUT_TORCH = [
    f"nowcast.commands.{name}" for name in ("plot", "point", "inspect", "prepare", "sweep")
]


def module_of(name: str) -> str:
    """The module of ours, or the library, that an import of this name runs."""
    if not name.startswith("nowcast"):
        return name.partition(".")[0]
    while name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def imports_at_start(path: Path) -> set[str]:
    """What a module imports as it is imported: not what only its functions or types need."""
    tree = ast.parse(path.read_text())
    later = {
        id(one)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        for one in ast.walk(node)
    }
    return {name for node in ast.walk(tree) if id(node) not in later for name in imports_in(node)}


LAZY = {
    f"{module}.{name.rpartition('.')[2]}": name
    for module, path in MODULES.items()
    if path.name == "__init__.py"
    for name in imports_of(path) - imports_at_start(path)
}
"""The names of faces that are imported when they are used, and where they live."""


def reached(start: str, imports: Callable[[Path], set[str]]) -> set[str]:
    """The modules and libraries that one module imports, and what these import in turn."""
    found, todo = set[str](), {start}
    while todo:
        name = todo.pop()
        found.add(name)
        if name in MODULES:
            is_face = MODULES[name].name == "__init__.py"
            known = imports_at_start(MODULES[name]) if is_face else imports(MODULES[name])
            parents = {name.rpartition(".")[0]} - {""}
            todo |= ({module_of(LAZY.get(one, one)) for one in known} | parents) - found
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("commands/*.py")), ids=lambda path: path.stem)
def test_no_command_imports_a_command(path: Path) -> None:
    assert not {name for name in imports_of(path) if name.startswith("nowcast.commands")}


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_training_and_evaluation_never_reach_the_service(command: str) -> None:
    names = reached(f"nowcast.commands.{command}", imports_of)
    assert "nowcast.radar" in names  # the walk walks
    assert not {name for name in names if name.startswith("nowcast.service")}


@pytest.mark.parametrize("module", [*WITHOUT_TORCH, *REPORT])
def test_what_draws_or_looks_at_files_imports_no_torch(module: str) -> None:
    """`inspect` may import it within a function, for a checkpoint; the report may not."""
    assert "torch" not in reached(module, imports_at_start)
    assert module not in REPORT or "torch" not in reached(module, imports_of)


def test_torch_is_not_there_after_these_imports() -> None:
    code = f"import sys, {', '.join([*WITHOUT_TORCH, *REPORT])}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def face_of(room: str) -> dict[str, str]:
    """The modules of a room that other rooms may import: `FACE` in its __init__.py."""
    face = import_module(f"nowcast.{room}").FACE
    assert isinstance(face, dict)
    return face


ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_other_rooms_import_only_the_face_of_a_room(room: str) -> None:
    allowed = {f"nowcast.{room}", *(f"nowcast.{room}.{name}" for name in face_of(room))}
    outside = [path for path in FILES if room_of(path) != room]
    used = {module_of(name) for path in outside for name in imports_of(path)}
    deep = {name for name in used if name.startswith(f"nowcast.{room}.")} - allowed
    assert not deep, f"not in FACE of nowcast/{room}/__init__.py: {deep}"


@pytest.mark.parametrize("room", ROOMS)
def test_a_face_lists_modules_and_says_what_each_gives(room: str) -> None:
    for name, words in face_of(room).items():
        assert f"nowcast.{room}.{name}" in MODULES and words
