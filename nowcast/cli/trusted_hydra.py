"""Refuse code in configurations: only values and Hydra's own plugins are allowed, no other code and
no log files.

Hydra calls the object named by `_target_`, and Python's logging those named by `()` and `class`;
Hydra also imports packages given as `pkg://` in `hydra.searchpath`. Everything else in YAML is
data, and its size is limited.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import wraps
from importlib.util import find_spec
from typing import Any

import hydra._internal.hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, ConfigRepository
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import Container, DictConfig, ListConfig
from omegaconf.errors import OmegaConfBaseException

from nowcast.cli.schemas import offer_model
from nowcast.cli.sweep import refuse_shared_output, register_key
from nowcast.cli.yaml_files import check_yaml
from nowcast.config.effects import configs_folder
from nowcast.errors import ConfigError, MissingLibraryError, UsageError
from nowcast.untrusted.addresses import holds_secret

_TARGET = "_target_"
_RUN = "hydra.mode=RUN"
"""The override that Hydra appends to a run whose mode is not given."""
_HYDRAS_OWN = "pkg://hydra.conf"
_OUR_TARGETS = {"nowcast.cli.sweep.RememberSweep"}
_LOGGING = {
    "class": {"logging.StreamHandler", "logging.NullHandler"},
    "()": {"colorlog.ColoredFormatter"},
    "stream": {"ext://sys.stdout", "ext://sys.stderr"},
}
"""Classes that Hydra's logging may use: none that opens (and could empty) a file, or opens a
connection.
"""
_NOT_FROM_FILES = {
    "custom_search_space": "a function",
    "env_set": "environment variables, through which libraries load code",
}
_OF_LAUNCHER = re.compile(r"[^\x00-\x1f\x7f]*"), re.compile(r"[A-Za-z_][\w-]*")
"""Allowed texts and keys of a launcher: Slurm's are written into a shell script, one per line."""
_LIBRARIES = {
    "hydra/launcher/joblib": "hydra_joblib_launcher",
    "hydra/launcher/submitit_local": "hydra_submitit_launcher",
    "hydra/launcher/submitit_slurm": "hydra_submitit_launcher",
    "hydra/sweeper/optuna": "hydra_optuna_sweeper",
}
"""Configurations in configs/ that an optional library runs."""
# folders to which Hydra may write config.yaml and two other files, replacing existing ones
_COPIES = {None, ".hydra"}
_MOST_LOADED = 1000  # files in one configuration, counted each time one is named
_MOST_RESOLVED = 2000  # interpolations in one configuration
_LONGEST = 2**13  # characters in the text from an interpolation
_resolved: Counter[str] = Counter()


class CheckedSource(FileConfigSource):
    """A folder of configurations that checks a user's file before reading it."""

    def load_config(self, config_path: str) -> ConfigResult:
        path = os.path.join(self.path, self._normalize_file_name(config_path))
        if os.path.exists(path) and not os.path.realpath(path).startswith(
            f"{os.path.realpath(configs_folder())}{os.sep}"
        ):
            check_yaml(path)
        return super().load_config(config_path)


class CheckedLoader(ConfigLoaderImpl):
    """Hydra's configuration loader; it raises ConfigError for a configuration that names code,
    before Hydra runs it.

    Launchers send the loader to the processes of their jobs, which compose again. Hydra composes a
    run twice, first to find its mode. The first result is reused for the run, unless an override or
    a missing default means something else in a sweep.
    """

    _for_mode: tuple[list[str], DictConfig] | None = None

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        _refuse_packages(config_search_path)
        self._written: dict[str, list[str]] = {}
        super().__init__(config_search_path)
        _check_sources(self.repository)

    def _process_config_searchpath(
        self,
        config_name: str | None,
        parsed_overrides: list[Override],
        repo: CachingConfigRepository,
    ) -> None:
        initialize, load = repo.initialize_sources, repo.load_config
        loaded = Counter[str]()

        def initialize_checked(config_search_path: ConfigSearchPath) -> None:
            _refuse_packages(config_search_path)
            initialize(config_search_path)
            _check_sources(repo.delegate)

        def load_counted(config_path: str) -> ConfigResult | None:
            loaded.update([config_path])
            if loaded.total() > _MOST_LOADED:
                raise ConfigError(
                    f"{config_path}: the defaults lists name more than {_MOST_LOADED} files; this"
                    f" one {loaded[config_path]} times."
                )
            _offer_plugin(config_path)
            offer_model(config_path)
            return load(config_path)

        for source in repo.get_sources():
            if source.scheme() == "structured":
                # Hydra's copy would not contain models that are registered later
                source.store = ConfigStore.instance()  # type: ignore[attr-defined]
        repo.initialize_sources, repo.load_config = initialize_checked, load_counted  # type: ignore[method-assign]
        super()._process_config_searchpath(config_name, parsed_overrides, repo)

    def load_sweep_config(
        self, master_config: DictConfig, sweep_overrides: list[str]
    ) -> DictConfig:
        config = super().load_sweep_config(master_config, sweep_overrides)
        refuse_shared_output(config, sweep_overrides, self._written)
        return config

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        *args: Any,
        **kwargs: Any,
    ) -> DictConfig:
        _bound_interpolations()  # also in the process of a job
        register_key()
        _resolved.clear()
        before, self._for_mode = self._for_mode, None
        if before is not None and run_mode == RunMode.RUN and overrides == [*before[0], _RUN]:
            config = before[1]
            config.hydra.mode = RunMode.RUN
            config.hydra.overrides.hydra.append(_RUN)
            return config
        config = super().load_configuration(config_name, overrides, run_mode, *args, **kwargs)
        refuse_code(config)
        if (
            run_mode == RunMode.MULTIRUN
            and config.hydra.mode is None
            and not _means_other_to_a_sweep(config, overrides)
        ):
            self._for_mode = list(overrides), config
        return config


def _offer_plugin(config_path: str) -> None:
    """Let our values of a launcher or sweeper in configs/ override those of its library, which
    have the same name and are renamed to `…_schema`.

    Errors: MissingLibraryError if that library is not installed.
    """
    path = config_path.strip("/").removesuffix(".yaml")
    library = _LIBRARIES.get(path)
    if library is None:
        return
    if not (find_spec("hydra_plugins") and find_spec(f"hydra_plugins.{library}")):
        raise MissingLibraryError(
            f"{path}: needs {library.replace('_', '-')}: pip install 'nowcast-radar[sweep]'."
        )
    _, group, name = path.split("/")
    there = ConfigStore.instance().repo["hydra"][group]
    if f"{name}.yaml" in there:
        there[f"{name}_schema.yaml"] = there.pop(f"{name}.yaml")


def _check_sources(repository: Any) -> None:
    """Let all folders of a repository check the files that they load."""
    assert isinstance(repository, ConfigRepository)
    repository.sources = [
        (
            CheckedSource(source.provider, source.path)
            if source.scheme() == FileConfigSource.scheme()
            else source
        )
        for source in repository.sources
    ]


def _bound_interpolations() -> None:
    """Let OmegaConf refuse too many interpolations, or one with too long a text."""
    resolve = Container.resolve_parse_tree
    if hasattr(resolve, "__wrapped__"):
        return

    @wraps(resolve)
    def resolve_bounded(*args: Any, **kwargs: Any) -> Any:
        _resolved["interpolations"] += 1
        if _resolved["interpolations"] > _MOST_RESOLVED:
            raise ConfigError(
                f"more than {_MOST_RESOLVED} interpolations; write the values themselves."
            )
        value = resolve(*args, **kwargs)
        if isinstance(value, str) and len(value) > _LONGEST:
            raise ConfigError(f"a text of more than {_LONGEST} characters; write a shorter one.")
        return value

    Container.resolve_parse_tree = resolve_bounded  # type: ignore[method-assign]


def _refuse_packages(config_search_path: ConfigSearchPath) -> None:
    """Errors: ConfigError for a configuration source that is a package, since reading it would
    import it; packages of Hydra and its installed plugins are allowed.
    """
    for place in config_search_path.get_path():
        key = "--config-path" if place.provider == "main" else str(place.provider).partition(" ")[0]
        given = key in ("--config-path", "hydra.searchpath")
        if given and str(place.path).startswith("pkg://") and place.path != _HYDRAS_OWN:
            raise ConfigError(
                f"{key}: {place.path!r} is a package, which is code; give a folder, such as"
                " file:///etc/nowcast."
            )


def _means_other_to_a_sweep(config: DictConfig, overrides: Sequence[str]) -> bool:
    return (
        any(sign in word for word in overrides for sign in ",(")
        or "???" in config.hydra.runtime.choices.values()
    )


def check_configurations() -> None:
    """Let Hydra compose with CheckedLoader from now on."""
    hydra._internal.hydra.ConfigLoaderImpl = CheckedLoader  # type: ignore[misc]


def refuse_pickle(words: Sequence[str]) -> None:
    """Errors: UsageError for Hydra's --experimental-rerun, also shortened: it unpickles a file."""
    for word in words:
        if re.match(r"--e\w*", word):
            raise UsageError(
                f"{word}: nowcast does not load pickled files; give the overrides of that run"
                " again."
            )


def refuse_code(config: DictConfig) -> None:
    """Check a composed configuration before any of it is written.

    Errors: ConfigError if it names code other than Hydra's own, or contains a password.
    """
    targets = _OUR_TARGETS | set(_registered(ConfigStore.instance().repo))
    for keys, value in _values(config, ()):
        name, key = ".".join(map(str, keys)), keys[-1]
        hydras = keys[0] == "hydra"
        if key == _TARGET and not (hydras and value in targets):
            raise ConfigError(
                f"{name}: {value!r} is code, which a configuration must not name; leave it out."
            )
        if isinstance(value, str) and holds_secret(value):
            raise ConfigError(
                f"{name}: the address contains a password or a signature, which would be stored"
                " with results; leave it out, and give credentials in environment variables."
            )
        if isinstance(value, int) and abs(value) >= 2**63:
            raise ConfigError(f"{name}: this number is too large; give a smaller one.")
        if keys == ("hydra", "output_subdir") and value not in _COPIES:
            raise ConfigError(f"{name}: Hydra could overwrite files in {value!r}; leave it out.")
        if not hydras or len(keys) < 3:
            continue
        if keys[1] == "launcher":
            _check_launcher(name, key, value)
        if keys[1] in ("job_logging", "hydra_logging"):
            _check_logging(name, key, value)
        if key in _NOT_FROM_FILES and value:
            raise ConfigError(
                f"{name}: a configuration cannot set {_NOT_FROM_FILES[key]}; leave it out."
            )


def _check_launcher(name: str, key: Any, value: Any) -> None:
    text, word = _OF_LAUNCHER
    if not (text.fullmatch(str(value)) and (isinstance(key, int) or word.fullmatch(str(key)))):
        raise ConfigError(
            f"{name}: {value!r} is not one line of text under a plain key; write one."
        )


def _check_logging(name: str, key: Any, value: Any) -> None:
    late = isinstance(value, str) and "${" in value  # it could become anything
    kind = key if key in _LOGGING else "stream" if str(value).startswith("ext://") else None
    if late or (kind and str(value) not in _LOGGING[kind]):
        known = ", ".join(sorted(_LOGGING[kind or "class"]))
        raise ConfigError(
            f"{name}: {str(value)!r} is not allowed, because logging may only write to the"
            " terminal; choose hydra/job_logging=stderr and hydra/hydra_logging=stderr, or one of"
            f" {known}, and redirect stderr to keep a log."
        )


def _values(
    node: DictConfig | ListConfig, keys: tuple[Any, ...]
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield all keys below a node with their values; an interpolation that cannot be resolved yet
    is given as its text.
    """
    if node._is_none() or node._is_missing() or node._is_interpolation():
        return
    for key in list(node.keys()) if isinstance(node, DictConfig) else range(len(node)):
        within: Any = node
        try:
            value = within[key]
        except OmegaConfBaseException:
            value = within._get_node(key)._value()
        yield (*keys, key), value
        if isinstance(value, DictConfig | ListConfig):
            yield from _values(value, (*keys, key))


def _registered(group: dict[str, Any]) -> Iterator[str]:
    """Yield the targets in the configurations of Hydra and its installed plugins."""
    for entry in group.values():
        if isinstance(entry, dict):
            yield from _registered(entry)
        elif isinstance(entry.node, DictConfig):
            yield from (
                value
                for keys, value in _values(entry.node, ())
                if keys[-1] == _TARGET and isinstance(value, str)
            )
