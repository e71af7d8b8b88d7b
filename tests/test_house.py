"""The plan of the house, held against the imports: floors, and which words stand in which room
only.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "nowcast"
FILES = sorted(PACKAGE.rglob("*.py"))

MAY_IMPORT = {
    "errors": set(),
    "files": {"errors"},
    "netcdf3": set(),
    "printable": set(),
    "untrusted": {"errors", "netcdf3"},
    "apart": {"errors"},
    "checks": {"errors"},
    "signals": {"errors"},
    "startup": set(),
    "config_models": {"errors", "checks"},
    "config_data": {"errors", "checks"},
    "periods": {"errors"},
    "config_effects": {"errors"},
    "config_forecasts": {"errors", "checks", "config_data", "config_effects"},
    "config_predict": {"errors", "checks", "config_data", "config_effects", "config_forecasts"},
    "config": {"errors", "checks", "config_data", "config_forecasts", "config_models",
    "config_predict"}, "explain": {"errors", "printable"},
    "radar": {"errors", "apart", "files", "signals", "untrusted"},
    "sequences": {"errors", "files", "periods", "radar.grid"},
    "model": {"errors", "apart", "untrusted"},
    "verification": {"errors", "apart", "files", "radar.grid", "untrusted"},
    "training": {"errors", "checks", "files", "model", "sequences", "verification.counts",
    "verification.scores"}, "forecast": {"errors", "apart", "files", "model", "radar.grid",
    "radar.units", "sequences.inputs", "sequences.scaling", "signals", "untrusted"}, "commands": {
        "errors", "checks", "explain", "files", "printable", "periods", "config", "config_effects",
        "config_data", "config_forecasts", "config_models", "config_predict", "radar", "sequences",
        "model", "training", "forecast", "verification", "signals",
    },
    "cli": {"errors", "config", "config_effects", "explain", "printable", "signals", "startup",
    "commands"}, "__main__": {"startup", "cli"},
    "__init__": set(),
}  # fmt: skip
"""A room, and the rooms below it that it may know."""

ROOMS_OF_A_WORD = {
    "typer": {"cli"},
    "hydra": {"cli", "config", "commands"},
    "omegaconf": {"cli", "config", "config_effects", "commands"},
    "tqdm": {"training", "commands"},
    "xarray": {"radar", "forecast", "verification", "sequences", "commands"},
    "netCDF4": {"radar", "forecast"},
    "cftime": {"radar"},
    "h5py": {"model", "radar", "untrusted"},
    "eccodes": {"radar"},
    "rasterio": {"radar"},
    "PIL": {"radar", "verification"},
    "imageio_ffmpeg": {"verification"},
    "zarr": {"radar"},
    "pyproj": {"radar"},
    "pysteps": {"forecast"},
    "onnx": {"forecast"},
    "onnxscript": {"forecast"},
    "onnxruntime": {"forecast"},
    "cv2": set(),
    "keras": set(),
    "matplotlib": {"verification"},
    "contourpy": {"verification"},
    "rich": {"verification", "commands"},
    "torch": {"model", "sequences", "training", "forecast", "verification", "commands"},
}
"""A library, and the rooms that it may stand in."""


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


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
    ours = {
        name.removeprefix("nowcast.") for name in imports_of(path) if name.startswith("nowcast.")
    }
    allowed = MAY_IMPORT[room] | {room, "__version__"}
    upward = {name for name in ours if not any(f"{name}.".startswith(f"{one}.") for one in allowed)}
    assert not upward, f"{room} may not import {upward}"


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
    assert not ({1.6, 200.0} <= numbers) or path == PACKAGE / "radar" / "units.py"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_is_swallowed_and_nothing_is_left_to_do(path: Path) -> None:
    text = path.read_text()
    assert not [
        word
        for word in ("TODO", "FIXME", "NotImplementedError", "except:", "except BaseException")
        if word in text
    ]


def test_every_room_has_its_tests() -> None:
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - {"commands"}
    assert rooms <= {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()}
