"""The configuration and command references name all that a user can set, with its meaning."""

import importlib.util
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest
import typer

from nowcast.cli.app import app
from nowcast.cli.help import GROUPS, group_options
from nowcast.cli.keys import Key, comments, explained_keys
from nowcast.config.data import FieldAheadConfig, FieldBesideConfig
from nowcast.config.effects import configs_folder
from nowcast.places.rule import Rule

DOCS = Path(__file__).parents[2] / "docs"
MENTIONS = typer.main.get_command(app)


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def keys_text(reference: ModuleType) -> str:
    text: str = reference.keys_text()
    return text


def meaning_of(name: str, text: str) -> str:
    """What stands below a key, up to the next one."""
    line = next(line for line in text.splitlines() if line.startswith(f"`{name}` · "))
    return text.partition(f"{line}\n: ")[2].partition("\n")[0]


@pytest.mark.parametrize("command", GROUPS)
def test_every_key_of_every_command_has_its_type_default_and_meaning(
    command: str, keys_text: str, reference: ModuleType
) -> None:
    for group in GROUPS[command]:
        for option in group_options(group, command) if "@" not in group else ():
            for key in explained_keys(command, [f"{group}={option}"]):
                assert meaning_of(key.name, keys_text), key
                reference.unit_of(key, command)
    named = comments(configs_folder() / f"{command}.yaml")
    for name in (one for one in named if not one.startswith("hydra")):
        if any(other.startswith(f"{name}.") for other in named):
            assert f"**`{name}`**: {named[name]}" in keys_text
        else:
            assert meaning_of(name, keys_text), name


@pytest.mark.parametrize(
    "path", sorted(configs_folder().glob("*/*.yaml")), ids=lambda path: path.stem
)
def test_every_option_of_every_group_is_on_the_page(path: Path, keys_text: str) -> None:
    assert f"#### `{path.parent.name}={path.stem}`" in keys_text


@pytest.mark.parametrize("group", ["launcher", "sweeper"])
def test_the_keys_of_sweeps_are_on_the_page(group: str, keys_text: str) -> None:
    for path in configs_folder().glob(f"hydra/{group}/*.yaml"):
        for name in comments(path):
            assert meaning_of(f"hydra.{group}.{name}", keys_text), name


def test_a_key_is_shown_with_its_unit(keys_text: str) -> None:
    assert "`max_age` · number, null · default `null` · minutes\n: " in keys_text
    assert "`sampling.crop` · whole number, null · default `96` · pixels\n" in keys_text
    assert "`crop` · list of numbers, null · default `null` · degrees\n" in keys_text
    assert "`thresholds` · list of numbers · default `[0.5, 1, 2, 5, 10, 30]` · mm/h\n" in keys_text


def test_a_number_without_a_unit_is_refused(reference: ModuleType) -> None:
    with pytest.raises(KeyError, match=r"training\.warmth: say its unit"):
        reference.unit_of(Key("training.warmth", "number", "1", "how warm"))


def test_units_are_of_keys_that_exist(reference: ModuleType, keys_text: str) -> None:
    for name in (*reference.UNITS, *reference.NO_UNIT):
        assert f"{name.rpartition('.')[2]}` · " in keys_text, name


@pytest.mark.parametrize("name", MENTIONS.list_commands(typer.Context(MENTIONS)))
def test_every_command_argument_and_option_is_explained(name: str, reference: ModuleType) -> None:
    section = reference.commands_text().partition(f"## `nowcast {name}`\n")[2].partition("\n## ")[0]
    command = MENTIONS.get_command(typer.Context(MENTIONS), name)
    assert command is not None and (command.help or "").split("\n")[0] in section
    for one in command.params:
        named = (
            f"`{one.opts[0]}`"
            if one.param_type_name == "option"
            else f"`{one.metavar or one.name.upper()}`"
        )
        told = section.partition(named)[2].partition("\n: ")[2].partition("\n")[0]
        assert told.strip(), one.name


def test_the_keys_of_mappings_are_explained() -> None:
    page = (DOCS / "configuration.md").read_text()
    named = {
        one.name for kind in (FieldBesideConfig, FieldAheadConfig, Rule) for one in fields(kind)
    }
    for name in named - {"name"}:
        assert f"\n`{name}` · " in page, name
