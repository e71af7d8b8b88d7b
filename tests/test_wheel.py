"""The wheel works from any folder, with its configurations, without the checkout."""

import os
import subprocess
import sys
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_carries_the_configs_and_works_from_any_folder(tmp_path: Path) -> None:
    build = [
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "-t",
        "wheel",
        "-d",
        str(tmp_path / "dist"),
    ]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(next((tmp_path / "dist").glob("*.whl"))) as wheel:
        wheel.extractall(site)
    assert (site / "nowcast" / "py.typed").is_file()
    templates, packed = (
        {path.relative_to(root) for path in root.rglob("*") if path.is_file()}
        for root in (folder / "nowcast" / "report" / "templates" for folder in (ROOT, site))
    )
    assert templates and packed == templates
    assert (site / "nowcast" / "report" / "pictures" / "natural_earth.npz").is_file()
    (about,) = site.glob("*.dist-info")
    (command,) = PathDistribution(about).entry_points.select(group="console_scripts")
    assert command.name == "nowcast"
    code = (
        f"import nowcast, {command.module} as room, sys; print(nowcast.__file__);"
        f" sys.argv = ['nowcast', 'train', '--cfg', 'job']; room.{command.attr}()"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith(str(site))
    assert "hidden_channels:" in shown.stdout
