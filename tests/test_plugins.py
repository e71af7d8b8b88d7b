"""What installed packages add is found by name, and a fault in it names the package."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nowcast.errors import MissingLibraryError
from nowcast.plugins import load_plugin, plugins

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Write the metadata of a package, as pip does, where Python looks for packages."""
    monkeypatch.syspath_prepend(tmp_path)

    def written(package: str, **entries: str) -> None:
        about = tmp_path / f"{package}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in entries.items()]
        (about / "entry_points.txt").write_text("\n".join(["[nowcast.losses]", *lines]))

    return written


def test_a_plugin_is_what_its_entry_point_names(install: Install) -> None:
    install("mine", worst="builtins:max")
    assert plugins("nowcast.losses")["worst"].value == "builtins:max"
    assert load_plugin("nowcast.losses", "worst") is max
    assert "worst" not in plugins("nowcast.models")


def test_a_name_that_two_packages_give_is_nobodys(install: Install) -> None:
    install("mine", worst="builtins:max")
    install("yours", worst="builtins:min")
    with pytest.raises(MissingLibraryError, match="mine 1.0.*yours 1.0|yours 1.0.*mine 1.0"):
        plugins("nowcast.losses")


def test_a_package_that_is_not_there_or_fails_is_named(install: Install) -> None:
    with pytest.raises(MissingLibraryError, match="worst: .*install the package mine"):
        load_plugin("nowcast.losses", "worst", "mine")
    install("broken", worst="no_such_module_anywhere:worst")
    with pytest.raises(MissingLibraryError, match=r"of the package broken 1.0 cannot be imported"):
        load_plugin("nowcast.losses", "worst")
