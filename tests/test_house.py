"""The plan of the house, held against the imports: floors, and which words stand in which room
only.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "nowcast"
FILES = sorted(PACKAGE.rglob("*.py"))

FLOORS = (
    ("__main__",),
    ("cli",),
    ("commands",),
    ("service", "evaluation"),
    ("factories",),
    ("report",),
    ("forecast", "training"),
    ("model", "sequences", "verification"),
    ("radar",),
    ("config",),
    ("untrusted", "files", "explain"),
    ("console", "periods", "signals"),
    ("errors", "startup", "__init__"),
)
"""The rooms, the highest floor first. A room knows only rooms on floors below its own."""

NEVER = {
    "forecast": {"training", "config"},
    "training": {"forecast", "config"},
    "model": {"radar", "config"},
    "sequences": {"config"},
    "verification": {"config"},
    "radar": {"config"},
    "report": {"forecast", "training", "model", "sequences", "config"},
    "evaluation": {"service"},
}
"""Rooms below that a room does not know all the same."""

ROOMS_OF_A_WORD = {
    "typer": {"cli"},
    "hydra": {"cli"},
    "omegaconf": {"cli", "config"},
    "tqdm": {"training", "factories", "commands", "evaluation"},
    "xarray": {
        "radar", "forecast", "verification", "sequences", "report", "factories", "service",
        "evaluation", "commands",
    },
    "pandas": {"verification"},
    "filelock": {"files"},
    "netCDF4": {"radar", "forecast"},
    "cftime": {"radar"},
    "h5py": {"model", "radar", "untrusted"},
    "eccodes": {"radar"},
    "rasterio": {"radar"},
    "PIL": {"radar", "report"},
    "imageio_ffmpeg": {"report"},
    "zarr": {"radar"},
    "pyproj": {"radar"},
    "pysteps": {"forecast"},
    "onnx": {"forecast"},
    "onnxscript": {"forecast"},
    "onnxruntime": {"forecast"},
    "cv2": set(),
    "keras": set(),
    "matplotlib": {"report"},
    "contourpy": {"report"},
    "rich": {"verification", "console", "commands", "cli"},
    "torch": {
        "model", "sequences", "training", "forecast", "verification", "factories", "service",
        "evaluation", "commands",
    },
}  # fmt: skip
"""A library, and the rooms that it may stand in."""


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def below(room: str) -> set[str]:
    """The rooms on the floors below a room's own."""
    floor = next(k for k, rooms in enumerate(FLOORS) if room in rooms)
    return {name for rooms in FLOORS[floor + 1 :] for name in rooms}


def imports_of(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downward_only(path: Path) -> None:
    room = room_of(path)
    known = {name.split(".")[1] for name in imports_of(path) if name.startswith("nowcast.")}
    allowed = {room, "__version__", *below(room)} - NEVER.get(room, set())
    assert known <= allowed, f"{room} may not import {known - allowed}"


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
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - set()
    assert rooms <= {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()}
