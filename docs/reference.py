"""The configuration and command references, written from the code when Sphinx builds the site.

A page that contains `<!-- the keys -->` or `<!-- the commands -->` gets the text at that place.
Keys, types, defaults and meanings come from `nowcast … --keys`, which reads the comments in
configs/; commands, arguments and options come from the Typer app.
"""

import inspect
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
import yaml

from nowcast.cli.app import app as typer_app
from nowcast.cli.help import GROUPS, group_options
from nowcast.cli.keys import Key, comments, explained_keys
from nowcast.cli.schemas import register_schemas
from nowcast.config.effects import configs_folder

if TYPE_CHECKING:
    from sphinx.application import Sphinx

UNITS = {
    "accumulation": "minutes",
    "accumulation_minutes": "minutes",
    "accumulation_thresholds": "mm",
    "accumulations": "minutes",
    "accumulate": "parts",
    "batch_size": "windows",
    "cache_gb": "GB",
    "conv_kernel_sizes": "grid cells",
    "crop": "pixels",
    "data.test_sequences": "sequences",
    "data.train_sequences": "sequences",
    "data.validation_sequences": "sequences",
    "deadline": "seconds",
    "dilation": "grid cells",
    "drop_frames": "frames",
    "ensemble": "members",
    "epochs": "epochs",
    "event_gap_hours": "hours",
    "frames_per_second": "1/s",
    "fss_scales": "pixels",
    "grid_size": "pixels",
    "input_kernel_size": "grid cells",
    "input_steps": "frames",
    "keep_files": "files",
    "keep_hours": "hours",
    "kernel_size": "grid cells",
    "kernel_sizes": "grid cells",
    "lead_steps": "frames",
    "lead_time": "minutes",
    "lock_wait": "seconds",
    "log_every": "steps",
    "max_age": "minutes",
    "max_gap": "minutes",
    "max_memory_gb": "GB",
    "max_rate": "mm/h",
    "members": "members",
    "missing_frames": "frames",
    "patch_size": "pixels",
    "patience": "epochs",
    "pixel_size": "m",
    "place": "degrees",
    "poll": "seconds",
    "prepare.crop": "degrees",
    "probability": "mm/h",
    "evaluate.batch_size": "cases",
    "describe.batch_size": "sequences",
    "evaluate.region": "degrees",
    "region.size": "pixels",
    "region.step": "pixels",
    "retry": "seconds",
    "scaling.maximum": "mm/h",
    "scaling.reference": "mm/h",
    "stride": "frames",
    "layer.stride": "grid cells",
    "strides": "grid cells",
    "thresholds": "mm/h",
    "timestep_minutes": "minutes",
    "warmup_steps": "steps",
    "windows_per_epoch": "windows",
}  # fmt: skip
"""The unit of a key, by its last name, or by a longer name where that differs."""
NO_UNIT = {
    "channels", "columns", "decay", "digits_per_sequence", "ema_decay", "event_min_wet_share",
    "exit_code", "fallback_exit_code", "final_share", "frame_dropout", "gradient_clip",
    "hidden_channels", "hidden_size", "index", "lr", "max_wet_ratio", "min_wet_share", "momentum",
    "noise", "num_layers", "outer_channels", "proj_size", "rain_power", "rate_jitter", "resamples",
    "scheduled_sampling", "seed", "speckle_neighbours", "weight_decay", "workers",
}  # fmt: skip
"""Keys whose value is a number without a unit: counts, shares and ratios."""
HYDRA = ("hydra/launcher", "hydra/sweeper")
"""Groups of Hydra that have files of ours, for sweeps."""


def setup(app: "Sphinx") -> dict[str, bool]:
    """Let Sphinx fill in the pages."""
    app.connect("source-read", _fill)
    return {"parallel_read_safe": True}


def _fill(app: "Sphinx", page: str, source: list[str]) -> None:
    for place, text in (("<!-- the keys -->", keys_text), ("<!-- the commands -->", commands_text)):
        if place in source[0]:
            source[0] = source[0].replace(place, text())
            for path in [*configs_folder().rglob("*.yaml"), Path(__file__)]:
                app.env.note_dependency(str(path.resolve()))


def keys_text() -> str:
    """Return all keys in Markdown: of each command, then of each group."""
    register_schemas()
    return "\n\n".join([*map(_of_command, GROUPS), "## Groups", *_of_groups(), *_of_hydra()])


def own_keys(command: str) -> list[Key]:
    """Return the keys of a command without those that its groups bring."""
    names = {*comments(configs_folder() / f"{command}.yaml"), *comments(_common())}
    groups = {group.partition("@")[0] for group in GROUPS[command]}
    keys = explained_keys(command, [])
    return [key for key in keys if key.name in names or key.name.split(".")[0] not in groups]


def group_keys(group: str, option: str) -> list[Key]:
    """Return the keys that a group has with one of its options."""
    command = next(name for name, groups in GROUPS.items() if group in groups)
    keys = explained_keys(command, [f"{group}={option}"])
    return [key for key in keys if key.name.startswith(f"{group}.")]


def unit_of(key: Key, command: str = "") -> str:
    """Return the unit of a key, or an empty text. Errors: KeyError for a number that has none."""
    last = key.name.rpartition(".")[2]
    for name in (f"{command}.{key.name}", key.name, last):
        if name in UNITS:
            return UNITS[name] if "number" in key.kind or not key.kind else ""
    if "number" in key.kind and last not in NO_UNIT:
        raise KeyError(f"{key.name}: say its unit in docs/reference.py, or that it has none")
    return ""


def _of_command(command: str) -> str:
    groups = [f"[`{group}`](#group-{group.partition('@')[0]})" for group in GROUPS[command]]
    taken = f"Its groups, explained below: {', '.join(groups)}." if groups else ""
    about = (
        f"Values stand in `configs/{command}.yaml`. [What the command does](commands.md#{command})."
    )
    parts = [f"(keys-{command})=", f"## `nowcast {command}`", f"{about} {taken}".strip()]
    said = comments(configs_folder() / f"{command}.yaml")
    for parent, keys in groupby(own_keys(command), lambda key: key.name.rpartition(".")[0]):
        if parent in said:
            parts.append(f"**`{parent}`**: {_literal(said[parent])}")
        parts.append(_list(list(keys), command))
    return "\n\n".join(parts)


def _of_groups() -> Iterator[str]:
    for group in dict.fromkeys(one.partition("@")[0] for of in GROUPS.values() for one in of):
        commands = [name for name, of in GROUPS.items() if group in of]
        yield f"(group-{group})=\n\n### `{group}`"
        yield f"Of {', '.join(f'`nowcast {name}`' for name in commands)}: choose with `{group}=…`."
        for option in _bases_first(group, group_options(group, commands[0])):
            yield "\n\n".join(_of_option(group, option))


def _of_option(group: str, option: str) -> Iterator[str]:
    path = configs_folder() / group / f"{option}.yaml"
    yield f"#### `{group}={option}`"
    yield _head(path)
    base = _base(path)
    if group == "experiment":
        yield f"```yaml\n{_without_head(path)}\n```"
    elif base:
        own = _flat({key: one for key, one in _read(path).items() if key != "defaults"})
        values = ", ".join(f"`{group}.{key}={_written(value)}`" for key, value in own)
        yield f"As `{group}={base}`, with {values}."
    else:
        yield _list(group_keys(group, option))


def _of_hydra() -> Iterator[str]:
    for group in HYDRA:
        yield f"### `{group}`"
        yield f"Of `nowcast train -m`: choose with `{group}=…`."
        for path in sorted((configs_folder() / group).glob("*.yaml")):
            said, values = comments(path), dict(_flat(_read(path)))
            yield f"#### `{group}={path.stem}`\n\n{_head(path)}"
            yield _list(
                [
                    Key(f"{group.replace('/', '.')}.{key}", "", _written(values[key]), meaning)
                    for key, meaning in said.items()
                ]
            )


def _list(keys: Sequence[Key], command: str = "") -> str:
    """A definition list, which a narrow screen shows whole: key, type, default, unit; meaning."""
    return "\n\n".join(
        f"`{key.name}` · {' · '.join(filter(None, (_kind(key), _default(key), unit)))}\n"
        f": {_literal(key.meaning)}"
        for key, unit in ((key, unit_of(key, command)) for key in keys)
    )


def _kind(key: Key) -> str:
    return key.kind.replace(" or null", ", null")


def _default(key: Key) -> str:
    if key.value.startswith("…"):
        return "required"
    return f"default `{key.value}`"


def _literal(text: str) -> str:
    """A text in Markdown, its signs taken literally."""
    return re.sub(r"([|*<\[\]])", r"\\\1", text) if "`" not in text else text.replace("|", r"\|")


def _common() -> Path:
    return configs_folder() / "common.yaml"


def _read(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return values


def _base(path: Path) -> str | None:
    """The option of the same group that a file begins with, if any."""
    named = [one for one in _read(path).get("defaults", []) if str(one).isidentifier()]
    return next((one for one in named if path.with_name(f"{one}.yaml").is_file()), None)


def _bases_first(group: str, options: Sequence[str]) -> list[str]:
    return sorted(options, key=lambda one: _base(configs_folder() / group / f"{one}.yaml") or "")


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of nested dictionaries by their dotted names."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _written(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def _head(path: Path) -> str:
    """The comment that a file begins with, as sentences."""
    lines = [line.removeprefix("# ") for line in _head_lines(path) if "@package" not in line]
    return "  \n".join(re.sub(r"([*<\[\]])", r"\\\1", line) for line in lines)


def _head_lines(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    end = next(k for k, line in enumerate(lines) if not line.startswith("#"))
    return lines[:end]


def _without_head(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(lines[len(_head_lines(path)) :]).strip()


def commands_text() -> str:
    """Return each command with its arguments and options in Markdown."""
    group = typer.main.get_command(typer_app)
    context = typer.Context(group, info_name="nowcast")
    parts = ["## `nowcast`", _parameters(group, context)]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        here = typer.Context(command, info_name=name, parent=context)
        parts += [f"({name})=", f"## `nowcast {name}`", inspect.cleandoc(command.help or "")]
        parts += [_parameters(command, here), *_epilog(command.epilog or "")]
        if name in GROUPS:
            parts.append(f"Its configuration: [every key](configuration.md#keys-{name}).")
    return "\n\n".join(parts)


def _parameters(command: Any, context: Any) -> str:
    return "\n\n".join(
        f"{_names(one)}{_chosen(one)}\n: {_literal(' '.join((one.help or '').split()))}"
        for one in command.get_params(context)
        if context.parent is None or one.name != "help"
    )


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    return ", ".join(f"`{name}`" for name in parameter.opts)


def _chosen(parameter: Any) -> str:
    default = parameter.default
    return "" if default in (None, False) or callable(default) else f" · default `{default}`"


def _epilog(epilog: str) -> Iterator[str]:
    """The examples under the help of a command; groups and keys have a page of their own."""
    for part in epilog.split("\n\n"):
        text = part.replace("\b\n", "")
        if text.startswith("Examples:"):
            lines = inspect.cleandoc(text.partition("\n")[2])
            yield f"```text\n{lines}\n```"
