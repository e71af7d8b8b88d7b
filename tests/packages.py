"""A package written as pip installs one, for the tests of what packages add to nowcast."""

from pathlib import Path


def install(site: Path, group: str, name: str, code: str) -> Path:
    """Write the package `tenlines` into a folder where Python looks for packages: its module, and
    metadata by which `tenlines:<name>` joins a group of entry points.
    """
    (site / "tenlines.py").write_text(code)
    about = site / "tenlines-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tenlines\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{group}]\n{name} = tenlines:{name}\n")
    return site
