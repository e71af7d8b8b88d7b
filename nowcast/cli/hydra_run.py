"""Compose a command's configuration with Hydra and run it: once, or for each job of a sweep."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

from nowcast.cli.hydra_errors import error_of_hydra, error_of_sweep
from nowcast.cli.schemas import register_schemas
from nowcast.config.effects import configs_folder
from nowcast.console import is_text
from nowcast.errors import (
    ConfigError,
    UsageError,
)
from nowcast.explain import report
from nowcast.launch import Launch, launch_of, take_part
from nowcast.untrusted.addresses import holds_secret

Task = Callable[[Any, Path], float | None]


def task_of(command: str, *more: Any) -> Task:
    """Return the task `command(config, *more)` of nowcast.commands; the command is imported only
    after the configuration is composed.
    """

    def task(config: Any, folder: Path) -> None:
        from nowcast.startup import without_garbage_collection

        with without_garbage_collection():
            room = import_module(f"nowcast.commands.{command}")
        getattr(room, command)(config, *more)

    return task


def run(command: str, overrides: list[str], task: Task, places: Sequence[str] = ()) -> None:
    """Run the task of `command` with the configuration from these words; or print its keys
    (--keys), or only check it (--check).
    """
    from nowcast.cli.arguments import split_options

    if "--keys" in overrides:
        register_schemas()
        from nowcast.cli.keys import print_keys
        from nowcast.cli.trusted_hydra import check_configurations

        check_configurations()
        print_keys(command, split_options(overrides)[0])
    elif "--check" in overrides:
        from nowcast.cli.checking import check_inputs, words_to_check

        with TemporaryDirectory() as folder:
            compose_and_run(
                command,
                words_to_check(overrides, folder),
                lambda config, _: check_inputs(config, places),
            )
        print("configuration is valid")
    else:
        launch = launch_of()
        if command != "train" and launch is not None and launch.launcher == "srun":
            launch = None  # the tasks of a job step may be separate commands
        take_part(launch)
        if launch is not None:
            refuse_several(command, overrides, launch)
        if launch is None or launch.is_first:
            compose_and_run(command, overrides, task)
        else:
            follow(command, overrides, task)


def follow(command: str, overrides: list[str], task: Task) -> None:
    """Run the task as a further process of a training; only the first process writes and logs."""
    logging.disable(logging.WARNING)
    with TemporaryDirectory() as folder:
        quietly = ["hydra.output_subdir=null", f"hydra.run.dir={folder}"]
        compose_and_run(command, [*overrides, *quietly], task)


def refuse_several(command: str, overrides: Sequence[str], launch: Launch) -> None:
    """Errors: UsageError for a command or sweep that cannot run in several processes."""
    from nowcast.cli.arguments import split_options

    if command != "train":
        raise UsageError(
            f"torchrun: only nowcast train supports it; nowcast {command} runs in one process, so"
            " call it without torchrun."
        )
    if {"-m", "--multirun"} & set(split_options(list(overrides))[1]):
        raise UsageError(
            f"-m: a sweep starts its trainings itself, but {launch.launcher} started"
            f" {launch.size} processes of one training; sweep without {launch.launcher}, for"
            " instance with hydra/launcher=submitit_slurm, or start each training with it."
        )


def compose_and_run(command: str, overrides: list[str], task: Task) -> None:
    """Compose the configuration of `command` with Hydra and run the task, once or for every job
    of a sweep.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import DictConfig, OmegaConf

    from nowcast.cli.arguments import in_one_piece, refuse_repeated, refuse_with_start
    from nowcast.cli.paths import quote_paths
    from nowcast.cli.sweep import forget_sweep, print_sweep, remove_empty_run
    from nowcast.cli.trusted_hydra import check_configurations, refuse_pickle

    _refuse_no_text(overrides)
    refuse_pickle(overrides)
    refuse_repeated(overrides)
    check_configurations()
    # let Hydra raise errors instead of printing them and exiting with 1
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = [f"nowcast {command}", *in_one_piece(quote_paths(overrides))]
    argparse.ArgumentParser.error = _refuse_usage  # type: ignore[assignment]  # Hydra's parser would print its complete usage
    register_schemas()
    forget_sweep()
    failures: list[Exception] = []

    def job(composed: DictConfig) -> float | None:
        hydra_config = HydraConfig.get()
        try:
            _refuse_unknown_keys(composed)
            if composed.get("start") is not None:
                refuse_with_start(hydra_config.overrides.task)
            return task(
                OmegaConf.to_object(composed),
                Path(os.path.relpath(hydra_config.runtime.output_dir)),
            )
        except Exception as error:
            if hydra_config.mode == RunMode.MULTIRUN:
                report(
                    error, f"job {hydra_config.job.num} ({' '.join(hydra_config.overrides.task)}): "
                )
                error.said = os.getpid()  # type: ignore[attr-defined]
                raise  # the sweeper runs the other jobs and raises this at its end
            failures.append(error)  # raised below; Hydra would add another line
            return None

    try:
        hydra.main(version_base="1.3", config_path=str(configs_folder()), config_name=command)(
            job
        )()
    except Exception as error:
        failed = (
            error_of_sweep(error)
            if getattr(error, "said", False)
            else error_of_hydra(error, overrides)
        )
        if failed is not error:
            failed.__cause__ = error
        failures.append(failed)
    finally:
        remove_empty_run()
    try:
        print_sweep()
    except Exception as error:
        failures.append(error)
    if failures:
        raise failures[0]


def _refuse_no_text(words: Sequence[str]) -> None:
    """Errors: UsageError for a word that is not UTF-8 or contains a secret."""
    for word in words:
        if not is_text(word):
            raise UsageError(
                f"{word}: is not UTF-8; rename the file, or give a link to it with another name."
            )
        if holds_secret(word):
            raise UsageError(
                f"{word.partition('=')[0].partition(':')[0]}: the address contains a password or a"
                " signature, which would be stored with results; leave it out, and give"
                " credentials in environment variables."
            )


def _refuse_unknown_keys(composed: Any) -> None:
    """Refuse keys that no code reads, such as a mistyped `+key=…`; a top-level key is accepted if
    an interpolation refers to it.

    Errors: ConfigError.
    """
    from omegaconf import OmegaConf

    written = OmegaConf.to_yaml(composed)
    known = OmegaConf.get_type(composed).__dataclass_fields__  # type: ignore[union-attr]  # a command's configuration has a type
    for key in set(composed) - set(known):
        if f"${{{key}" not in written:
            raise ConfigError(
                f"{key}: no such key or group; leave it out, or see '--cfg job' for the existing"
                " keys."
            )
    for group in composed:
        node = composed._get_node(group)
        schema = getattr(getattr(node, "_metadata", None), "object_type", None)
        known = getattr(schema, "__dataclass_fields__", None)
        for key in set(node or ()) - set(known) if known else ():
            raise ConfigError(
                f"{group}.{key}: no such key; leave it out, or see '--cfg job' for the existing"
                " keys."
            )


def _refuse_usage(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    raise UsageError(f"{message}; see '{parser.prog} --help'.")
