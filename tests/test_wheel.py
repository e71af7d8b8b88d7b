"""The wheel works from any folder, with its configurations, without the checkout."""

import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

from nowcast.version import DISTRIBUTION, __version__, install_command

ROOT = Path(__file__).parents[1]
OTHER_PROJECT = re.compile(r"\bnowcast\[|\bpip install\b[^\n#]*[\s'\"]nowcast(?![\w./-])")
"""A requirement, or a command of pip, by which a package index gives another project."""
TEXTS = {".py", ".md", ".yaml", ".toml", ".txt", ".sh", ".ipynb", ".service", ".example"}


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
    assert PathDistribution(about).metadata["Name"] == DISTRIBUTION
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


def test_no_hint_installs_the_other_project_of_this_name() -> None:
    known = ("pip install 'nowcast[video]'", "pip install nowcast", "nowcast[grib]")
    assert all(OTHER_PROJECT.search(hint) for hint in known)
    assert not OTHER_PROJECT.search(install_command("video"))
    folders = ("nowcast", "configs", "scripts", "notebooks", "data")
    texts = [path for one in folders for path in (ROOT / one).rglob("*") if path.suffix in TEXTS]
    texts += [path for path in ROOT.iterdir() if path.suffix in TEXTS or path.name == "Makefile"]
    assert len(texts) > 100
    hints = {
        f"{path.relative_to(ROOT)}: {hint[0]}"
        for path in texts
        for hint in OTHER_PROJECT.finditer(path.read_text())
    }
    assert not hints


def test_the_citation_names_this_version() -> None:
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
