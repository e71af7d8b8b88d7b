"""Help of the command line: config groups, shell completions and the end of each help page."""

import textwrap
from typing import Any

from nowcast.config.effects import configs_folder

# break help lines only at spaces, not within --config-dir
textwrap.TextWrapper.wordsep_re = textwrap.TextWrapper.wordsep_simple_re

GROUPS = {
    "train": ("data", "experiment", "model", "optimizer", "scaling", "schedule"),
    "predict": ("data",),
    "evaluate": ("data",),
    "export": (),
    "describe": ("layer", "model", "model@other"),
    "inspect": ("data",),
    "prepare": ("data",),
    "plot": ("data",),
    "point": (),
}
"""The config groups of each command."""


def complete_override(ctx: Any, incomplete: str) -> list[str]:
    """Complete a word: config groups with their options, and top-level keys."""
    command = ctx.info_name if ctx.info_name in GROUPS else "train"
    options = [
        f"{group}={option}" for group in GROUPS[command] for option in group_options(group, command)
    ]
    text = (configs_folder() / f"{command}.yaml").read_text()
    keys = [
        line.split(":")[0] + "="
        for line in text.splitlines()
        if line[:1].isalpha() and not line.startswith(("defaults", "hydra"))
    ]
    return [word for word in sorted({*options, *keys}) if word.startswith(incomplete)]


def group_options(group: str, command: str) -> list[str]:
    """Return the options of a config group in nowcast that a command accepts; `group@key` has the
    options of `group`.
    """
    options = sorted(path.stem for path in (configs_folder() / group.split("@")[0]).glob("*.yaml"))
    return [
        option
        for option in options
        if option != "moving_mnist" or command not in ("predict", "inspect", "prepare", "plot")
    ]


def hydra_help(command: str, examples: str) -> str:
    """Return the end of the help page of a command that reads a configuration."""
    groups = "\n".join(
        _group_lines(group, group_options(group, command)) for group in GROUPS[command]
    )
    shown = f"\b\nConfig groups:\n{groups}\n\n" if groups else ""
    return (
        f"{shown}\b\nExamples:\n{examples}\n\n\b\n"
        f"Every key, explained:  nowcast {command} --keys\n"
        f"The composed values:   nowcast {command} --cfg job\n"
        f"Only check the words:  nowcast {command} ... --check\n"
        f"Hydra's own options:   nowcast {command} --hydra-help"
    )


def _group_lines(group: str, options: list[str]) -> str:
    """Format a config group with its options, in lines of up to 76 characters."""
    lines = textwrap.wrap(
        f"  {group}={' |'.join(options)}", 76, subsequent_indent="     ", break_long_words=False
    )
    return "\n".join(line.replace(" |", "|") for line in lines).replace("\n    |", "\n     |")
