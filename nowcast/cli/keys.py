"""`--keys`: each key of a command with its type, its value and its comment in configs/."""

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from nowcast.config.effects import configs_folder

WIDTH = 80
_LINE = re.compile(r"( *)(\w+):(.*)")
_NAMES = {str: "text", int: "whole number", float: "number", bool: "true or false", dict: "mapping"}


@dataclass(frozen=True)
class Key:
    """A key of a command: its full name, type in words, value as written in YAML, and meaning.

    kind is empty for a key that takes several types, meaning for a key without a comment.
    """

    name: str
    kind: str
    value: str
    meaning: str


def print_keys(command: str, overrides: list[str]) -> None:
    """Print the keys of a command after these overrides, such as model=next_frame."""
    for key in explained_keys(command, overrides):
        print(f"{key.name}={key.value}" + (f"  ({key.kind})" if key.kind else ""))
        if key.meaning:
            print(
                textwrap.fill(
                    key.meaning,
                    WIDTH,
                    initial_indent="    ",
                    subsequent_indent="    ",
                    break_long_words=False,
                )
            )


def explained_keys(command: str, overrides: list[str]) -> list[Key]:
    """Return the keys of a command after these overrides, each with its comment."""
    with initialize_config_dir(str(configs_folder()), version_base="1.3"):
        composed = compose(command, overrides, return_hydra_config=True)
    meanings = _comments_of(command, composed.hydra.runtime.choices)
    OmegaConf.set_struct(composed, False)
    del composed["hydra"]
    return [
        Key(name, kind, value, meanings.get(name, "")) for name, kind, value in keys_of(composed)
    ]


def keys_of(node: DictConfig, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield (key, type, value) as text for each key below a node; a mapping without a type counts
    as one key.
    """
    schema = OmegaConf.get_type(node)
    hints = get_type_hints(schema) if hasattr(schema, "__dataclass_fields__") else {}
    plain = OmegaConf.to_container(node, resolve=False)
    assert isinstance(plain, Mapping)
    for key in map(str, node):
        child = node._get_node(key)
        if isinstance(child, DictConfig) and hasattr(
            OmegaConf.get_type(child), "__dataclass_fields__"
        ):
            yield from keys_of(child, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _type(hints.get(key, Any)), _value(plain[key])


def _type(hint: Any) -> str:
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(
            _type(one) if one is not type(None) else "null" for one in get_args(hint)
        )
    if get_origin(hint) is list:
        one = _type(get_args(hint)[0])
        return f"list of {one}s" if one.endswith("number") else f"list of {one}"
    if hasattr(hint, "__dataclass_fields__"):
        return "group"
    return _NAMES.get(get_origin(hint) or hint, "")


def _value(value: Any) -> str:
    if value == "???":
        return "…, required"
    if isinstance(value, list):  # show thresholds as written in configs/
        value = [int(one) if isinstance(one, float) and one.is_integer() else one for one in value]
    written: str = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return written.removesuffix("...\n").strip()


def _comments_of(command: str, choices: Mapping[str, Any]) -> dict[str, str]:
    """Return the comment of each key in the files of a command and of its chosen groups."""
    found = {
        **comments(configs_folder() / "common.yaml"),
        **comments(configs_folder() / f"{command}.yaml"),
    }
    for group, option in choices.items():
        name, _, key = group.partition("@")
        if (
            option
            and not name.startswith("hydra")
            and (configs_folder() / name / f"{option}.yaml").is_file()
        ):
            found |= {
                f"{key or name}.{below}": said
                for below, said in _with_its_base(name, str(option)).items()
            }
    return found


def _with_its_base(group: str, option: str) -> dict[str, str]:
    path = configs_folder() / group / f"{option}.yaml"
    defaults = yaml.safe_load(path.read_text(encoding="utf-8")).get("defaults", [])
    bases = [one for one in defaults if isinstance(one, str) and not one.startswith(("/", "_"))]
    found: dict[str, str] = {}
    for base in bases:
        found |= _with_its_base(group, base)
    return found | comments(path)


def comments(path: Path) -> dict[str, str]:
    """Return the comment of each key of a file, by its full name, including comment-only lines
    below the key.
    """
    found: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    last = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        key, said = _LINE.match(line), re.search(r"(?:^|\s)# (.*)", line)
        if key:
            above = [one for one in above if one[0] < len(key[1])] + [(len(key[1]), key[2])]
            last = ".".join(name for _, name in above)
            if said:
                found[last] = said[1]
        elif said and line.startswith(" ") and last in found:
            found[last] += f" {said[1]}"
    return found
