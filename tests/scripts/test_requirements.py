"""What the Makefile installs: each package by the sums of its archives, at the version that
constraints.txt pins, and all that is needed.
"""

import re
import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
EXTRAS = {
    "install": (),
    "test": ("test",),
    "dev": ("dev",),
    "oracles": ("oracles",),
    "operation": ("formats", "baselines", "export"),
}
"""Each file, and the extras that it is for."""
PINS = {
    canonicalize_name(name): version for name, _,
    version in (line.partition("==") for line in (ROOT / "constraints.txt").read_text().splitlines()) if version
}  # fmt: skip


@cache
def locked(name: str) -> dict[str, str]:
    """Package → version of a file of requirements and those that it goes on from, each with its
    sums.
    """
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    found: dict[str, str] = {}
    for base in re.findall(r"^-r (\w+)\.txt$", text, re.MULTILINE):
        found |= locked(base)
    for entry in re.findall(r"^[^#\s-].*(?:\n .*)*", text, re.MULTILINE):
        first, *sums = entry.split("\\\n")
        assert sums and all(re.fullmatch(r" +--hash=sha256:[0-9a-f]{64} ?", one) for one in sums), (
            entry
        )
        package, _, version = first.partition(";")[0].strip().partition("==")
        found[canonicalize_name(package)] = version
    return found


@pytest.mark.parametrize("name", EXTRAS)
def test_each_package_is_of_the_version_that_is_pinned(name: str) -> None:
    assert locked(name)
    assert {
        package: version
        for package, version in locked(name).items()
        if PINS.get(package, version) != version
    } == {}


def needed(requirement: Requirement, seen: set[str]) -> set[str]:
    """All packages that a requirement brings on this machine, as far as they are installed."""
    name = canonicalize_name(requirement.name)
    for extra in ("", *requirement.extras):
        if f"{name}[{extra}]" in seen:
            continue
        seen.add(f"{name}[{extra}]")
        try:
            below = [Requirement(one) for one in requires(requirement.name) or []]
        except PackageNotFoundError:
            continue
        for one in below:
            if one.marker is None or one.marker.evaluate({**default_environment(), "extra": extra}):
                needed(one, seen)
    return {one.partition("[")[0] for one in seen}


@pytest.mark.parametrize("name", EXTRAS)
def test_all_that_nowcast_needs_is_there_but_for_pytorch(name: str) -> None:
    """And what only PyTorch brings."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    own = [Requirement(one) for one in project["dependencies"]]
    pending = list(EXTRAS[name])
    while pending:
        for one in map(Requirement, project["optional-dependencies"][pending.pop()]):
            (pending.extend(one.extras) if one.name == project["name"] else own.append(one))
    seen: set[str] = set()
    for requirement in own:
        needed(requirement, seen)
    packages = {one.partition("[")[0] for one in seen}
    assert {
        one for one in packages if not one.startswith(("torch", "triton", "nvidia", "cuda"))
    } <= set(locked(name))
    assert "torch" not in locked(name)


def test_every_bound_admits_the_version_that_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    every = [
        *project["dependencies"],
        *(one for extra in project["optional-dependencies"].values() for one in extra),
    ]
    bounds = [Requirement(one) for one in every if not one.startswith(project["name"])]
    assert [
        str(one) for one in bounds if not one.specifier.contains(PINS[canonicalize_name(one.name)])
    ] == []
